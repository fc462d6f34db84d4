"""Small generators, exported once: fully connected, with local latents and scales, pixel by pixel."""

import functools
from typing import NamedTuple

import numpy as np
import pytest

from tests.models import oracles, test_dvaepp, test_pixelvaepp
from tfdvae import export
from tfdvae.models import DVAE, DVAEPlusPlus

NUM_SAMPLES = 10
MAX_SWEEPS = 20


def make_dvae():
    return oracles.randomize(DVAE(image_shape=(2, 3, 1), latent_units=(4, 3), network=(5,), num_chains=30))


def make_dvaepp():
    arguments = {
        **test_dvaepp.CONDITIONAL,
        "global_units": (3, 2),
        "local_prior": "normal",
        "local_groups": 2,
        "local_channels": 1,
        "q_h": "",
        "p_h": "",
    }
    return test_dvaepp.randomize(DVAEPlusPlus(**arguments), scale=0.4)


def make_colour():
    arguments = {
        **test_dvaepp.CONDITIONAL,
        "image_shape": (4, 4, 3),
        "likelihood": "discretized_logistic_mixture",
        "num_components": 2,
    }
    return test_dvaepp.randomize(DVAEPlusPlus(**arguments), scale=0.4)


class Exported(NamedTuple):
    model: object
    bank: export.ChainBank  # that of the export
    directory: object
    generator: export.LoadedGenerator

    def images(self, count, seed=0):
        rng = np.random.default_rng(seed)
        return rng.integers(0, 2, (count, *self.model.image_shape)).astype(np.float32)


def make_pixelvaepp():
    return test_pixelvaepp.model("all")


MODELS = {"DVAE": make_dvae, "DVAEPlusPlus": make_dvaepp, "PixelVAEPlusPlus": make_pixelvaepp}


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """A function of the name of one of `MODELS`: its export, which all tests share."""

    @functools.cache
    def export_once(name):
        model = MODELS[name]()
        model.update_log_partition()
        directory = tmp_path_factory.mktemp("exported") / "toy"
        options = {"bank_states": 50, "bank_sweeps": 30}
        export.export_generator(
            model,
            directory,
            num_samples=NUM_SAMPLES,
            max_sweeps=MAX_SWEEPS,
            card={"data_set": "none"},
            seed=3,
            **options,
        )
        bank = export.make_chain_bank(model, *options.values(), seed=3)
        return Exported(model, bank, directory, export.load_generator(directory))

    return export_once


@pytest.fixture(scope="session", params=MODELS)
def exported(request, exports):
    return exports(request.param)
