"""Dropout with a seed."""

import numpy as np
import pytest

from tfdvae.layers.dropout import Dropout


def test_the_mean_is_kept_and_the_mask_is_the_seeds():
    x = np.ones([400, 50], np.float32)
    layer = Dropout(0.3)
    np.testing.assert_array_equal(layer(x), x)
    y = layer(x, seed=1).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1.0 / 0.7)}
    error = 5.0 * np.sqrt(0.3 * 0.7 / y.size)
    assert abs(np.mean(y == 0.0) - 0.3) < error
    np.testing.assert_array_equal(layer(x, seed=1), y)
    assert np.any(layer(x, seed=2) != y)
    np.testing.assert_array_equal(Dropout.from_config(layer.get_config())(x, seed=1), y)


@pytest.mark.parametrize("rate", [1.0, -0.1, "half"])
def test_rates_that_are_refused(rate):
    with pytest.raises(ValueError, match=f"`rate` must be .* Received: rate={rate!r}"):
        Dropout(rate)
