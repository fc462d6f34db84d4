"""The README's script runs, and the commands that it shows exist."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_script_runs(capsys):
    (script,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    short = script.replace("steps_per_epoch=500, epochs=4", "steps_per_epoch=50, epochs=1, verbose=0")
    assert short != script
    namespace = {}
    exec(compile(short, "README.md", "exec"), namespace)
    assert namespace["log_likelihood"].shape == (250,)
    assert namespace["images"].shape == (64, 28, 28, 1)
    # Better than fair coins for all pixels, after fifty steps; 28 * 28 * log 2 = 543 nats.
    assert namespace["log_likelihood"].numpy().mean() > -400
    assert re.search(r"log p\(x\) >= -\d+\.\d\d; log Z = \d+\.\d\d \+- \d", capsys.readouterr().out)


def test_the_commands_exist():
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert {"train", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for module in re.findall(r"python -m trainers\.(\w+)", README):
        assert (ROOT / "trainers" / f"{module}.py").exists(), module
    for path in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (ROOT / path).exists(), path
