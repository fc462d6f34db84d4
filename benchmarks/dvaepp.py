"""DVAE++: images a second, memory, and the training step against its convolutions and products alone.

    python -m benchmarks.dvaepp [--config=mnist_small omniglot] [--steps=10] [--repeats=5]

For each config, batches of 100 images of noise, each config in a process of its own:

- `step`: a whole training step of `model.fit`, metrics and optimizer included;
- `floor`: the convolutions and dense products of that step, forward and backward, and the products of the
  Gibbs sweeps, alone: operations of the same shapes on constant arrays;
- `sampling`: the advance of the persistent chains alone;
- `rest`: what is left of the step beside the networks' share of the floor and the sampling;
- `evaluation`: images times importance samples a second in `log_likelihood`.

A second line gives the shares of the time in operations, from a profile of such steps: convolutions and
dense products, the loop of the Gibbs sweeps, the optimizer, and the rest (elementwise operations, weight
decay, data).

The programs run in turn within each repeat, and the figure is the median over repeats: the speed of a shared
machine drifts, ratios within one run hold. The memory is the peak of the process.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

BATCH = 100
CONFIGS = ("mnist_small", "digits", "omniglot", "caltech101_silhouettes")


def config_named(name):
    """A config of `trainers.configs`."""
    from trainers.configs import dvaepp, dvaepp_digits, dvaepp_mnist_small

    small = {"mnist_small": dvaepp_mnist_small, "digits": dvaepp_digits}
    return small[name].get_config() if name in small else dvaepp.get_config(name)


def recorded_products(model, x):
    """(kind, input shape, kernel shape, strides, padding) of every convolution and dense product of a forward
    pass.
    """
    import keras

    records = []
    kinds = {
        "convolution": keras.layers.Conv2D,
        "transposed": keras.layers.Conv2DTranspose,
        "dense": keras.layers.Dense,
    }
    originals = {kind: cls.call for kind, cls in kinds.items()}

    def recording(kind):
        def call(layer, inputs, *args, **kwargs):
            strides, padding = getattr(layer, "strides", (1, 1)), getattr(layer, "padding", "same")
            shapes = tuple(inputs.shape), tuple(layer.kernel.shape)
            records.append((kind, *shapes, strides[0], padding.upper()))
            return originals[kind](layer, inputs, *args, **kwargs)

        return call

    try:
        for kind, cls in kinds.items():
            cls.call = recording(kind)
        model.bound_terms(x, model.draw("smoothed", seed=0), seed=0)
    finally:
        for kind, cls in kinds.items():
            cls.call = originals[kind]
    return records


def products(records, forward_alone=False):
    """A function of a number of steps that makes these products, forward and backward or forward alone."""
    import tensorflow as tf

    def noise(shape):
        return tf.random.stateless_normal(shape, [len(shape), shape[-1]])

    calls = []
    for kind, shape, kernel_shape, stride, padding in records:
        x, w = noise(shape), noise(kernel_shape)
        if kind == "dense":
            dy = noise((*shape[:-1], kernel_shape[-1]))
            flat = (-1, kernel_shape[0]), (-1, kernel_shape[1])
            x, dy = tf.reshape(x, flat[0]), tf.reshape(dy, flat[1])
            of_kind = [
                lambda x=x, w=w: x @ w,
                lambda dy=dy, w=w: tf.linalg.matmul(dy, w, transpose_b=True),
                lambda x=x, dy=dy: tf.linalg.matmul(x, dy, transpose_a=True),
            ]
            calls += of_kind[:1] if forward_alone else of_kind
            continue
        if kind == "convolution":
            cut = kernel_shape[:2] if padding == "VALID" else (1, 1)
            size = [(n - k) // stride + 1 for n, k in zip(shape[1:3], cut, strict=True)]
            dy, large = noise((shape[0], *size, kernel_shape[3])), x
        else:  # the adjoint of a strided convolution
            dy, large = x, noise((shape[0], stride * shape[1], stride * shape[2], kernel_shape[2]))
        options = {"strides": stride, "padding": padding}
        of_kind = [
            lambda large=large, w=w, o=options: tf.nn.conv2d(large, w, **o),
            lambda large=large, w=w, dy=dy, o=options: tf.raw_ops.Conv2DBackpropInput(
                input_sizes=large.shape,
                filter=w,
                out_backprop=dy,
                strides=[1, o["strides"], o["strides"], 1],
                padding=o["padding"],
            ),
            lambda large=large, w=w, dy=dy, o=options: tf.raw_ops.Conv2DBackpropFilter(
                input=large,
                filter_sizes=w.shape,
                out_backprop=dy,
                strides=[1, o["strides"], o["strides"], 1],
                padding=o["padding"],
            ),
        ]
        calls += _forward(of_kind, kind) if forward_alone else of_kind

    @tf.function(autograph=False)
    def run(num_steps):
        def body(i, total):
            # One element of each leaves the loop, so that all are made.
            return i + 1, total + tf.add_n([tf.reshape(call(), [-1])[0] for call in calls])

        return tf.while_loop(lambda i, _: i < num_steps, body, (0, 0.0), parallel_iterations=1)[1]

    return lambda num_steps: run(tf.constant(num_steps)).numpy()


def _forward(calls, kind):
    """Of a convolution, its gradient in the input and that in the kernel, the forward one."""
    return calls[1:2] if kind == "transposed" else calls[:1]


def sweeps_products(model):
    """The products of the Gibbs sweeps of a step."""
    import tensorflow as tf

    left, right = (tf.convert_to_tensor(s) for s in (model.negative_phase.left, model.negative_phase.right))
    coupling = tf.convert_to_tensor(model.rbm.coupling)
    count = model.num_sweeps

    @tf.function(autograph=False)
    def run(num_steps):
        def body(i, total):
            total += (left @ coupling)[0, 0] + tf.linalg.matmul(right, coupling, transpose_b=True)[0, 0]
            return i + 1, total

        return tf.while_loop(lambda i, _: i < count * num_steps, body, (0, 0.0), parallel_iterations=1)[1]

    return lambda num_steps: run(tf.constant(num_steps)).numpy()


def sampling(model):
    """The advance of the persistent chains."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def run(num_steps):
        def body(i):
            samples = model.negative_phase.negative_samples(seed=tf.stack([0, i]))
            with tf.control_dependencies(list(samples)[:2]):
                return i + 1

        return tf.while_loop(lambda i: i < num_steps, body, (tf.constant(0),), parallel_iterations=1)

    return lambda num_steps: run(tf.constant(num_steps))


def profiled_shares(program):
    """Shares of the time in operations by kind, while `program` runs."""
    import collections
    import pathlib
    import tempfile

    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as directory:
        tf.profiler.experimental.start(directory)
        program()
        tf.profiler.experimental.stop()
        (path,) = pathlib.Path(directory).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    times = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                # Operations of the step are called "path/in/the/graph:Type".
                name, separator, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if separator and name.startswith("while/body/"):
                    times[kind_of_work(name, kind)] += event.duration_ps
    total = sum(times.values())
    return {kind: times[kind] / total for kind in ("products", "sampling", "optimizer", "rest")}


def kind_of_work(name, kind):
    """The kind of an operation of the training step, by its place in the graph and its type."""
    if "/StatefulPartitionedCall/while/" in name:  # the step's only loop
        return "sampling"
    if "Conv2D" in kind or "MatMul" in kind:
        return "products"
    return "optimizer" if "/adamax/" in name else "rest"


def run(name, steps, repeats):
    """Prints the rows of a config."""
    import numpy as np
    import tensorflow as tf

    from tfdvae import data
    from trainers import experiment

    config = config_named(name)
    model = experiment.model(config, data_dir=False)
    experiment.compile_model(model, config, steps_per_execution=steps)
    shape = data.info(config.data.name).image_shape
    x = (np.random.default_rng(0).random((steps * BATCH, *shape)) < 0.2).astype(np.float32)
    records = recorded_products(model, tf.constant(x[:BATCH]))
    programs = {
        "step": lambda n: model.fit(x[: n * BATCH], batch_size=BATCH, shuffle=False, verbose=0),
        "networks": products(records),
        "sweeps": sweeps_products(model),
        "sampling": sampling(model),
    }
    times = {key: [] for key in programs}
    for repeat in range(repeats + 1):
        for key, program in programs.items():
            start = time.perf_counter()
            program(steps)
            if repeat:  # the first one compiles
                times[key].append(1000 * (time.perf_counter() - start) / steps)
    ms = {key: statistics.median(values) for key, values in times.items()}
    model.update_log_partition(seed=0)
    samples = 2 * model.importance_rows // BATCH
    model.log_likelihood(x[:BATCH], samples, seed=0)
    start = time.perf_counter()
    model.log_likelihood(x[:BATCH], samples, seed=0)
    rate = samples * BATCH / (time.perf_counter() - start)
    floor = ms["networks"] + ms["sweeps"]
    rest = ms["step"] - ms["networks"] - ms["sampling"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{name:24}{ms['step']:9.1f}{floor:9.1f}{ms['step'] / floor:7.2f}{ms['networks']:10.1f}"
        f"{ms['sampling']:10.1f}{rest:8.1f}{1000 * BATCH / ms['step']:10.0f}{rate:12.0f}{peak:7.1f}",
        flush=True,
    )
    shares = profiled_shares(lambda: programs["step"](steps))
    print("  profile: " + ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items()), flush=True)


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", nargs="+", default=["mnist_small", "omniglot"], choices=CONFIGS)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.steps < 2:
        parser.error(
            f"--steps must be at least 2: a profile is that of a loop of steps. Received: {arguments.steps}"
        )
    if arguments.in_this_process:
        run(arguments.config[0], arguments.steps, arguments.repeats)
        return
    print(
        f"{'config':24}{'step ms':>9}{'floor ms':>9}{'ratio':>7}{'networks':>10}{'sampling':>10}{'rest':>8}"
        f"{'images/s':>10}{'eval rows/s':>12}{'GB':>7}"
    )
    for name in arguments.config:
        command = [sys.executable, "-m", "benchmarks.dvaepp", "--in-this-process"]
        options = [f"--steps={arguments.steps}", f"--repeats={arguments.repeats}"]
        subprocess.run([*command, "--config", name, *options], check=True)


if __name__ == "__main__":
    main()
