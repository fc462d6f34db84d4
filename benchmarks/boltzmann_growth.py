"""How a Gibbs sweep's time and memory grow with the chains and with the units.

    python -m benchmarks.boltzmann_growth [--out=benchmarks/boltzmann_growth]

Chains from 10 to 100,000 (200 + 200 units) and units a side from 50 to 4,000 (1,000 chains), each point in
a process of its own: milliseconds a sweep, the peak of the process's memory above that of one without
chains, and both over the work of a sweep: the numbers of multiplications, 2 chains left right, and of
random bits. Writes OUT.csv and OUT.png.
"""

import argparse
import csv
import pathlib
import resource
import subprocess
import sys
import time

UNITS, CHAINS = 200, 1_000
POINTS = [(chains, UNITS) for chains in (10, 100, 1_000, 10_000, 100_000)]
POINTS += [(CHAINS, units) for units in (50, 100, 400, 1_000, 2_000, 4_000)]


def measure(chains, units, seconds=2.0):
    """Prints milliseconds a sweep and the peak memory in MB; called in a process of its own."""
    import numpy as np
    import tensorflow as tf

    from tfdvae.boltzmann import GibbsState, RestrictedBoltzmannMachine, gibbs_sweeps

    rng = np.random.default_rng(0)
    coupling = rng.normal(size=(units, units)) / np.sqrt(units)
    machine = RestrictedBoltzmannMachine.from_arrays(np.zeros(units), np.zeros(units), coupling)
    run = tf.function(gibbs_sweeps, autograph=False)
    state = GibbsState(tf.zeros([chains, units]), tf.zeros([chains, units]))
    num_sweeps = int(min(100, max(2, 1e9 / (2 * chains * units**2))))
    run(machine.parameters, state, num_sweeps, seed=tf.constant([0, 0])).left.numpy()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        state = run(machine.parameters, state, num_sweeps, seed=tf.constant([0, calls]))
        state.left.numpy()
        calls += 1
    elapsed = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{1000 * elapsed / (calls * num_sweeps)} {peak}")


def measure_apart(chains, units):
    command = [sys.executable, "-m", "benchmarks.boltzmann_growth", "--point", str(chains), str(units)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return map(float, output.split())


def plot(rows, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(8, 6), layout="constrained")
    for column, (name, fixed) in enumerate((("chains", "units"), ("units", "chains"))):
        constant = UNITS if fixed == "units" else CHAINS
        points = sorted((r[name], r) for r in rows if r[fixed] == constant)
        x = [value for value, _ in points]
        # The work of a sweep: products in time, states in memory.
        for row, (field, power) in enumerate((("milliseconds", 1 + column), ("megabytes", 1))):
            ax = axes[row, column]
            y = [r[field] for _, r in points]
            ax.loglog(x, y, "o-", label="measured")
            ax.loglog(x, [y[-1] * (v / x[-1]) ** power for v in x], "k:", label=f"slope {power}")
            ax.set(xlabel=name + (" a side" if name == "units" else ""), ylabel=field)
            ax.legend()
    figure.suptitle("A Gibbs sweep (both sides once), 2 CPU cores")
    figure.savefig(path, dpi=100)


def main():
    """Measures all points, prints the table and writes it with the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--point", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", default="benchmarks/boltzmann_growth")
    arguments = parser.parse_args()
    if arguments.point:
        measure(*arguments.point)
        return
    _, empty = measure_apart(1, 1)
    rows = []
    print(" chains  units        ms       MB  ns/1000 products  ns/random number")
    for chains, units in POINTS:
        milliseconds, peak = measure_apart(chains, units)
        products, numbers = 2 * chains * units**2, 2 * chains * units
        row = {
            "chains": chains,
            "units": units,
            "milliseconds": round(milliseconds, 4),
            "megabytes": round(max(0.0, peak - empty), 1),
            "nanoseconds_a_thousand_products": round(1e9 * milliseconds / products, 2),
            "nanoseconds_a_random_number": round(1e6 * milliseconds / numbers, 3),
        }
        rows.append(row)
        print("{:7d} {:6d} {:9.3f} {:8.1f} {:17.2f} {:17.3f}".format(*row.values()), flush=True)
    out = pathlib.Path(arguments.out).expanduser()
    with open(out.with_suffix(".csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
