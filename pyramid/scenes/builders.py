"""The eight landscapes: a builder for each label draws the parameters of its layers, the farthest first.

Everything is drawn from the generator that a builder is given; nothing depends on a size.
"""

from collections.abc import Callable

import numpy as np

from pyramid.scenes.canvas import octaves
from pyramid.scenes.layers import CONIFERS, ROUND_TREES, Buildings, Figures, Layer, Plane, Ridge, Sky, Water
from pyramid.scenes.parts import (
    ASPHALT,
    CROPS,
    DARK_GREEN,
    KNOTS,
    ROCK,
    SAND,
    WALLS,
    Rng,
    coast,
    dimmed,
    jitter,
    level_edge,
    meadow,
    ridges,
    sky_above,
    skyline,
    sun_side,
    trees,
)


def _mountain(rng: Rng, time: str, snow: bool = False) -> list[Layer]:
    horizon = rng.uniform(0.55, 0.72)
    sky = sky_above(rng, time, horizon)
    layers: list[Layer] = [sky, *ridges(rng, sky, horizon, snow)]
    if rng.random() < 0.4:
        shore = horizon + 0.05
        layers.append(Water(shore, (0.16, 0.34, 0.42), octaves(rng, 12, 4, 3), 0.35, 0.85, sky.sun[0]))
        edge = skyline(rng, 0.97, 0.16, 1)
    else:
        edge = skyline(rng, horizon + 0.1, 0.07, 1)
    if snow:
        ground = Plane(edge, (0.93, 0.96, 1.0), (0.85, 0.9, 0.97), "snow", octaves(rng, 4, 4, 3), strength=0.2)
    else:
        ground = meadow(rng, edge)
    layers.append(ground)
    if rng.random() < 0.75:
        count = int(rng.integers(3, 14))
        layers.append(trees(rng, CONIFERS, count, (horizon + 0.13, 0.99), (0.08, 0.26), DARK_GREEN, sky))
    return layers


def _snowy_mountain(rng: Rng, time: str) -> list[Layer]:
    return _mountain(rng, time, snow=True)


def _sea(rng: Rng, time: str) -> list[Layer]:
    horizon = rng.uniform(0.38, 0.62)
    sky = sky_above(rng, time, horizon)
    layers: list[Layer] = [sky]
    if rng.random() < 0.4:
        layers.append(coast(rng, sky, horizon + 0.07, rng.uniform(0.1, 0.2)))
    blue, ripples = jitter(rng, (0.07, 0.3, 0.44), 0.3), octaves(rng, 14, 3, 4)
    layers.append(Water(horizon, blue, ripples, rng.uniform(0.5, 1.1), rng.uniform(0.25, 0.6), sky.sun[0]))
    boats = int(rng.integers(0, 4))
    if boats:
        near = np.sort(rng.random(boats))
        foot = horizon + 0.02 + 0.35 * near * (1 - horizon)
        places = np.stack([rng.uniform(0.08, 0.92, boats), foot, 0.09 + 0.17 * near], 1).astype(np.float32)
        hulls = rng.uniform(0.15, 0.75, (boats, 3)).astype(np.float32)
        layers.append(Figures(("sail",) * boats, places, hulls, 0.3 * (1 - near), sun_side(sky)))
    return layers


def _beach(rng: Rng, time: str) -> list[Layer]:
    horizon = rng.uniform(0.32, 0.5)
    sky = sky_above(rng, time, horizon)
    blue = jitter(rng, (0.1, 0.45, 0.52), 0.25)
    layers: list[Layer] = [sky]
    if rng.random() < 0.35:
        layers.append(coast(rng, sky, horizon + 0.06, rng.uniform(0.08, 0.16)))
    ripples = octaves(rng, 14, 3, 4)
    layers.append(Water(horizon, blue, ripples, rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.45), sky.sun[0]))
    tilt = rng.uniform(-0.16, 0.16)
    edge = rng.uniform(0.64, 0.76) + tilt * np.linspace(-1, 1, KNOTS) + skyline(rng, 0.0, 0.05, 3)
    sand, grain = jitter(rng, SAND, 0.08), octaves(rng, 8, 8, 4)
    foam = rng.uniform(0.02, 0.035)
    layers.append(Plane(edge.astype(np.float32), sand, dimmed(sand, 0.78), "sand", grain, 0.3, haze=0.0, foam=foam))
    layers.append(_on_the_beach(rng, edge, sky))
    return layers


def _on_the_beach(rng: Rng, edge: np.ndarray, sky: Sky) -> Figures:
    """Pines to the left and right, umbrellas anywhere, all on the sand below the water's edge, v of (KNOTS,)."""
    count = int(rng.integers(1, 5))
    kinds = tuple(rng.choice(("pine", "pine", "umbrella"), count))
    pine = np.array(kinds) == "pine"
    near = np.sort(rng.random(count))
    tall = np.where(pine, 0.34, 0.14) * (0.7 + 0.7 * near)
    aside = np.where(rng.random(count) < 0.5, rng.uniform(0.02, 0.3, count), rng.uniform(0.7, 0.98, count))
    u = np.where(pine, aside, rng.uniform(0.1, 0.9, count))
    foot = np.minimum(np.interp(u, np.linspace(0, 1, KNOTS), edge) + 0.07 + 0.16 * near, 0.98)
    leaves = np.array((0.2, 0.42, 0.16)) * rng.uniform(0.7, 1.2, (count, 1))
    bright = rng.uniform(0.2, 1.0, (count, 3))
    colours = np.where(pine[:, None], leaves, bright).astype(np.float32)
    places = np.stack([u, foot, tall], 1).astype(np.float32)
    return Figures(kinds, places, colours, np.zeros(count), sun_side(sky))


def _forest(rng: Rng, time: str) -> list[Layer]:
    horizon = rng.uniform(0.42, 0.6)
    sky = sky_above(rng, time, horizon)
    autumn = rng.random() < 0.35
    leaf = jitter(rng, (0.62, 0.36, 0.12) if autumn else (0.2, 0.42, 0.16), 0.2)
    kinds = (CONIFERS, ROUND_TREES, (*CONIFERS, *ROUND_TREES))[rng.integers(3)]
    if autumn:
        kinds = ROUND_TREES
    elif kinds == CONIFERS:
        leaf = jitter(rng, DARK_GREEN, 0.2)
    behind, relief = skyline(rng, horizon + 0.02, 0.14, 8, detail=0.7), octaves(rng, 12, 12, 3)
    wood = Ridge(behind, dimmed(leaf, 0.8), leaf, "vegetation", relief, 0.22, 0.35, sun_side=sun_side(sky))
    floor, grain = jitter(rng, (0.36, 0.34, 0.18) if autumn else (0.28, 0.38, 0.16)), octaves(rng, 8, 8, 4)
    ground = Plane(level_edge(horizon), floor, dimmed(floor, 0.7), "vegetation", grain, strength=0.7)
    count = int(rng.integers(22, 42))
    return [sky, wood, ground, trees(rng, kinds, count, (horizon + 0.03, 1.02), (0.2, 0.62), leaf, sky)]


def _desert(rng: Rng, time: str) -> list[Layer]:
    horizon = rng.uniform(0.42, 0.6)
    sky = sky_above(rng, time, horizon, cover=rng.beta(1, 5))
    sand = jitter(rng, (0.88, 0.6, 0.34), 0.12)
    layers: list[Layer] = [sky]
    if rng.random() < 0.4:  # table mountains
        line = np.round(skyline(rng, 0, 1, 2) * 2.2) / 2.2
        line = np.convolve(np.pad(line, 3, "edge"), np.ones(7) / 7, "valid")
        mesa = (horizon + 0.02 + 0.16 * line).astype(np.float32)
        red, relief = jitter(rng, (0.66, 0.36, 0.24)), octaves(rng, 8, 2, 3)
        layers.append(Ridge(mesa, red, ROCK, "rock", relief, 0.1, 0.35, sun_side=sun_side(sky)))
    count = int(rng.integers(2, 5))
    for i in range(count):  # dunes
        near = (i + 1) / count
        base = horizon + 0.05 + (0.85 - horizon) * (near - 1 / count)
        line = skyline(rng, base, 0.06 + 0.12 * near, 1 if near > 0.6 else 2, detail=0.12)
        shade = tuple(np.clip(np.array(sand) * rng.uniform(0.92, 1.06), 0, 1))
        relief, haze = octaves(rng, 24, 3, 2), 0.3 * (1 - near)
        layers.append(Ridge(line, shade, dimmed(shade, 0.93), "sand", relief, 0.05, haze, sun_side=sun_side(sky)))
    plants = int(rng.integers(0, 5))
    if plants:
        layers.append(_cacti(rng, plants, sky))
    return layers


def _cacti(rng: Rng, count: int, sky: Sky) -> Figures:
    """Cacti in the foreground; each is a stem with two arms, small stems beside it."""
    near = np.sort(rng.random(count))
    stems = np.stack([rng.uniform(0.05, 0.95, count), 0.84 + 0.13 * near, 0.12 + 0.16 * near], 1)
    green = np.array((0.25, 0.42, 0.2)) * rng.uniform(0.8, 1.2, (count, 1))
    arms_left, arms_right = stems.copy(), stems.copy()
    for arms, side in ((arms_left, -1), (arms_right, 1)):
        arms[:, 0] += side * 0.2 * stems[:, 2]
        arms[:, 1] -= stems[:, 2] * rng.uniform(0.3, 0.45, count)
        arms[:, 2] *= 0.4
    places = np.concatenate([stems, arms_left, arms_right]).astype(np.float32)
    colours = np.tile(green, (3, 1)).astype(np.float32)
    return Figures(("cactus",) * 3 * count, places, colours, np.zeros(3 * count), sun_side(sky))


def _field(rng: Rng, time: str) -> list[Layer]:
    horizon = rng.uniform(0.36, 0.52)
    sky = sky_above(rng, time, horizon)
    line = skyline(rng, horizon + 0.02, rng.uniform(0.03, 0.1), 2, detail=0.3)
    green, relief = jitter(rng, (0.34, 0.48, 0.26)), octaves(rng, 6, 6, 3)
    hills = Ridge(line, green, DARK_GREEN, "vegetation", relief, 0.08, 0.4, sun_side=sun_side(sky))
    layers: list[Layer] = [sky, hills, _crop(rng, horizon)]
    if rng.random() < 0.7:
        count, foot = int(rng.integers(1, 6)), (horizon + 0.005, horizon + 0.04)
        layers.append(trees(rng, ROUND_TREES, count, foot, (0.1, 0.2), (0.22, 0.4, 0.18), sky))
    if rng.random() < 0.5:
        walls = rng.uniform(0.7, 0.95, (1, 3)).astype(np.float32)
        place = np.array([[rng.uniform(0.12, 0.88), horizon + 0.045, rng.uniform(0.09, 0.14)]], np.float32)
        layers.append(Figures(("house",), place, walls, np.array([0.15]), sun_side(sky)))
    if rng.random() < 0.3:
        layers.append(_bales(rng, horizon, sky))
    return layers


def _crop(rng: Rng, horizon: float) -> Plane:
    """Rows of one crop that meet at the horizon."""
    crop, earth = CROPS[rng.integers(len(CROPS))]
    crop = jitter(rng, crop, 0.08)
    return Plane(
        edge=level_edge(horizon),
        near=crop,
        far=dimmed(crop, 0.92),
        material="crop",
        grain=octaves(rng, 8, 10, 4),
        strength=0.45,
        rows=int(rng.integers(4, 9)),
        between=earth,
        vanishing=rng.uniform(0.2, 0.8),
    )


def _bales(rng: Rng, horizon: float, sky: Sky) -> Figures:
    """One to three bales of straw on a field."""
    count = int(rng.integers(1, 4))
    near = np.sort(rng.random(count))
    places = np.stack([rng.uniform(0.1, 0.9, count), horizon + 0.18 + 0.3 * near, 0.06 + 0.08 * near], 1)
    straw = np.tile((0.85, 0.7, 0.35), (count, 1))
    return Figures(("bale",) * count, places.astype(np.float32), straw, 0.1 * (1 - near), sun_side(sky))


def _city(rng: Rng, time: str) -> list[Layer]:
    ground = rng.uniform(0.7, 0.82)
    sky = sky_above(rng, time, ground)
    layers: list[Layer] = [sky]
    rows = int(rng.integers(2, 4))
    layers += [_houses(rng, ground, (i + 1) / rows, sky) for i in range(rows)]
    if rng.random() < 0.35:
        layers.append(Water(ground + 0.02, (0.14, 0.26, 0.34), octaves(rng, 12, 4, 3), 0.4, 0.8, sky.sun[0]))
        return layers
    grain, lane = octaves(rng, 8, 8, 3), rng.uniform(0.3, 0.7)
    edge, stripe = level_edge(ground + 0.02), (0.3, 0.3, 0.32)
    layers.append(Plane(edge, ASPHALT, ASPHALT, "road", grain, 0.2, rows=1, between=stripe, vanishing=lane))
    if rng.random() < 0.7:
        count, foot = int(rng.integers(2, 7)), (ground + 0.03, ground + 0.08)
        layers.append(trees(rng, ("round",), count, foot, (0.09, 0.15), (0.24, 0.4, 0.18), sky))
    return layers


def _houses(rng: Rng, ground: float, near: float, sky: Sky) -> Buildings:
    """One row of houses along a street, gaps in it; near: 1 for the foremost row, less for those behind."""
    widths = rng.uniform(0.08, 0.17, 24) * (0.6 + 0.5 * near)
    left = np.cumsum(widths) - widths - rng.uniform(0, 0.1)
    left, widths = left[left < 1], widths[left < 1]
    count = len(left)
    tall = rng.uniform(0.16, 0.62, count) * (1.15 - 0.4 * near)
    foot = ground + 0.02 * near
    gap = rng.random(count) < 0.22 * near
    roofs = np.where(gap, foot - 0.08, foot - tall)
    boxes = np.stack([left, left + widths * 0.94, roofs, np.full(count, foot)], 1).astype(np.float32)
    walls = np.array([jitter(rng, WALLS[rng.integers(len(WALLS))], 0.12) for _ in range(count)]).astype(np.float32)
    storeys = tuple(
        (max(int((foot - r) / (0.045 + 0.012 * near)), 1), max(int(w / 0.032), 2))
        for r, w in zip(roofs, widths, strict=True)
    )
    lamps = rng.random((count, 40, 12)).astype(np.float32)
    return Buildings(boxes, walls, storeys, lamps, 0.5 * (1 - near), sun_side(sky))


BUILDERS: dict[str, Callable[[Rng, str], list[Layer]]] = {
    "beach": _beach,
    "city": _city,
    "desert": _desert,
    "field": _field,
    "forest": _forest,
    "mountain": _mountain,
    "sea": _sea,
    "snowy mountain": _snowy_mountain,
}
LABELS = tuple(BUILDERS)
