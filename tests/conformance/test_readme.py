"""The README's script runs, and the commands that it shows exist."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SCRIPTS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(script, shortened):
    """Runs a script with other arguments, each of which it must contain; returns its names."""
    for old, new in shortened.items():
        assert old in script
        script = script.replace(old, new)
    namespace = {}
    exec(compile(script, "README.md", "exec"), namespace)
    return namespace


@pytest.mark.slow
def test_the_script_of_a_model_runs(capsys):
    namespace = run(SCRIPTS[1], {"steps_per_epoch=200, epochs=10": "steps_per_epoch=50, epochs=1, verbose=0"})
    assert namespace["log_likelihood"].shape == (250,)
    assert namespace["images"].shape == (64, 28, 28, 1)
    # Better than fair coins for all pixels, after fifty steps; 28 * 28 * log 2 = 543 nats.
    assert namespace["log_likelihood"].numpy().mean() > -400
    assert re.search(r"log p\(x\) >= -\d+\.\d\d; log Z = \d+\.\d\d \+- \d", capsys.readouterr().out)


@pytest.mark.slow
def test_the_script_of_dvaepp_runs(capsys):
    shortened = {"steps_per_epoch=100, epochs=12": "steps_per_epoch=20, epochs=1, verbose=0"}
    namespace = run(SCRIPTS[2], {**shortened, "num_samples=100": "num_samples=5"})
    assert namespace["rows"].shape == (40, 28, 28, 1)
    assert namespace["model"].step.numpy() == 20
    # 28 * 28 * log 2 = 543 nats.
    assert -543 < float(re.search(r"log p\(x\) >= (-\d+\.\d\d)", capsys.readouterr().out)[1]) < -100


@pytest.mark.slow
def test_the_script_of_a_machine_runs(capsys):
    namespace = run(
        SCRIPTS[3],
        {
            "right_units=100": "right_units=30",
            "decay_steps=4000": "decay_steps=100",
            "steps_per_epoch=500, epochs=8": "steps_per_epoch=50, epochs=2, verbose=0",
            "num_temperatures=2000": "num_temperatures=200, num_chains=100, num_sweeps=200",
            "num_temperatures=1000": "num_temperatures=100",
        },
    )
    assert namespace["raised"].value.shape == (250,)
    number = r"-?\d+\.\d\d"
    printed = rf"log Z = {number}, between {number} and {number}\nlog p\(x\) = -\d+\.\d\d nats\nRAISE"
    assert re.search(printed, capsys.readouterr().out)
    # An untrained machine has the likelihood of independent pixels, which is -302 nats.
    log_likelihood = namespace["trainer"].log_likelihood(namespace["x"]).numpy().mean()
    assert log_likelihood > -295
    assert abs(namespace["raised"].value.mean() - log_likelihood) < 20


def test_the_script_of_a_generator_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    namespace = run(SCRIPTS[0], {})
    assert len(SCRIPTS) == 4
    images = namespace["images"]
    assert images.shape == (64, 28, 28, 1)
    # As many pixels are on as in the images of the data set: 13 %.
    assert 0.10 < images.mean() < 0.16
    assert len({image.tobytes() for image in images}) == 64


def test_the_commands_exist():
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert {"train", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for folder, module in re.findall(r"python -m (trainers|benchmarks)\.(\w+)", README):
        assert (ROOT / folder / f"{module}.py").exists(), module
    for path in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (ROOT / path).exists(), path
