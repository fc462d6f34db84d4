"""One training that all tests look at, and how to run a program on it."""

import pathlib
import sys

import pytest
from absl import flags
from absl import logging as absl_logging

from tests.trainers.experiments import tiny_config
from trainers import evaluate, program, train

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The workdir of a whole training with its evaluation; not to be changed."""
    workdir = tmp_path_factory.mktemp("finished")
    model = train.train(tiny_config(), workdir, verbose=0)
    evaluate.evaluate(tiny_config(), model, workdir, verbose=0)
    return workdir


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a program as from the checkout; returns its exit status, output and errors."""
    monkeypatch.chdir(ROOT)

    def run_program(module, *arguments):
        argv = ["program", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", argv)
        values = flags.FlagValues()
        try:
            program.parse(module.define_flags, values, argv)
            status = program.guarded(lambda: module.main(values))
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    yield run_program
    absl_logging.get_absl_handler().removeFilter(program._is_of_interest)
