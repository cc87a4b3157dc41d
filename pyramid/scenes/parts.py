"""What several landscapes have in common: palettes, skylines, and layers such as a sky, mountains or trees.

Like the builders, these draw every parameter from the generator they are given; nothing depends on a size.
Colours are shares of red, green and blue light in [0, 1]; places are in units of the side, v downwards.
"""

import numpy as np

from pyramid.scenes.canvas import Array, Colour, octaves
from pyramid.scenes.layers import Figures, Layer, Plane, Ridge, Sky

Rng = np.random.Generator
KNOTS = 257  # of a skyline or an edge

GRASS, DARK_GREEN, ROCK, SAND = (0.42, 0.58, 0.24), (0.14, 0.3, 0.17), (0.46, 0.42, 0.4), (0.9, 0.8, 0.58)
ASPHALT = (0.38, 0.38, 0.4)
WALLS = ((0.62, 0.6, 0.6), (0.66, 0.48, 0.4), (0.5, 0.58, 0.66), (0.78, 0.72, 0.6))
CROPS = (  # wheat, maize, lavender, rape; each with what lies between its rows
    ((0.86, 0.72, 0.3), (0.6, 0.45, 0.2)),
    ((0.45, 0.62, 0.2), (0.42, 0.32, 0.2)),
    ((0.58, 0.42, 0.7), (0.36, 0.42, 0.22)),
    ((0.92, 0.83, 0.2), (0.36, 0.48, 0.16)),
)


def jitter(rng: Rng, colour: Colour, share: float = 0.15) -> Colour:
    """A colour near the given one: each channel times its own random factor in 1 - share … 1 + share."""
    return tuple(np.clip(np.array(colour) * rng.uniform(1 - share, 1 + share, 3), 0, 1))


def dimmed(colour: Colour, share: float) -> Colour:
    """`share` of a colour's light."""
    return tuple(share * np.array(colour))


def skyline(rng: Rng, base: float, height: float, cells: int, sharp: bool = False, detail: float = 0.5) -> Array:
    """v of a skyline: `base` less up to `height`, (KNOTS,).

    Args:
        cells: bumps of the coarsest of six octaves.
        sharp: makes peaks of what would be rolling hills.
        detail: strength of each octave, as a share of the one before.
    """
    axis, total = np.linspace(0, 1, KNOTS), 0.0
    for k in range(6):
        knots = rng.random(cells * 2**k + 2)
        value = np.interp(axis * cells * 2**k + rng.random(), np.arange(len(knots)), knots)
        if k < 2 and not sharp:
            t = axis * cells * 2**k
            value = np.interp(t, np.arange(len(knots)), knots)
            value = np.convolve(np.pad(value, 16, "edge"), np.hanning(33) / np.hanning(33).sum(), "valid")
        total = total + detail**k * (1 - np.abs(2 * value - 1) if sharp else value)
    total = (total - total.min()) / max(np.ptp(total), 1e-6)
    return (base - height * total).astype(np.float32)


def level_edge(v: float) -> Array:
    """A skyline without a bump: v everywhere, (KNOTS,)."""
    return np.full(KNOTS, v, np.float32)


def sky_above(rng: Rng, time: str, horizon: float, cover: float | None = None) -> Sky:
    """The sky of an hour above a horizon; `cover`, the share of it in cloud, is random if not given."""
    low = {"day": (0.08, 0.3), "sunset": (0.62, 0.9), "night": (0.08, 0.4)}[time]
    sun = (rng.uniform(0.12, 0.88), horizon * rng.uniform(*low))
    stars = np.stack([rng.random(60), rng.random(60) * horizon, rng.uniform(0.15, 0.8, 60) ** 2], 1)
    return Sky(
        horizon=horizon,
        sun=sun,
        radius=rng.uniform(0.04, 0.06) * (1.25 if time == "sunset" else 1),
        crescent=rng.choice([0.45, 0.7, 1.0, 2.2]),
        cover=rng.beta(1.2, 1.6) if cover is None else cover,
        clouds=octaves(rng, 3, 3, 5),
        stars=stars.astype(np.float32),
        tint=rng.uniform(0.85, 1.15, 3).astype(np.float32),
    )


def sun_side(sky: Sky) -> float:
    """1 where the light comes from the left, -1 where it comes from the right."""
    return 1.0 if sky.sun[0] < 0.5 else -1.0


def ridges(rng: Rng, sky: Sky, horizon: float, snow: bool) -> list[Layer]:
    """Two to four ranges of mountains, the nearest the highest."""
    count, layers = rng.integers(2, 5), []
    colour = jitter(rng, ROCK, 0.2)
    for i in range(count):
        near = (i + 1) / count
        height = horizon * rng.uniform(0.3, 0.5) * (0.45 + 0.75 * near)
        base = horizon + 0.06 * near
        line = skyline(rng, base, height, rng.integers(1, 4), sharp=True, detail=0.45)
        snowline = None
        if snow:
            snowline = base - height * rng.uniform(0.05, 0.45)
        elif near == 1 and rng.random() < 0.3:
            snowline = base - height * 0.9  # a dusting on the very top
        green = jitter(rng, DARK_GREEN, 0.2) if not snow and rng.random() < 0.7 else dimmed(colour, 0.8)
        relief, roughness = octaves(rng, 4, 4, 4), rng.uniform(0.16, 0.26)
        haze = 0.62 * (1 - near) + 0.06
        layers.append(Ridge(line, colour, green, "rock", relief, roughness, haze, snowline, sun_side(sky)))
    return layers


def coast(rng: Rng, sky: Sky, base: float, height: float) -> Ridge:
    """An island or a far coast, hazy with distance: from v = `base`, behind the water's horizon, up by `height`."""
    line = skyline(rng, base, height, 2)
    green, relief = jitter(rng, DARK_GREEN), octaves(rng, 4, 4, 3)
    return Ridge(line, green, ROCK, "rock", relief, roughness=0.15, haze=0.5, sun_side=sun_side(sky))


def trees(
    rng: Rng,
    kinds: tuple[str, ...],
    count: int,
    foot: tuple[float, float],
    height: tuple[float, float],
    colour: Colour,
    sky: Sky,
) -> Figures:
    """`count` trees of the given kinds; foot (v) and height go from the farthest to the nearest tree."""
    near = np.sort(rng.random(count))
    places = np.stack(
        [
            rng.uniform(-0.03, 1.03, count),
            foot[0] + (foot[1] - foot[0]) * near,
            (height[0] + (height[1] - height[0]) * near) * rng.uniform(0.75, 1.25, count),
        ],
        1,
    )
    colours = np.array(colour) * rng.uniform(0.75, 1.3, (count, 1)) * rng.uniform(0.85, 1.15, (count, 3))
    chosen = tuple(rng.choice(kinds, count))
    haze = 0.45 * (1 - near) ** 1.5
    return Figures(chosen, places.astype(np.float32), colours.astype(np.float32), haze, sun_side(sky))


def meadow(rng: Rng, edge: Array) -> Plane:
    """Grass from an edge, v of (KNOTS,), down to the foreground."""
    near = jitter(rng, GRASS)
    return Plane(edge, near, dimmed(near, 0.85), "vegetation", octaves(rng, 6, 6, 4), strength=0.7)
