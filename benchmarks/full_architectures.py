"""One training step and one evaluation step of each architecture of table 4, with time and memory.

    python -m benchmarks.full_architectures [--images=4] [--data=caltech101_silhouettes ...]

Each architecture runs in a process of its own on images of noise; the memory is the peak of that process, and
more than 20 GB an error.
"""

import argparse
import resource
import subprocess
import sys
import time

LIMIT_GB = 20


def run(name, num_images):
    """Builds the model of a data set, trains and evaluates it on one batch; prints a row."""
    import numpy as np
    import tensorflow as tf

    from tfdvae import data
    from trainers import experiment
    from trainers.configs import dvaepp

    config = dvaepp.get_config(name)
    start = time.monotonic()
    model = experiment.model(config, data_dir=False)
    experiment.compile_model(model, config)
    built = time.monotonic()
    shape = (num_images, *data.info(name).image_shape)
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
        f"{name:24}{parameters:12,d}{built - start:9.0f}{trained - built:9.0f}{evaluated - trained:9.0f}"
        f"{peak:8.1f}",
        flush=True,
    )
    if peak > LIMIT_GB:
        raise MemoryError(f"{name}: {peak:.1f} GB, more than {LIMIT_GB}")


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument(
        "--data", nargs="+", default=["static_mnist", "omniglot", "caltech101_silhouettes", "cifar10"]
    )
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_this_process:
        run(arguments.data[0], arguments.images)
        return
    print("data                      parameters  build s  train s   eval s     GB", flush=True)
    for name in arguments.data:
        command = [sys.executable, "-m", "benchmarks.full_architectures", "--in-this-process"]
        subprocess.run([*command, f"--images={arguments.images}", "--data", name], check=True)


if __name__ == "__main__":
    main()
