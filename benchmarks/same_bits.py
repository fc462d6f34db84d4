"""Whether two checkouts compute the same bits: a training, likelihoods, images and an exported generator.

    git worktree add ../before HEAD~1
    python -m benchmarks.same_bits --other=../before [--only=NAME] [--steps=20]

For each model of `tests/conformance/models.py`, in a process of its own and from the code of each checkout:
the logs and the weights of some steps of a training in a graph, the terms of the bound, importance-weighted
likelihoods, latents and images in both limits, and what the signatures of an exported generator return. For
`RBMTrainer` the same with each negative phase. Each line names what differs, and by how much.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

_ROWS = 3
_MACHINES = ("pcd", "cd", "tempered")
_HERE = pathlib.Path(__file__).resolve()


# --- what one checkout computes ---


def flat(name, value):
    """Yields arrays with names, of nested lists, tuples, dictionaries and tensors."""
    if isinstance(value, dict):
        # Older builds export the means of the pixels under another name.
        value = sorted(("means" if k == "probabilities" else k, v) for k, v in value.items())
    elif isinstance(value, list | tuple):
        value = [(str(i), v) for i, v in enumerate(value)]
    else:
        yield name, np.asarray(value)
        return
    for key, v in value:
        yield from flat(f"{name}/{key}", v)


def figures_of_model(case, steps, folder):
    """Yields what a model computes, by name."""
    from tfdvae import export, random

    model, x = case.build(run_eagerly=False), case.images()
    yield "logs", [model.train_on_batch(x, return_dict=True) for _ in range(steps)]
    yield "weights", [v.numpy() for v in model.weights]
    model.update_log_partition(seed=1) if model.rbm is not None else None
    for limit in ("binary", "smoothed"):
        yield f"{limit} bound", tuple(model.elbo_terms(x, seed=2, limit=limit))
        yield f"{limit} log-weights", model.log_weights(x, 3, seed=3, limit=limit)
        yield f"{limit} likelihood", model.log_likelihood(x, 20, seed=4, limit=limit)
    rows = random.split(5, len(x))
    yield "encode", [list(field) for field in model.encode(x, seed=np.stack(rows))]
    yield "posterior means", model.posterior_means(x, seed=6)
    yield "reconstruct", model.reconstruct(x, seed=7)
    yield "samples", [model.sample(_ROWS, seed=8, mean=mean, num_sweeps=5) for mean in (False, True)]
    yield "predict", model.predict(x, verbose=0)
    yield "evaluate", model.evaluate(x, verbose=0, return_dict=True)
    bank = {} if model.rbm is None else {"bank_states": 4, "bank_sweeps": 5}
    export.export_generator(model, folder, num_samples=8, **bank)
    generator = export.load_generator(folder)
    seeds = export.row_seeds(9, _ROWS)
    sampled = generator.predict("sample", seed=seeds, num_sweeps=np.full(_ROWS, 4))
    yield "exported sample", sampled
    yield "exported decode", generator.predict("decode", latents=sampled["latents"], seed=seeds)
    for name in ("encode", "reconstruct", "log_prob"):
        yield f"exported {name}", generator.predict(name, images=x[:_ROWS], seed=seeds)


def figures_of_machine(negative_phase, steps):
    """Yields what a training of a machine computes, by name."""
    import keras

    from tfdvae.boltzmann import RBMTrainer

    x = (np.random.default_rng(0).random((8, 5)) < 0.3).astype(np.float32)
    trainer = RBMTrainer.from_data_mean(x.mean(axis=0), 4, negative_phase=negative_phase, weight_decay=1e-3)
    trainer.compile(keras.optimizers.SGD(0.05, momentum=0.5))
    yield "logs", [trainer.train_on_batch(x, return_dict=True) for _ in range(steps)]
    yield "weights", [v.numpy() for v in trainer.weights]
    yield "evaluate", trainer.evaluate(x, verbose=0, return_dict=True)


def dump(name, steps, path):
    """Writes what `name` computes with the code that is imported."""
    from tests.conformance.models import MODELS, VARIANTS
    from tfdvae import random

    random.enable_reproducibility()
    with tempfile.TemporaryDirectory() as folder:
        if name in _MACHINES:
            figures = figures_of_machine(name, steps)
        else:
            figures = figures_of_model((MODELS | VARIANTS)[name], steps, folder)
        np.savez(path, **dict(pair for what, value in figures for pair in flat(what, value)))


# --- both ---


def names(checkout):
    """The models of a checkout."""
    program = "from tests.conformance.models import MODELS, VARIANTS; print(*MODELS, *VARIANTS, sep='\\n')"
    return run(checkout, ["-c", program], stdout=subprocess.PIPE).stdout.splitlines()


def run(checkout, arguments, **kwargs):
    """Runs Python with the code of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, check=True, text=True, **kwargs)


def compare(first, second):
    """Yields what differs between two files, by the first part of its name, and by how much."""
    with np.load(first) as ours, np.load(second) as theirs:
        differences = {}
        for name in sorted({*ours.files, *theirs.files}):
            group = name.split("/")[0]
            if name not in ours.files or name not in theirs.files or ours[name].shape != theirs[name].shape:
                differences[group] = np.inf
            elif ours[name].tobytes() != theirs[name].tobytes():
                difference = np.max(np.abs(np.float64(ours[name]) - np.float64(theirs[name])))
                differences[group] = max(differences.get(group, 0.0), difference)
        yield from differences.items()


def main():
    """Prints what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", type=pathlib.Path, help="the other checkout")
    parser.add_argument("--only", action="append", help="a model, or one of " + ", ".join(_MACHINES))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--dump", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.dump:
        dump(arguments.only[0], arguments.steps, arguments.dump)
        return
    checkouts = [_HERE.parents[1], arguments.other.resolve()]
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only or [*names(checkouts[0]), *_MACHINES]:
            paths = [f"{folder}/{i}.npz" for i in range(2)]
            for path, checkout in zip(paths, checkouts, strict=True):
                run(checkout, [_HERE, f"--only={name}", f"--steps={arguments.steps}", f"--dump={path}"])
            differences = list(compare(*paths))
            count += len(differences)
            words = [f"{what} by up to {difference:.2g}" for what, difference in differences]
            print(f"{name}: {', '.join(words) or 'same bits'}", flush=True)
    print(f"ratio same_bits_differences {count} goal <= 0")


if __name__ == "__main__":
    main()
