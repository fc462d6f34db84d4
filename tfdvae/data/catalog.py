"""What the benchmark sets are: sizes, files, checksums, terms, and how they compare with the papers."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

SPLITS = ("train", "valid", "test")
BINARIZATIONS = ("default", "none", "threshold", "static", "dynamic")


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file as its publisher offers it.

    Attributes:
      name: the file's name.
      url: where the publisher offers it.
    """

    name: str
    url: str


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """Facts about a benchmark set, as published.

    Attributes:
      name: the name that `load` takes.
      title: the name in prose.
      description: what is loaded, and every choice made where the papers leave one.
      image_shape: `(height, width, channels)`.
      split_sizes: number of images of "train", "valid" and "test" in the published files.
      binary: whether the files already hold binary images.
      default_binarization: what `binarization="default"` stands for.
      num_classes: number of labels, 0 where the files have none.
      source_url: the publisher's page.
      license: the publisher's terms, as far as they are stated.
      citation: BibTeX.
      files: the publisher's files; empty where none is needed.
      unpacked: names of the files inside an archive, accepted in its place.
      folder: sub directory of `data_dir` in which the files are looked for first.
      caveat: how figures on this set compare with the papers; to be shown beside them.
    """

    name: str
    title: str
    description: str
    image_shape: tuple[int, int, int]
    split_sizes: Mapping[str, int]
    binary: bool
    default_binarization: str
    num_classes: int
    source_url: str
    license: str
    citation: str
    files: tuple[SourceFile, ...] = ()
    unpacked: tuple[str, ...] = ()
    folder: str = ""
    caveat: str = ""

    @property
    def binarizations(self) -> tuple[str, ...]:
        """The values of `binarization` that make sense here."""
        # Binary files are left alone, and colours have no agreed binarization.
        return BINARIZATIONS[:2] if self.binary or self.image_shape[-1] != 1 else BINARIZATIONS


def _sizes(train: int, valid: int, test: int) -> Mapping[str, int]:
    return MappingProxyType({"train": train, "valid": valid, "test": test})


_AMAT_URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
_MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_OMNIGLOT_URL = "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/"
_CALTECH_URL = "https://people.cs.umass.edu/~marlin/data/"
_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
_IMAGENET_URL = "https://www.image-net.org/data/downsample/"

_DIGITS = DatasetInfo(
    name="digits",
    title="UCI digits (scikit-learn)",
    description=(
        "The 1,797 grey 8x8 digits that come with scikit-learn, for use without any download. Each is "
        "enlarged to 28x28 by separable Catmull-Rom (bicubic) interpolation and, by default, binarized at "
        "half intensity, which gives clean strokes. The split into 1,297/250/250 is a fixed permutation."
    ),
    image_shape=(28, 28, 1),
    split_sizes=_sizes(1_297, 250, 250),
    binary=False,
    default_binarization="threshold",
    num_classes=10,
    source_url="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    license="CC BY 4.0 (UCI Machine Learning Repository)",
    citation=(
        "@misc{alpaydin1998digits, author={Alpaydin, E. and Kaynak, C.}, title={Optical Recognition of "
        "Handwritten Digits}, howpublished={UCI Machine Learning Repository}, year={1998}}"
    ),
    caveat="A small set for tests and demonstrations: no paper reports a figure on it.",
)

_STATIC_MNIST = DatasetInfo(
    name="static_mnist",
    title="MNIST, statically binarized",
    description=(
        "MNIST binarized once at random by Salakhutdinov and Murray (2008), in the files of Larochelle and "
        "Murray (2011): text, one row of 784 values 0 or 1 an image. No labels."
    ),
    image_shape=(28, 28, 1),
    split_sizes=_sizes(50_000, 10_000, 10_000),
    binary=True,
    default_binarization="none",
    num_classes=0,
    source_url=_AMAT_URL,
    license="CC BY-SA 3.0 (MNIST)",
    citation=(
        "@inproceedings{salakhutdinov2008quantitative, author={Salakhutdinov, Ruslan and Murray, Iain}, "
        "title={On the Quantitative Analysis of Deep Belief Networks}, booktitle={ICML}, year={2008}}"
    ),
    files=tuple(
        SourceFile(f"binarized_mnist_{split}.amat", f"{_AMAT_URL}binarized_mnist_{split}.amat")
        for split in SPLITS
    ),
    folder="static_mnist",
    caveat="The statically binarized MNIST of the papers; never compare with dynamic binarization.",
)


_IDX_NAMES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def _idx_files(url: str) -> tuple[SourceFile, ...]:
    return tuple(SourceFile(f"{name}-ubyte", f"{url}{name}-ubyte.gz") for name in _IDX_NAMES)


_DYNAMIC_MNIST = DatasetInfo(
    name="dynamic_mnist",
    title="MNIST",
    description=(
        "Grey MNIST. By default binarized dynamically: pixel ~ Bernoulli(grey / 255), drawn anew in each "
        "epoch of training and once, with a fixed seed, for validation and test. Validation is the last "
        "10,000 of the 60,000 training images."
    ),
    image_shape=(28, 28, 1),
    split_sizes=_sizes(50_000, 10_000, 10_000),
    binary=False,
    default_binarization="dynamic",
    num_classes=10,
    source_url="http://yann.lecun.com/exdb/mnist/",
    license="CC BY-SA 3.0",
    citation=(
        "@article{lecun1998gradient, author={LeCun, Yann and Bottou, Leon and Bengio, Yoshua and Haffner, "
        "Patrick}, title={Gradient-based Learning Applied to Document Recognition}, journal={Proceedings of "
        "the IEEE}, volume={86}, number={11}, year={1998}}"
    ),
    files=_idx_files(_MNIST_URL),
    folder="mnist",
    caveat="Dynamically binarized MNIST as in the papers, up to the random draw of the binary test set.",
)

_FASHION_MNIST = DatasetInfo(
    name="fashion_mnist",
    title="Fashion-MNIST",
    description=(
        "Grey images of clothes in MNIST's format. By default binarized statically, as Lievin et al. (2019) "
        "say they do: pixel ~ Bernoulli(grey / 255), drawn once with a fixed seed (how they drew it is not "
        "stated). Validation is the last 10,000 of the 60,000 training images."
    ),
    image_shape=(28, 28, 1),
    split_sizes=_sizes(50_000, 10_000, 10_000),
    binary=False,
    default_binarization="static",
    num_classes=10,
    source_url="https://github.com/zalandoresearch/fashion-mnist",
    license="MIT",
    citation=(
        "@article{xiao2017fashion, author={Xiao, Han and Rasul, Kashif and Vollgraf, Roland}, "
        "title={Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms}, "
        "journal={arXiv:1708.07747}, year={2017}}"
    ),
    files=_idx_files(_FASHION_URL),
    folder="fashion_mnist",
    caveat="The papers do not state how they binarized Fashion-MNIST: compare with care.",
)

_OMNIGLOT = DatasetInfo(
    name="omniglot",
    title="OMNIGLOT, 28x28",
    description=(
        "Handwritten characters of 50 alphabets in the 28x28 version and split of Burda et al. (2015). Grey "
        "values are kept as round(255 v). By default binarized statically, as Vahdat et al. (2018) and "
        "Lievin et al. (2019) say they do: pixel ~ Bernoulli(v), drawn once with a fixed seed (how they drew "
        "it is not stated). Validation is the last 1,345 of the 24,345 training images. Labels are alphabets."
    ),
    image_shape=(28, 28, 1),
    split_sizes=_sizes(23_000, 1_345, 8_070),
    binary=False,
    default_binarization="static",
    num_classes=50,
    source_url="https://github.com/yburda/iwae",
    license="MIT (the drawings, Lake et al., 2015)",
    citation=(
        "@article{lake2015human, author={Lake, Brenden M. and Salakhutdinov, Ruslan and Tenenbaum, Joshua "
        "B.}, title={Human-level Concept Learning through Probabilistic Program Induction}, "
        "journal={Science}, volume={350}, number={6266}, year={2015}}"
    ),
    files=(SourceFile("chardata.mat", _OMNIGLOT_URL + "chardata.mat"),),
    folder="omniglot",
    caveat=(
        "Comparable with the papers only if chardata.mat is the file published by Burda et al. (2015), of "
        "which a warning tells where it is not: a file made anew from the drawings has other images and "
        "another split. The papers' own binary draw is not published either."
    ),
)

_CALTECH = DatasetInfo(
    name="caltech101_silhouettes",
    title="Caltech-101 silhouettes, 28x28",
    description=(
        "Outlines of the objects of Caltech-101 (Marlin et al., 2010), filled. As in the papers, object "
        "pixels are 1 and the background is 0: the file's values are inverted, and its column-major rows are "
        "transposed."
    ),
    image_shape=(28, 28, 1),
    split_sizes=_sizes(4_100, 2_264, 2_307),
    binary=True,
    default_binarization="none",
    num_classes=101,
    source_url="https://people.cs.umass.edu/~marlin/data.shtml",
    license="not stated; for research, cite the paper",
    citation=(
        "@inproceedings{marlin2010inductive, author={Marlin, Benjamin and Swersky, Kevin and Chen, Bo and de "
        "Freitas, Nando}, title={Inductive Principles for Restricted Boltzmann Machine Learning}, "
        "booktitle={AISTATS}, year={2010}}"
    ),
    files=(
        SourceFile(
            "caltech101_silhouettes_28_split1.mat", _CALTECH_URL + "caltech101_silhouettes_28_split1.mat"
        ),
    ),
    folder="caltech101_silhouettes",
    caveat="The 28x28 split of the papers.",
)

_CIFAR10 = DatasetInfo(
    name="cifar10",
    title="CIFAR-10",
    description=(
        "32x32 colour images, values 0..255, channels red, green, blue. Read from the binary version, packed "
        "or unpacked. Validation is the last tenth of the training images."
    ),
    image_shape=(32, 32, 3),
    split_sizes=_sizes(45_000, 5_000, 10_000),
    binary=False,
    default_binarization="none",
    num_classes=10,
    source_url="https://www.cs.toronto.edu/~kriz/cifar.html",
    license="not stated; for research, cite the report",
    citation=(
        "@techreport{krizhevsky2009learning, author={Krizhevsky, Alex}, title={Learning Multiple Layers of "
        "Features from Tiny Images}, institution={University of Toronto}, year={2009}}"
    ),
    files=(SourceFile("cifar-10-binary.tar.gz", _CIFAR_URL + "cifar-10-binary.tar.gz"),),
    unpacked=(*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
    folder="cifar10",
    caveat=(
        "Comparable with the papers only with the whole training set: the papers train on up to 50,000 "
        "images, here a tenth is kept for validation, and a file with fewer images than published is loaded "
        "as it is."
    ),
)

_IMAGENET64 = DatasetInfo(
    name="imagenet64",
    title="ImageNet 64x64 (Chrabaszcz et al., 2017)",
    description=(
        "All images of ILSVRC 2012 as 64x64 colour images, made by box filters, in the publisher's NumPy "
        "files, packed or unpacked. **One of two sets of that name**: the other one, of van den Oord et al. "
        "(2016), has 1,281,149 and 49,999 images, made in another way, and is no longer offered. Test is the "
        "published validation set; validation is the last 50,000 of the training images. All are kept in "
        "memory: 32 GB while the records are made, 16 GB in training."
    ),
    image_shape=(64, 64, 3),
    split_sizes=_sizes(1_231_167, 50_000, 50_000),
    binary=False,
    default_binarization="none",
    num_classes=1_000,
    source_url="https://www.image-net.org/download-images.php",
    license="for non-commercial research and education; the publisher asks for a registration",
    citation=(
        "@article{chrabaszcz2017downsampled, author={Chrabaszcz, Patryk and Loshchilov, Ilya and Hutter, "
        "Frank}, title={A Downsampled Variant of ImageNet as an Alternative to the CIFAR Datasets}, "
        "journal={arXiv:1707.08819}, year={2017}}"
    ),
    files=tuple(
        SourceFile(f"Imagenet64_{part}_npz.zip", f"{_IMAGENET_URL}Imagenet64_{part}_npz.zip")
        for part in ("train_part1", "train_part2", "val")
    ),
    unpacked=(*(f"train_data_batch_{i}.npz" for i in range(1, 11)), "val_data.npz"),
    folder="imagenet64",
    caveat=(
        "Not the set of van den Oord et al. (2016), on which most papers report figures for ImageNet 64x64, "
        '"Learning deep generative models with discrete latent variables" among them: bits per dimension '
        "of the two are not comparable."
    ),
)

CATALOG: Mapping[str, DatasetInfo] = MappingProxyType(
    {
        dataset.name: dataset
        for dataset in (
            *(_DIGITS, _STATIC_MNIST, _DYNAMIC_MNIST, _FASHION_MNIST),
            *(_OMNIGLOT, _CALTECH, _CIFAR10, _IMAGENET64),
        )
    }
)


def names() -> list[str]:
    """The names that `load` takes."""
    return list(CATALOG)


def info(name: str) -> DatasetInfo:
    """Facts about a benchmark set; `info(name).caveat` belongs beside every figure on it.

    Raises:
      ValueError: if there is no such set.
    """
    if name not in CATALOG:
        raise ValueError(f"`name` must be one of {', '.join(CATALOG)}. Received: name={name!r}")
    return CATALOG[name]


def check_split(split: str) -> str:
    """Returns "train", "valid" or "test"; "validation" is another word for "valid"."""
    checked = "valid" if split == "validation" else split
    if checked not in SPLITS:
        raise ValueError(f"`split` must be one of {', '.join(SPLITS)}. Received: split={split!r}")
    return checked
