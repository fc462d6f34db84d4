"""log Z of trained machines by every method side by side, with errors and times.

    python -m benchmarks.log_partition --workdir=runs/mnist1 --workdir=runs/mnist2
    python -m benchmarks.log_partition --pixels=static_mnist --data_dir=DIR [--hidden=20] [--num_steps=20000]

The first form takes the priors of trained models. The second trains a machine on the binary pixels of a
data set, with persistent chains, and gives its log-likelihood too: in nats, over the whole validation and
test splits. With at most 25 hidden units log Z is exact.

The methods: enumeration where it is possible; annealed importance sampling (1,024 chains, 10,000
temperatures) with a linear schedule from the machine's own biases and from the base "zero", and with an
adaptive one from the base "centered"; parallel tempering (16 ladders, 4,000 sweeps after 2,000 of burn-in)
from both bases; annealing down from the samples of the first tempering (1,024 chains); and tempering of
--sweeps=100000 sweeps, as in appendix G of DVAE++.
"""

import argparse
import time

import keras
import numpy as np

from tfdvae import data, random
from tfdvae.boltzmann import RBMTrainer, log_partition
from tfdvae.boltzmann.log_partition.exact import MAX_UNITS
from trainers import evaluate

CHAINS, TEMPERATURES, LADDERS, SWEEPS = 1024, 10_000, 16, 4_000
PATH = {"base": "centered", "schedule": "adaptive"}


def report(method, function):
    """Calls `function` and prints a row of the table; returns the estimate."""
    started = time.perf_counter()
    estimate = function()
    seconds = time.perf_counter() - started
    samples = estimate.diagnostics.get("effective_sample_size", float("nan"))
    figures = f"{estimate.value:.3f} | {estimate.standard_error:.3f} | {samples:.0f} | {seconds:.1f}"
    print(f"| {method} | {figures} |", flush=True)
    for warning in estimate.diagnostics.get("warnings", ()):
        print(f"warning: {warning}", flush=True)
    return estimate


def compare(rbm, sweeps):
    """Prints the table of a machine; returns the estimates by method."""
    print("| method | log Z | standard error | effective samples | seconds |")
    print("| --- | --- | --- | --- | --- |")
    estimates = {}
    if min(rbm.left_units, rbm.right_units) <= MAX_UNITS:
        estimates["exact"] = report("exact", lambda: log_partition.exact(rbm))
    annealing = {"num_chains": CHAINS, "num_temperatures": TEMPERATURES, "seed": 0}
    estimates["up, own biases"] = report(
        "annealing up, own biases, linear",
        lambda: log_partition.annealed_importance_sampling(rbm, **annealing, base=None),
    )
    estimates["up, zero"] = report(
        "annealing up, zero, linear",
        lambda: log_partition.annealed_importance_sampling(rbm, **annealing, base="zero"),
    )
    estimates["up, centered"] = report(
        "annealing up, centered, adaptive",
        lambda: log_partition.annealed_importance_sampling(rbm, **annealing, **PATH),
    )
    estimates["tempering"] = report(
        f"tempering, centered, {SWEEPS:,} sweeps",
        lambda: log_partition.parallel_tempering(
            rbm, num_ladders=LADDERS, num_sweeps=SWEEPS, base="centered", seed=1
        ),
    )
    estimates["tempering, own biases"] = report(
        f"tempering, own biases, {SWEEPS:,} sweeps",
        lambda: log_partition.parallel_tempering(
            rbm, num_ladders=LADDERS, num_sweeps=SWEEPS, base=None, seed=4
        ),
    )
    samples = estimates["tempering"].diagnostics["samples"]
    estimates["down"] = report(
        "annealing down from its samples",
        lambda: log_partition.reverse_annealing(
            rbm, samples=samples, num_temperatures=TEMPERATURES, seed=2, **PATH
        ),
    )
    if sweeps:
        estimates["long tempering"] = report(
            f"tempering, {sweeps:,} sweeps",
            lambda: log_partition.parallel_tempering(
                rbm, num_ladders=LADDERS, num_sweeps=sweeps, num_burn_in=10_000, base="centered", seed=3
            ),
        )
    values = [e.value for e in estimates.values()]
    print(f"largest difference between two methods: {max(values) - min(values):.3f} nats\n", flush=True)
    return estimates


def vectors(name, split, data_dir):
    """All images of a split as float32 vectors."""
    images = np.concatenate([x.numpy() for x in data.load(name, split, 1000, data_dir=data_dir)])
    return images.reshape(len(images), -1)


def train_on_pixels(name, data_dir, hidden, num_steps):
    """A machine with the pixels on its left side; momentum and a rate that falls to zero."""
    x = vectors(name, "train", data_dir)
    trainer = RBMTrainer.from_data_mean(x.mean(axis=0), hidden, num_chains=200, seed=0)
    rate = keras.optimizers.schedules.PolynomialDecay(0.01, num_steps, end_learning_rate=0.0)
    trainer.compile(keras.optimizers.SGD(rate, momentum=0.9), steps_per_execution=50)
    steps_per_epoch = len(x) // 100
    random.enable_reproducibility()
    keras.utils.set_random_seed(0)  # the order of the vectors
    started = time.perf_counter()
    trainer.fit(
        x[: 100 * steps_per_epoch], batch_size=100, epochs=-(-num_steps // steps_per_epoch), verbose=2
    )
    print(f"{int(trainer.step.numpy()):,} steps in {time.perf_counter() - started:.0f} s\n", flush=True)
    return trainer


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", action="append", default=[], help="of `trainers.train`")
    parser.add_argument("--pixels", choices=data.names(), help="train a machine on this data set")
    parser.add_argument("--data_dir")
    parser.add_argument("--hidden", type=int, default=20)
    parser.add_argument("--num_steps", type=int, default=20_000)
    parser.add_argument("--sweeps", type=int, default=100_000, help="of the long tempering; 0 for none")
    arguments = parser.parse_args()
    for workdir in arguments.workdir:
        rbm = evaluate.load_model(workdir)[1].rbm
        if rbm is None:
            parser.error(f"the prior of {workdir} is no Boltzmann machine")
        print(f"{workdir}: {rbm.left_units} + {rbm.right_units} units")
        compare(rbm, arguments.sweeps)
    if arguments.pixels:
        trainer = train_on_pixels(arguments.pixels, arguments.data_dir, arguments.hidden, arguments.num_steps)
        estimates = compare(trainer.rbm, arguments.sweeps)
        for split in ("valid", "test"):
            x = vectors(arguments.pixels, split, arguments.data_dir)
            for method, estimate in estimates.items():
                values = trainer.log_likelihood(x, log_partition=estimate).numpy()
                error = values.std(ddof=1) / np.sqrt(len(values))
                print(f"{split}, log Z {method}: {values.mean():.3f} +- {error:.3f} nats, {len(x):,} images")


if __name__ == "__main__":
    main()
