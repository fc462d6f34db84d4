"""Milliseconds of a training step of the fully connected DVAE, against its floor and a plain loop.

    python -m benchmarks.training_step [--steps=20] [--repeats=7]

For a batch of 100 images of 28x28, 1 or 2 nonlinear groups of 200 and 100 or 1,000 chains with 40 sweeps:

- `tfdvae`: the whole step of `model.fit`, metrics and optimizer included;
- `plain`: the same model as a straightforward TensorFlow loop (Keras layers, float uniforms, sigmoid,
  compare), optimizer included, no metrics;
- `floor`: the products of the networks (forward and backward), the products of the sweeps and the
  random bits that our step draws, alone.

The three run in turn within each repeat, and the figure is the median over repeats: the speed of a
shared machine drifts, ratios within one run hold. `fit` without validation measures log Z once an epoch;
what that adds to a step, in epochs of 500, stands in the last column and in the lines `ratio`.
"""

import argparse
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

from tfdvae.layers import Smoothing
from tfdvae.models import DVAE

BATCH, PIXELS, UNITS, HIDDEN, SWEEPS = 100, 784, 200, 200, 40
STEPS_OF_AN_EPOCH = 500
RANDOM_BITS_A_UNIT = 16


def images():
    return (np.random.default_rng(0).random((BATCH, 28, 28, 1)) < 0.2).astype("float32")


def optimizer():
    return keras.optimizers.Adam(3e-3, epsilon=1e-3)


def build(groups, chains, steps):
    model = DVAE(latent_units=(UNITS,) * groups, weight_decay=1e-4, num_chains=chains, num_sweeps=SWEEPS)
    model.compile(optimizer(), steps_per_execution=steps)
    return model


def ours(model):
    """The steps of one execution of the library, as `fit` runs them."""
    model.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors(tf.constant(images())).repeat())
    return lambda: model.train_function(batches)


def log_partition(model):
    """What `fit` does at the end of an epoch without validation."""
    return lambda: model.update_log_partition(seed=0, cheap=True)


def layer_shapes(groups):
    """(inputs, outputs, whether the input needs a gradient) of every dense layer."""
    shapes = []
    for i in range(groups):
        shapes += [(PIXELS, HIDDEN, False)] + [(UNITS, HIDDEN, True)] * i
        shapes += [(HIDDEN, HIDDEN, True), (HIDDEN, UNITS, True)]
    shapes += [(UNITS, HIDDEN, True)] * groups
    return [*shapes, (HIDDEN, HIDDEN, True), (HIDDEN, PIXELS, True)]


def floor(groups, chains, steps):
    """The products and the random bits of `steps` steps, alone."""
    shapes = layer_shapes(groups)
    inputs = [tf.random.stateless_normal([BATCH, n], [0, n]) for n, _, _ in shapes]
    kernels = [tf.random.stateless_normal([n, m], [n, m]) for n, m, _ in shapes]
    grads = [tf.random.stateless_normal([BATCH, m], [1, m]) for _, m, _ in shapes]
    side = UNITS * groups // 2
    coupling = tf.random.stateless_normal([side, side], [0, 1])
    state = tf.cast(tf.random.stateless_uniform([chains, side], [0, 1]) < 0.5, tf.float32)
    words = chains * side * RANDOM_BITS_A_UNIT // 32

    @tf.function
    def run():
        for step in tf.range(steps):
            results = []
            for (_, _, needs_gradient), x, w, g in zip(shapes, inputs, kernels, grads, strict=True):
                results.append(tf.linalg.matmul(x, w))
                results.append(tf.linalg.matmul(x, g, transpose_a=True))
                if needs_gradient:
                    results.append(tf.linalg.matmul(g, w, transpose_b=True))
            results.append(
                tf.random.stateless_uniform([BATCH * UNITS * groups], [step, 0], None, None, tf.int32)
            )
            for sweep in tf.range(SWEEPS):
                right = tf.linalg.matmul(state, coupling)
                left = tf.linalg.matmul(state, coupling, transpose_b=True)
                bits = [
                    tf.random.stateless_uniform([words], [sweep, side_number], None, None, tf.int32)
                    for side_number in range(2)
                ]
                # The results leave the loop, or the compiler would drop their computation.
                keep(right, left, *bits)
            keep(*results)

    return run


def keep(*tensors):
    """Uses one element of each tensor in an operation with a side effect."""
    total = tf.add_n([tf.cast(tf.reshape(t, [-1])[0], tf.float32) for t in tensors])
    SINK.assign_add(total)


SINK = tf.Variable(0.0)


def plain(groups, chains, steps):
    """The same model written straight down in TensorFlow."""

    def network(outputs):
        layers = []
        for _ in range(2):
            layers += [keras.layers.Dense(HIDDEN, use_bias=False), keras.layers.BatchNormalization()]
            layers += [keras.layers.Activation("tanh")]
        return keras.Sequential([*layers, keras.layers.Dense(outputs)])

    encoders, decoder = [network(UNITS) for _ in range(groups)], network(PIXELS)
    for i, encoder in enumerate(encoders):
        encoder.build((None, PIXELS + i * UNITS))
    decoder.build((None, groups * UNITS))
    side = UNITS * groups // 2
    left_bias, right_bias = tf.Variable(tf.zeros([side])), tf.Variable(tf.zeros([side]))
    coupling = tf.Variable(tf.random.stateless_normal([side, side], [0, 1]) * 0.01)
    state = tf.Variable(tf.cast(tf.random.stateless_uniform([chains, side], [0, 1]) < 0.5, tf.float32))
    networks = [*encoders, decoder]
    variables = [v for n in networks for v in n.trainable_variables]
    adam = optimizer()
    boltzmann = [keras.Variable(v) for v in (left_bias, right_bias, coupling)]
    a, b, w = boltzmann
    adam.build(variables + boltzmann)
    smoothing = Smoothing("overlapping_exponential", beta=8.0)
    x = tf.reshape(tf.constant(images()), [BATCH, PIXELS])
    counter = tf.Variable(0)

    @tf.function
    def run():
        for _ in tf.range(steps):
            left = state.value()
            right = tf.zeros_like(left)
            for sweep in tf.range(SWEEPS):
                seed = tf.stack([counter.value(), sweep])
                u = tf.random.stateless_uniform([chains, side], seed)
                right = tf.cast(u < tf.sigmoid(left @ w + b), tf.float32)
                u = tf.random.stateless_uniform([chains, side], seed + 1000)
                left = tf.cast(u < tf.sigmoid(tf.linalg.matmul(right, w, transpose_b=True) + a), tf.float32)
            state.assign(left)
            with tf.GradientTape() as tape:
                zetas, means, nus, entropy = [], [], [], 0.0
                for i, encoder in enumerate(encoders):
                    logits = encoder(tf.concat([x, *zetas], -1), training=True)
                    q = smoothing.distribution(logits)
                    rho = tf.random.stateless_uniform(
                        [BATCH, UNITS], tf.stack([counter.value(), i]), 1e-6, 1 - 1e-6
                    )
                    zetas.append(q.quantile(rho))
                    means.append(tf.sigmoid(logits))
                    nus.append(q.posterior_probs(zetas[-1]))
                    entropy += tf.reduce_sum(tf.nn.softplus(logits) - logits * means[-1], -1)
                if groups == 1:
                    mu_left, mu_right = tf.split(means[0], 2, axis=-1)
                    pair_left = mu_left
                else:
                    (mu_left, mu_right), pair_left = means, nus[0]
                energy = -tf.linalg.matvec(mu_left, a) - tf.linalg.matvec(mu_right, b)
                energy -= tf.reduce_sum((pair_left @ w) * mu_right, -1)
                logits = decoder(tf.concat(zetas, -1), training=True)
                log_likelihood = -tf.reduce_sum(
                    tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits), -1
                )
                negative = -tf.linalg.matvec(left, a) - tf.linalg.matvec(right, b)
                negative -= tf.reduce_sum((left @ w) * right, -1)
                decay = tf.add_n([tf.reduce_sum(v**2) for v in variables if v.path.endswith("kernel")])
                loss = (
                    tf.reduce_mean(energy - entropy - log_likelihood)
                    - tf.reduce_mean(negative)
                    + 1e-4 * decay
                )
            gradients = tape.gradient(loss, variables + boltzmann)
            adam.apply_gradients(zip(gradients, variables + boltzmann, strict=True))
            counter.assign_add(1)

    return run


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="steps a measurement")
    parser.add_argument("--repeats", type=int, default=7, help="measurements")
    arguments = parser.parse_args()
    print("groups chains | tfdvae  plain  floor (ms a step) | tfdvae/floor  plain/tfdvae | log Z (ms)")
    for groups in (1, 2):
        for chains in (100, 1000):
            model = build(groups, chains, arguments.steps)
            programs = [
                ours(model),
                plain(groups, chains, arguments.steps),
                floor(groups, chains, arguments.steps),
                log_partition(model),
            ]
            times = [[] for _ in programs]
            for repeat in range(arguments.repeats + 1):
                for program, record in zip(programs, times, strict=True):
                    start = time.perf_counter()
                    program()
                    SINK.numpy()
                    if repeat:  # the first one compiles
                        record.append(1000 * (time.perf_counter() - start))
            *steps, measurement = (statistics.median(t) for t in times)
            a, b, c = (t / arguments.steps for t in steps)
            print(
                f"{groups:6d} {chains:6d} | {a:6.1f} {b:6.1f} {c:6.1f}  {'':16} | {a / c:12.2f} {b / a:13.2f}"
                f" | {measurement:8.1f}"
            )
            with_log_z = 1 + measurement / (STEPS_OF_AN_EPOCH * a)
            print(f"ratio step_with_log_z_{groups}_{chains} {with_log_z:.3f} goal <= 1.02")


if __name__ == "__main__":
    main()
