"""Exported generators in process: latency and throughput of the signatures, streams of rows, sizes, times.

    python -m benchmarks.serving [--generator=exported/static_mnist] [--seconds=10] [--num_sweeps=100]

- By signature and batch size: requests and rows a second, median and 99th percentile of the latency of one
  request after the other, for `--seconds` each (at least 5 requests; of fewer than 100 the percentile is the
  slowest one).
- `sample` at batch 256: random streams of the rows (a row depends on its own seed alone) against one stream
  for the batch, with the same sweeps, from the same bank, of the same architecture.
- The time to import `tfdvae.export`, to load the generator and to export one of the same architecture.
- The bytes of the artifact, and those of its weights and bank.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

from tfdvae import export, models
from tfdvae.files import user_path

SIGNATURES = ("decode", "sample", "log_prob")
BATCHES = (1, 16, 256)


def request(generator, signature, batch, num_sweeps):
    """Inputs of a signature for a batch: noise as images, samples' latents as latents."""
    seed = export.row_seeds(0, batch)
    inputs = {"seed": seed}
    if signature == "sample":
        inputs["num_sweeps"] = np.full(batch, num_sweeps)
    elif signature == "decode":
        inputs["latents"] = generator.predict("sample", seed=seed, num_sweeps=np.ones(batch, int))["latents"]
    else:
        shape = generator.specs[signature]["images"].shape
        inputs["images"] = np.random.default_rng(0).integers(0, 2, (batch, *shape))
    return inputs


def latencies(call, seconds, at_least=5):
    """Seconds of each of many calls, one after the other, the first one left out."""
    call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < at_least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def print_latencies(generator, seconds, num_sweeps):
    """A row for each signature and batch size."""
    print("signature  batch  requests  requests/s   rows/s    p50 ms    p99 ms")
    for signature in SIGNATURES:
        for batch in BATCHES:
            inputs = request(generator, signature, batch, num_sweeps)
            times = latencies(lambda s=signature, i=inputs: generator.predict(s, **i), seconds)
            rate = len(times) / sum(times)
            p50, p99 = 1000 * np.quantile(times, (0.5, 0.99), method="higher")
            row = (
                f"{signature:9}{batch:7}{len(times):10}{rate:12.2f}{rate * batch:9.0f}{p50:10.1f}{p99:10.1f}"
            )
            print(row, flush=True)


def model_like(generator):
    """An untrained model of the generator's architecture, with its log Z."""
    model = getattr(models, generator.card["model"]).from_config(generator.card["config"])
    model.build((None, *model.image_shape))
    model.update_log_partition(num_chains=16, num_temperatures=50, seed=0)
    return model


def print_streams(model, seconds, num_sweeps):
    """`sample` with streams of the rows and with one for the batch, in turn."""
    batch = BATCHES[-1]
    bank = export.make_chain_bank(model, 1_000, 1, seed=0)
    signatures = export.GeneratorSignatures(model, 1, max(num_sweeps, 1), bank)
    rows = signatures.functions()["sample"].get_concrete_function()
    inputs = {
        "seed": tf.constant(export.row_seeds(0, batch)),
        "num_sweeps": tf.fill([batch], num_sweeps),
    }

    @tf.function(autograph=False)
    def one_stream(seed):
        return model.sample(batch, seed=seed, num_sweeps=num_sweeps, chains=bank)

    programs = {
        "streams of the rows": lambda: rows(**inputs)["images"].numpy(),
        "one stream": lambda: one_stream(tf.constant([0, 0])).numpy(),
    }
    times = {name: [] for name in programs}
    for _ in range(3):  # in turn: the speed of a shared machine drifts
        for name, program in programs.items():
            times[name] += latencies(program, seconds / 3, at_least=2)
    medians = {name: statistics.median(values) for name, values in times.items()}
    text = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in medians.items())
    ratio = medians["streams of the rows"] / medians["one stream"]
    print(f"sample at batch {batch}, {num_sweeps} sweeps: {text}, ratio {ratio:.2f}", flush=True)


def timed(call):
    """A call's result, and its seconds."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", type=user_path, default=user_path("exported/static_mnist"))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--num_sweeps", type=int, default=100)
    arguments = parser.parse_args()
    _, importing = timed(lambda: subprocess.run([sys.executable, "-c", "import tfdvae.export"], check=True))
    _, tensorflow = timed(lambda: subprocess.run([sys.executable, "-c", "import tensorflow"], check=True))
    generator, loading = timed(lambda: export.load_generator(arguments.generator))
    print_latencies(generator, arguments.seconds, arguments.num_sweeps)
    keras.utils.set_random_seed(0)
    model = model_like(generator)
    if model.rbm is not None:
        print_streams(model, arguments.seconds, arguments.num_sweeps)
    with tempfile.TemporaryDirectory() as folder:
        samples = generator.card["log_prob_samples"]
        options = {"num_samples": samples, "bank_sweeps": 1}
        _, exporting = timed(lambda: export.export_generator(model, folder, **options))
    print(
        f"seconds: import tfdvae.export {importing:.1f} (tensorflow alone {tensorflow:.1f}), "
        f"load {loading:.1f}, export {exporting:.1f}"
    )
    found = export.audit(generator.directory)
    ratio = found.file_bytes / found.variable_bytes
    print(f"bytes: {found.file_bytes:,}, weights and bank {found.variable_bytes:,}, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
