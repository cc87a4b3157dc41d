"""What the eight landscapes are made of: a builder for each label draws its layers, the farthest first.

`scenes.plan` calls them; everything is drawn from the generator they are given, nothing depends on a size.
"""

from collections.abc import Callable

import numpy as np

from pyramid.landscape import (
    CONIFERS,
    ROUND_TREES,
    Buildings,
    Figures,
    Layer,
    Plane,
    Ridge,
    Sky,
    Water,
    octaves,
)

Rng = np.random.Generator
KNOTS = 257


def _skyline(rng: Rng, base: float, height: float, cells: int, sharp: bool = False, detail: float = 0.5) -> np.ndarray:
    """v of a skyline: `base` less up to `height`; `sharp` makes peaks of what would be rolling hills."""
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


def _level(v: float) -> np.ndarray:
    return np.full(KNOTS, v, np.float32)


def _sky(rng: Rng, time: str, horizon: float, cover: float | None = None) -> Sky:
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


def _jitter(rng: Rng, colour: tuple[float, float, float], share: float = 0.15) -> tuple[float, ...]:
    return tuple(np.clip(np.array(colour) * rng.uniform(1 - share, 1 + share, 3), 0, 1))


def _side(sky: Sky) -> float:
    """1 where the light comes from the left."""
    return 1.0 if sky.sun[0] < 0.5 else -1.0


GRASS, DARK_GREEN, ROCK, SAND = (0.42, 0.58, 0.24), (0.14, 0.3, 0.17), (0.46, 0.42, 0.4), (0.9, 0.8, 0.58)
ASPHALT = (0.38, 0.38, 0.4)
WALLS = ((0.62, 0.6, 0.6), (0.66, 0.48, 0.4), (0.5, 0.58, 0.66), (0.78, 0.72, 0.6))
CROPS = (  # wheat, maize, lavender, rape; each with what lies between its rows
    ((0.86, 0.72, 0.3), (0.6, 0.45, 0.2)),
    ((0.45, 0.62, 0.2), (0.42, 0.32, 0.2)),
    ((0.58, 0.42, 0.7), (0.36, 0.42, 0.22)),
    ((0.92, 0.83, 0.2), (0.36, 0.48, 0.16)),
)


def _ridges(rng: Rng, sky: Sky, horizon: float, snow: bool) -> list[Layer]:
    """Two to four ranges of mountains, the nearest the highest."""
    count, layers = rng.integers(2, 5), []
    colour = _jitter(rng, ROCK, 0.2)
    for i in range(count):
        near = (i + 1) / count
        height = horizon * rng.uniform(0.3, 0.5) * (0.45 + 0.75 * near)
        base = horizon + 0.06 * near
        line = _skyline(rng, base, height, rng.integers(1, 4), sharp=True, detail=0.45)
        snowline = None
        if snow:
            snowline = base - height * rng.uniform(0.05, 0.45)
        elif near == 1 and rng.random() < 0.3:
            snowline = base - height * 0.9  # a dusting on the very top
        green = _jitter(rng, DARK_GREEN, 0.2) if not snow and rng.random() < 0.7 else tuple(0.8 * np.array(colour))
        relief, roughness = octaves(rng, 4, 4, 4), rng.uniform(0.16, 0.26)
        haze = 0.62 * (1 - near) + 0.06
        layers.append(Ridge(line, colour, green, "rock", relief, roughness, haze, snowline, _side(sky)))
    return layers


def _trees(rng: Rng, kinds, count: int, foot: tuple[float, float], height: tuple[float, float], colour, sky: Sky):
    """`count` trees between the far and the near foot, larger as they come nearer."""
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
    return Figures(chosen, places.astype(np.float32), colours.astype(np.float32), 0.45 * (1 - near) ** 1.5, _side(sky))


def _meadow(rng: Rng, edge: np.ndarray, colour=GRASS) -> Plane:
    colour = _jitter(rng, colour)
    return Plane(edge, colour, tuple(0.85 * np.array(colour)), "vegetation", octaves(rng, 6, 6, 4), 0.7)


def _mountain(rng: Rng, time: str, snow: bool = False) -> list[Layer]:
    horizon = rng.uniform(0.55, 0.72)
    sky = _sky(rng, time, horizon)
    layers: list[Layer] = [sky, *_ridges(rng, sky, horizon, snow)]
    if rng.random() < 0.4:
        shore = horizon + 0.05
        layers.append(Water(shore, (0.16, 0.34, 0.42), octaves(rng, 12, 4, 3), 0.35, 0.85, sky.sun[0]))
        edge = _skyline(rng, 0.97, 0.16, 1)
    else:
        edge = _skyline(rng, horizon + 0.1, 0.07, 1)
    if snow:
        ground = Plane(edge, (0.93, 0.96, 1.0), (0.85, 0.9, 0.97), "snow", octaves(rng, 4, 4, 3), 0.2)
    else:
        ground = _meadow(rng, edge)
    layers.append(ground)
    if rng.random() < 0.75:
        count = int(rng.integers(3, 14))
        layers.append(_trees(rng, CONIFERS, count, (horizon + 0.13, 0.99), (0.08, 0.26), DARK_GREEN, sky))
    return layers


def _snowy_mountain(rng: Rng, time: str) -> list[Layer]:
    return _mountain(rng, time, snow=True)


def _sea(rng: Rng, time: str) -> list[Layer]:
    horizon = rng.uniform(0.38, 0.62)
    sky = _sky(rng, time, horizon)
    layers: list[Layer] = [sky]
    if rng.random() < 0.4:  # an island or a far coast
        line = _skyline(rng, horizon + 0.07, rng.uniform(0.1, 0.2), 2)
        layers.append(
            Ridge(line, _jitter(rng, DARK_GREEN), ROCK, "rock", octaves(rng, 4, 4, 3), 0.15, 0.5, None, _side(sky))
        )
    blue = _jitter(rng, (0.07, 0.3, 0.44), 0.3)
    layers.append(
        Water(horizon, blue, octaves(rng, 14, 3, 4), rng.uniform(0.5, 1.1), rng.uniform(0.25, 0.6), sky.sun[0])
    )
    boats = int(rng.integers(0, 4))
    if boats:
        near = np.sort(rng.random(boats))
        foot = horizon + 0.02 + 0.35 * near * (1 - horizon)
        places = np.stack([rng.uniform(0.08, 0.92, boats), foot, 0.09 + 0.17 * near], 1).astype(np.float32)
        hulls = rng.uniform(0.15, 0.75, (boats, 3)).astype(np.float32)
        layers.append(Figures(("sail",) * boats, places, hulls, 0.3 * (1 - near), _side(sky)))
    return layers


def _beach(rng: Rng, time: str) -> list[Layer]:
    horizon = rng.uniform(0.32, 0.5)
    sky = _sky(rng, time, horizon)
    blue = _jitter(rng, (0.1, 0.45, 0.52), 0.25)
    layers: list[Layer] = [sky]
    if rng.random() < 0.35:
        line = _skyline(rng, horizon + 0.06, rng.uniform(0.08, 0.16), 2)
        layers.append(
            Ridge(line, _jitter(rng, DARK_GREEN), ROCK, "rock", octaves(rng, 4, 4, 3), 0.15, 0.5, None, _side(sky))
        )
    layers.append(
        Water(horizon, blue, octaves(rng, 14, 3, 4), rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.45), sky.sun[0])
    )
    tilt = rng.uniform(-0.16, 0.16)
    edge = rng.uniform(0.64, 0.76) + tilt * np.linspace(-1, 1, KNOTS) + _skyline(rng, 0.0, 0.05, 3)
    sand = _jitter(rng, SAND, 0.08)
    grain = octaves(rng, 8, 8, 4)
    wet = tuple(0.78 * np.array(sand))
    layers.append(
        Plane(edge.astype(np.float32), sand, wet, "sand", grain, 0.3, haze=0.0, foam=rng.uniform(0.02, 0.035))
    )
    count = int(rng.integers(1, 5))
    kinds = tuple(rng.choice(("pine", "pine", "umbrella"), count))
    near = np.sort(rng.random(count))
    tall = np.where(np.array(kinds) == "pine", 0.34, 0.14) * (0.7 + 0.7 * near)
    aside = np.where(rng.random(count) < 0.5, rng.uniform(0.02, 0.3, count), rng.uniform(0.7, 0.98, count))
    u = np.where(np.array(kinds) == "pine", aside, rng.uniform(0.1, 0.9, count))
    foot = np.minimum(np.interp(u, np.linspace(0, 1, KNOTS), edge) + 0.07 + 0.16 * near, 0.98)
    leaves = np.array((0.2, 0.42, 0.16)) * rng.uniform(0.7, 1.2, (count, 1))
    bright = rng.uniform(0.2, 1.0, (count, 3))
    colours = np.where((np.array(kinds) == "pine")[:, None], leaves, bright)
    layers.append(
        Figures(
            kinds, np.stack([u, foot, tall], 1).astype(np.float32), colours.astype(np.float32), 0 * near, _side(sky)
        )
    )
    return layers


def _forest(rng: Rng, time: str) -> list[Layer]:
    horizon = rng.uniform(0.42, 0.6)
    sky = _sky(rng, time, horizon)
    autumn = rng.random() < 0.35
    leaf = _jitter(rng, (0.62, 0.36, 0.12) if autumn else (0.2, 0.42, 0.16), 0.2)
    kinds = (CONIFERS, ROUND_TREES, (*CONIFERS, *ROUND_TREES))[rng.integers(3)]
    if autumn:
        kinds = ROUND_TREES
    elif kinds == CONIFERS:
        leaf = _jitter(rng, DARK_GREEN, 0.2)
    behind = _skyline(rng, horizon + 0.02, 0.14, 8, detail=0.7)
    wood = Ridge(
        behind, tuple(0.8 * np.array(leaf)), leaf, "vegetation", octaves(rng, 12, 12, 3), 0.22, 0.35, None, _side(sky)
    )
    floor = _jitter(rng, (0.36, 0.34, 0.18) if autumn else (0.28, 0.38, 0.16))
    ground = Plane(_level(horizon), floor, tuple(0.7 * np.array(floor)), "vegetation", octaves(rng, 8, 8, 4), 0.7)
    count = int(rng.integers(22, 42))
    return [sky, wood, ground, _trees(rng, kinds, count, (horizon + 0.03, 1.02), (0.2, 0.62), leaf, sky)]


def _desert(rng: Rng, time: str) -> list[Layer]:
    horizon = rng.uniform(0.42, 0.6)
    sky = _sky(rng, time, horizon, cover=rng.beta(1, 5))
    sand = _jitter(rng, (0.88, 0.6, 0.34), 0.12)
    layers: list[Layer] = [sky]
    if rng.random() < 0.4:  # table mountains
        line = np.round(_skyline(rng, 0, 1, 2) * 2.2) / 2.2
        line = np.convolve(np.pad(line, 3, "edge"), np.ones(7) / 7, "valid")
        mesa = (horizon + 0.02 + 0.16 * line).astype(np.float32)
        layers.append(
            Ridge(
                mesa, _jitter(rng, (0.66, 0.36, 0.24)), ROCK, "rock", octaves(rng, 8, 2, 3), 0.1, 0.35, None, _side(sky)
            )
        )
    count = int(rng.integers(2, 5))
    for i in range(count):
        near = (i + 1) / count
        line = _skyline(
            rng,
            horizon + 0.05 + (0.85 - horizon) * (near - 1 / count),
            0.06 + 0.12 * near,
            1 if near > 0.6 else 2,
            detail=0.12,
        )
        shade = tuple(np.clip(np.array(sand) * rng.uniform(0.92, 1.06), 0, 1))
        layers.append(
            Ridge(
                line,
                shade,
                tuple(0.93 * np.array(shade)),
                "sand",
                octaves(rng, 24, 3, 2),
                0.05,
                0.3 * (1 - near),
                None,
                _side(sky),
            )
        )
    plants = int(rng.integers(0, 5))
    if plants:
        near = np.sort(rng.random(plants))
        places = np.stack([rng.uniform(0.05, 0.95, plants), 0.84 + 0.13 * near, 0.12 + 0.16 * near], 1)
        green = np.array((0.25, 0.42, 0.2)) * rng.uniform(0.8, 1.2, (plants, 1))
        arms_left, arms_right = places.copy(), places.copy()
        for arms, side in ((arms_left, -1), (arms_right, 1)):
            arms[:, 0] += side * 0.2 * places[:, 2]
            arms[:, 1] -= places[:, 2] * rng.uniform(0.3, 0.45, plants)
            arms[:, 2] *= 0.4
        every = np.concatenate([places, arms_left, arms_right]).astype(np.float32)
        layers.append(
            Figures(
                ("cactus",) * 3 * plants,
                every,
                np.tile(green, (3, 1)).astype(np.float32),
                np.zeros(3 * plants),
                _side(sky),
            )
        )
    return layers


def _field(rng: Rng, time: str) -> list[Layer]:
    horizon = rng.uniform(0.36, 0.52)
    sky = _sky(rng, time, horizon)
    layers: list[Layer] = [sky]
    hills = _skyline(rng, horizon + 0.02, rng.uniform(0.03, 0.1), 2, detail=0.3)
    layers.append(
        Ridge(
            hills,
            _jitter(rng, (0.34, 0.48, 0.26)),
            DARK_GREEN,
            "vegetation",
            octaves(rng, 6, 6, 3),
            0.08,
            0.4,
            None,
            _side(sky),
        )
    )
    crop, earth = CROPS[rng.integers(len(CROPS))]
    crop = _jitter(rng, crop, 0.08)
    layers.append(
        Plane(
            _level(horizon),
            crop,
            tuple(0.92 * np.array(crop)),
            "crop",
            octaves(rng, 8, 10, 4),
            0.45,
            rows=int(rng.integers(4, 9)),
            between=earth,
            vanishing=rng.uniform(0.2, 0.8),
        )
    )
    if rng.random() < 0.7:
        layers.append(
            _trees(
                rng,
                ROUND_TREES,
                int(rng.integers(1, 6)),
                (horizon + 0.005, horizon + 0.04),
                (0.1, 0.2),
                (0.22, 0.4, 0.18),
                sky,
            )
        )
    if rng.random() < 0.5:
        walls = rng.uniform(0.7, 0.95, (1, 3)).astype(np.float32)
        place = np.array([[rng.uniform(0.12, 0.88), horizon + 0.045, rng.uniform(0.09, 0.14)]], np.float32)
        layers.append(Figures(("house",), place, walls, np.array([0.15]), _side(sky)))
    if rng.random() < 0.3:
        count = int(rng.integers(1, 4))
        near = np.sort(rng.random(count))
        places = np.stack([rng.uniform(0.1, 0.9, count), horizon + 0.18 + 0.3 * near, 0.06 + 0.08 * near], 1)
        layers.append(
            Figures(
                ("bale",) * count,
                places.astype(np.float32),
                np.tile((0.85, 0.7, 0.35), (count, 1)),
                0.1 * (1 - near),
                _side(sky),
            )
        )
    return layers


def _city(rng: Rng, time: str) -> list[Layer]:
    ground = rng.uniform(0.7, 0.82)
    sky = _sky(rng, time, ground)
    layers: list[Layer] = [sky]
    rows = int(rng.integers(2, 4))
    for i in range(rows):
        near = (i + 1) / rows
        widths = rng.uniform(0.08, 0.17, 24) * (0.6 + 0.5 * near)
        left = np.cumsum(widths) - widths - rng.uniform(0, 0.1)
        left, widths = left[left < 1], widths[left < 1]
        count = len(left)
        tall = rng.uniform(0.16, 0.62, count) * (1.15 - 0.4 * near)
        foot = ground + 0.02 * near
        gap = rng.random(count) < 0.22 * near
        roofs = np.where(gap, foot - 0.08, foot - tall)
        boxes = np.stack([left, left + widths * 0.94, roofs, np.full(count, foot)], 1)
        walls = np.array([_jitter(rng, WALLS[rng.integers(len(WALLS))], 0.12) for _ in range(count)])
        storeys = tuple(
            (max(int((foot - r) / (0.045 + 0.012 * near)), 1), max(int(w / 0.032), 2))
            for r, w in zip(roofs, widths, strict=True)
        )
        lamps = rng.random((count, 40, 12)).astype(np.float32)
        layers.append(
            Buildings(boxes.astype(np.float32), walls.astype(np.float32), storeys, lamps, 0.5 * (1 - near), _side(sky))
        )
    if rng.random() < 0.35:
        layers.append(Water(ground + 0.02, (0.14, 0.26, 0.34), octaves(rng, 12, 4, 3), 0.4, 0.8, sky.sun[0]))
    else:
        grain = octaves(rng, 8, 8, 3)
        lanes = rng.uniform(0.3, 0.7)
        street = Plane(
            _level(ground + 0.02),
            ASPHALT,
            ASPHALT,
            "road",
            grain,
            0.2,
            rows=1,
            between=(0.3, 0.3, 0.32),
            vanishing=lanes,
        )
        layers.append(street)
        if rng.random() < 0.7:
            layers.append(
                _trees(
                    rng,
                    ("round",),
                    int(rng.integers(2, 7)),
                    (ground + 0.03, ground + 0.08),
                    (0.09, 0.15),
                    (0.24, 0.4, 0.18),
                    sky,
                )
            )
    return layers


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
