"""The reference and the pages in docs/: docstrings agree with signatures, tables and pictures with models.

Sphinx is not needed; `make docs` runs it.
"""

import dataclasses
import inspect
import re
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from docs import architecture, docstrings, picture, public, way

MODULES = public.public_modules()
# A sentence begins with a capital letter, a `name` or a formula.
FIRST_LINE = re.compile(r"([A-Z`(-]|[pq]\(|(log|rho|zeta|mean_k|sum_i) ).*[.]", re.DOTALL)
DOCUMENTED_KINDS = (inspect.ismodule, inspect.isclass, inspect.isfunction)
# Those of Keras and of callables in general; where they go is said by the base class.
PASSED_ON = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def explained(doc, section):
    """The names in a section of a docstring, or `None` where there is no such section."""
    match = re.search(rf"^{section}:\n((?:  .*(?:\n|$)|\n)+)", doc, re.MULTILINE)
    return None if match is None else re.findall(r"^  \*{0,2}(\w+):", match[1], re.MULTILINE)


def parameters(function):
    """The parameters of a function, and those of them that need a word, without `self`."""
    found = inspect.signature(function).parameters.values()
    found = [p for p in found if p.name not in ("self", "cls")]
    return [p.name for p in found], [p.name for p in found if p.kind not in PASSED_ON]


def compared(doc, known, needed):
    """What a docstring explains and is not there, and what it does not explain."""
    names = explained(doc, "Args")
    problems = [f"`Args:` has {name}, the signature has not" for name in names or () if name not in known]
    if names is None:
        missing = [name for name in needed if not re.search(rf"\b{name}\b", doc)]
    else:
        missing = [name for name in needed if name not in names]
    return problems + [f"{name} is not explained" for name in missing]


def class_problems(cls):
    """The same of a class: its fields, its constructor, and what it is called with."""
    doc = inspect.getdoc(cls) or ""
    fields = [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else None
    fields = getattr(cls, "_fields", fields)
    if fields is not None:
        names = explained(doc, "Attributes") or []
        problems = [f"`Attributes:` has {name}, the class has not" for name in names if name not in fields]
        return problems + [f"{n} is not explained" for n in fields if not re.search(rf"\b{n}\b", doc)]
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    problems = []
    if owner.__module__.startswith("tfdvae."):
        problems = compared(inspect.getdoc(owner), *parameters(owner.__init__))
    for name in explained(doc, "Call arguments") or ():
        if name not in parameters(cls.call)[0]:
            problems.append(f"`Call arguments:` has {name}, `call` has not")
    return problems


def problems_of(value, is_member=False):
    """What is wrong with the docstring of a module, class, function, method or property."""
    value = getattr(value, "__func__", value)
    if not is_member and not any(is_kind(value) for is_kind in DOCUMENTED_KINDS):
        return ["neither a module, a class nor a function: the reference has no place for it"]
    doc = inspect.getdoc(value) or ""
    first = re.split(r"\n\n|\n(?=Args:|Returns:|Raises:)", doc)[0]
    problems = [] if FIRST_LINE.fullmatch(first) else [f"the first sentence is none: {first!r}"]
    if inspect.isclass(value):
        return problems + class_problems(value)
    if inspect.isfunction(value):
        known, needed = parameters(value)
        # Of a method every parameter or none is explained.
        problems += compared(doc, known, needed if not is_member or explained(doc, "Args") else ())
    return problems


def public_objects(module):
    """A public module, what it exports and the members of its classes, by full name."""
    yield module.__name__, module, False
    for name, value in public.exports(module).items():
        yield f"{module.__name__}.{name}", value, False
        if inspect.isclass(value):
            for member, function in public.own_members(value).items():
                yield f"{module.__name__}.{name}.{member}", function, True


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    objects = list(public_objects(MODULES[name]))
    assert len(objects) > 2
    found = {full: problems_of(value, is_member) for full, value, is_member in objects}
    assert {full: problems for full, problems in found.items() if problems} == {}


def explains_another(a, b):
    """A sentence.

    Args:
      a: is there.
      c: is not.
    """


def explains_nothing(rate, *args, **kwargs):
    """The `rates`."""


def begins_badly():
    """returns nothing"""


class Layer(keras.layers.Layer):
    """A layer.

    Args:
      units: is there.

    Call arguments:
      inputs: is there.
      training: is not.
    """

    def __init__(self, units, activation, **kwargs):
        super().__init__(**kwargs)

    def call(self, inputs):
        return inputs


class Fields(tuple):
    """A tuple of left and right.

    Attributes:
      left: is there.
      centre: is not.
    """

    _fields = ("left", "right", "top")


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        (explains_another, ["`Args:` has c, the signature has not", "b is not explained"]),
        (explains_nothing, ["rate is not explained"]),
        (begins_badly, ["the first sentence is none: 'returns nothing'"]),
        (Layer, ["`Call arguments:` has training, `call` has not"]),
        (Fields, ["`Attributes:` has centre, the class has not", "top is not explained"]),
        ((1, 2), ["neither a module, a class nor a function: the reference has no place for it"]),
        (types.ModuleType("empty"), ["the first sentence is none: ''"]),
    ],
)
def test_problems_are_found(value, problems):
    assert problems_of(value) == problems


def test_constructors_are_checked(monkeypatch):
    monkeypatch.setattr(Layer, "__module__", "tfdvae.layers")
    assert problems_of(Layer)[0] == "activation is not explained"


def test_exports(monkeypatch):
    names = (
        "bijectors boltzmann boltzmann.log_partition callbacks data distributions evaluation layers models "
        "objectives objectives.schedules random"
    )
    assert {f"tfdvae.{name}" for name in names.split()} <= set(MODULES)
    assert "tfdvae.numerics" not in MODULES
    assert list(public.exports(MODULES["tfdvae.bijectors"])) == MODULES["tfdvae.bijectors"].__all__
    # Without `__all__`: what the module defines, not what it imports, nor what begins with an underscore.
    callbacks = public.exports(MODULES["tfdvae.callbacks"])
    assert {"MetricsLog", "ImageGrids"} <= set(callbacks)
    assert not {"Callable", "GibbsState", "chain_health", "_whole_rows"} & set(callbacks)
    # A new export appears by itself.
    module = MODULES["tfdvae.layers"]
    monkeypatch.setattr(module, "__all__", [*module.__all__, "residual"])
    assert "tfdvae.layers.residual" in public.public_modules()


def test_members_are_those_of_the_library():
    members = public.own_members(public.exports(MODULES["tfdvae.models"])["DVAE"])
    assert {"fit", "predict", "log_likelihood", "update_log_partition", "rbm", "from_config"} <= set(members)
    assert not {"summary", "build", "_check_images"} & set(members)
    assert list(public.own_members(public.exports(MODULES["tfdvae.models"])["ElboTerms"])) == ["elbo", "kl"]


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("p*(x, |z|) of *one* `a * |b|` and `Model`s", r"p\*(x, \|z\|) of *one* `a * |b|` and `Model`\ s"),
        ("With\n- one;\n  more\n- two.\nText", "With\n\n- one;\n  more\n- two.\n\nText"),
        ("Text.\n\n    y = a * b\n      + c\n\nText.", "Text.\n\n::\n\n    y = a * b\n      + c\n\nText."),
        ("```python\nx * y\n```\nText", ".. code-block:: python\n\n    x * y\n\nText"),
        ("Args:\n  a: of\n    the *x.\n  **b: c.", "Args:\n  a: of\n    the \\*x.\n  \\*\\*b: c."),
    ],
)
def test_docstrings_become_restructured_text(docstring, expected):
    assert "\n".join(docstrings.to_rst(docstring.split("\n"))) == expected


# --- the guides ---


def run_script(page, index, shorter=None):
    """Runs a script of a page, with fewer steps; returns its names."""
    text = (architecture.FOLDER.parent / page).read_text(encoding="utf-8")
    script = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[index]
    shortened = script.replace(*shorter) if shorter else script
    assert (shortened != script) == bool(shorter)
    names = {"__name__": "script"}
    exec(compile(shortened, page, "exec"), names)
    return names


SHORTER = ("steps_per_epoch=100, epochs=5", "steps_per_epoch=10, epochs=1, verbose=0")


@pytest.mark.slow
def test_the_script_on_own_data_runs(capsys):
    names = run_script("own_data.md", 0, SHORTER)
    assert names["report"].num_examples == 297
    printed = re.search(r"log p\(x\) >= (-\d+\.\d\d) \+- \d\.\d\d on 297 images", capsys.readouterr().out)
    # Better than fair coins for all pixels: 8 * 8 * log 2 = 44.4 nats.
    assert -40 < float(printed[1]) < -20


@pytest.mark.slow
def test_the_script_on_own_networks_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_script("own_networks.md", 0, SHORTER)
    printed = re.search(r"log p\(x\) >= (-\d+\.\d\d)", capsys.readouterr().out)
    assert -400 < float(printed[1]) < -100  # fair coins have -543
    again = keras.saving.load_model("own.keras")
    got, want = (m.log_likelihood(names["test"][:4], 5, seed=1) for m in (again, names["model"]))
    np.testing.assert_array_equal(got, want)


def test_the_scripts_on_own_likelihoods_and_objectives_run():
    model = run_script("own_networks.md", 1)["model"]
    objective = run_script("own_networks.md", 3)["StraightThrough"]()
    counts = np.random.default_rng(0).binomial(16, 0.3, (20, 8, 8, 1)).astype(np.float32)
    model.compile("adam", objective, run_eagerly=True)
    assert np.isfinite(model.fit(counts, batch_size=10, verbose=0).history["elbo"]).all()
    every = tf.reshape(tf.range(17.0), [17, 1, 1, 1])
    log_p = model.pixels.log_prob(every, tf.fill([17, 1, 1, 1], 0.7))
    np.testing.assert_allclose(np.exp(log_p).sum(), 1.0, rtol=1e-5)
    images = model.sample(50, seed=0)
    assert model.pixels.are_valid(images)
    with pytest.raises(ValueError, match="The pixels must be counts from 0 to 16"):
        model.elbo_terms(counts + 0.5, seed=0)
    model = type(model).from_config(model.get_config())
    assert model.pixels.n == 16


def test_the_script_on_own_smoothings_runs():
    names = run_script("own_networks.md", 2)
    q, rho = np.meshgrid([0.0, 0.3, 0.5, 0.9, 1.0], np.linspace(0.001, 0.999, 99))
    zeta = np.float64(names["Triangular"](probs=q.astype(np.float32)).quantile(rho.astype(np.float32)))
    np.testing.assert_allclose(q * zeta**2 + (1 - q) * (2 * zeta - zeta**2), rho, atol=1e-6)
    model = names["model"]
    model.compile("adam", run_eagerly=True)
    images = np.random.default_rng(0).binomial(1, 0.3, (20, 8, 8, 1)).astype(np.float32)
    assert np.isfinite(model.fit(images, batch_size=10, verbose=0).history["loss"]).all()
    again = type(model).from_config(model.get_config())
    assert type(again.smoothing) is names["TriangularSmoothing"]


@pytest.mark.slow
def test_the_script_of_stages_runs(capsys):
    run_script("models/hybrid_rbm.md", 0, ("steps_per_epoch=200", "steps_per_epoch=30, verbose=0"))
    printed = re.search(r"log p\(x\) >= (-\d+\.\d\d)", capsys.readouterr().out)
    assert -350 < float(printed[1]) < -100  # fair coins have -543


@pytest.mark.slow
def test_the_script_of_pixelvaepp_runs(capsys):
    names = run_script("models/pixelvaepp.md", 0, SHORTER)
    printed = re.search(r"log p\(x\) >= (-\d+\.\d\d)", capsys.readouterr().out)
    assert -400 < float(printed[1]) < -100  # fair coins have -543
    assert names["images"].shape == names["lower_halves"].shape == (16, 28, 28, 1)


# --- the pictures of the house ---


def test_the_pictures_of_an_images_way_are_those_of_a_run():
    for name, drawn in way.pictures().items():
        assert picture.read_labels(way.picture_path(name)) == drawn.labels(), name


# --- the pages of the models ---


def columns(text):
    """The columns of a Markdown table by name; a column of several names stands under each."""
    rows = [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in text.split("\n")]
    return {
        name: {row[0]: row[i] for row in rows[2:]}
        for i, header in enumerate(rows[0])
        for name in header.split(", ")
    }


@pytest.mark.slow
def test_the_table_of_dvae():
    assert architecture.page_table("dvae.md") == architecture.dvae_table()


def test_the_table_of_dvaepp():
    found = columns(architecture.page_table("dvaepp.md"))
    assert set(found) == {"part", *architecture.DVAEPP}
    counts = architecture.dvaepp_counts(architecture.build(architecture.DVAEPP, "dvaepp_digits"))
    assert found["dvaepp_digits"] == {part: f"{n:,}" for part, n in counts.items()}
    assert list(found["cifar10"]) == list(counts)


@pytest.mark.slow
@pytest.mark.parametrize("name", architecture.PIXELVAEPP)
def test_pixelvaepp_of_the_papers_size(name):
    """The paper has 40 million parameters for CIFAR-10, 6 of them for the latents."""
    model = architecture.build(architecture.PIXELVAEPP, name)
    counts = architecture.pixelvaepp_counts(model)
    column = columns(architecture.page_table("pixelvaepp.md"))[name]
    assert column == {part: f"{n:,}" for part, n in counts.items()}
    if name in architecture.PIXELVAEPP_PICTURES:
        drawn = picture.read_labels(architecture.picture_path("pixelvaepp", name))
        assert drawn == architecture.draw_pixelvaepp(model).labels()
    if name == "cifar10":
        assert 39e6 < counts["total"] < 43e6
        assert 5e6 < counts["total"] - counts["PixelCNN++"] < 7e6


@pytest.mark.slow
@pytest.mark.parametrize("name", architecture.DVAEPP)
def test_dvaepp_of_the_papers_size(name):
    model = architecture.build(architecture.DVAEPP, name)
    column = columns(architecture.page_table("dvaepp.md"))[name]
    assert column == {part: f"{n:,}" for part, n in architecture.dvaepp_counts(model).items()}
    if name in architecture.DVAEPP_PICTURES:
        drawn = picture.read_labels(architecture.picture_path("dvaepp", name))
        assert drawn == architecture.draw_dvaepp(model).labels()


@pytest.mark.parametrize(
    ("page", "name"),
    [("dvaepp", "dvaepp_digits"), *(("dvae", name) for name in architecture.DVAE_PICTURES)],
)
def test_pictures(page, name, tmp_path):
    configs, draw = {
        "dvae": (architecture.DVAE, architecture.draw_dvae),
        "dvaepp": (architecture.DVAEPP, architecture.draw_dvaepp),
    }[page]
    drawn = draw(architecture.build(configs, name))
    assert picture.read_labels(architecture.picture_path(page, name)) == drawn.labels()
    drawn.save(tmp_path / "drawn.svg")
    assert picture.read_labels(tmp_path / "drawn.svg") == drawn.labels()
    assert len(drawn.labels()) > 20


def test_a_picture_is_of_one_model():
    other, name = architecture.DVAE_PICTURES
    path = architecture.picture_path("dvae", other)
    drawn = architecture.draw_dvae(architecture.build(architecture.DVAE, name))
    assert picture.read_labels(path) != drawn.labels()


def test_parts_that_are_not_the_model_are_refused():
    model = architecture.build(architecture.DVAE, "static_mnist-1-linear-joint")
    parts = architecture.dvae_counts(model)
    assert parts["total"] == 784 * 200 + 200 + 200 + 200 * 784 + 784
    del parts["total"], parts["not trained"], parts["prior"]
    with pytest.raises(ValueError, match="The parts have 314584 parameters, the model 314784"):
        architecture.with_totals(parts, model)


def test_pages_show_every_picture():
    for page in ("dvae", "dvaepp", "pixelvaepp"):
        names = getattr(architecture, f"{page.upper()}_PICTURES")
        text = (architecture.FOLDER / f"{page}.md").read_text(encoding="utf-8")
        shown = set(re.findall(r"\]\(([\w-]+\.svg)\)", text))
        assert shown == {architecture.picture_path(page, name).name for name in names}
        assert shown <= {path.name for path in architecture.FOLDER.glob("*.svg")}
