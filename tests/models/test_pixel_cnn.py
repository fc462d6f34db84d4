"""PixelCNN++: what each pixel may depend on, and the sampler that computes every activation once."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.test_causal import places_seen
from tfdvae import random
from tfdvae.models.pixels import make_pixels
from tfdvae.models.pixelvaepp import pixel_cnn, sampler
from tfdvae.models.pixelvaepp.pixel_cnn import PixelCNN


@functools.cache
def network(size, channels=1, strides=True, with_latents=True):
    """With random weights, far from zero."""
    latents = dict(latent_channels=2, skip_channels=3, conditioning_units=2) if with_latents else {}
    parameters = make_pixels(LIKELIHOODS[channels], channels, num_components=2).num_parameters
    num_sizes = 3 if size == (5, 7) else 2
    net = PixelCNN((*size, channels), parameters, 4, 1, num_sizes, strides, **latents)
    rng = np.random.default_rng(0)
    for variable in net.trainable_variables:
        variable.assign(rng.normal(0.0, 1.0, variable.shape))
    return net


LIKELIHOODS = {1: "bernoulli", 3: "discretized_logistic_mixture"}


def latents_of(net, batch):
    """Latent features beside the image, conditioning latents, and features of the skips."""
    if net.entry.latents is None:
        return None, None, None
    rng = np.random.default_rng(1)

    def features(*shape):
        return tf.constant(rng.normal(size=(batch, *shape)), tf.float32)

    return features(*net.image_shape[:2], 2), features(2), [features(*size, 3) for size in net.skip_sizes]


def parameters(net, x, latents=None, condition=None, of_skips=None):
    return net.up(net.down(x, latents, condition), of_skips, condition)


def seen_by_pixels(net):
    """For each pixel, the pixels that its parameters depend on."""
    batch = 1 + np.prod(net.image_shape[:2])
    same = tf.nest.map_structure(lambda v: tf.repeat(v, batch, axis=0), latents_of(net, 1))
    return places_seen(lambda x: parameters(net, tf.constant(x), *same), net.image_shape)


NETWORKS = [
    pytest.param((5, 7), 1, True, id="odd"),
    pytest.param((6, 4), 3, True, id="colour"),
    pytest.param((2, 3), 1, True, id="tiny"),
    pytest.param((4, 5), 1, False, id="no strides"),
]


@pytest.mark.parametrize(("size", "channels", "strides"), NETWORKS)
def test_a_pixel_depends_on_all_pixels_before_it_and_on_no_other(size, channels, strides):
    places = list(np.ndindex(*size))
    want = {place: set(places[:k]) for k, place in enumerate(places)}
    assert seen_by_pixels(network(size, channels, strides)) == want


@pytest.mark.parametrize("shift", ["shift_down", "shift_right"])
def test_a_shift_that_is_missing_is_found(shift, monkeypatch):
    monkeypatch.setattr(pixel_cnn, shift, lambda x: x)
    seen = seen_by_pixels(network((4, 5), strides=False))
    assert any(max(before, default=(-1, 0)) >= place for place, before in seen.items())


def drawn(net, pixels, uniforms, latents, known=None, jit_compile=False):
    """By the sampler."""
    size = net.image_shape[:2]
    known = known or (np.zeros([uniforms.shape[0], *net.image_shape], np.float32), np.zeros(size, bool))
    function = tf.function(sampler.draw, autograph=False, jit_compile=jit_compile)
    return function(net, pixels, uniforms, *map(tf.constant, known), *latents)


def drawn_naively(net, pixels, uniforms, latents, known=None):
    """One pass for each pixel."""
    x = np.zeros((uniforms.shape[0], *net.image_shape), np.float32)
    function = tf.function(lambda x: parameters(net, pixels.scaled(x), *latents), autograph=False)
    for i, j in np.ndindex(*net.image_shape[:2]):
        x[:, i, j] = pixels.from_uniforms(function(tf.constant(x))[:, i, j], uniforms[:, i, j])
        if known is not None and known[1][i, j]:
            x[:, i, j] = known[0][:, i, j]
    return x, function(tf.constant(x))


CASES = [
    *(pytest.param(*case.values, 3, True, id=case.id) for case in NETWORKS),
    pytest.param((5, 7), 1, True, 1, True, id="one image"),
    pytest.param((4, 3), 1, True, 17, False, id="without latents"),
    pytest.param((4, 5), 1, False, 2, False, id="without both"),
]


@pytest.mark.parametrize(("size", "channels", "strides", "batch", "with_latents"), CASES)
def test_the_sampler_draws_what_passes_for_each_pixel_draw(size, channels, strides, batch, with_latents):
    net = network(size, channels, strides, with_latents)
    pixels, latents = make_pixels(LIKELIHOODS[channels], channels, 2), latents_of(net, batch)
    uniforms = random.uniform([batch, *size, pixels.num_uniforms], seed=4)
    want, want_parameters = drawn_naively(net, pixels, uniforms, latents)
    assert len(np.unique(want)) > 1
    got = drawn(net, pixels, uniforms, latents)
    np.testing.assert_array_equal(got.images, want)
    np.testing.assert_allclose(got.parameters, want_parameters, rtol=1e-3, atol=1e-4)


def test_known_pixels_are_kept_and_seen():
    net, pixels = network((5, 7)), make_pixels("bernoulli", 1)
    latents, uniforms = latents_of(net, 3), random.uniform([3, 5, 7, 1], seed=4)
    image = np.random.default_rng(5).integers(0, 2, (3, 5, 7, 1)).astype(np.float32)
    mask = np.zeros([5, 7], bool)
    mask[:2] = True
    want, _ = drawn_naively(net, pixels, uniforms, latents, (image, mask))
    got = drawn(net, pixels, uniforms, latents, (image, mask))
    np.testing.assert_array_equal(got.images, want)
    np.testing.assert_array_equal(got.images[:, :2], image[:, :2])
    free, _ = drawn_naively(net, pixels, uniforms, latents)
    assert np.any(want[:, 2:] != free[:, 2:])


@pytest.mark.slow
def test_by_xla_too():
    net, pixels = network((5, 7)), make_pixels("bernoulli", 1)
    latents, uniforms = latents_of(net, 3), random.uniform([3, 5, 7, 1], seed=4)
    graph, xla = (drawn(net, pixels, uniforms, latents, jit_compile=jit) for jit in (False, True))
    np.testing.assert_array_equal(graph.images, xla.images)
