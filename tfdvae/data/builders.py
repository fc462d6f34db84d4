"""TFDS builders of the benchmark sets: they keep the images as uint8 tensors, in the files' order.

Nothing is registered with TFDS under a global name: its own `cifar10` and `omniglot` stay what they are.
`prepare` and the class `Benchmark` do the work; one small subclass a set carries its name and facts.
Importing this module imports `tensorflow_datasets`; `tfdvae.data` does so only when it is needed.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from tfdvae.data import checksums, sources
from tfdvae.data.catalog import CATALOG, DatasetInfo
from tfdvae.data.formats import Examples

_TFDS_SPLITS = {"train": tfds.Split.TRAIN, "valid": tfds.Split.VALIDATION, "test": tfds.Split.TEST}


class Benchmark(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What the builders share: subclasses only set `name`, a key of the catalogue.

    Args:
      paths: the publisher's files by name, as `sources.locate` finds them; `None` downloads them
        through TFDS.
      data_dir: where the prepared records go.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {  # noqa: RUF012 (TFDS reads it from the class)
        "1.0.0": "First version.",
        "1.1.0": "Wrong values in the files are refused; checksums are of the arrays.",
    }
    # TFDS would look for a file of checksums beside this one (ours are in the catalogue), and for that
    # import `importlib_resources`, which it does not install on Python 3.9 and later (seen with 4.9.10).
    code_path = None

    def __init__(
        self, *, paths: Mapping[str, Path] | None = None, data_dir: str | Path | None = None, **kwargs
    ):
        self._paths = paths
        super().__init__(data_dir=data_dir, **kwargs)

    @property
    def benchmark(self) -> DatasetInfo:
        """The facts about this set."""
        return CATALOG[self.name]

    def _info(self) -> tfds.core.DatasetInfo:
        facts = self.benchmark
        # Raw bytes: ten times faster to write and to read than PNG or lists of integers.
        features = {"image": tfds.features.Tensor(shape=facts.image_shape, dtype=np.uint8, encoding="bytes")}
        if facts.num_classes:
            features["label"] = tfds.features.ClassLabel(num_classes=facts.num_classes)
        return tfds.core.DatasetInfo(
            builder=self,
            description=facts.description,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label") if facts.num_classes else None,
            homepage=facts.source_url,
            citation=facts.citation,
            license=facts.license,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        facts = self.benchmark
        paths = self._paths
        if paths is None:
            downloaded = dl_manager.download({file.name: file.url for file in facts.files})
            paths = {name: Path(path) for name, path in downloaded.items()}
        contents = sources.read(facts, paths)
        self.info.metadata["checksums"] = checksums.digests(facts, contents.arrays)
        return {
            _TFDS_SPLITS[split]: self._generate_examples(examples)
            for split, examples in contents.splits.items()
        }

    def _generate_examples(self, examples: Examples) -> Iterator[tuple[int, dict]]:
        if examples.labels is None:
            yield from ((i, {"image": image}) for i, image in enumerate(examples.images))
        else:
            pairs = zip(examples.images, examples.labels.tolist(), strict=True)
            yield from ((i, {"image": image, "label": label}) for i, (image, label) in enumerate(pairs))

    def prepare(self) -> None:
        """Prepares the records unless they are there; complete or not at all."""
        with _silence():
            self.download_and_prepare(
                # Beside the records of all sets, whichever files they were made from.
                download_dir=Path(self.data_dir_root).parent / "downloads",
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
                file_format="tfrecord",
            )

    @property
    def is_complete(self) -> bool:
        """Whether the records are there (`is_prepared` logs a warning where they are not)."""
        return self.data_path.exists()

    def split_sizes(self) -> dict[str, int]:
        """Number of prepared images of each split."""
        return {split: self.info.splits[name].num_examples for split, name in _TFDS_SPLITS.items()}

    def read_split(self, split: str) -> Examples:
        """Reads a whole prepared split into memory, in the order of the files."""
        dataset = self.as_dataset(
            split=_TFDS_SPLITS[split],
            batch_size=1_000,
            shuffle_files=False,
            # Bytes are joined below: TFDS's own decoding logs a deprecation warning (4.9.10).
            decoders={"image": tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
        )
        batches = list(dataset.as_numpy_iterator())
        pixels = b"".join(image for batch in batches for image in batch["image"])
        images = np.frombuffer(pixels, np.uint8).reshape(-1, *self.benchmark.image_shape)
        labels = np.concatenate([batch["label"] for batch in batches]) if self.benchmark.num_classes else None
        return Examples(images, labels)


@contextlib.contextmanager
def _silence():
    """TFDS prints what it does, and a progress bar for each split."""
    active = getattr(tqdm_utils, "_active", True)
    tfds.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.display_progress_bar(active)


class Digits(Benchmark, skip_registration=True):
    """The digits inside scikit-learn: no file is needed."""

    name = "digits"


class StaticMnist(Benchmark, skip_registration=True):
    """Statically binarized MNIST, from its `.amat` text files."""

    name = "static_mnist"


class DynamicMnist(Benchmark, skip_registration=True):
    """Grey MNIST, from its IDX files."""

    name = "dynamic_mnist"


class FashionMnist(Benchmark, skip_registration=True):
    """Grey Fashion-MNIST, from its IDX files."""

    name = "fashion_mnist"


class Omniglot(Benchmark, skip_registration=True):
    """Grey 28x28 OMNIGLOT, from `chardata.mat`."""

    name = "omniglot"


class Caltech101Silhouettes(Benchmark, skip_registration=True):
    """Binary 28x28 Caltech-101 silhouettes, from its MATLAB file."""

    name = "caltech101_silhouettes"


class Cifar10(Benchmark, skip_registration=True):
    """CIFAR-10, from its binary version."""

    name = "cifar10"


class Imagenet64(Benchmark, skip_registration=True):
    """ImageNet 64x64 of Chrabaszcz et al. (2017), from its NumPy files."""

    name = "imagenet64"


BUILDERS: Mapping[str, type[Benchmark]] = {
    builder.name: builder
    for builder in (
        *(Digits, StaticMnist, DynamicMnist, FashionMnist),
        *(Omniglot, Caltech101Silhouettes, Cifar10, Imagenet64),
    )
}
