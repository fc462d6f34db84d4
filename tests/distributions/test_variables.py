"""Parameters that are variables, of all distributions and bijectors: read at each use, as in TFP."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfdvae.bijectors import OverlappingExponentialCDF, OverlappingLogisticCDF
from tfdvae.distributions import (
    BinaryConcrete,
    DiscretizedLogisticMixture,
    OverlappingExponential,
    OverlappingLogistic,
    SpikeAndExponential,
)

tfb, tfd = tfp.bijectors, tfp.distributions

LOGITS = np.float32([0.3, -1.0, 0.9])
PROBS = np.float32([0.2, 0.5, 0.9])
LOCATIONS = {"scale": np.float32(0.2), "loc0": np.float32(-0.5), "loc1": np.float32(1.5)}
BETA, TEMPERATURE = {"beta": np.float32(4.0)}, {"temperature": np.float32(0.7)}
PIXEL = {
    "mixture_logits": np.float32([0.1, -0.2]),
    "means": np.float32([[0.1, -0.3], [0.2, 0.4]]),
    "log_scales": np.float32([[-1.0, -2.0], [-1.5, 0.0]]),
    "coefficients": np.float32([[0.3], [-0.4]]),
}
CASES = [
    (OverlappingExponential, {"logits": LOGITS, **BETA}),
    (OverlappingExponential, {"probs": PROBS, **BETA}),
    (OverlappingLogistic, {"logits": LOGITS, **LOCATIONS}),
    (OverlappingLogistic, {"probs": PROBS, **LOCATIONS}),
    (SpikeAndExponential, {"logits": LOGITS, **BETA}),
    (SpikeAndExponential, {"probs": PROBS, **BETA}),
    (BinaryConcrete, {"logits": LOGITS, **TEMPERATURE}),
    (BinaryConcrete, {"probs": PROBS, **TEMPERATURE}),
    (OverlappingExponentialCDF, {"logits": LOGITS, **BETA}),
    (OverlappingLogisticCDF, {"logits": LOGITS, **LOCATIONS}),
    (DiscretizedLogisticMixture, PIXEL),
]
ALL = pytest.mark.parametrize(
    ("law", "values"), CASES, ids=[f"{law.__name__}-{next(iter(values))}" for law, values in CASES]
)


def variables(values):
    return {name: tf.Variable(value) for name, value in values.items()}


def moved(values):
    return {name: value + np.float32(0.05) for name, value in values.items()}


def outputs(law) -> list:
    """All that a distribution or a bijector computes from its parameters."""
    if isinstance(law, DiscretizedLogisticMixture):
        return [law.log_prob(tf.constant([20.0, 131.0])), law.sample(3, seed=1)]
    # New tensors at each call: bijectors remember what they have made of an old one.
    rho, zeta = tf.constant([[0.3], [0.85]]), tf.constant([[0.1], [0.6]])
    if isinstance(law, tfb.Bijector):
        return [law.forward(zeta), law.inverse(rho), law.forward_log_det_jacobian(tf.identity(zeta))]
    found = [law.quantile(rho), law.cdf(zeta), law.sample(2, seed=1)]
    found += [law.logits_parameter(), law.probs_parameter()]
    limit = law.binary_limit()
    found += [limit.log_prob(1.0), limit.probs_parameter()]
    if law.has_density:
        found.append(law.log_prob(zeta))
    if law.has_posterior:
        found.append(law.posterior_probs(zeta))
    if law.has_density and law.has_posterior:
        found += [law.log_density_ratio(zeta), law.posterior_logits(zeta)]
    return found


def total(law):
    return tf.add_n([tf.reduce_sum(tf.square(value)) for value in outputs(law)])


@ALL
def test_gradients_are_those_of_tensors(law, values):
    tensors = {name: tf.constant(value) for name, value in values.items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = total(law(**tensors))
    want = tape.gradient(value, tensors)
    held = variables(values)
    last = list(values)[-1]
    for some in (held, {last: held[last]}):
        made = law(**{**tensors, **some})
        with tf.GradientTape() as tape:
            value = total(made)
        for name, gradient in tape.gradient(value, some).items():
            np.testing.assert_allclose(gradient, want[name], rtol=1e-5, err_msg=name)


@ALL
def test_values_follow_assignments(law, values):
    held = variables(values)
    made = law(**held)
    compiled = tf.function(lambda: outputs(made), autograph=False)
    for now in (values, moved(values)):
        for name, value in now.items():
            held[name].assign(value)
        want = outputs(law(**now))
        for got in (outputs(made), outputs(made.copy()), compiled()):
            for a, b in zip(got, want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@ALL
def test_variables_are_tracked(law, values):
    held = variables(values)
    made = law(**held)
    for each in (made, made.copy()):
        assert {v.ref() for v in each.trainable_variables} == {v.ref() for v in held.values()}
        for name, variable in held.items():
            assert getattr(each, name) is variable
            assert each.parameters[name] is variable
    name = next(iter(values))
    other = law(**{**held, name: tf.Variable(values[name], trainable=False)})
    assert {v.ref() for v in other.trainable_variables} == {v.ref() for n, v in held.items() if n != name}
    assert len(other.variables) == len(held)
    if isinstance(made, tfd.Distribution):
        assert made.batch_shape == law(**values).batch_shape
        np.testing.assert_array_equal(made.batch_shape_tensor(), law(**values).batch_shape_tensor())


@pytest.mark.parametrize(
    ("bijector", "values"), [case for case in CASES if issubclass(case[0], tfb.Bijector)]
)
def test_inside_a_transformed_distribution(bijector, values):
    held = variables(values)
    made = tfd.TransformedDistribution(tfd.Uniform(), tfb.Invert(bijector(**held)))
    assert {v.ref() for v in made.trainable_variables} == {v.ref() for v in held.values()}
    for now in (values, moved(values)):
        for name, value in now.items():
            held[name].assign(value)
        with tf.GradientTape() as tape:
            log_prob = made.log_prob(tf.constant([0.2, 0.5, 0.8]))
        want = bijector(**now).forward_log_det_jacobian(tf.constant([0.2, 0.5, 0.8]))
        np.testing.assert_allclose(log_prob, want, rtol=1e-5)
        assert all(np.any(g != 0.0) for g in tape.gradient(log_prob, held).values())


@ALL
def test_variables_of_keras_and_of_tfp(law, values):
    name, value = next(iter(values.items()))
    of_keras = keras.Variable(value)
    of_tfp = tfp.util.TransformedVariable(value, tfb.Identity())
    for variable, raw in ((of_keras, of_keras), (of_tfp, *of_tfp.trainable_variables)):
        made = law(**{**values, name: variable})
        assert len(made.trainable_variables) == 1
        variable.assign(moved(values)[name])
        with tf.GradientTape() as tape:
            found = total(made)
        np.testing.assert_allclose(found, total(law(**{**values, name: moved(values)[name]})), rtol=1e-5)
        assert tape.gradient(found, raw) is not None


@pytest.mark.parametrize(
    ("law", "values", "name", "bad"),
    [(law, values, "probs", 1.5) for law, values in CASES if "probs" in values]
    + [(law, values, "beta", 1001.0) for law, values in CASES if "beta" in values]
    + [(law, values, "temperature", -0.5) for law, values in CASES if "temperature" in values]
    + [(law, values, "scale", -0.5) for law, values in CASES if "scale" in values]
    + [(law, values, "loc1", -2.0) for law, values in CASES if "scale" in values],
)
def test_values_are_checked_at_use(law, values, name, bad):
    held = variables(values)
    made = law(**held)
    value = np.array(values[name])
    value.reshape(-1)[-1] = bad
    held[name].assign(value)
    with pytest.raises(ValueError, match=f"`{name}`.* must be .*Received: .*{name}={bad}"):
        outputs(made)
    use = made.inverse if isinstance(made, tfb.Bijector) else made.quantile
    compiled = tf.function(lambda: use(tf.constant(0.9)))
    # The other elements are not at fault.
    np.testing.assert_array_equal(np.isnan(compiled()), np.broadcast_to(np.isin(value, bad), [3]))
    held[name].assign(values[name])
    assert np.isfinite(compiled()).all()
