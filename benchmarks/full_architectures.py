"""One training step and one evaluation step of each architecture of the papers, with time and memory.

    python -m benchmarks.full_architectures [--images=4] [--configs dvaepp:omniglot hybrid:cifar10 ...]

A config is a module of `trainers.configs` and what it takes: `dvaepp` has table 4 of DVAE++, `hybrid`
appendix C of the paper on RBM priors with hidden units (the last stage of the training), `pixelvaepp` section
3.1 and table 2 of PixelVAE++. Each architecture runs in a process of its own on images of noise,
`--images=0` for as many as the batches of the config have; the memory is the peak of that process, and more
than 20 GB an error.
"""

import argparse
import importlib
import resource
import subprocess
import sys
import time

LIMIT_GB = 20
CONFIGS = (
    *("dvaepp:static_mnist", "dvaepp:omniglot", "dvaepp:caltech101_silhouettes", "dvaepp:cifar10"),
    *("hybrid:static_mnist_resnet", "hybrid:cifar10", "hybrid:imagenet64"),
    *("pixelvaepp:static_mnist", "pixelvaepp:caltech101_silhouettes", "pixelvaepp:cifar10"),
)


def run(name, num_images):
    """Builds the model of a config, trains and evaluates it on one batch; prints a row."""
    import numpy as np
    import tensorflow as tf

    from tfdvae import data
    from trainers import experiment

    module, spec = name.split(":")
    config = importlib.import_module(f"trainers.configs.{module}").get_config(spec)
    start = time.monotonic()
    model = experiment.model(config, data_dir=False)
    experiment.compile_model(model, config)
    built = time.monotonic()
    shape = (num_images or config.data.batch_size, *data.info(config.data.name).image_shape)
    values = 256 if config.model.likelihood != "bernoulli" else 2
    x = np.random.default_rng(0).integers(0, values, shape).astype(np.float32)
    model.update_log_partition(num_chains=16, num_temperatures=50)
    loss = float(model.train_on_batch(x, return_dict=True)["loss"])
    trained = time.monotonic()
    model.update_log_partition(num_chains=16, num_temperatures=50)
    log_likelihood = float(tf.reduce_mean(model.log_likelihood(x, 2, seed=0)))
    evaluated = time.monotonic()
    if not np.isfinite([loss, log_likelihood]).all():
        raise ValueError(f"{name}: loss {loss}, log-likelihood {log_likelihood}")
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{name:30}{parameters:12,d}{built - start:9.0f}{trained - built:9.0f}{evaluated - trained:9.0f}"
        f"{peak:8.1f}",
        flush=True,
    )
    if peak > LIMIT_GB:
        raise MemoryError(f"{name}: {peak:.1f} GB, more than {LIMIT_GB}")


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--configs", nargs="+", default=CONFIGS)
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_this_process:
        run(arguments.configs[0], arguments.images)
        return
    print("config                          parameters  build s  train s   eval s     GB", flush=True)
    for name in arguments.configs:
        command = [sys.executable, "-m", "benchmarks.full_architectures", "--in-this-process"]
        subprocess.run([*command, f"--images={arguments.images}", "--configs", name], check=True)


if __name__ == "__main__":
    main()
