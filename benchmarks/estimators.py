"""Bias and variance of the gradient estimators, and the speed of a step of VIMCO.

    python -m benchmarks.estimators [--only=variance|speed|evaluation] [--draws=1000]

`variance`: two models of 8 binary latents (a directed factorial prior; a Boltzmann machine with 6 hidden
units) after a short training on 16 images of the digits. The gradient of the single-sample bound in the
weights of q, for these images, is summed over all 256 states; each estimator is drawn many times. Shown are
its bias, the length of its mean minus the gradient (and minus what its noise adds to that), and its standard
deviation, both relative to the length of the gradient. `equal cost` is the deviation times the root of the
passes through the decoder for each image: what an average over as many passes leaves. Baselines and scales
learn for 3,000 steps, the model held. The table goes to `benchmarks/estimators.csv`. VIMCO and wake-sleep
descend other objectives: their bias says how far these are from the bound of one sample.

`speed`: a step of VIMCO, 784-200-200-200, batches of 100, K = 5 and 50, in CPU time, against a plain
TensorFlow loop of the same model and the floor of its products and random bits.

`evaluation`: the likelihood of an image with 50,000 importance samples by the model with hidden units
(784-200-200-100-100-200, 200 + 400), in CPU time, against the floor of its decoder's and its machine's
products and its random bits; and how much more memory that takes than 500 samples.
"""

import argparse
import csv
import functools
import itertools
import resource
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfdvae import data
from tfdvae.latents import draws
from tfdvae.models import DVAE, HybridRBM
from tfdvae.objectives import (
    NVIL,
    REBAR,
    VIMCO,
    Concrete,
    DisARM,
    Elbo,
    ImportanceAccumulator,
    LeaveOneOut,
    MuProp,
    ReinMax,
    StraightThrough,
    WakeSleep,
)

UNITS = 8
STATES = np.array(list(itertools.product([0.0, 1.0], repeat=UNITS)), np.float32)
CSV = Path(__file__).with_suffix(".csv")
# Name -> what makes it, and passes through the decoder for each image (forward and backward counted alike).
ESTIMATORS = {
    "NVIL": (lambda: NVIL(normalize=False), 1),
    "MuProp": (MuProp, 2),
    "REBAR": (REBAR, 3),
    "LeaveOneOut(2)": (lambda: LeaveOneOut(2), 2),
    "LeaveOneOut(4)": (lambda: LeaveOneOut(4), 4),
    "DisARM": (DisARM, 2),
    "StraightThrough": (StraightThrough, 1),
    "ReinMax": (ReinMax, 1),
    "Concrete, density": (lambda: Concrete(0.5), 1),
    "Concrete, bernoulli": (lambda: Concrete(0.5, kl="bernoulli"), 1),
    "smoothed, joint bound": (Elbo, 1),
    "VIMCO(4), of its own bound": (lambda: VIMCO(4), 4),
    "WakeSleep(4)": (lambda: WakeSleep(4), 5),
}


# --- bias and variance ---


def digits():
    images = next(iter(data.load("digits", "train", batch_size=16)))
    return tf.image.resize(images, [14, 14], "nearest")


def trained(kind, x):
    """A model that has learned something."""
    if kind == "directed":
        arguments = dict(network=(32,), prior="bernoulli", batch_normalization=False)
        model = DVAE((14, 14, 1), latent_units=UNITS, **arguments)
    else:
        model = HybridRBM((14, 14, 1), latent_units=UNITS, hidden_units=6, network=(32,), num_sweeps=5)
    model.compile(keras.optimizers.Adam(3e-3), LeaveOneOut(4), steps_per_execution=50)
    model.fit(np.tile(x, (50, 1, 1, 1)), batch_size=16, verbose=0)
    return model


def of_posterior(model):
    """The weights of q."""
    layers = model.encoders if isinstance(model, DVAE) else [model.encoder]
    return [v for layer in layers for v in layer.trainable_variables]


def flat(gradients):
    return np.concatenate([np.ravel(g) for g in gradients]).astype(np.float64)


def exact(model, x, bound):
    """The gradient of `bound(log q, log p* - log q)` of `[states, images]` in the weights of q."""
    with tf.GradientTape() as tape:
        z = np.repeat(STATES[:, None], len(x), axis=1)
        trace = model.trace(x, draws.Given([z]))
        log_q = tf.reduce_sum(trace.groups[0].q.log_prob(z), axis=-1)
        if model.rbm is None:
            log_prior = tf.reduce_sum(trace.groups[0].p().log_prob(z), axis=-1)
        else:
            log_prior = -model.prior.energy([z])
        value = tf.reduce_mean(bound(log_q, model.log_prob_of_pixels(x, trace) + log_prior - log_q))
    return flat(tape.gradient(value, of_posterior(model)))


def single_sample(log_q, log_weights):
    """The bound of one sample."""
    return tf.reduce_sum(tf.exp(log_q) * log_weights, axis=0)


def gradients(model, objective, x, draws_):
    """Draws of the gradient, `[draws, weights]`."""
    model.compile(keras.optimizers.Adam(1e-2), objective, steps_per_execution=50)
    if model.objective_layer is not None:
        type(objective).trains = ("objective",)
        model.fit(np.tile(x, (100, 1, 1, 1)), batch_size=16, epochs=30, verbose=0)
        del type(objective).trains

    @functools.partial(tf.function, autograph=False)
    def step(seed):
        negative = None if model.rbm is None else model.negative_phase.negative_samples(seed=seed)
        with tf.GradientTape() as tape:
            loss = objective(model, x, seed=seed, negative=negative).loss
        return tape.gradient(loss, of_posterior(model))

    return np.stack([-flat(step(tf.constant([7, i]))) for i in range(draws_)])


def variance(num_draws):
    """Yields the rows of the table."""
    x = digits()
    for kind in ("directed", "hidden units"):
        model = trained(kind, x)
        want = exact(model, x, single_sample)
        for name, (make, passes) in ESTIMATORS.items():
            try:
                found = gradients(model, make(), x, num_draws)
            except ValueError as error:
                yield {"model": kind, "estimator": name, "refused": str(error).split(". ")[0]}
                continue
            length = np.linalg.norm(want)
            squares = np.sum(np.var(found, axis=0, ddof=1))
            off = np.sum((found.mean(axis=0) - want) ** 2) - squares / len(found)
            yield {
                "model": kind,
                "estimator": name,
                "passes": passes,
                "bias": f"{np.sqrt(max(off, 0.0)) / length:.3f}",
                "noise of the bias": f"{np.sqrt(squares / len(found)) / length:.3f}",
                "deviation": f"{np.sqrt(squares) / length:.2f}",
                "equal cost": f"{np.sqrt(passes * squares) / length:.2f}",
            }


def write_variance(num_draws):
    """Writes the table."""
    fields = (
        "model",
        "estimator",
        "passes",
        "bias",
        "noise of the bias",
        "deviation",
        "equal cost",
        "refused",
    )
    with CSV.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        for row in variance(num_draws):
            writer.writerow(row)
            print(row, flush=True)


# --- speed ---

BATCH, PIXELS, WIDTH = 100, 784, 200


def ours(num_samples):
    """A step of `fit`."""
    model = DVAE(latent_units=WIDTH, network=(WIDTH, WIDTH), prior="bernoulli", batch_normalization=False)
    model.compile(keras.optimizers.Adam(1e-3), VIMCO(num_samples))
    model.make_train_function()
    x = (np.random.default_rng(0).random((BATCH, 28, 28, 1)) < 0.2).astype("float32")
    batches = iter(tf.data.Dataset.from_tensors(tf.constant(x)).repeat())
    return lambda: model.train_function(batches)


def layers_of(sizes):
    layers = [keras.layers.Dense(n, "tanh" if i < len(sizes) - 1 else None) for i, n in enumerate(sizes)]
    return keras.Sequential(layers)


def plain(num_samples):
    """The same as one would write it down: Keras layers, float uniforms, TFP's control variate."""
    encoder, decoder = layers_of((WIDTH,) * 3), layers_of((WIDTH, WIDTH, PIXELS))
    x = tf.constant((np.random.default_rng(0).random((BATCH, PIXELS)) < 0.2).astype("float32"))
    prior = tf.Variable(tf.zeros([WIDTH]))
    encoder(x)
    decoder(tf.zeros([1, WIDTH]))
    optimizer = keras.optimizers.Adam(1e-3)
    variables = [*encoder.trainable_variables, *decoder.trainable_variables]

    def log_bernoulli(value, logits):
        return -tf.nn.sigmoid_cross_entropy_with_logits(value, logits)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            logits = encoder(x)
            probs = tf.broadcast_to(tf.sigmoid(logits), [num_samples, BATCH, WIDTH])
            z = tf.cast(tf.random.uniform([num_samples, BATCH, WIDTH]) < probs, tf.float32)
            log_q = tf.reduce_sum(log_bernoulli(z, tf.broadcast_to(logits, z.shape)), -1)
            log_z = tf.reduce_sum(log_bernoulli(z, tf.broadcast_to(prior, z.shape)), -1)
            out = tf.reshape(decoder(tf.reshape(z, [-1, WIDTH])), [num_samples, BATCH, PIXELS])
            log_x = tf.reduce_sum(log_bernoulli(tf.broadcast_to(x, out.shape), out), -1)
            log_w = log_x + log_z - log_q
            bound = tf.reduce_logsumexp(log_w, 0) - np.log(num_samples)
            others = (tf.reduce_sum(log_w, 0) - log_w) / (num_samples - 1)
            place = tf.eye(num_samples)[:, :, None]
            replaced = log_w[:, None] * (1 - place) + others[None] * place
            signal = tf.stop_gradient(bound - tf.reduce_logsumexp(replaced, 0) + np.log(num_samples))
            loss = -tf.reduce_mean(bound + tf.reduce_sum(signal * log_q, 0))
        gradients = tape.gradient(loss, [*variables, prior])
        optimizer.apply_gradients(zip(gradients[:-1], variables, strict=True))
        prior.assign_sub(1e-3 * gradients[-1])

    return step


def floor(num_samples):
    """The products, forward and backward, and random bits (16 a unit)."""

    def product(rows, inputs, outputs):
        a, b, c = tf.ones([rows, inputs]), tf.ones([inputs, outputs]), tf.ones([rows, outputs])
        return lambda: (a @ b, tf.matmul(c, b, transpose_b=True), tf.matmul(a, c, transpose_a=True))

    sizes = [(BATCH, PIXELS, WIDTH), (BATCH, WIDTH, WIDTH), (BATCH, WIDTH, WIDTH)]
    rows = num_samples * BATCH
    sizes += [(rows, WIDTH, WIDTH), (rows, WIDTH, WIDTH), (rows, WIDTH, PIXELS)]
    products = [product(*size) for size in sizes]
    bits = rows * WIDTH * 16 // 32

    @tf.function
    def step():
        noise = tf.random.stateless_uniform([bits], [1, 2], None, None, tf.int32)
        return [tf.reduce_sum(t) for one in products for t in one()], tf.reduce_sum(noise)

    return step


def cpu_time(step, count):
    start = time.process_time()
    for _ in range(count):
        step()
    return (time.process_time() - start) / count


def speed(repeats):
    """Prints CPU milliseconds a step, medians of turns, and the ratios."""
    for num_samples, goal in ((5, 0.8), (50, 0.8)):
        steps = {"ours": ours(num_samples), "plain": plain(num_samples), "floor": floor(num_samples)}
        count = 200 // num_samples
        for step in steps.values():
            cpu_time(step, 3)
        times = {name: [] for name in steps}
        for _ in range(repeats):
            for name, step in steps.items():
                times[name].append(cpu_time(step, count))
        medians = {name: 1e3 * float(np.median(values)) for name, values in times.items()}
        print(f"K = {num_samples}:", ", ".join(f"{name} {ms:.1f} ms" for name, ms in medians.items()))
        print(f"ratio vimco_{num_samples}_of_plain {medians['ours'] / medians['plain']:.2f} goal <= {goal}")
        print(f"ratio vimco_{num_samples}_of_floor {medians['ours'] / medians['floor']:.2f} goal <= 3")


# --- evaluation ---


def floor_of_evaluation(rows):
    """The products of the decoder and of the free energy, forward alone, and random bits (16 a unit)."""
    sizes = [(200, 100), (100, 100), (100, 200), (200, 200), (200, PIXELS), (200, 400)]
    products = [(tf.ones([rows, n]), tf.ones([n, m])) for n, m in sizes]

    @tf.function
    def step():
        noise = tf.random.stateless_uniform([rows * 200 * 16 // 32], [1, 2], None, None, tf.int32)
        return [tf.reduce_sum(a @ b) for a, b in products], tf.reduce_sum(noise)

    return step


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def evaluation(repeats, num_samples=50_000):
    """Prints CPU seconds of an image, the ratio to the floor, and the growth of the memory."""
    model = HybridRBM()
    x = (np.random.default_rng(0).random((1, 28, 28, 1)) < 0.2).astype("float32")
    model.update_log_partition(seed=0, cheap=True)
    chunk = model.importance_rows
    step = floor_of_evaluation(chunk)

    def sums(count):
        accumulator = ImportanceAccumulator()
        for weights in model.importance_chunks(x, count, seed=0):
            accumulator.update(weights)

    times = {"ours": [], "floor": []}
    sums(500)
    step()
    before = peak_megabytes()
    for _ in range(repeats):
        times["ours"].append(cpu_time(lambda: sums(num_samples), 1))
        times["floor"].append(num_samples / chunk * cpu_time(step, 6))
    medians = {name: float(np.median(values)) for name, values in times.items()}
    print(f"K = {num_samples}:", ", ".join(f"{name} {s:.2f} s" for name, s in medians.items()))
    print(f"ratio evaluation_{num_samples}_of_floor {medians['ours'] / medians['floor']:.2f} goal <= 3")
    print(f"ratio evaluation_{num_samples}_gigabytes {(peak_megabytes() - before) / 1024:.2f} goal <= 1")


def main():
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("variance", "speed", "evaluation"))
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.only in (None, "variance"):
        write_variance(arguments.draws)
    if arguments.only in (None, "speed"):
        speed(arguments.repeats)
    if arguments.only in (None, "evaluation"):
        evaluation(arguments.repeats)


if __name__ == "__main__":
    main()
