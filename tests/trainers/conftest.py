"""One training that all tests look at."""

import pytest

from tests.trainers.experiments import tiny_config
from trainers import evaluate, train


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The workdir of a whole training with its evaluation; not to be changed."""
    workdir = tmp_path_factory.mktemp("finished")
    model = train.train(tiny_config(), workdir, verbose=0)
    evaluate.evaluate(tiny_config(), model, workdir, verbose=0)
    return workdir
