"""The kinds of layer that a scene is made of: sky, ridges, ground, water, figures and buildings.

Every layer holds its parameters, in units of the side, and paints itself onto a canvas of any size.
"""

from dataclasses import dataclass

import numpy as np

from pyramid.scenes.canvas import FINER, LIGHTS, Array, Canvas, Colour, column, fractal, step


class Layer:
    """Something that paints itself onto a canvas."""

    def paint(self, canvas: Canvas) -> None:
        """Lay this layer over what is on the canvas."""
        raise NotImplementedError


@dataclass(frozen=True)
class Sky(Layer):
    """Gradient, stars at night, sun or moon, fractal clouds."""

    horizon: float
    sun: tuple[float, float]  # place of sun or moon (u, v)
    radius: float
    crescent: float  # how far the shadow's disc is moved over a moon, in radii
    cover: float  # share of the sky in cloud, about
    clouds: tuple[Array, ...]
    stars: Array  # (n, 3): u, v, brightness; seen at night
    tint: Array  # (3,): around 1

    def paint(self, canvas: Canvas) -> None:
        light, u, v = canvas.light, canvas.axis[None, :], canvas.axis[:, None]
        night = light.lit_windows > 0.4
        t = np.clip(v / self.horizon, 0, 1) ** (1.6 if light is LIGHTS["sunset"] else 1.0)
        high, low = column(light.high) * column(self.tint), column(light.low)
        colour = high + (low - high) * t[None]  # (3, side, 1)
        colour = np.broadcast_to(colour, canvas.rgb.shape).copy()
        if night:
            spread = 2 * 0.006**2
            gu = np.exp(-((canvas.axis[None] - self.stars[:, :1]) ** 2) / spread)  # (n, side)
            gv = np.exp(-((canvas.axis[None] - self.stars[:, 1:2]) ** 2) / spread) * self.stars[:, 2:]
            colour += (gv.T @ gu)[None]
        r = np.sqrt((u - self.sun[0]) ** 2 + (v - self.sun[1]) ** 2)
        colour += column(light.glow) * np.exp(-r / 0.16)
        disc = canvas.inside(self.radius - r)
        if night:
            shadow = np.sqrt((u - self.sun[0] - self.crescent * self.radius) ** 2 + (v - self.sun[1]) ** 2)
            disc = disc * (1 - canvas.inside(self.radius - shadow))
        colour += disc * (column(light.disc) - colour)
        flat = np.clip(v / self.horizon, 0, 1)[:, 0] ** 1.5  # clouds are seen more from the side, farther down
        n = fractal(self.clouds, canvas.side, flat)
        cloud = step(n, 0.72 - 0.42 * self.cover, 0.86 - 0.3 * self.cover) * (0.95 - 0.5 * t)
        shade = 1 - 0.35 * step(n, 0.55, 0.8)
        colour += cloud * (column(light.cloud) * shade - colour)
        canvas.paint(np.ones_like(n), colour, "sky")


@dataclass(frozen=True)
class Ridge(Layer):
    """Everything below a skyline: mountains, hills, dunes; lit from one side, hazy with distance."""

    skyline: Array  # (knots,): v of the skyline, evenly spaced in u
    colour: Colour
    other: Colour  # of the patches that the relief picks out
    material: str
    relief: tuple[Array, ...]
    roughness: float  # of the relief's shading
    haze: float
    snowline: float | None = None  # v above which snow lies
    sun_side: float = 1.0  # 1: lit from the left; -1: from the right

    def paint(self, canvas: Canvas) -> None:
        axis, v = canvas.axis, canvas.axis[:, None]
        knots = np.linspace(0, 1, len(self.skyline), dtype=np.float32)
        top = np.interp(axis, knots, self.skyline).astype(np.float32)
        slope = np.gradient(top, 1 / canvas.side)
        below = v - top[None]
        coverage = canvas.inside(below / np.sqrt(1 + slope**2)[None])
        n = fractal(self.relief, canvas.side)
        across = (np.roll(n, -FINER, 1) - np.roll(n, FINER, 1)) * canvas.side / (4 * FINER)
        across[:, :FINER] = across[:, -FINER:] = 0
        facing = self.sun_side * (0.5 * slope[None] * np.exp(-np.maximum(below, 0) / 0.12) - self.roughness * across)
        shade = 1 + 0.55 * np.tanh(-facing)
        patches = step(n, 0.45, 0.62)
        colour = column(self.colour) + patches * (column(self.other) - column(self.colour))
        canvas.paint(coverage, canvas.lit(colour * shade, self.haze), self.material)
        if self.snowline is not None:
            snow = step(self.snowline + 0.22 * (n - 0.5) - v + 0.02 * np.tanh(facing), -0.008, 0.008) * coverage
            white = column((0.95, 0.97, 1.0)) * (1 + 0.3 * np.tanh(-1.5 * facing) - 0.14)
            canvas.paint(snow, canvas.lit(np.clip(white, 0, 1.05), 0.7 * self.haze), "snow")


@dataclass(frozen=True)
class Plane(Layer):
    """Ground that runs away to a horizon: grass, sand, a street; with rows of a crop if asked."""

    edge: Array  # (knots,): v where it begins, evenly spaced in u
    near: Colour
    far: Colour
    material: str
    grain: tuple[Array, ...]
    strength: float  # of the grain
    haze: float = 0.25  # at the horizon
    rows: int = 0  # of a crop, across one side of the picture in the foreground
    between: Colour = (0.4, 0.3, 0.2)  # earth between the rows
    vanishing: float = 0.5  # u where the rows meet
    foam: float = 0.0  # width of a band of foam along the edge

    def paint(self, canvas: Canvas) -> None:
        u, v = canvas.axis[None, :], canvas.axis[:, None]
        knots = np.linspace(0, 1, len(self.edge), dtype=np.float32)
        top = np.interp(canvas.axis, knots, self.edge).astype(np.float32)[None]
        coverage = canvas.inside(v - top)
        start = float(self.edge.min())
        depth = np.clip((canvas.axis - start) / (1 - start), 0, 1)  # 0 at the horizon, 1 in the foreground
        n = fractal(self.grain, canvas.side, depth**0.4)
        t = depth[:, None] ** 0.7
        colour = column(self.far) + (column(self.near) - column(self.far)) * t
        if self.rows:
            below = np.maximum(v - start + 0.02, 0.02)
            stripes = 0.5 + 0.5 * np.cos(2 * np.pi * self.rows * (u - self.vanishing) / below * (1 - start))
            seen = step(below / (1 - start), 0.05, 0.4)
            colour = colour + (1 - stripes) * seen * (column(self.between) - colour)
        colour = colour * (1 + self.strength * (n - 0.5) * (0.5 + t))
        hazy = (self.haze * (1 - depth) ** 2)[None, :, None]
        lit = canvas.lit(colour)
        canvas.paint(coverage, lit + hazy * (column(canvas.light.low) - lit), self.material)
        if self.foam:
            band = np.clip(1 - np.abs(v - top - 0.6 * self.foam) / self.foam, 0, 1) * step(n, 0.25, 0.5)
            canvas.paint(np.minimum(band, coverage), canvas.lit((0.97, 0.98, 1.0)), "water")


@dataclass(frozen=True)
class Water(Layer):
    """Water up to a horizon: mirrors what stands above it, with ripples, and glitters under sun or moon."""

    horizon: float
    colour: Colour
    ripples: tuple[Array, ...]
    swell: float  # strength of the ripples
    mirror: float  # share of the light that is a reflection
    sun: float  # u of sun or moon

    def paint(self, canvas: Canvas) -> None:
        side, u, v = canvas.side, canvas.axis[None, :], canvas.axis[:, None]
        depth = np.clip((canvas.axis - self.horizon) / (1 - self.horizon), 0, 1)
        n = fractal(self.ripples, side, depth**0.35)
        wave = (n - 0.5) * self.swell * (0.3 + depth[:, None])
        up = 2 * self.horizon - v + 0.25 * wave  # the row that is seen in the mirror
        rows = np.clip((up * side).astype(np.int32), 0, max(int(self.horizon * side) - 1, 0))
        seen = canvas.rgb[:, rows, np.arange(side)[None]]  # (3, side, side)
        own = canvas.lit(column(self.colour) * (1.15 - 0.4 * depth[:, None]))
        share = self.mirror * (1 - 0.55 * depth[:, None])
        colour = own + share * (0.92 * seen - own)
        colour = colour * (1 + 0.9 * wave)
        glitter = np.exp(-(((u - self.sun) / (0.05 + 0.1 * depth[:, None])) ** 2)) * step(n, 0.5, 0.66)
        colour = colour + 0.8 * glitter * column(canvas.light.glow) * (0.6 + 2 * column(canvas.light.disc))
        canvas.paint(canvas.inside(v - self.horizon + 0 * u), np.clip(colour, 0, 1.2), "water")


@dataclass(frozen=True)
class Shape:
    """A thing symmetric about its axis: half-widths from its top (0) to its foot (1), in units of its height."""

    heights: tuple[float, ...]
    half_widths: tuple[float, ...]
    bands: tuple[tuple[float, Colour | None, str], ...]  # (down to, colour or None for the figure's own, material)


CONIFER = Shape(
    (0, 0.34, 0.34, 0.62, 0.62, 0.9, 0.9, 1),
    (0, 0.13, 0.07, 0.19, 0.11, 0.24, 0.035, 0.035),
    ((0.9, None, "vegetation"), (1, (0.3, 0.2, 0.12), "vegetation")),
)
SPRUCE = Shape(
    (0, 0.25, 0.25, 0.5, 0.5, 0.72, 0.72, 0.94, 0.94, 1),
    (0, 0.07, 0.04, 0.11, 0.07, 0.14, 0.09, 0.17, 0.03, 0.03),
    ((0.94, None, "vegetation"), (1, (0.3, 0.2, 0.12), "vegetation")),
)
ROUND = Shape(
    (0, 0.05, 0.15, 0.3, 0.45, 0.58, 0.66, 0.66, 1),
    (0.03, 0.16, 0.27, 0.33, 0.31, 0.22, 0.1, 0.04, 0.05),
    ((0.66, None, "vegetation"), (1, (0.34, 0.24, 0.15), "vegetation")),
)
POPLAR = Shape(
    (0, 0.1, 0.4, 0.75, 0.88, 0.88, 1),
    (0.01, 0.07, 0.13, 0.11, 0.05, 0.03, 0.03),
    ((0.88, None, "vegetation"), (1, (0.34, 0.24, 0.15), "vegetation")),
)
FIGURES = {
    "conifer": CONIFER,
    "spruce": SPRUCE,
    "round": ROUND,
    "poplar": POPLAR,
    "pine": Shape(  # an umbrella pine, as on southern shores
        (0, 0.04, 0.12, 0.22, 0.27, 0.29, 1),
        (0.03, 0.17, 0.29, 0.34, 0.26, 0.03, 0.045),
        ((0.28, None, "vegetation"), (1, (0.45, 0.33, 0.22), "vegetation")),
    ),
    "cactus": Shape((0, 0.04, 0.1, 1), (0.03, 0.08, 0.1, 0.1), ((1, None, "vegetation"),)),
    "sail": Shape(
        (0, 0.76, 0.76, 0.82, 0.82, 1),
        (0, 0.3, 0.02, 0.02, 0.4, 0.27),
        ((0.8, (0.97, 0.96, 0.92), "built"), (1, None, "built")),
    ),
    "umbrella": Shape(
        (0, 0.12, 0.32, 0.32, 1), (0, 0.3, 0.5, 0.03, 0.03), ((0.32, None, "built"), (1, (0.9, 0.9, 0.9), "built"))
    ),
    "house": Shape(
        (0, 0.48, 0.48, 1), (0.02, 0.62, 0.52, 0.52), ((0.48, (0.66, 0.26, 0.18), "built"), (1, None, "built"))
    ),
    "bale": Shape((0, 0.15, 0.5, 0.85, 1), (0.25, 0.42, 0.5, 0.42, 0.3), ((1, None, "crop"),)),
}
CONIFERS, ROUND_TREES = ("conifer", "spruce"), ("round", "poplar")


@dataclass(frozen=True)
class Figures(Layer):
    """Things that stand in the landscape, the farthest first."""

    kinds: tuple[str, ...]  # of FIGURES, one each
    places: Array  # (n, 3): u of the axis, v of the foot, height
    colours: Array  # (n, 3)
    haze: Array  # (n,)
    sun_side: float = 1.0

    def paint(self, canvas: Canvas) -> None:
        for kind, (u, foot, height), colour, haze in zip(self.kinds, self.places, self.colours, self.haze, strict=True):
            canvas.next_layer(kind)
            self._paint_one(canvas, FIGURES[kind], float(u), float(foot), float(height), colour, float(haze))

    def _paint_one(
        self, canvas: Canvas, shape: Shape, u: float, foot: float, height: float, colour: Array, haze: float
    ) -> None:
        reach = max(shape.half_widths) * height
        window = canvas.window(u - reach, u + reach, foot - height, foot)
        rows, columns = canvas.axis[window[0]], canvas.axis[window[1]]
        if not len(rows) or not len(columns):
            return
        t = (rows - foot + height) / height
        half = np.interp(t, shape.heights, shape.half_widths).astype(np.float32)[:, None] * height  # (h, 1)
        aside = columns[None] - u  # (1, w)
        ends = np.minimum(canvas.inside(rows - foot + height), canvas.inside(foot - rows))[:, None]
        coverage = canvas.inside(half - np.abs(aside)) * ends
        shade = 1 - 0.3 * self.sun_side * np.clip(aside / np.maximum(half, 1e-3), -1, 1)
        start = 0.0
        for end, own, material in shape.bands:
            within = (
                canvas.inside((t - start) * height) * canvas.inside((end - t) * height) if len(shape.bands) > 1 else 1
            )
            part = coverage * (within[:, None] if len(shape.bands) > 1 else 1)
            canvas.paint(part, canvas.lit(column(colour if own is None else own) * shade, haze), material, window)
            start = end


@dataclass(frozen=True)
class Buildings(Layer):
    """A row of houses with windows, some of them lit when it is dark."""

    boxes: Array  # (n, 4): left, right, roof, foot
    colours: Array  # (n, 3)
    storeys: tuple[tuple[int, int], ...]  # (storeys, windows a storey), one pair each
    lamps: Array  # (n, 40, 12) in [0, 1): lit where below the light's share
    haze: float
    sun_side: float = 1.0

    def paint(self, canvas: Canvas) -> None:
        for box, colour, panes, lamps in zip(self.boxes, self.colours, self.storeys, self.lamps, strict=True):
            canvas.next_layer()
            self._paint_one(canvas, box, colour, panes, lamps)

    def _paint_one(self, canvas: Canvas, box: Array, colour: Array, panes: tuple[int, int], lamps: Array) -> None:
        left, right, roof, foot = map(float, box)
        window = canvas.window(left, right, roof, foot)
        rows, columns = canvas.axis[window[0]][:, None], canvas.axis[window[1]][None]
        if not rows.size or not columns.size:
            return
        coverage = canvas.inside(columns - left) * canvas.inside(right - columns) * canvas.inside(rows - roof)
        coverage = coverage * canvas.inside(foot - rows)
        y, x = (rows - roof) / (foot - roof) * panes[0], (columns - left) / (right - left) * panes[1]
        fine = canvas.side * (foot - roof) / panes[0]  # points a storey
        wide = canvas.side * (right - left) / panes[1]
        pane = _pulse(y, 0.28, 0.78, fine) * _pulse(x, 0.22, 0.78, wide)  # 1 in the middle of a window
        storey = np.clip(y.astype(int), 0, lamps.shape[0] - 1)
        lit = lamps[storey, np.clip(x.astype(int), 0, lamps.shape[1] - 1)] < canvas.light.lit_windows
        shade = 1 - 0.18 * self.sun_side * (2 * (columns - left) / (right - left) - 1)
        wall = canvas.lit(column(colour) * shade, self.haze)
        glass = canvas.lit(column(colour) * 0.4 + 0.12 * column(canvas.light.low), self.haze)
        lamp = column((1.0, 0.83, 0.45)) * (1 - 0.5 * self.haze)
        colour = wall + pane * (np.where(lit, lamp, glass) - wall)
        canvas.paint(coverage, colour, "built", window)


def _pulse(x: Array, low: float, high: float, points: float) -> Array:
    """1 where the fractional part of x lies between low and high, edges as soft as one of `points` points."""
    f = x - np.floor(x)
    return np.clip((f - low) * points + 0.5, 0, 1) * np.clip((high - f) * points + 0.5, 0, 1)
