"""Gibbs sweeps and annealed importance sampling against a floor and the peers, in one run.

    python -m benchmarks.boltzmann [--chains=1000] [--seconds=0.5] [--repeats=7]

Milliseconds of one block-Gibbs sweep (both sides once) of all chains, for machines of several sizes:

- `tfdvae`: `gibbs_sweeps`;
- `plain`: a straightforward TensorFlow loop (a stateless float uniform a unit, sigmoid, compare);
- `rbms`: `sample_state` of rbms 0.5.0 on PyTorch (`pip install torch rbms==0.5.0`; left out if missing);
- `sklearn`: the Gibbs step of `sklearn.neural_network.BernoulliRBM`;
- `floor`: the two matrix products of a sweep and 16 random bits a unit, alone.

Then seconds of annealed importance sampling with 1,024 chains and 1,000 temperatures: ours and that of
`rbms`. The programs run in turn within each repeat, and the figure is the median over repeats: the speed
of a shared machine drifts, ratios within one run hold.
"""

import argparse
import functools
import statistics
import time

import numpy as np
import tensorflow as tf

from tfdvae.boltzmann import GibbsState, RestrictedBoltzmannMachine, gibbs_sweeps, log_partition

try:
    import torch
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.partition_function.ais import compute_partition_function_ais
except ImportError:
    torch = None

SIZES = ((100, 100), (200, 200), (784, 200), (512, 1280))
AIS_SIZES, AIS_CHAINS, AIS_TEMPERATURES = SIZES[:2], 1024, 1000
BITS_A_UNIT = 16


def arrays(left, right):
    """Biases and coupling of a machine whose units are neither frozen nor free."""
    rng = np.random.default_rng(0)
    draws = rng.normal(size=left), rng.normal(size=right), rng.normal(size=(left, right)) / np.sqrt(right)
    return [a.astype(np.float32) for a in draws]


def start_states(chains, left, right):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 2, (chains, n)).astype(np.float32) for n in (left, right)]


# Each of these returns a function of a number of sweeps, which runs them to the end.


def ours(chains, left, right):
    """`gibbs_sweeps`; the number of sweeps is part of the graph."""
    parameters = RestrictedBoltzmannMachine.from_arrays(*arrays(left, right)).parameters
    state = GibbsState(*map(tf.constant, start_states(chains, left, right)))
    sweeps = tf.function(gibbs_sweeps, autograph=False)
    return lambda num_sweeps: sweeps(parameters, state, num_sweeps, seed=tf.constant([0, 1])).left.numpy()


def plain(chains, left, right):
    """The sweep as one writes it down."""
    a, b, w = map(tf.constant, arrays(left, right))
    x = tf.constant(start_states(chains, left, right)[0])

    @tf.function
    def run(num_sweeps):
        state = x
        for i in tf.range(num_sweeps):
            u = tf.random.stateless_uniform([chains, right], [i, 0])
            hidden = tf.cast(u < tf.sigmoid(state @ w + b), tf.float32)
            u = tf.random.stateless_uniform([chains, left], [i, 1])
            state = tf.cast(u < tf.sigmoid(tf.linalg.matmul(hidden, w, transpose_b=True) + a), tf.float32)
        return state

    return lambda num_sweeps: run(tf.constant(num_sweeps)).numpy()


def floor(chains, left, right):
    """The products and the bits of a sweep, alone; one element of each leaves the loop, so all are made."""
    w = tf.constant(arrays(left, right)[2])
    x, y = map(tf.constant, start_states(chains, left, right))
    words = chains * (left + right) * BITS_A_UNIT // 32

    @tf.function
    def run(num_sweeps):
        total = 0.0
        for i in tf.range(num_sweeps):
            bits = tf.random.stateless_uniform([words], [i, 0], None, None, tf.int32)
            total += (x @ w)[0, 0] + tf.linalg.matmul(y, w, transpose_b=True)[0, 0]
            total += tf.cast(bits[0], tf.float32)
        return total

    return lambda num_sweeps: run(tf.constant(num_sweeps)).numpy()


def rbms(chains, left, right):
    """The peer on PyTorch."""
    machine = torch_machine(left, right)
    state = machine.init_chains(chains)
    return lambda num_sweeps: machine.sample_state(state, num_sweeps)["visible"].numpy()


def torch_machine(left, right):
    a, b, w = map(torch.from_numpy, arrays(left, right))
    return BBRBM(weight_matrix=w, vbias=a, hbias=b)


def sklearn(chains, left, right):
    """The peer on NumPy."""
    from sklearn.neural_network import BernoulliRBM

    machine = BernoulliRBM(n_components=right)
    machine.intercept_visible_, machine.intercept_hidden_, w = arrays(left, right)
    machine.components_ = w.T
    machine.random_state_ = np.random.RandomState(0)
    x = start_states(chains, left, right)[0]

    def run(num_sweeps):
        state = x
        for _ in range(num_sweeps):
            state = machine.gibbs(state)
        return state

    return run


def compare(programs, repeats):
    """The median seconds of each program, run in turn."""
    records = {name: [] for name in programs}
    for repeat in range(repeats + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            if repeat:  # the first one compiles
                records[name].append(time.perf_counter() - start)
    return {name: statistics.median(record) for name, record in records.items()}


def compare_sweeps(chains, seconds, repeats):
    """Prints a row for each size."""
    makers = {"tfdvae": ours, "plain": plain, "floor": floor, "sklearn": sklearn}
    if torch is not None:
        makers["rbms"] = rbms
    print(f"{chains} chains, ms a sweep")
    header = "".join(f"{name:>9}" for name in makers)
    print(f"units      |{header} | tfdvae/floor plain/tfdvae rbms/tfdvae")
    for left, right in SIZES:
        num_sweeps = max(3, int(seconds / (3e-9 * chains * (left + right + left * right / 50))))
        calls = {n: functools.partial(make(chains, left, right), num_sweeps) for n, make in makers.items()}
        times = {name: 1000 * t / num_sweeps for name, t in compare(calls, repeats).items()}
        row = f"{left:4d} + {right:4d}|" + "".join(f"{t:9.2f}" for t in times.values())
        row += f" | {times['tfdvae'] / times['floor']:12.2f} {times['plain'] / times['tfdvae']:12.2f}"
        print(row + (f" {times['rbms'] / times['tfdvae']:11.2f}" if "rbms" in times else ""), flush=True)


def compare_annealing(repeats):
    """Prints a row for each size."""
    print(f"\nannealed importance sampling, {AIS_CHAINS} chains, {AIS_TEMPERATURES} temperatures, seconds")
    print("units      |   tfdvae     rbms | rbms/tfdvae")
    for left, right in AIS_SIZES:
        machine = RestrictedBoltzmannMachine.from_arrays(*arrays(left, right))
        settings = {"num_chains": AIS_CHAINS, "num_temperatures": AIS_TEMPERATURES, "seed": 0}
        ours = functools.partial(log_partition.annealed_importance_sampling, machine, **settings)
        calls = {"tfdvae": ours}
        if torch is not None:
            peer = torch_machine(left, right)
            calls["rbms"] = functools.partial(
                compute_partition_function_ais, AIS_CHAINS, AIS_TEMPERATURES, peer
            )
        times = compare(calls, repeats)
        row = f"{left:4d} + {right:4d}|" + "".join(f"{t:9.2f}" for t in times.values())
        print(row + (f" | {times['rbms'] / times['tfdvae']:11.2f}" if "rbms" in times else ""), flush=True)


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0.5, help="about the length of a measurement")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of a sweep")
    arguments = parser.parse_args()
    print(f"TensorFlow {tf.__version__}" + (f", PyTorch {torch.__version__}" if torch is not None else ""))
    compare_sweeps(arguments.chains, arguments.seconds, arguments.repeats)
    compare_annealing(max(1, arguments.repeats // 3))


if __name__ == "__main__":
    main()
