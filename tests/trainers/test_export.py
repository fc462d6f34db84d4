"""trainers.export and trainers.sample on a generator, after a training of ten steps."""

import json

import numpy as np
import pytest
from matplotlib import image

from tfdvae import data, export
from trainers import evaluate
from trainers import export as export_program
from trainers import sample as sample_program

pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def version(finished, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "digits"
    return export_program.export_workdir(finished, out, num_samples=4, bank_states=10, bank_sweeps=5)


def test_the_card_has_the_figures_of_the_report(finished, version):
    generator = export.load_generator(version.parent)
    report = json.loads((finished / "report.json").read_text())
    figures = generator.card["figures"]
    assert figures["split"] == "test"
    for name in ("log_likelihood", "standard_error", "elbo", "num_examples", "limit"):
        assert figures[name] == report["evaluation"][name]
    assert generator.card["data"]["license"] == data.info("digits").license
    assert generator.card["experiment"] == json.loads((finished / "config.json").read_text())
    assert image.imread(version / "samples.png").std() > 0.1
    config = (version.parents[1] / "models.config").read_text()
    assert 'name: "digits" base_path: "/models/digits"' in config


def test_figures_of_another_checkpoint_are_not_taken(finished, version, tmp_path):
    config, model = evaluate.load_model(finished)
    report = json.loads((finished / "report.json").read_text())
    path = tmp_path / "report.json"
    assert export_program._figures(path, config, model) is None
    path.write_text(json.dumps(report))
    assert export_program._figures(path, config, model)["elbo"] == report["evaluation"]["elbo"]
    path.write_text(json.dumps({**report, "step": report["step"] + 1}))
    assert export_program._figures(path, config, model) is None


def test_the_generator_is_the_best_model(finished, version):
    _, model = evaluate.load_model(finished)
    generator = export.load_generator(version)
    x = next(iter(data.load("digits", "test", 20))).numpy()
    latents = generator.encode(x, seed=4)
    means = generator.predict("decode", latents=latents, seed=export.row_seeds(4, 20))["means"]
    groups = np.split(latents, np.cumsum(model.latent_units)[:-1], axis=1)
    want = model.decode(type(model.latent_shapes)(groups), seed=0, mean=True)
    np.testing.assert_allclose(means, want, atol=1e-5)


def test_pictures_are_drawn_from_a_generator(version, run, tmp_path):
    out = tmp_path / "picture.png"
    status, printed, errors = run(
        sample_program, f"--generator={version.parent}", "--num_samples=9", f"--out={out}"
    )
    assert (status, errors) == (0, "")
    assert "9 images from" in printed
    assert image.imread(out).shape[:2] == (2 * (3 * 29 + 1), 2 * (3 * 29 + 1))


def test_the_home_directory_is_known(version, run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "digits").symlink_to(version.parent)
    status, _, errors = run(
        sample_program, "--generator=~/digits", "--num_samples=1", "--out=~/new/picture.png"
    )
    assert (status, errors) == (0, "")
    assert (tmp_path / "new" / "picture.png").is_file()
    status, _, errors = run(export_program, "--workdir=~/run", "--out=~/out")
    assert errors.startswith(f"error: {tmp_path / 'run' / 'config.json'} does not exist")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either --workdir or --generator"),
        (["--workdir=a", "--generator=b"], "Give either --workdir or --generator"),
        (["--generator=nowhere"], "nowhere holds no version of a generator"),
        (["--generator=b", "--per_global=2"], "`--per_global` needs a --workdir"),
    ],
)
def test_wrong_arguments_are_one_line(run, arguments, message):
    status, _, errors = run(sample_program, *arguments)
    assert status == 2
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_a_workdir_that_is_none_is_one_line(run, tmp_path):
    status, _, errors = run(export_program, f"--workdir={tmp_path}", f"--out={tmp_path / 'out'}")
    assert (status, errors.count("\n")) == (2, 1)
    assert "Give the --workdir of a training run" in errors
    assert not (tmp_path / "out").exists()
