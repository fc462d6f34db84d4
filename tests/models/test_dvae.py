"""DVAE: arguments, images and latents, configuration, and what its inputs may be."""

import functools
import json

import numpy as np
import pytest
from scipy.special import expit

from tests.models import oracles
from tfdvae.latents.machine import default_sides
from tfdvae.layers import Smoothing
from tfdvae.models import DVAE, DVAELatents
from tfdvae.objectives import schedules

SHAPE = (1, 2, 1)
SPIKE = ("spike_and_exponential", {"beta": 3.0})
CONCRETE = ("binary_concrete", {"temperature": 0.5})
LOGISTIC = ("overlapping_logistic", {"scale": 0.2})
MODELS = {
    "rbm": dict(latent_units=(3, 2), network=(4,)),
    "rbm, split": dict(latent_units=[4], network="linear", sides=["split"], smoothing=SPIKE),
    "rbm, three groups": dict(latent_units=(1, 2, 1), network=(3, 3), sides=("right", "split", "left")),
    "bernoulli": dict(latent_units=(2, 1), network=(4,), prior="bernoulli", smoothing=LOGISTIC),
    "bernoulli, marginal": dict(
        latent_units=3, network="linear", prior="bernoulli", bound="marginal", smoothing=CONCRETE
    ),
    "normal": dict(latent_units=(2, 2), network=(4,), prior="normal", batch_normalization=False),
}
LEFT_OF = {"rbm": "LLLRR", "rbm, split": "LLRR", "rbm, three groups": "RLRL"}


def build(name, **kwargs):
    arguments = {**MODELS[name], **kwargs}
    if isinstance(arguments.get("smoothing"), tuple):
        smoothing, parameters = arguments["smoothing"]
        arguments["smoothing"] = Smoothing(smoothing, **parameters)
    model = oracles.randomize(DVAE(image_shape=SHAPE, **arguments), seed=1)
    if model.rbm is not None:
        model.update_log_partition()
    return model


@functools.cache
def built(name):
    return build(name)


@pytest.fixture(params=MODELS)
def named(request):
    return request.param, built(request.param)


@pytest.fixture(params=[name for name in MODELS if name != "normal"])
def binary(request):
    return request.param, built(request.param)


# --- images and latents ---


def every_image():
    return oracles.states(2).reshape(4, *SHAPE).astype(np.float32)


def enumerated(name, model, x):
    sides = LEFT_OF.get(name)
    return oracles.EnumeratedDVAE(model, x, sides and [side == "L" for side in sides])


def test_samples_follow_the_exact_law(binary):
    name, model = binary
    exact = enumerated(name, model, every_image())
    probability = np.exp(exact.log_p)
    np.testing.assert_allclose(probability.sum(), 1.0, rtol=1e-10)
    count = 20_000
    samples = model.sample(count, seed=1).numpy()
    assert samples.shape == (count, *SHAPE)
    assert samples.dtype == np.float32
    frequency = np.array([(samples == image).all(axis=(1, 2, 3)).mean() for image in every_image()])
    np.testing.assert_allclose(frequency.sum(), 1.0)
    # 1e-6 shared by the four; Bernstein for indicator variables.
    tolerance = oracles.bernstein(probability * (1 - probability), 1.0, count, 1e-6 / 4)
    assert (np.abs(frequency - probability) < tolerance).all()
    means = model.sample(count, seed=1, mean=True).numpy()
    pixel_means = probability @ every_image().reshape(4, -1)
    assert (np.abs(means.mean(axis=0).ravel() - pixel_means) < 2 * tolerance.max()).all()
    assert len(np.unique(means)) > 2


def test_encodings_follow_the_posterior(binary):
    name, model = binary
    x = every_image()[1:3]
    exact = enumerated(name, model, x)
    latents = model.encode(np.repeat(x, 10_000, axis=0), seed=2)
    assert [g.shape[1] for g in latents.groups] == list(model.latent_units)
    z = np.concatenate(latents.groups, axis=1).reshape(2, 10_000, -1)
    assert set(np.unique(z)) == {0.0, 1.0}
    states = oracles.states(z.shape[2])
    moments = states[:, :, None] * states[:, None, :]
    want = np.einsum("bs,sij->bij", exact.q, moments)
    got = np.einsum("bsi,bsj->bij", z, z) / 10_000
    # Hoeffding with a false-failure rate of 1e-6 over all entries.
    assert np.abs(got - want).max() < np.sqrt(np.log(2 * want.size * 1e6) / (2 * 10_000))


def test_decoding_is_the_decoder(named):
    _, model = named
    latents = model.encode(every_image(), seed=0)
    means = model.decode(latents, seed=0, mean=True)
    logits = oracles.dense_stack(model.decoder, [np.float64(g) for g in latents.groups])
    np.testing.assert_allclose(means, expit(logits).reshape(4, *SHAPE), rtol=1e-4, atol=1e-6)
    many = DVAELatents([np.repeat(g[:1], 20_000, axis=0) for g in latents.groups])
    images = model.decode(many, seed=3).numpy()
    assert set(np.unique(images)) <= {0.0, 1.0}
    assert np.abs(images.mean(axis=0) - means[0]).max() < np.sqrt(np.log(4e6) / (2 * 20_000))


def test_call_and_predict_are_mean_reconstructions(named):
    _, model = named
    x = every_image()
    means = model(x).numpy()
    assert np.all((means > 0) & (means < 1))
    np.testing.assert_allclose(model.predict(x, verbose=0), means, atol=1e-5)


def test_normal_prior_against_quadrature():
    # One latent: log p(x), the ELBO and the smoothed limit, which is the same for continuous variables.
    model = oracles.randomize(
        DVAE(image_shape=SHAPE, latent_units=(1,), network=(4,), prior="normal"), scale=0.5
    )
    x = every_image()
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / np.sqrt(2 * np.pi)
    pixels = x.reshape(4, -1)

    def log_likelihood(h):
        return oracles.bernoulli_log_prob(pixels[:, None], oracles.dense_stack(model.decoder, [h[..., None]]))

    parameters = oracles.dense_stack(model.encoders[0], [np.float64(pixels)])
    loc, scale = parameters[:, :1], np.exp(5 * np.tanh(parameters[:, 1:] / 5))
    log_p = np.log(np.exp(log_likelihood(np.tile(nodes, [4, 1]))) @ weights)
    kl = (0.5 * (loc**2 + scale**2 - 1) - np.log(scale))[:, 0]
    elbo = log_likelihood(loc + scale * nodes) @ weights - kl
    assert (elbo < log_p - 0.01).all()
    repeats = 10_000
    for limit in ("binary", "smoothed"):
        terms = model.elbo_terms(np.repeat(x, repeats, axis=0), seed=0, limit=limit)
        values = np.float64(terms.elbo).reshape(4, repeats)
        error = oracles.normal_bound(values.std(axis=1), repeats)
        assert (np.abs(values.mean(axis=1) - elbo) < error + 1e-4).all()
        np.testing.assert_allclose(terms.kl_per_group[0], np.repeat(kl, repeats), rtol=1e-4, atol=1e-5)
    ratio = np.exp(np.float64(model.log_weights(x, 40_000, seed=1)) - log_p)
    error = oracles.normal_bound(ratio.std(axis=0), 40_000)
    assert (np.abs(ratio.mean(axis=0) - 1) < error + 1e-4).all()
    assert (error < 0.3).all()


def test_normal_groups_depend_on_earlier_ones():
    # p(x) by importance sampling from the posterior and by sampling the prior.
    model = oracles.randomize(build("normal"), seed=2, scale=0.4)
    for encoder in model.encoders:  # wide enough for finite variance
        encoder.output_bias.assign_add([0.0, 0.0, 0.5, 0.5])
    x = every_image()
    samples = model.sample_prior(200_000, seed=0).groups
    logits = oracles.dense_stack(model.decoder, [np.float64(s) for s in samples])
    p = np.stack([np.exp(oracles.bernoulli_log_prob(image.ravel(), logits)) for image in x], axis=1)
    ratio = np.exp(np.float64(model.log_weights(x, 200_000, seed=1)))
    error = 5 * np.hypot(p.std(axis=0), ratio.std(axis=0)) / np.sqrt(200_000)
    assert (np.abs(ratio.mean(axis=0) - p.mean(axis=0)) < error).all()
    assert (error < 0.2 * p.mean(axis=0)).all(), "the test must have power"


# --- configuration ---


def test_configuration_holds_every_argument():
    model = DVAE(
        image_shape=[2, 3, 1],
        latent_units=[2, 3],
        network=[4, 5],
        prior="rbm",
        sides=["split", "left"],
        smoothing=Smoothing("overlapping_exponential", beta=schedules.linear(2.0, 8.0, 50)),
        weight_decay=0.25,
        batch_normalization=False,
        batch_normalization_momentum=0.5,
        num_chains=7,
        num_sweeps=3,
        seed=9,
        name="mine",
    )
    restored = DVAE.from_config(json.loads(json.dumps(model.get_config())))
    for name, value in {
        "image_shape": (2, 3, 1),
        "latent_units": (2, 3),
        "network": (4, 5),
        "prior_name": "rbm",
        "seed": 9,
        "weight_decay": 0.25,
        "batch_normalization": False,
        "batch_normalization_momentum": 0.5,
        "num_chains": 7,
        "num_sweeps": 3,
        "name": "mine",
    }.items():
        assert getattr(restored, name) == value, name
    assert restored.prior.sides == ("split", "left")
    assert restored.negative_phase.num_chains == 7
    assert restored.decoder.hidden_units == (4, 5)
    assert [encoder.batch_normalization for encoder in restored.encoders] == [False, False]
    for step in (0, 20, 1000):
        for a, b in ((restored, model), (model, restored)):
            assert a.smoothing.parameter(step) == b.smoothing.parameter(step)
    # A model and its configuration hold what was given: the defaults too.
    assert DVAE(image_shape=SHAPE, latent_units=(2, 2), network="linear").get_config()["sides"] is None


@pytest.mark.parametrize(
    ("num_groups", "sides"),
    [
        (1, ("split",)),
        (2, ("left", "right")),
        (3, ("left", "right", "right")),
        (4, ("left",) * 2 + ("right",) * 2),
    ],
)
def test_default_sides(num_groups, sides):
    assert default_sides(num_groups) == sides


@pytest.mark.parametrize(
    ("network", "widths"), [("linear", ()), ("nonlinear", (200, 200)), ((), ()), ((3,), (3,))]
)
def test_network(network, widths):
    model = DVAE(image_shape=SHAPE, latent_units=(2, 2), network=network, prior="bernoulli")
    for stack in (*model.encoders, model.decoder, *model.prior.networks):
        assert stack.hidden_units == widths


# --- the data mean ---


def test_data_mean_centres_the_encoder_and_sets_the_decoder():
    mean = np.array([0.25, 0.75]).reshape(SHAPE)
    model = DVAE(image_shape=SHAPE, latent_units=(2, 2), network="linear", data_mean=mean)
    np.testing.assert_allclose(model.data_mean, mean.ravel())
    assert not any(w is model.data_mean for w in model.trainable_variables)
    zeros = DVAELatents([np.zeros([1, 2], np.float32)] * 2)
    np.testing.assert_allclose(model.decode(zeros, seed=0, mean=True)[0], mean, rtol=1e-6)
    # The posterior's logits at the mean image are the bias, 0.
    kernel = model.encoders[0].input_layers[0].kernel.numpy()
    (q, _) = model.posterior_means(every_image(), seed=0)
    np.testing.assert_allclose(q, expit((every_image() - mean).reshape(4, -1) @ kernel), rtol=1e-5)


def test_pixels_that_never_change_start_finite():
    model = DVAE(
        image_shape=SHAPE, latent_units=(2, 2), network="linear", data_mean=np.array([[[0.0], [1.0]]])
    )
    np.testing.assert_allclose(model.decoder.output_bias, np.log([1e-3 / 0.999, 0.999 / 1e-3]), rtol=1e-4)
