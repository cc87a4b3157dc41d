"""What the world is painted on and with: a canvas, the light of the hour, and fractal noise.

Places are in units of the side (u to the right, v downwards), edges are anti-aliased by their distance,
noise is read from lattices that were drawn before. Vectorised numpy, float32.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Colour = tuple[float, float, float]  # albedo: share of red, green and blue light sent back

MATERIALS = ("sky", "water", "rock", "snow", "vegetation", "sand", "crop", "built", "road", "person")
TIMES = ("day", "sunset", "night")
FINER = 2  # painted so many times finer than asked, then averaged
EVERYWHERE = (slice(None), slice(None))  # rows and columns of the whole canvas


@dataclass(frozen=True)
class Light:
    """What an hour does to colours."""

    high: Colour  # sky overhead
    low: Colour  # sky at the horizon, and the haze
    ambient: Colour  # what albedos are multiplied by
    cloud: Colour
    glow: Colour  # around sun or moon
    disc: Colour  # sun or moon itself
    lit_windows: float  # share of windows with a lamp on


LIGHTS = {
    "day": Light(
        high=(0.22, 0.46, 0.84),
        low=(0.74, 0.87, 0.95),
        ambient=(1.0, 1.0, 0.97),
        cloud=(1.0, 1.0, 1.0),
        glow=(0.3, 0.28, 0.2),
        disc=(1.0, 0.98, 0.86),
        lit_windows=0.0,
    ),
    "sunset": Light(
        high=(0.26, 0.25, 0.46),
        low=(1.0, 0.64, 0.36),
        ambient=(0.86, 0.62, 0.5),
        cloud=(0.98, 0.55, 0.45),
        glow=(0.5, 0.3, 0.1),
        disc=(1.0, 0.86, 0.5),
        lit_windows=0.3,
    ),
    "night": Light(
        high=(0.03, 0.05, 0.14),
        low=(0.15, 0.2, 0.36),
        ambient=(0.27, 0.33, 0.5),
        cloud=(0.2, 0.24, 0.36),
        glow=(0.14, 0.16, 0.22),
        disc=(0.97, 0.96, 0.86),
        lit_windows=0.5,
    ),
}


def octaves(rng: np.random.Generator, down: int, across: int, count: int = 4) -> tuple[Array, ...]:
    """Lattices of random numbers, each twice as fine as the one before: the parameters of `fractal`."""
    return tuple(rng.random((down * 2**k + 1, across * 2**k + 1), dtype=np.float32) for k in range(count))


def _weights(places: Array, cells: int) -> Array:
    """Smooth interpolation from cells + 1 knots over [0, 1] to `places`: (n, cells + 1)."""
    x = np.clip(places, 0, 1) * cells
    left = np.minimum(x.astype(np.int32), cells - 1)
    t = x - left
    t = t * t * (3 - 2 * t)
    matrix = np.zeros((len(places), cells + 1), np.float32)
    rows = np.arange(len(places))
    matrix[rows, left], matrix[rows, left + 1] = 1 - t, t
    return matrix


@lru_cache(maxsize=256)
def _even_weights(side: int, cells: int) -> Array:
    return _weights((np.arange(side, dtype=np.float32) + 0.5) / side, cells)


def fractal(lattices: tuple[Array, ...], side: int, rows: Array | None = None) -> Array:
    """Fractal value noise in about [0, 1]: every octave half as strong as the one before. (n, side).

    rows: where in [0, 1] the rows of the result lie in the lattices; evenly by default.
    """
    total = 0.0
    for k, knots in enumerate(lattices):
        down, across = knots.shape[0] - 1, knots.shape[1] - 1
        vertical = _even_weights(side, down) if rows is None else _weights(rows, down)
        total = total + 0.5**k * (vertical @ knots @ _even_weights(side, across).T)
    return total / (2 - 0.5 ** (len(lattices) - 1))


def step(x: Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def column(colour: Colour | Array) -> Array:
    """A colour as (3, 1, 1), to spread over a picture; a picture (3, h, w) as it is."""
    colour = np.asarray(colour, np.float32)
    return colour[:, None, None] if colour.ndim == 1 else colour


class Canvas:
    """A picture under way: colours, and for every point its material and the layer that lies on top."""

    def __init__(self, size: int, light: Light):
        self.side, self.light = size * FINER, light
        self.rgb = np.zeros((3, self.side, self.side), np.float32)
        self.material = np.zeros((self.side, self.side), np.uint8)
        self.layer = np.zeros((self.side, self.side), np.int16)
        self.layers = 0
        self.kinds = [""]  # of each layer: what figure it is, if one
        self.axis = (np.arange(self.side, dtype=np.float32) + 0.5) / self.side

    def inside(self, distance: Array) -> Array:
        """Coverage in [0, 1] from a signed distance in units of the side, positive within."""
        return np.clip(distance * self.side + 0.5, 0, 1)

    def lit(self, albedo: Colour | Array, haze: float = 0.0) -> Array:
        """Colours under the light of the hour, `haze` of them lost to the air. (3, 1, 1) or (3, h, w)."""
        seen = column(albedo) * column(self.light.ambient)
        return seen + haze * (column(self.light.low) - seen)

    def window(self, u0: float, u1: float, v0: float, v1: float) -> tuple[slice, slice]:
        """Rows and columns of the points in a box, one point wider on each side."""
        low, high = (np.array([v0, u0]) * self.side).astype(int) - 1, (np.array([v1, u1]) * self.side).astype(int) + 2
        low, high = np.clip(low, 0, self.side), np.clip(high, 0, self.side)
        return slice(low[0], high[0]), slice(low[1], high[1])

    def paint(self, coverage: Array, colour: Array, material: str, window: tuple[slice, slice] = EVERYWHERE) -> None:
        """Lay a colour over what is there. coverage: (h, w) of the window; colour: (3, 1, 1) or (3, h, w)."""
        part = self.rgb[(slice(None), *window)]
        part += coverage * (colour - part)
        covered = coverage > 0.5
        self.material[window][covered] = MATERIALS.index(material)
        self.layer[window][covered] = self.layers

    def next_layer(self, kind: str = "") -> None:
        """What is painted from here on counts as another thing; `kind` says what figure it is, if one."""
        self.layers += 1
        self.kinds.append(kind)
