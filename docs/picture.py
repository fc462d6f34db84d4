"""Boxes in columns with arrows between them, drawn as a small SVG."""

import dataclasses
import html
import io
import itertools
import pathlib
import re
from collections.abc import Sequence

import matplotlib
from matplotlib import patches
from matplotlib.figure import Figure
from matplotlib.path import Path

COLOURS = {
    "residual blocks": "#d9e8f7",
    "fully connected": "#fde5cc",
    "convolution": "#dcefd6",
    "batch normalization": "#ececec",
    "prior": "#e6dcf2",
    "variables": "#ffffff",
    # Packages.
    "models": "#d9e8f7",
    "training": "#ececec",
    "objectives": "#fde5cc",
    "latents": "#dcefd6",
    "boltzmann": "#e6dcf2",
    "export": "#ffffff",
}
# In inches.
BOX_WIDTH, LINE, PADDING, GAP, LEGEND = 1.4, 0.145, 0.055, 0.18, 0.45
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "font.size": 8.0,
    "svg.fonttype": "none",  # text stays text: small files, and a test can read it
    "svg.hashsalt": "tfdvae",
}


@dataclasses.dataclass(frozen=True)
class Box:
    """A box by its centre; without a kind it stands for those that are left out."""

    name: str
    kind: str | None
    lines: tuple[str, ...]
    x: float
    y: float

    @property
    def height(self) -> float:
        """The height."""
        return (1 + len(self.lines)) * LINE + 2 * PADDING if self.kind else LINE

    @property
    def top(self) -> float:
        """The upper edge (y grows downwards)."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height / 2

    @property
    def left(self) -> float:
        """The left edge."""
        return self.x - BOX_WIDTH / 2

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + BOX_WIDTH / 2


class Picture:
    """What is drawn: boxes, arrows and titles."""

    def __init__(self):
        self.boxes, self.arrows, self.titles = [], [], []

    def box(self, x: float, y: float, name: str, kind: str | None, *lines: str) -> Box:
        """Places a box with its centre at `(x, y)`."""
        self.boxes.append(Box(name, kind, lines, x, y))
        return self.boxes[-1]

    def column(self, x: float, top: float, entries: Sequence, gap: float = GAP) -> list[Box]:
        """Places `(name, kind, *lines)`s one below the other; `None` stands for some that are left out."""
        boxes = []
        for entry in entries:
            name, kind, *lines = entry or ("⋮", None)
            half = Box(name, kind, tuple(lines), x, 0.0).height / 2
            boxes.append(self.box(x, top + half, name, kind, *lines))
            top += 2 * half + gap
        return boxes

    def title(self, x: float, *lines: str) -> None:
        """Writes above the boxes."""
        self.titles += [(x, 0.22 + 0.18 * i, line) for i, line in enumerate(lines)]

    def chain(self, boxes: Sequence[Box]) -> None:
        """Arrows from each box of a column to the next."""
        for upper, lower in itertools.pairwise(boxes):
            if lower.kind:
                self.arrows.append([(upper.x, upper.bottom), (lower.x, lower.top)])

    def fan(self, source: Box, targets: Sequence[Box], x: float, shift: float = 0.0) -> None:
        """Arrows from a box by a common vertical line at `x` to the near sides of others."""
        start = source.right if x > source.x else source.left
        for target in targets:
            if target.kind:
                end = target.left if x < target.x else target.right
                y = target.y + shift
                self.arrows.append([(start, source.y), (x, source.y), (x, y), (end, y)])

    def elbow(self, source: Box, target: Box, lane: int = 0) -> None:
        """An arrow down from a box, and sideways to another below it; in the same column along its left.

        Arrows from different boxes of a column do not meet if they have different lanes.
        """
        if source.x == target.x:
            x = source.left - 0.06 - 0.05 * lane
            points = [(source.left, source.y), (x, source.y), (x, target.y), (target.left, target.y)]
        else:
            right = target.x > source.x
            x = source.x + (0.4 - 0.08 * lane) * (BOX_WIDTH if right else -BOX_WIDTH)
            points = [(x, source.bottom), (x, target.y), (target.left if right else target.right, target.y)]
        self.arrows.append(points)

    def labels(self) -> list[str]:
        """All that is written in the boxes and titles."""
        titles = [text for _, _, text in self.titles]
        return titles + [line for box in self.boxes for line in (box.name, *box.lines)] + self._kinds()

    def _kinds(self):
        return [kind for kind in COLOURS if any(box.kind == kind for box in self.boxes)]

    def save(self, path: pathlib.Path) -> None:
        """Writes the SVG; the same picture gives the same file."""
        width = max(box.right for box in self.boxes) + 0.1
        height = max(box.bottom for box in self.boxes) + LEGEND
        with matplotlib.rc_context(_STYLE):
            figure = Figure(figsize=(width, height), facecolor="white")
            axes = figure.add_axes((0, 0, 1, 1))
            axes.set(xlim=(0, width), ylim=(height, 0))
            axes.axis("off")
            for points in self.arrows:
                axes.add_patch(
                    patches.FancyArrowPatch(
                        path=Path(points), arrowstyle="-|>", mutation_scale=7, linewidth=0.7, color="#555555"
                    )
                )
            for x, y, text in self.titles:
                axes.text(x, y, text, ha="center", va="center", fontsize=9)
            for box in self.boxes:
                _draw(axes, box)
            x, y = 0.2, height - 0.2
            for kind in self._kinds():
                axes.add_patch(_rectangle(x, y - 0.06, 0.16, 0.12, COLOURS[kind]))
                axes.text(x + 0.22, y, kind, va="center")
                x += 0.5 + 0.07 * len(kind)
            for artist in (*axes.patches, *axes.texts):
                artist.set_clip_on(False)
            file = io.StringIO()
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        path.write_text(_shortened(file.getvalue()), encoding="utf-8")


def _draw(axes, box):
    if box.kind is None:
        axes.text(box.x, box.y, box.name, ha="center", va="center", fontsize=12)
        return
    axes.add_patch(_rectangle(box.left, box.top, BOX_WIDTH, box.height, COLOURS[box.kind]))
    y = box.top + PADDING + LINE / 2
    size = _STYLE["font.size"] * min(1.0, 20 / len(box.name))  # long names fit too
    axes.text(box.x, y, box.name, ha="center", va="center", weight="bold", fontsize=size)
    for i, line in enumerate(box.lines, 1):
        axes.text(box.x, y + i * LINE, line, ha="center", va="center")


def _rectangle(x, y, width, height, colour):
    return patches.FancyBboxPatch(
        (x, y),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.04",
        facecolor=colour,
        edgecolor="#555555",
        linewidth=0.7,
    )


def _shortened(svg: str) -> str:
    """Without comments and with two decimals, which halves the file."""
    svg = re.sub(r"\n *<!--.*?-->", "", svg, flags=re.DOTALL)
    return re.sub(r"(\d\.\d\d)\d+", r"\1", svg)


def read_labels(path: pathlib.Path) -> list[str]:
    """All that is written in an SVG of `Picture.save`."""
    return [
        html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)<", path.read_text(encoding="utf-8"))
    ]
