"""PixelVAE++: the training step and the evaluation against their convolutions and products alone.

    python -m benchmarks.pixelvaepp [--steps=5] [--repeats=5]

`pixelvaepp_mnist_small`, batches of 32 images of noise, one thread, CPU time, medians over repeats in turn:

- `step`: a whole training step of `model.fit`, metrics and optimizer included;
- `evaluation`: `log_likelihood` with 16 importance samples;
- the floor of each: its convolutions and dense products, of a step forward and backward with the products of
  the Gibbs sweeps, alone: operations of the same shapes on constant arrays.
"""

import argparse
import statistics
import time

import numpy as np
import tensorflow as tf

from benchmarks.dvaepp import products, recorded_products, sweeps_products
from trainers import experiment
from trainers.configs import pixelvaepp_mnist_small

SAMPLES = 16


def main():
    """Prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    config, steps = pixelvaepp_mnist_small.get_config(), arguments.steps
    model, batch = experiment.model(config, data_dir=False), config.data.batch_size
    experiment.compile_model(model, config, steps_per_execution=steps)
    x = (np.random.default_rng(0).random((steps * batch, 28, 28, 1)) < 0.2).astype(np.float32)
    step_floor, sweeps = products(recorded_products(model, tf.constant(x[:batch]))), sweeps_products(model)
    copies = tf.tile(tf.constant(x[:batch]), [SAMPLES, 1, 1, 1])
    evaluation_floor = products(recorded_products(model, copies), forward_alone=True)
    model.update_log_partition(num_chains=16, num_temperatures=50)
    programs = {
        "step": (lambda: model.fit(x, batch_size=batch, shuffle=False, verbose=0), steps),
        "step floor": (lambda: (step_floor(steps), sweeps(steps)), steps),
        "evaluation": (lambda: list(model.importance_chunks(x[:batch], SAMPLES, seed=0)), 1),
        "evaluation floor": (lambda: evaluation_floor(1), 1),
    }
    times = {name: [] for name in programs}
    for repeat in range(arguments.repeats + 1):
        for name, (program, count) in programs.items():
            start = time.process_time()
            program()
            if repeat:  # the first one compiles
                times[name].append(1000 * (time.process_time() - start) / count)
    ms = {name: statistics.median(values) for name, values in times.items()}
    print(", ".join(f"{name} {value:.0f} ms" for name, value in ms.items()))
    for name in ("step", "evaluation"):
        print(f"ratio pixelvaepp_{name}_to_products {ms[name] / ms[f'{name} floor']:.2f} goal <= 1.3")


if __name__ == "__main__":
    main()
