"""True error against printed error and verdict, of every log Z that the library prints.

    python -m benchmarks.log_partition_honesty --workdir=DIR [--data_dir=DATA] [--seeds=5] [--only=PART]

Machines, in parts: `tests`, the 25 of the tests; `hard`, those of `tests/boltzmann/hard_machines.py`;
`priors`, of DVAE after few and many steps on the digits (32 + 32 units) and, with `--data_dir`, on statically
binarized MNIST (100 + 100, 200 + 200); `pixels`, 784 + 20 units trained on the pixels of the same. Weights
are kept in `--workdir`, rows in its `rows.csv`: a run that was stopped goes on.

Methods: `update_log_partition` and `measure_log_partition` as they are called, and both with enumeration
switched off, so that annealing and the bracket are judged where the truth is known: 256 chains and 500
temperatures (the defaults) in the first, 512 chains, 2,000 temperatures and 1,000 sweeps, a tenth of the
default work, in the second. The truth is the enumeration; for machines too large for it, the bracket of the
default numbers with a seed of its own, and its error is added. Beside them, annealing from each base alone.

A figure is **silently wrong** if it is off by more than 5 of its standard errors and the estimate is
neither a failure nor carries a warning. It is a **false alarm** if it fails, or is called untrustworthy, on
the prior of a trained model. The tables by part and by machine go to `benchmarks/log_partition_honesty.csv`
and `..._machines.csv`, which `docs/log_partition.md` shows.
"""

import argparse
import csv
import itertools
import math
import time
from pathlib import Path
from unittest import mock

import keras
import numpy as np

from benchmarks.log_partition import vectors
from tests.boltzmann.hard_machines import HARD_MACHINES
from tests.boltzmann.log_partition_cases import CASES
from tfdvae import data, random
from tfdvae.boltzmann import RBMTrainer, RestrictedBoltzmannMachine, log_partition
from tfdvae.boltzmann.log_partition.adaptive import adaptive_annealing
from tfdvae.boltzmann.log_partition.exact import MAX_UNITS
from tfdvae.evaluation import log_partition as report
from tfdvae.files import user_path
from tfdvae.models import DVAE

_ERRORS = 5  # standard errors by which a figure may be off
_ROUNDING = 1e-5  # nats, of enumerations in other orders
_BRACKET = {"num_chains": 512, "num_temperatures": 2_000, "num_sweeps": 1_000}
_FIELDS = (
    *("part", "machine", "units", "method", "seed", "true", "true_error", "value", "standard_error"),
    *("lower", "upper", "effective_samples", "verdict", "seconds", "failure", "warnings"),
)
_WEIGHTS = ("left_bias", "right_bias", "coupling")
_SUMMARY = Path(__file__).with_suffix(".csv")
_MACHINES = _SUMMARY.with_stem(f"{_SUMMARY.stem}_machines")
_VERDICTS = ("trusted", "warned", "failed")


# --- machines ---


def trained_priors(name, data_dir, units, steps):
    """The machine of a DVAE after each number of steps, and its persistent chains."""
    model = DVAE(
        latent_units=(units,) * 2,
        num_chains=100,
        seed=0,
        data_mean=data.training_mean(name, data_dir),
    )
    model.compile(keras.optimizers.Adam(3e-3), steps_per_execution=10)
    images = data.load(name, "train", 100, data_dir=data_dir, num_epochs=None)
    for stop in steps:
        model.fit(images, steps_per_epoch=stop - int(model.step.numpy()), verbose=0)
        yield f"DVAE on {name}, {units} + {units} units, {stop:,} steps", model.rbm, model.negative_phase.left


def pixel_machines(name, data_dir, hidden, epochs):
    """A machine on pixels after each number of epochs, and its persistent chains."""
    x = vectors(name, "train", data_dir)
    trainer = RBMTrainer.from_data_mean(x.mean(axis=0), hidden, num_chains=200, seed=0)
    trainer.compile(keras.optimizers.SGD(0.01, momentum=0.9), steps_per_execution=10)
    done = 0
    for stop in epochs:
        trainer.fit(x[: len(x) // 100 * 100], batch_size=100, epochs=stop - done, verbose=0)
        done = stop
        yield (
            f"pixels of {name}, {int(trainer.step.numpy()):,} steps",
            trainer.rbm,
            trainer.negative_phase.left,
        )


def machines(part, workdir, data_dir):
    """Yields name, machine and chains (or `None`) of a part."""
    if part == "tests":
        yield from ((case.name, case.machine(), None) for case in CASES)
    elif part == "hard":
        yield from ((name, make(), None) for name, make in HARD_MACHINES.items())
    else:
        yield from _kept(part, workdir, data_dir)


def _kept(part, workdir, data_dir):
    """The trained machines of a part, from files that are written where they are missing."""
    folder = workdir / part
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, rbm, chains in _trained(part, data_dir):
            arrays = dict(zip(_WEIGHTS, rbm.get_weights(), strict=True))
            np.savez(folder / f"{name}.npz", chains=np.asarray(chains), **arrays)
        (folder / "done").touch()
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            rbm = RestrictedBoltzmannMachine.from_arrays(*(file[name] for name in _WEIGHTS))
            yield path.stem, rbm, file["chains"]


def _trained(part, data_dir):
    random.enable_reproducibility()
    keras.utils.set_random_seed(0)
    if part == "priors":
        yield from trained_priors("digits", None, 32, (100, 500, 2_000))
        if data_dir:
            yield from trained_priors("static_mnist", data_dir, 100, (500, 10_000))
            yield from trained_priors("static_mnist", data_dir, 200, (3_000,))
    else:
        yield from pixel_machines("digits", None, 20, (5, 35))
        if data_dir:
            yield from pixel_machines("static_mnist", data_dir, 20, (5, 40))


PARTS = ("tests", "hard", "priors", "pixels")


# --- methods ---


def updated(rbm, chains, seed):
    """`update_log_partition` as it is called."""
    return RBMTrainer(rbm).update_log_partition(seed=seed)


def annealed(rbm, chains, seed):
    """The same without enumeration."""
    return adaptive_annealing(rbm, num_chains=256, num_temperatures=500, seed=seed)


def measured(rbm, chains, seed):
    """`measure_log_partition` as it is called."""
    return report.measure_log_partition(rbm, seed=seed, chains=chains, **_BRACKET)


def bracketed(rbm, chains, seed):
    """The same without enumeration."""
    with mock.patch.object(report, "is_quick", return_value=False):
        return measured(rbm, chains, seed)


def from_base(base):
    """Annealing from one base alone, with the numbers of `update_log_partition`."""
    return lambda rbm, chains, seed: log_partition.annealed_importance_sampling(
        rbm, num_chains=256, num_temperatures=500, base=base, seed=seed
    )


# What the default base was chosen by; no caller prints these.
BASES = {f"annealing from {base or 'biases'}": from_base(base) for base in ("zero", "centered", None)}
METHODS = {
    "update_log_partition": updated,
    "update_log_partition, annealing": annealed,
    "measure_log_partition": measured,
    "measure_log_partition, bracket": bracketed,
    **BASES,
}


def is_another(method, rbm):
    """Whether a method without enumeration is another one than as it is called."""
    return method != "measure_log_partition, bracket" or report.is_quick(rbm, report._PATIENT)


def truth(rbm, chains):
    """log Z and its error: by enumeration, or by the bracket of the default numbers."""
    if min(rbm.left_units, rbm.right_units) <= MAX_UNITS:
        estimate = log_partition.exact(rbm)
    else:
        estimate = report.measure_log_partition(rbm, seed=1_000, chains=chains)
        if not estimate.trustworthy:
            raise ValueError(f"The reference itself is not trustworthy: {estimate.summary()}")
    return estimate.value, estimate.standard_error


# --- the table ---


def measure(part, name, rbm, chains, method, seed, reference):
    """The row of one run."""
    started = time.perf_counter()
    estimate = METHODS[method](rbm, chains, seed)
    seconds = time.perf_counter() - started
    numbers = (estimate.value, estimate.standard_error, estimate.lower, estimate.upper)
    numbers = ["" if v is None else f"{v:.5f}" for v in (*reference, *numbers)]
    samples = estimate.effective_sample_size
    verdict = "failed" if estimate.failure else "trusted" if estimate.trustworthy else "warned"
    what = (part, name, f"{rbm.left_units} + {rbm.right_units}", method, str(seed))
    worth = "" if samples is None else f"{samples:.1f}"
    words = (estimate.failure or "", " | ".join(estimate.warnings))
    return dict(zip(_FIELDS, (*what, *numbers, worth, verdict, f"{seconds:.2f}", *words), strict=True))


def in_errors(row):
    """How many of its standard errors a figure is off; NaN of a failure."""
    if row["verdict"] == "failed":
        return math.nan
    true, true_error, value, error = (
        float(row[k]) for k in ("true", "true_error", "value", "standard_error")
    )
    return max(0.0, abs(value - true) - _ROUNDING) / max(math.hypot(error, true_error), _ROUNDING)


def is_silent(row):
    """Whether a figure is wrong without a word."""
    return row["verdict"] == "trusted" and in_errors(row) > _ERRORS


def judged(rows):
    """What rows of one method have in common: verdicts, and how far off the figures are."""
    off = {v: [in_errors(row) for row in rows if row["verdict"] == v] for v in _VERDICTS}
    return {
        **{verdict: len(values) for verdict, values in off.items()},
        "silently wrong": sum(map(is_silent, rows)),
        **{f"worst {v}, in its errors": f"{max(off[v]):.2f}" if off[v] else "-" for v in _VERDICTS[:2]},
    }


def by_part(rows):
    """Yields a row for each part and method."""
    for part, method in itertools.product(PARTS, METHODS):
        some = [row for row in rows if (row["part"], row["method"]) == (part, method)]
        if some:
            seconds = sum(float(row["seconds"]) for row in some) / len(some)
            machines = len({row["machine"] for row in some})
            yield {
                "part": part,
                "machines": machines,
                "method": method,
                **judged(some),
                "seconds": f"{seconds:.2f}",
            }


def by_machine(rows):
    """Yields a row for each machine and method that a user calls, or would without enumeration."""
    groups = {}
    for row in rows:
        if row["method"] not in BASES:
            groups.setdefault((row["machine"], row["method"]), []).append(row)
    for (machine, method), some in groups.items():
        errors = [abs(float(row["value"]) - float(row["true"])) for row in some if row["verdict"] != "failed"]
        printed = [float(row["standard_error"]) for row in some if row["verdict"] != "failed"]
        yield {
            "machine": machine,
            "units": some[0]["units"],
            "log Z": f"{float(some[0]['true']):.3f}",
            "method": method,
            "largest true error": f"{max(errors):.4f}" if errors else "-",
            "printed errors": f"{min(printed):.4f} to {max(printed):.4f}" if printed else "-",
            **judged(some),
        }


def write(path, rows):
    """Writes a table."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def cost_of_others(rbm, chains):
    """Seconds of the bracket, of the checks by other bases, and of those by chains of a training."""
    seconds = {}

    def timed(name, function):
        def call(*args, **kwargs):
            started = time.perf_counter()
            result = function(*args, **kwargs)
            seconds[name] = time.perf_counter() - started
            return result

        return call

    with (
        mock.patch.object(log_partition, "bracket", timed("bracket", log_partition.bracket)),
        mock.patch.object(report, "_checked_by_others", timed("others", report._checked_by_others)),
        mock.patch.object(report, "_checked_by_chains", timed("chains", report._checked_by_chains)),
    ):
        for seed in range(2):  # the first one makes the graphs
            bracketed(rbm, chains, seed)
    return seconds


def main():
    """Measures what is missing, and prints the table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--data_dir", help="of statically binarized MNIST")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=PARTS, action="append", help="leave the other parts out")
    arguments = parser.parse_args()
    workdir, data_dir = user_path(arguments.workdir), arguments.data_dir
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / "rows.csv"
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    known = {(row["machine"], row["method"], row["seed"]) for row in rows}
    with path.open("a", buffering=1) as file:
        writer = csv.DictWriter(file, _FIELDS)
        if not rows:
            writer.writeheader()
        for part in arguments.only or PARTS:
            for name, rbm, chains in machines(part, workdir, data_dir):
                reference = None
                for method in METHODS:
                    for seed in range(arguments.seeds):
                        if (name, method, str(seed)) in known or not is_another(method, rbm):
                            continue
                        reference = reference or truth(rbm, chains)
                        rows.append(measure(part, name, rbm, chains, method, seed, reference))
                        writer.writerow(rows[-1])
                        if rows[-1]["verdict"] != "trusted" or is_silent(rows[-1]):
                            print({k: v for k, v in rows[-1].items() if v}, flush=True)

    write(_SUMMARY, list(by_part(rows)))
    write(_MACHINES, list(by_machine(rows)))
    print(_SUMMARY.read_text())
    printed = [row for row in rows if row["method"] not in BASES]
    alarms = sum(row["verdict"] != "trusted" for row in printed if row["part"] == "priors")
    print(f"ratio log_partition_silently_wrong {sum(map(is_silent, printed))} goal <= 0")
    print(f"ratio log_partition_false_alarms {alarms} goal <= 0")
    *_, (_, rbm, chains) = machines("priors", workdir, data_dir)
    seconds = cost_of_others(rbm, chains)
    for name in ("others", "chains"):
        share = seconds[name] / seconds["bracket"]
        print(f"ratio log_partition_check_by_{name}_of_bracket {share:.2f} goal <= 0.5")


if __name__ == "__main__":
    main()
