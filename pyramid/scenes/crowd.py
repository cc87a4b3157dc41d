"""Where people stand in a landscape: on its ground, the nearer the lower and the larger, behind what is nearer still.

Like the builders, this draws from the generator it is given, and after them: a scene has the same landscape
with and without people.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from pyramid.scenes.canvas import FINER, LIGHTS, MATERIALS, Canvas
from pyramid.scenes.layers import Figures, Layer, Plane, Ridge, Sky
from pyramid.scenes.parts import Rng, sun_side
from pyramid.scenes.people import Jointed, Person, somebody

MAP_SIZE = 32  # pixels at which the ground is looked for
MOST = 12  # people in a scene
PEOPLED = 0.84  # share of the landscapes with ground that people have come to
#: of a label's landscapes: how far the eye's level lies above the sky's horizon, and the heights of people a unit below
VIEWS = {
    "beach": (0.0, 1.0),
    "city": (0.07, 1.0),
    "desert": (0.0, 1.0),
    "field": (0.0, 1.0),
    "forest": (0.0, 1.0),
    "mountain": (0.05, 1.0),
    "sea": (0.0, 0.8),
    "snowy mountain": (0.05, 1.0),
}
SMALLEST, LOWEST = 0.095, 0.985  # height of the farthest people; v of the nearest feet
#: height from which it counts as this distance, how likely it is tried, the most people together, the share that sits
DISTANCES = ((0.36, 0.36, 2, 0.2), (0.26, 0.26, 3, 0.3), (0.16, 0.22, 5, 0.25), (SMALLEST, 0.16, 4, 0.0))
BENCHES = {"city": 1.0, "snowy mountain": 1.0, "beach": 0.0, "desert": 0.0}  # share of who sits; elsewhere 0.4
TRIES = 30


def with_people(rng: Rng, label: str, time: str, layers: list[Layer]) -> list[Layer]:
    """The layers of a landscape and, on most that have ground, one to MOST people among its figures."""
    came = rng.random() < PEOPLED
    sky = next(layer for layer in layers if isinstance(layer, Sky))
    above, scale = VIEWS[label]
    scale *= rng.uniform(0.88, 1.08)
    if not came:
        return layers
    free, fronts = survey(layers, time)
    heights = _heights(free, sky.horizon - above, scale)
    if not heights.any():
        return layers
    crowd = _Crowd(rng, label, time, heights, fronts, sun_side(sky))
    for _ in range(int(rng.integers(1, 6))):
        crowd.add_group()
    return _among(layers, crowd.things)


def survey(layers: list[Layer], time: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the ground of a landscape is seen and is no water: bool (side, side); and, where a figure is seen, the v
    of its foot, elsewhere 0: (side, side).
    """
    canvas, numbers, feet = Canvas(MAP_SIZE, LIGHTS[time]), [], [0.0]
    for layer in layers:
        canvas.next_layer()
        feet.append(0.0)
        if isinstance(layer, Plane) or isinstance(layer, Ridge) and layer.material == "sand":
            numbers.append(canvas.layers)
        if not isinstance(layer, Sky):  # nothing lies behind it
            layer.paint(canvas)
        count = canvas.layers + 1 - len(feet)  # of the figures or houses in it
        feet += layer.places[:, 1].tolist() if isinstance(layer, Figures) else [0.0] * count
    return np.isin(canvas.layer, numbers) & (canvas.material != MATERIALS.index("water")), np.array(feet)[canvas.layer]


def _heights(free: np.ndarray, eye: float, scale: float) -> np.ndarray:
    """The height of a person with its foot at each point, 0 where nobody can stand: (side, side)."""
    side = MAP_SIZE * FINER
    v = (np.arange(side) + 0.5) / side
    tall = scale * (v - eye)
    tall[(tall < SMALLEST) | (v > LOWEST)] = 0
    firm = free.copy()
    for right in (-1, 1):  # ground to the left, to the right and below, too
        firm &= np.roll(free, right, 1)
    firm[:-1] &= free[1:]
    firm[:, :2] = firm[:, -2:] = False
    return np.where(firm, tall[:, None], 0)


@dataclass
class _Crowd:
    """Those who have come so far, and where there is room for more."""

    rng: Rng
    label: str
    time: str
    heights: np.ndarray  # (side, side), of `_heights`
    fronts: np.ndarray  # (side, side), of `survey`
    sun_side: float
    people: list[Person] = field(default_factory=list)
    things: list[Jointed] = field(default_factory=list)  # people, each after the bench it sits on

    def add_group(self) -> None:
        """Some people together: up to three where they are near, up to five in the middle distance."""
        rng, side = self.rng, len(self.heights)
        least, _, most, sitting = DISTANCES[rng.choice(len(DISTANCES), p=[share for _, share, _, _ in DISTANCES])]
        nearer = min([low for low, *_ in DISTANCES if low > least], default=1.0)
        rows, columns = np.nonzero((self.heights >= least) & (self.heights < nearer))
        if not len(rows):
            return
        chosen = rng.integers(len(rows))
        middle = np.array((columns[chosen], rows[chosen])) + 0.5
        tall = self.heights[rows[chosen], columns[chosen]]
        faces, count, found = int(rng.choice((-1, 1))), int(rng.integers(1, most + 1)), 0
        for _ in range(TRIES):
            if found == count or len(self.people) == MOST:
                break
            aside = rng.uniform(-0.3, 0.3, 2) * (count, 0.3 * count) * tall * side * (found > 0)
            column, row = (middle + aside).astype(int).clip(0, side - 1)
            place = ((column + rng.random()) / side, (row + rng.random()) / side, float(self.heights[row, column]))
            found += self._add(place, sitting, faces)

    def _add(self, place: tuple[float, float, float], sitting: float, faces: int) -> bool:
        """Somebody at a place (u, v of the foot, height), if there is room; whether there was."""
        if place[2] == 0 or _hidden(self.fronts, *place) or any(_hides(person, *place) for person in self.people):
            return False
        rng, pose = self.rng, str(self.rng.choice(("walking", "standing"), p=(0.6, 0.4)))
        if rng.random() < sitting:
            pose = "on a bench" if rng.random() < BENCHES.get(self.label, 0.4) else "on the ground"
        turned = faces if rng.random() < 0.75 else -faces
        came = somebody(rng, pose, place, turned, self.time, self.sun_side, warm=self.label != "snowy mountain")
        self.things += came
        self.people.append(came[-1])
        return True


def _hidden(fronts: np.ndarray, u: float, foot: float, height: float) -> bool:
    """Whether nearer figures hide a third or more of somebody there."""
    left, right, top, bottom = (
        np.array((u - 0.13 * height, u + 0.13 * height, foot - height, foot)) * len(fronts)
    ).astype(int)
    return bool((fronts[max(top, 0) : bottom + 1, max(left, 0) : right + 1] > foot).mean() > 1 / 3)


def _hides(person: Person, u: float, foot: float, height: float) -> bool:
    """Whether somebody who came here would hide a good part of a person, or be hidden."""
    wide = 0.45 if person.pose.startswith("on") else 0.28
    beside = abs(person.u - u) > wide * max(person.height, height)
    return not beside and foot - height < person.foot and person.foot - person.height < foot


def _among(layers: list[Layer], things: list[Jointed]) -> list[Layer]:
    """People and benches among the figures of a landscape, which come last: each before the first that is nearer."""
    waiting, merged = sorted(things, key=lambda thing: thing.foot), []
    for layer in layers:
        if not isinstance(layer, Figures):
            merged.append(layer)
            continue
        for i, place in enumerate(layer.places):
            while waiting and waiting[0].foot < place[1]:
                merged.append(waiting.pop(0))
            rows = slice(i, i + 1)
            one = {name: getattr(layer, name)[rows] for name in ("kinds", "places", "colours", "haze")}
            merged.append(replace(layer, **one))
    return [*merged, *waiting]
