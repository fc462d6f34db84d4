"""Pictures of the models and tables of their parameters, for the pages in `docs/models`.

    python -m docs.architecture

builds the models of all configs below, one after the other, and writes their pictures and the tables into the
pages. A test compares both with the models.
"""

import gc
import itertools
import pathlib
import re
import textwrap
from collections.abc import Callable

import numpy as np

from docs.picture import BOX_WIDTH, Picture
from trainers import experiment
from trainers.configs import dvaepp, dvaepp_digits, dvaepp_mnist_small, pixelvaepp, section_7_2

FOLDER = pathlib.Path(__file__).parent / "models"
DVAE = {"-".join(parts): section_7_2.get_config for parts in itertools.product(*section_7_2.CHOICES)}
DVAEPP = {
    "dvaepp_digits": lambda _: dvaepp_digits.get_config(),
    "dvaepp_mnist_small": lambda _: dvaepp_mnist_small.get_config(),
    **{name: dvaepp.get_config for name in dvaepp.ARCHITECTURES},
}
PIXELVAEPP = {name: pixelvaepp.get_config for name in pixelvaepp.ARCHITECTURES}
# Of these configs there are pictures.
DVAE_PICTURES = ("static_mnist-2-nonlinear-rbm", "static_mnist-2-nonlinear-joint")
DVAEPP_PICTURES = ("dvaepp_digits", "static_mnist", "omniglot", "caltech101_silhouettes", "cifar10")
PIXELVAEPP_PICTURES = ("static_mnist", "cifar10")
TOP = 0.65  # of the columns, below the titles
TIMES = "\N{MULTIPLICATION SIGN}"


def build(configs: dict[str, Callable], name: str):
    """The model of a config, not centred on any data."""
    return experiment.model(configs[name](name), data_dir=False)


# --- counts ---


def _count(*layers) -> int:
    return sum(int(np.prod(v.shape)) for layer in layers for v in layer.trainable_variables)


def with_totals(parts: dict[str, int], model) -> dict[str, int]:
    """Adds the total and what is not trained.

    Raises:
      ValueError: if the parts leave out a variable, or have one twice.
    """
    total = _count(model)
    if sum(parts.values()) != total:
        raise ValueError(f"The parts have {sum(parts.values())} parameters, the model {total}: {parts}")
    state = sum(int(np.prod(v.shape)) for v in model.non_trainable_variables)
    return {**parts, "total": total, "not trained": state}


def dvae_counts(model) -> dict[str, int]:
    """The trainable parameters of each part of a `DVAE`."""
    encoders = {encoder.name: _count(encoder) for encoder in model.encoders}
    parts = {**encoders, "prior": _count(model.prior), "decoder": _count(model.decoder)}
    return with_totals(parts, model)


def dvaepp_counts(model) -> dict[str, int]:
    """The trainable parameters of each part of a `DVAEPlusPlus`, in the order of table 4."""
    normalizations = (model.input_normalization, model.down1_normalization, model.down2_normalization)
    parts = {
        "batch normalizations": _count(*normalizations),
        "down1": _count(model.down1),
        "down2": _count(model.down2),
        "q(z), all groups": _count(*model.global_networks),
        "upsample": _count(model.upsample),
        "q(h), all groups": _count(*model.local.posterior_networks),
        "p(h), all groups": _count(*model.local.prior_networks),
        "decoder: context and upsample": _count(*model.decoder.stages),
        "decoder: input": _count(*model.decoder.input_networks),
        "decoder: parameters of p(x)": _count(*model.decoder.parameter_layers),
        "p(z), Boltzmann machine": _count(model.prior),
    }
    return with_totals(parts, model)


def pixelvaepp_counts(model) -> dict[str, int]:
    """The trainable parameters of each part of a `PixelVAEPlusPlus`; the decoder in two."""
    alone = type(model).from_config(
        {**model.get_config(), "concatenated_units": (), "conditioning_units": 0, "shared_units": 0}
    )
    networks = model.latent_networks
    kinds = (networks.image_encoder, networks.image_features, networks.conditioning_encoder)
    parts = {
        "PixelCNN++": _count(alone),
        "decoder: what latents add": _count(model.decoder) - _count(alone.decoder),
        **{
            name: _count(*([] if layer is None else [layer]))
            for name, layer in zip(("q(z1)", "features of z1", "q(z2)"), kinds, strict=True)
        },
        "q(z3)": _count(*networks.shared_encoders),
        "features of z3": _count(*networks.shared_features),
        "p(z), Boltzmann machine": _count(model.prior),
    }
    return with_totals(parts, model)


def _merged(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Puts together the names that have the same counts."""
    names = {}
    for name, parts in counts.items():
        names.setdefault(tuple(parts.items()), []).append(name)
    return {", ".join(same): dict(parts) for parts, same in names.items()}


def table(counts: dict[str, dict[str, int]], parts_are_rows: bool) -> str:
    """A Markdown table of the counts of each config; configs with equal counts share a place."""
    counts = _merged(counts)
    parts = max(counts.values(), key=len)
    cells = {(name, part): f"{n:,}" for name, own in counts.items() for part, n in own.items()}
    if parts_are_rows:
        rows = [["part", *counts], *([part, *(cells.get((c, part), "-") for c in counts)] for part in parts)]
    else:
        rows = [["config", *parts], *([c, *(cells.get((c, part), "-") for part in parts)] for c in counts)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- |" + " ---: |" * (len(rows[0]) - 1))
    return "\n".join(lines)


def dvae_table() -> str:
    """The table of all configs of section 7.2, which are the same for both data sets."""
    counts = {}
    for name in DVAE:
        parts = dvae_counts(build(DVAE, name))
        if counts.setdefault(name.partition("-")[2], parts) != parts:
            raise ValueError(f"The config {name} has other parameters for another data set: {parts}")
    return table(counts, parts_are_rows=False)


# --- pictures ---


def _shape(*sizes) -> str:
    return TIMES.join(str(n) for n in sizes)


def _sum(units) -> str:
    return " + ".join(str(n) for n in units)


def _residual(stack, *lines):
    blocks = textwrap.wrap(stack.blocks_spec.replace("down", "↓").replace("up", "↑"), 18)
    shape = _shape(*stack.output_shape_of_images)
    return (stack.name, "residual blocks", *lines, *blocks, f"→ {shape}")


def _dense(stack):
    widths = [str(n) for n in (*stack.hidden_units, stack.output_units)]
    lines = [_sum(stack.input_units), f"→ {', '.join(widths)}"]
    if len(lines[0]) > 18:
        lines[0] = f"{stack.input_units[0]} + … + {stack.input_units[-1]}"
    if stack.hidden_units:
        lines.append(stack.activation.__name__ + (", normalized" if stack.batch_normalization else ""))
    return (stack.name, "fully connected", *lines)


def _machine(rbm):
    return (rbm.name, "prior", f"{rbm.left_units} left, {rbm.right_units} right")


def _few(entries: list) -> list:
    return entries if len(entries) <= 3 else [*entries[:2], None, entries[-1]]


def draw_dvae(model) -> Picture:
    """Encoder, prior and decoder of a `DVAE`."""
    picture = Picture()
    pixels = ("x", "variables", _shape(*model.image_shape))
    a, b, c = (0.25 + BOX_WIDTH / 2 + i * (BOX_WIDTH + 0.6) for i in range(3))
    picture.title(a, "a) encoder", "q(z, ζ | x)")
    centred = ("x - data_mean", "variables", f"{model.data_mean.shape[0]}")
    boxes = picture.column(a, TOP, [pixels, centred, *(_dense(encoder) for encoder in model.encoders)])
    picture.chain(boxes)
    picture.fan(boxes[1], boxes[3:], a - BOX_WIDTH / 2 - 0.15)

    picture.title(b, "b) prior", "p(z)")
    if model.rbm is not None:
        picture.column(b, TOP, [_machine(model.rbm)])
    else:
        first = ("first_logits", "prior", f"→ {model.latent_units[0]}")
        picture.chain(picture.column(b, TOP, [first, *(_dense(network) for network in model.prior.networks)]))

    picture.title(c, "c) decoder", "p(x | ζ)")
    latents = ", ".join(f"ζ_{i}" for i in range(len(model.latent_units)))
    picture.chain(
        picture.column(
            c, TOP, [(latents, "variables", _sum(model.latent_units)), _dense(model.decoder), pixels]
        )
    )
    return picture


def draw_dvaepp(model) -> Picture:
    """Encoder, prior and decoder of a `DVAEPlusPlus`, arranged as in figure 7 of the paper."""
    picture = Picture()
    a, pitch = 0.25 + BOX_WIDTH / 2, BOX_WIDTH + 0.32
    b, c = a + pitch, a + 2 * pitch + 0.15
    d, e = c + pitch, c + 2 * pitch

    def normalization(layer):
        return (layer.name, "batch normalization")

    def group(networks):
        return _few([_residual(network) for network in networks])

    # a) x and two columns: down to the global latents, and the local ones.
    upsample = _residual(model.upsample)
    down = picture.column(
        a,
        TOP,
        [
            ("x", "variables", _shape(*model.image_shape)),
            normalization(model.input_normalization),
            _residual(model.down1),
            normalization(model.down1_normalization),
            _residual(model.down2),
            normalization(model.down2_normalization),
            *_few([_dense(network) for network in model.global_networks]),
            upsample,
        ],
    )
    picture.title((a + b) / 2, "a) encoder", "q(z, ζ, h | x)")
    picture.chain(down)
    features, top, context = down[3], down[5], down[-1]
    picture.fan(top, down[7:-1], a - BOX_WIDTH / 2 - 0.15)
    posterior = picture.column(b, features.top, group(model.local.posterior_networks), gap=0.3)
    picture.chain(posterior)
    picture.fan(features, posterior, (a + b) / 2 - 0.05, -0.09)
    picture.fan(context, posterior, (a + b) / 2 + 0.05, 0.09)

    # b) the machine, and the local latents given its units.
    picture.title(c, "b) prior", "p(z, ζ, h)")
    prior = picture.column(
        c,
        TOP,
        [_machine(model.rbm), (*upsample, "(shared with a)"), *group(model.local.prior_networks)],
        gap=0.3,
    )
    picture.chain(prior)
    picture.fan(prior[1], prior[3:], c - BOX_WIDTH / 2 - 0.15)

    # c) stages on the left; the pixels of each scale, and what the next stage sees of them, on the right.
    picture.title((d + e) / 2, "c) decoder", "p(x | ζ, h)")
    _draw_decoder(picture, model, d, e)
    return picture


def _draw_decoder(picture, model, left, right):
    decoder, scales, channels = model.decoder, model.decoder.scales, model.image_shape[-1]
    names = ["context", *(f"upsample {i + 1}" for i in range(len(model.decoder_blocks)))]
    if len(scales) == 1:
        names = ["context, upsample"]
    latents = ("upsample, h", "variables", _shape(*decoder.stages[0].input_shapes[0]))
    stages = picture.column(left, TOP, [latents])
    top, between, seen = stages[0].bottom + 0.4, (left + right) / 2, None
    for i, (stage, layer, name) in enumerate(
        zip(decoder.stages, decoder.parameter_layers, names, strict=True)
    ):
        size = scales.sizes[i]
        stride = f", stride {layer.strides[0]}" if layer.strides[0] > 1 else ""
        new = f"{int(scales.new_pixels(i).sum())} new of " if i > 0 else ""
        entries = [
            (layer.name, "convolution", f"3{TIMES}3{stride}", f"→ {_shape(*size, layer.filters)}"),
            (f"x_{i}" if len(scales) > 1 else "x", "variables", new + _shape(*size, channels)),
            *(_residual(network) for network in decoder.input_networks[i : i + 1]),
        ]
        boxes = picture.column(right, top, entries)
        picture.chain(boxes)
        # A stage stands between what it sees of the scale before and the parameters of its own.
        y = boxes[0].y if seen is None else (seen.y + boxes[0].y) / 2
        stages.append(picture.box(left, y, *_residual(stage, f"({name})")))
        picture.fan(stages[-1], boxes[:1], between)
        if seen is not None:
            picture.fan(seen, stages[-1:], between + 0.06, -0.12)
        seen, top = boxes[-1], boxes[-1].bottom + 0.18
    picture.chain(stages)


def draw_pixelvaepp(model) -> Picture:
    """Latents, the decoder's way down and up, and the prior of a `PixelVAEPlusPlus`, as figure 1 of the
    paper.
    """
    picture, decoder, networks = Picture(), model.decoder, model.latent_networks
    a, pitch = 0.4 + BOX_WIDTH / 2, BOX_WIDTH + 0.32
    b, c, d, e = (a + i * pitch for i in range(1, 5))
    z1, z2, z3 = ([units for (units,) in field] for field in model.latent_shapes)
    n = model.residual_layers
    pixels = ("x", "variables", _shape(*model.image_shape))

    # b), c), d) one row for each size: blocks down, shared latents, blocks up.
    down = picture.column(
        b, TOP, [pixels, ("entry", "convolution", f"→ {_shape(*decoder.sizes[0], model.filters)}")]
    )
    up, shared, top = [], [], down[-1].bottom + 0.3
    for i, size in enumerate(decoder.sizes):
        first = [f"stride {2 if decoder.strides else 1}, then"] if i else []
        shape = f"→ {_shape(*size, model.filters)}"
        lines = (*first, f"{n} gated blocks", shape)
        [box] = picture.column(b, top, [(f"down {i}", "residual blocks", *lines)])
        down.append(box)
        up.append(picture.box(d, box.y, f"up {i}", "residual blocks", f"{n + 1} gated blocks", shape))
        if z3:
            shared.append(picture.box(c, box.y, "z3", "variables", f"{n + 1} groups of {z3[0]}"))
        top = box.bottom + 0.35
    output = picture.column(
        d,
        TOP,
        [pixels, (decoder.parameters_layer.name, "convolution", f"1{TIMES}1", f"→ {decoder.num_parameters}")],
    )
    picture.title((b + d) / 2, "b) decoder: down, then up", "p(x | z1, z2, z3), q(z3 | x, z1, z2)")
    picture.chain(down)
    for upper, lower in itertools.pairwise([*output, *up]):
        picture.arrows.append([(lower.x, lower.top), (upper.x, upper.bottom)])
    for i, (left, right) in enumerate(zip(down[2:], up, strict=True)):
        for box, other in itertools.pairwise([left, *shared[i : i + 1], right]):
            picture.arrows.append([(box.right, box.y), (other.left, other.y)])

    # a) the latents that are known before the way down.
    picture.title(a, "a) encoder", "q(z1 | x), q(z2 | x)")
    entries = [pixels]
    if z1:
        pairs = len(networks.image_encoder.convolutions) // 2
        entries += [
            ("image_encoder", "convolution", f"{pairs} pairs 3{TIMES}3", f"→ {_sum(z1)}"),
            ("z1", "variables", _sum(z1)),
            (
                "image_features",
                "convolution",
                f"→ {_shape(*decoder.sizes[0], networks.image_features.convolutions[-1].filters)}",
            ),
        ]
    boxes = picture.column(a, TOP, entries)
    picture.chain(boxes)
    if z1:
        picture.fan(boxes[-1], [down[1]], (a + b) / 2)
    if z2:
        condition = picture.column(
            a,
            boxes[-1].bottom + 0.3,
            [
                ("conditioning_encoder", "convolution", f"→ {_sum(z2)}"),
                ("z2", "variables", _sum(z2), "to all blocks"),
            ],
        )
        picture.chain(condition)
        picture.elbow(boxes[0], condition[0])
    picture.title(e, "c) prior", "p(z1, z2, z3)")
    if model.rbm is not None:
        picture.column(e, TOP, [_machine(model.rbm)])
    return picture


# --- pages ---

_TABLE = re.compile(r"(?<=<!-- parameters -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)


def page_table(page: str) -> str:
    """The table in a page, between two comments."""
    return _TABLE.search((FOLDER / page).read_text(encoding="utf-8"))[0]


def picture_path(page: str, name: str) -> pathlib.Path:
    """Where the picture of a config lies."""
    return FOLDER / f"{page}-{name}.svg"


def _counted_and_drawn(page, configs, count, pictures, draw) -> dict[str, dict[str, int]]:
    """The counts of all configs of a page, one model after the other; saves the pictures."""
    counts = {}
    for name in configs:
        model = build(configs, name)
        counts[name] = count(model)
        if name in pictures:
            draw(model).save(picture_path(page, name))
        del model
        gc.collect()
    return counts


def write() -> None:
    """Writes all pictures and tables."""
    counts = _counted_and_drawn("dvaepp", DVAEPP, dvaepp_counts, DVAEPP_PICTURES, draw_dvaepp)
    for name in DVAE_PICTURES:
        draw_dvae(build(DVAE, name)).save(picture_path("dvae", name))
    pixels = _counted_and_drawn(
        "pixelvaepp", PIXELVAEPP, pixelvaepp_counts, PIXELVAEPP_PICTURES, draw_pixelvaepp
    )
    tables = {
        "dvae.md": dvae_table(),
        "dvaepp.md": table(counts, parts_are_rows=True),
        "pixelvaepp.md": table(pixels, parts_are_rows=True),
    }
    for page, text in tables.items():
        path = FOLDER / page
        path.write_text(
            _TABLE.sub(lambda _, text=text: text, path.read_text(encoding="utf-8")), encoding="utf-8"
        )


if __name__ == "__main__":
    write()
