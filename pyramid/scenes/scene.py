"""A small procedural world: landscapes of eight labels, each with its hour and a map of its materials.

`plan` draws every parameter of scene n from (seed, n), before and independently of any size: layers from
the sky to the foreground. `render` paints them at any size, twice as fine as asked and averaged, so that
a scene is the same scene at 32 and at 256 px; as a picture, a line drawing, or a flat poster.
"""

from dataclasses import dataclass, replace

import numpy as np

from pyramid.errors import InputError
from pyramid.scenes.builders import BUILDERS, LABELS
from pyramid.scenes.canvas import FINER, LIGHTS, TIMES, Canvas, step
from pyramid.scenes.crowd import with_people
from pyramid.scenes.layers import Figures, Layer
from pyramid.scenes.people import Jointed, Person

STYLES = ("picture", "lines", "poster")
SIZES = (32, 256)  # smallest and largest side in pixels


@dataclass(frozen=True)
class Plan:
    """Everything that fixes a scene but its size."""

    label: str
    time: str
    layers: tuple[Layer, ...]

    @property
    def people(self) -> tuple[Person, ...]:
        """Everybody in the scene, the farthest first."""
        return tuple(layer for layer in self.layers if isinstance(layer, Person))


@dataclass(frozen=True)
class Scene:
    """One scene at one size.

    image: uint8 (S, S, 3); materials: uint8 (S, S), indices into MATERIALS; things: int16 (S, S), indices into
    `kinds`, which has a name for each figure ("person", "sail", …) and "" for whatever is none.
    """

    image: np.ndarray
    materials: np.ndarray
    label: str
    time: str
    things: np.ndarray
    kinds: tuple[str, ...]


def plan(number: int, seed: int = 0, people: bool = False) -> Plan:
    """The plan of a scene: label, hour and layers, from (seed, number) alone.

    people: whether there may be people, as in six scenes of ten; the landscape is the same with and without.
    """
    rng = np.random.default_rng((seed, number))
    label = LABELS[rng.integers(len(LABELS))]
    time = TIMES[rng.choice(3, p=(0.5, 0.25, 0.25))]
    layers = BUILDERS[label](rng, time)
    return Plan(label, time, tuple(with_people(rng, label, time, layers) if people else layers))


def without_figures(planned: Plan) -> Plan:
    """The same landscape without people, trees, boats and whatever else stands in it."""
    return replace(planned, layers=tuple(x for x in planned.layers if not isinstance(x, Figures | Jointed)))


def render(number: int, size: int, seed: int = 0, style: str = "picture", people: bool = False) -> Scene:
    """Paint a scene at size x size pixels.

    Args:
        number: 0 or more; with `seed` it fixes the scene.
        size: pixels, 32 to 256.
        style: "picture", "lines" (dark lines on white) or "poster" (one flat colour a thing).
        people: whether there may be people in it, see `plan`.

    Raises InputError for a size or style there is not.
    """
    return paint(plan(number, seed, people), size, style)


def paint(planned: Plan, size: int, style: str = "picture") -> Scene:
    """Paint what was planned, as `render` does. Raises InputError for a size or style there is not."""
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"Scenes are drawn at {SIZES[0]} to {SIZES[1]} px, not {size}; give a size in between.")
    if style not in STYLES:
        raise InputError(f"There is no style {style!r}; the styles are {', '.join(STYLES)}.")
    canvas = Canvas(size, LIGHTS[planned.time])
    for layer in planned.layers:
        canvas.next_layer()
        layer.paint(canvas)
    rgb = {"picture": lambda c: c.rgb, "lines": _lines, "poster": _poster}[style](canvas)
    small = rgb.reshape(3, size, FINER, size, FINER).mean((2, 4))  # (3, S, S)
    image = (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
    materials, things = (_most_frequent(points) for points in (canvas.material, canvas.layer))
    return Scene(np.ascontiguousarray(image), materials, planned.label, planned.time, things, tuple(canvas.kinds))


def _most_frequent(material: np.ndarray) -> np.ndarray:
    """Of every 2x2 points the material that occurs most; of a tie, the upper left, of two diagonals the other."""
    a, b, c, d = material[::2, ::2], material[::2, 1::2], material[1::2, ::2], material[1::2, 1::2]
    return np.where(
        (b == c) & (b != a) | (b == d) & (b != a) & (a != c) | (c == d) & (c != a) & (a != b), np.where(c == d, d, b), a
    )


def _lines(canvas: Canvas) -> np.ndarray:
    """Lines where one thing ends and another begins, and along strong steps of light."""
    layer, grey = canvas.layer, canvas.rgb.mean(0)
    ink = np.zeros(grey.shape, np.float32)
    ink[:, 1:] = layer[:, 1:] != layer[:, :-1]
    ink[1:] = np.maximum(ink[1:], layer[1:] != layer[:-1])
    width = max(canvas.side // 64, 1)  # points of a line: a 64th of the side
    for axis in (0, 1):
        ink = np.max([np.roll(ink, k, axis) for k in range(width)], axis=0)
    for axis in (0, 1):
        change = np.abs(grey - np.roll(grey, width, axis))
        change[(slice(width),) if axis == 0 else (slice(None), slice(width))] = 0
        ink = np.maximum(ink, 0.8 * step(change, 0.08, 0.2))
    return np.broadcast_to(1 - 0.92 * ink, canvas.rgb.shape)


def _poster(canvas: Canvas) -> np.ndarray:
    """Every thing in the mean of its colours."""
    flat = canvas.layer.ravel()
    count = np.maximum(np.bincount(flat), 1)
    means = [np.bincount(flat, channel.ravel()) / count for channel in canvas.rgb]
    return np.stack([mean[canvas.layer] for mean in means])
