"""Images of a PixelVAE++ of the data sets' sizes are those of a pass for each pixel: in Keras, and from both
loaders of its export.
"""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.export import cpp_loader
from tests.models.test_pixelvaepp import with_random_weights
from tfdvae import export, random
from tfdvae.latents import draws
from tfdvae.models import PixelVAEPlusPlus

pytestmark = pytest.mark.slow
ALL = dict(concatenated_units=2, conditioning_units=2, shared_units=1)
GREY, COLOUR = (28, 28, 1), (32, 32, 3)
CASES = {
    "grey, none": (GREY, dict(concatenated_units=0)),
    "grey, concatenated": (GREY, dict(concatenated_units=(2, 2))),
    "grey, conditioning": (GREY, dict(concatenated_units=0, conditioning_units=4)),
    "grey, shared": (GREY, dict(concatenated_units=0, shared_units=1)),
    "grey, all": (GREY, ALL),
    "grey, all, no strides": (GREY, dict(ALL, strides=False)),
    "colour, none": (COLOUR, dict(concatenated_units=0)),
    "colour, all": (COLOUR, ALL),
}
EXPORTED = ("grey, all", "colour, all")
COUNT = 17


def drawn_naively(model, latents, seeds):
    """A pass of the whole network for each pixel."""
    height, width, _ = model.image_shape
    uniforms = random.uniform([COUNT, height, width, model.pixels.num_uniforms], seed=seeds)
    x = tf.Variable(tf.zeros([COUNT, *model.image_shape]))
    values = [value for field in latents for value in field]

    @tf.function(autograph=False)
    def draw(i, j):
        parameters = model.trace(x, draws.Given(values)).features
        pixel = model.pixels.from_uniforms(parameters[:, i, j], uniforms[:, i, j])
        place = tf.one_hot(i, height)[:, None, None] * tf.one_hot(j, width)[:, None]
        x.assign_add(place * pixel[:, None, None])

    for i, j in np.ndindex(height, width):
        draw(tf.constant(i), tf.constant(j))
    return x.numpy()


@pytest.mark.parametrize("name", CASES)
def test_every_pixel_is_that_of_a_pass_of_its_own(name, tmp_path):
    shape, arguments = CASES[name]
    colour = shape[-1] == 3
    likelihood = dict(likelihood="discretized_logistic_mixture", num_components=2) if colour else {}
    sizes = dict(filters=3, residual_layers=1, num_sizes=2)
    model = with_random_weights(PixelVAEPlusPlus(shape, seed=1, **sizes, **likelihood, **arguments), 0.3)
    seeds = tf.constant(export.row_seeds(3, COUNT))
    if model.rbm is None:
        latents, seeds_of_pixels = [], random.split(seeds, salt="sample")[1]
        got, first = model.sample(COUNT, seed=seeds), model.sample(1, seed=seeds[:1])
    else:
        latents, seeds_of_pixels = model.sample_prior(COUNT, seed=0, num_sweeps=5), seeds
        first_latents = tf.nest.map_structure(lambda v: v[:1], latents)
        got, first = model.decode(latents, seed=seeds), model.decode(first_latents, seed=seeds[:1])
    want = drawn_naively(model, latents, seeds_of_pixels)
    assert len(np.unique(want)) > 1
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(first, want[:1])
    if name not in EXPORTED:
        return
    model.update_log_partition()
    export.export_generator(model, tmp_path / "toy", num_samples=2, card={"data_set": "none"}, bank_states=5)
    flat = np.concatenate([v.numpy() for field in latents for v in field], axis=1)
    requests = [("decode", {"latents": flat[:n], "seed": seeds.numpy()[:n]}) for n in (COUNT, 1)]
    path = tmp_path / "requests"
    path.write_bytes(pickle.dumps([(str(tmp_path / "toy" / "1"), requests)]))
    subprocess.run([sys.executable, cpp_loader.__file__, str(path)], check=True, cwd=tmp_path)
    (answers,), _ = pickle.loads(path.read_bytes())
    for loader in ("Python", "C++"):
        for answer, n in zip(answers[loader], (COUNT, 1), strict=True):
            np.testing.assert_array_equal(answer["images"], want[:n], err_msg=loader)
