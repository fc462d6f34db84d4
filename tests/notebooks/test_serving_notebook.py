"""What `serving.ipynb` says of an exported generator is so, in a short run and as committed."""

import re

import numpy as np
import pytest

from tests.notebooks.execution import number, parameters, printed


@pytest.fixture
def name():
    return "serving"


def test_export_holds_the_weights_and_nothing_of_the_training(notebook):
    text = printed(notebook, "export")
    assert text.startswith("wrote generators/digits/1\n")
    files = dict(re.findall(r"^(\S+) +([\d,]+) bytes$", text, re.MULTILINE))
    assert {"saved_model.pb", "model_card.json", "batching_params.pbtxt"} <= set(files)
    stored = int(files["variables/variables.data-00000-of-00001"].replace(",", ""))
    # Four bytes each: encoder of two groups, decoder, machine, and at most 2 numbers a unit of batch
    # normalization; a byte for each bit of the bank. Adam alone would hold twice the weights more.
    groups, hidden, pixels = (16, 16), 200, 784
    assert stored < 1.2 * (4 * weights(groups, hidden, pixels) + 1000 * groups[0])
    assert number(text, "variables  ") <= stored
    assert number(text, "problems") == 0


def weights(groups, hidden, pixels):
    """Of the nonlinear networks: two hidden layers for each group and for the decoder."""

    def network(inputs, outputs):
        return inputs * hidden + hidden * hidden + hidden * outputs

    encoder = network(pixels, groups[0]) + network(pixels + groups[0], groups[1])
    return encoder + network(sum(groups), pixels)


def test_samples_depend_on_their_seed_alone(notebook):
    assert "samples are those of a call for 8: True" in printed(notebook, "pictures")
    assert printed(notebook, "alone").splitlines() == [
        "tfdvae imported there: False",
        "the same images: True",
    ]


def test_likelihood_tells_digits_from_those_upside_down(notebook):
    text = printed(notebook, "pictures")
    digits, turned = (number(text, f"log likelihood, {what}") for what in ("test images", "upside down"))
    assert digits < 0
    if parameters(notebook)["NUM_STEPS"] >= 100:
        assert digits > turned + 20


def test_rows_do_not_depend_on_their_neighbours(notebook):
    text = printed(notebook, "rows")
    assert "rows that are NaN: [3, 7]" in text
    assert "alone and in the batch: 14 of 14" in text
    assert np.float64(re.search(r"probabilities: (\S+)", text)[1]) < 1e-5
    assert "`images` must be finite" in text


def test_a_client_without_a_server_says_so(notebook):
    assert re.match(
        r"The server refused a request to http://127.0.0.1:1\S+ after 2 attempts: no connection",
        printed(notebook, "no-server"),
    )
