"""The cost of drawing images pixel by pixel, in passes of the network.

    python -m benchmarks.pixel_sampling [--only=passes|peer|sizes|memory]

A PixelCNN++ without latents, 28x28x1, 32 filters, 1 residual layer, 2 sizes of features, in CPU time on one
core. The unit is a pass through the network as a graph, for the same images.

- `passes`: 16 and 256 images, by a graph and by XLA (compiled before), in passes; the floor is one.
- `peer`: `tfd.PixelCNN` of TensorFlow Probability of the same size draws 16 images; how often as fast the
  sampler is.
- `sizes`: CPU time a pixel of images of 56x56 and 112x112, 16 at a time, over that of 28x28.
- `memory`: how much more memory a process needs to draw 512 images than for a pass, each over a process that
  has only built the network.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

GOALS = {("graph", 16): 6.0, ("xla", 16): 2.0, ("graph", 256): 2.5, ("xla", 256): 1.5}
PEER_GOALS = {"graph": 100, "xla": 300}


def build(size=28):
    """The network, its likelihood, a pass, and a sampler by each compiler."""
    import tensorflow as tf

    from tfdvae.models.pixels import make_pixels
    from tfdvae.models.pixelvaepp import PixelCNN, draw

    network, pixels = PixelCNN((size, size, 1), 1, 32, 1, num_sizes=2), make_pixels("bernoulli", 1)

    def drawn(uniforms):
        nothing = tf.zeros_like(uniforms)
        return draw(network, pixels, uniforms, nothing, tf.zeros([size, size], tf.bool)).images

    passes = tf.function(lambda x: network.up(network.down(x)), autograph=False)
    samplers = {
        name: tf.function(drawn, autograph=False, jit_compile=name == "xla") for name in ("graph", "xla")
    }
    return passes, samplers


def uniforms(batch, size=28):
    """What the images are a function of."""
    from tfdvae import random

    return random.uniform([batch, size, size, 1], seed=3)


def seconds(function, argument, repeats):
    """CPU seconds of a call that has been compiled: the least of some."""
    function(argument)
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function(argument)
        times.append(time.process_time() - start)
    return min(times)


def passes():
    """Prints the ratios to passes; returns the seconds of 16 images by each compiler."""
    network, samplers = build()
    found = {}
    for batch in (16, 256):
        noise = uniforms(batch)
        one = seconds(network, noise, 10)
        print(f"a pass of {batch} images: {1e3 * one:.1f} ms")
        for name, sampler in samplers.items():
            found[name, batch] = seconds(sampler, noise, 3)
            goal = GOALS[name, batch]
            print(f"ratio sampling_{name}_{batch} {found[name, batch] / one:.2f} goal <= {goal}", flush=True)
    return {name: found[name, 16] for name in samplers}


PEER = """
import sys, time
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
import tensorflow_probability as tfp
law = tfp.distributions.PixelCNN(image_shape=(28, 28, 1), num_resnet=1, num_hierarchies=2, num_filters=32,
                                 num_logistic_mix=1, dropout_p=0.0, high=1)
law.log_prob(tf.zeros([16, 28, 28, 1]))
start = time.process_time()
law.sample(16)
print(time.process_time() - start)
"""


def peer(ours):
    """Prints how often as fast the sampler is as TFP's."""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
    command = [sys.executable, "-c", PEER]
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    theirs = float(result.stdout.split()[-1])
    print(f"tfd.PixelCNN draws 16 images in {theirs:.1f} s")
    for name, own in ours.items():
        print(f"ratio tfd_pixelcnn_to_{name} {theirs / own:.0f} goal >= {PEER_GOALS[name]}", flush=True)


def sizes():
    """Prints the time a pixel of larger images over that of 28x28."""
    times = {}
    for size in (28, 56, 112):
        _, samplers = build(size)
        times[size] = seconds(samplers["graph"], uniforms(16, size), 2) / size**2
    for size in (56, 112):
        print(f"ratio pixel_of_{size}_to_28 {times[size] / times[28]:.2f} goal <= 1.2", flush=True)


def peak(what):
    """Prints the peak memory of this process in GB after a call; to be run in one of its own."""
    network, samplers = build()
    noise = uniforms(512)
    if what == "pass":
        network(noise)
    elif what != "nothing":
        samplers[what](noise)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def memory():
    """Prints the memory of the loop over that of a pass."""
    found = {}
    for what in ("nothing", "pass", "graph"):
        command = [sys.executable, "-m", "benchmarks.pixel_sampling", f"--peak={what}"]
        found[what] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    one, loop = (found[what] - found["nothing"] for what in ("pass", "graph"))
    print(f"a pass of 512 images: {one:.3f} GB")
    print(f"ratio memory_of_the_loop {loop / one:.2f} goal <= 2", flush=True)


def main():
    """Prints what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("passes", "peer", "sizes", "memory"))
    parser.add_argument("--peak", choices=("nothing", "pass", "graph"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if arguments.peak:
        peak(arguments.peak)
        return
    only = arguments.only
    if only in (None, "passes", "peer"):
        ours = passes()
        if only != "passes":
            peer(ours)
    if only in (None, "sizes"):
        sizes()
    if only in (None, "memory"):
        memory()


if __name__ == "__main__":
    main()
