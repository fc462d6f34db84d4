import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfdvae import data


def arrays(dataset, n=None):
    return [x.numpy() for x in (dataset if n is None else itertools.islice(dataset, n))]


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


def test_digits_need_no_file():
    dataset = data.load("digits", "train", 100)
    assert dataset.element_spec == tf.TensorSpec([100, 28, 28, 1], tf.float32)
    batches = arrays(dataset)
    assert len(batches) == dataset.cardinality() == 12
    np.testing.assert_array_equal(np.unique(batches), [0, 1])
    # Strokes: neither empty nor full, in every image.
    ink = np.concatenate(batches).mean((1, 2, 3))
    assert 0.1 < ink.min() < ink.max() < 0.6


def test_evaluation_splits_are_whole_and_in_order(numbered_mnist, numbers):
    for split, expected in (("valid", range(50, 60)), ("validation", range(50, 60)), ("test", range(60, 80))):
        dataset = data.load("dynamic_mnist", split, 8, numbered_mnist, "none")
        assert dataset.element_spec.shape.as_list() == [None, 28, 28, 1]
        batches = [numbers(x) for x in dataset]
        assert [len(b) for b in batches] == [8] * (len(expected) // 8) + [len(expected) % 8]
        assert flat(batches) == list(expected)


def test_each_epoch_is_another_permutation(numbered_mnist, numbers):
    def epochs(seed):
        stream = data.load(
            "dynamic_mnist", "train", 8, numbered_mnist, "none", seed, num_epochs=3, drop_remainder=False
        )
        batches = [numbers(x) for x in stream]
        assert [len(b) for b in batches] == ([8] * 6 + [2]) * 3
        return [flat(batches[7 * e : 7 * e + 7]) for e in range(3)]

    orders = epochs(0) + epochs(1)
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(map(tuple, orders))) == 6
    assert epochs(0) == orders[:3]
    assert list(range(50)) not in orders


def test_drop_remainder(numbered_mnist, numbers):
    dataset = data.load("dynamic_mnist", "train", 8, numbered_mnist, "none", num_epochs=2)
    batches = [numbers(x) for x in dataset]
    assert [len(b) for b in batches] == [8] * 12
    for epoch in (batches[:6], batches[6:]):
        assert len(set(flat(epoch))) == 48
    assert len(arrays(data.load("dynamic_mnist", "valid", 8, numbered_mnist, drop_remainder=True))) == 1
    ordered = data.load("dynamic_mnist", "train", 8, numbered_mnist, "none", shuffle=False)
    assert flat([numbers(x) for x in ordered]) == list(range(50))


@pytest.mark.parametrize("drop_remainder", [True, False])
@pytest.mark.parametrize("binarization", ["dynamic", "none"])
def test_resumes_exactly(numbered_mnist, binarization, drop_remainder):
    def stream(initial_step, num_epochs=None):
        return data.load(
            "dynamic_mnist",
            "train",
            8,
            numbered_mnist,
            binarization,
            seed=(5, 6),
            initial_step=initial_step,
            num_epochs=num_epochs,
            drop_remainder=drop_remainder,
        )

    whole = arrays(stream(0), 20)
    for initial_step in (1, 6, 7, 13):
        for got, expected in zip(
            arrays(stream(initial_step), 20 - initial_step), whole[initial_step:], strict=True
        ):
            np.testing.assert_array_equal(got, expected)
    steps = 6 if drop_remainder else 7
    rest = stream(steps + 2, num_epochs=2)
    assert rest.cardinality() == steps - 2
    for got, expected in zip(arrays(rest), whole[steps + 2 : 2 * steps], strict=True):
        np.testing.assert_array_equal(got, expected)
    assert arrays(stream(2 * steps, num_epochs=2)) == []


def test_no_end(numbered_mnist):
    dataset = data.load("dynamic_mnist", "train", 50, numbered_mnist, num_epochs=None)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    assert len(arrays(dataset, 30)) == 30


def test_dynamic_binarization(numbered_mnist):
    def epoch(e, seed=0, split="train"):
        return data.load(
            "dynamic_mnist", split, 10, numbered_mnist, "dynamic", seed, 5 * e, shuffle=False, num_epochs=9
        )

    first, second = (np.stack(arrays(epoch(e), 5)) for e in (0, 1))
    np.testing.assert_array_equal(np.unique(first), [0, 1])
    assert first[..., 0, 2, 0].all()
    assert not first[..., 0, 3, 0].any()
    # Grey 100 in all but the first four pixels of 50 images.
    p = 100 / 255
    tolerance = 5.0 * np.sqrt(p * (1 - p) / (50 * 780))
    drawn, again = (x.reshape(50, 784)[:, 4:] for x in (first, second))
    assert abs(drawn.mean() - p) < tolerance
    # Two independent draws agree with probability p^2 + (1 - p)^2 = .524.
    agreement = p**2 + (1 - p) ** 2
    assert abs((drawn == again).mean() - agreement) < 5.0 * np.sqrt(agreement * (1 - agreement) / drawn.size)
    other_seed = np.stack(arrays(epoch(0, seed=1), 5)).reshape(50, 784)[:, 4:]
    assert abs((drawn == other_seed).mean() - agreement) < 5.0 * np.sqrt(
        agreement * (1 - agreement) / drawn.size
    )


def test_an_image_is_drawn_the_same_in_any_order(numbered_mnist):
    def by_label_and_ink(**kwargs):
        x = np.concatenate(arrays(data.load("dynamic_mnist", "train", 10, numbered_mnist, **kwargs)))
        return sorted(image.tobytes() for image in x)

    assert by_label_and_ink() == by_label_and_ink(shuffle=False)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_evaluation_images_are_drawn_once_for_all(numbered_mnist, split):
    def images(binarization, **kwargs):
        return np.concatenate(
            arrays(data.load("dynamic_mnist", split, 10, numbered_mnist, binarization, **kwargs))
        )

    first = images("dynamic")
    np.testing.assert_array_equal(np.unique(first), [0, 1])
    np.testing.assert_array_equal(images("dynamic", seed=7), first)
    np.testing.assert_array_equal(images("static", seed=8), first)
    np.testing.assert_array_equal(images("dynamic", num_epochs=2), np.concatenate([first, first]))
    assert (images("threshold") != first).any()


def test_static_binarization_does_not_depend_on_the_seed_or_epoch(numbered_mnist):
    def images(seed, initial_step=0):
        stream = data.load(
            "dynamic_mnist",
            "train",
            50,
            numbered_mnist,
            "static",
            seed,
            initial_step,
            shuffle=False,
            num_epochs=None,
        )
        return arrays(stream, 1)[0]

    np.testing.assert_array_equal(images(0), images(1))
    np.testing.assert_array_equal(images(0), images(0, initial_step=3))


@pytest.mark.parametrize("binarization", ["none", "dynamic"])
def test_labels_belong_to_images(numbered_mnist, numbers, binarization):
    def load(binarization):
        return data.load(
            "dynamic_mnist", "train", 8, numbered_mnist, binarization, num_epochs=2, with_labels=True
        )

    dataset = load(binarization)
    assert dataset.element_spec[1] == tf.TensorSpec([8], tf.int64)
    for (_, labels), (x, _) in zip(dataset, load("none"), strict=True):
        assert labels.numpy().tolist() == [n % 10 for n in numbers(x)]


def test_training_mean(numbered_mnist):
    mean = data.training_mean("dynamic_mnist", numbered_mnist)
    assert mean.dtype == np.float32
    assert mean.shape == (28, 28, 1)
    np.testing.assert_allclose(mean[0, 2:5, 0], [1, 0, 100 / 255], rtol=1e-6)
    number_mean = np.mean([n % 16 for n in range(50)])
    np.testing.assert_allclose(mean[0, 1, 0], number_mean / 255, rtol=1e-6)
    grey = data.training_mean("dynamic_mnist", numbered_mnist, "none", seed=3)
    np.testing.assert_allclose(grey, mean * 255, rtol=1e-6)
    static = data.training_mean("dynamic_mnist", numbered_mnist, "static")
    shown = arrays(data.load("dynamic_mnist", "train", 50, numbered_mnist, "static"))[0]
    np.testing.assert_allclose(static, shown.mean(0), rtol=1e-6)
    threshold = data.training_mean("dynamic_mnist", numbered_mnist, "threshold")
    assert threshold.sum() == 1.0


def test_num_examples(numbered_mnist):
    sizes = [
        data.num_examples("dynamic_mnist", split, numbered_mnist) for split in ("train", "validation", "test")
    ]
    assert sizes == [50, 10, 20]
    assert data.num_examples("digits", "train") == 1_297


def test_batches_are_shared_out_to_replicas(strategy):
    dataset = data.load("digits", "train", 10, binarization="dynamic", num_epochs=None)
    iterator = iter(strategy.experimental_distribute_dataset(dataset))
    for expected in arrays(dataset, 3):
        parts = strategy.experimental_local_results(next(iterator))
        assert [p.shape[0] for p in parts] == [5, 5]
        np.testing.assert_array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"name": "mnist"}, "`name` must be one of digits, .*Received: name='mnist'"),
        ({"split": "dev"}, "`split` must be one of train, valid, test. Received: split='dev'"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer. Received: batch_size=0"),
        ({"batch_size": -3}, "batch_size=-3"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"batch_size": True}, "batch_size=True"),
        ({"batch_size": 1_298}, "must not exceed the 1297 images of the train split .*batch_size=1298"),
        ({"binarization": "random"}, "`binarization` must be one of default, none, .*binarization='random'"),
        ({"name": "static_mnist", "binarization": "static"}, "static_mnist holds binary images already"),
        ({"name": "static_mnist", "with_labels": True}, "static_mnist has no labels"),
        ({"num_epochs": 0}, "`num_epochs` must be a positive integer, or None for no end. .*num_epochs=0"),
        ({"num_epochs": 1.5}, "num_epochs=1.5"),
        ({"initial_step": 2.0}, "initial_step=2.0"),
        ({"initial_step": -1}, "`initial_step` must be an integer of at least 0. Received: initial_step=-1"),
        ({"seed": None}, "`seed` must be an integer or a pair of integers"),
        ({"seed": 1.7}, "`seed` must be an integer or a pair of integers. Received: seed=1.7"),
    ],
)
def test_refuses(kwargs, message):
    arguments = {"name": "digits", "split": "train", "batch_size": 10} | kwargs
    with pytest.raises(ValueError, match=message):
        data.load(**arguments)
