"""People: bodies of limbs in a few poses, each with skin, hair and clothes of its own.

A limb is a capsule that may taper, in units of the standing height: x to the right of the foot's place, y upwards.
Everything is drawn from the generator that is given; nothing depends on a size. Where people stand: `crowd.py`.
"""

import colorsys
from dataclasses import dataclass

import numpy as np

from pyramid.scenes.canvas import Array, Canvas, Colour, column
from pyramid.scenes.layers import Layer
from pyramid.scenes.parts import Rng

Point = tuple[float, float]

SKIN = (  # from very light to very dark, evenly along the scale; tones between are mixed
    (0.97, 0.83, 0.74),
    (0.9, 0.71, 0.57),
    (0.78, 0.57, 0.42),
    (0.6, 0.4, 0.27),
    (0.42, 0.27, 0.18),
    (0.25, 0.155, 0.11),
)
HAIR = ((0.07, 0.06, 0.06), (0.2, 0.12, 0.08), (0.36, 0.22, 0.12), (0.72, 0.52, 0.26), (0.55, 0.25, 0.12), (0.7,) * 3)
WOOD, SHADE = (0.42, 0.29, 0.18), (0.07, 0.08, 0.1)
DARK = 0.78  # share of its light that a limb on the far side sends back


@dataclass(frozen=True)
class Jointed(Layer):
    """A thing made of limbs, the farthest first, and the soft shadow at its foot."""

    kind: str
    material: str
    u: float
    foot: float  # v of the ground it stands on
    height: float  # of one unit
    limbs: Array  # (n, 6): x, y of one end, x, y of the other, the two radii
    colours: Array  # (n, 3)
    haze: float
    sun_side: float
    shadow: tuple[float, float]  # length and strength

    def paint(self, canvas: Canvas) -> None:
        canvas.next_layer(self.kind)
        self._paint_shadow(canvas)
        x0, y0, x1, y1, r0, r1 = self.limbs.T
        wide, high = np.maximum(r0, r1), np.maximum(y0 + r0, y1 + r1).max()
        left, right = (np.minimum(x0, x1) - wide).min(), (np.maximum(x0, x1) + wide).max()
        window = canvas.window(
            self.u + left * self.height, self.u + right * self.height, self.foot - high * self.height, self.foot
        )
        x = (canvas.axis[window[1]][None] - self.u) / self.height
        y = (self.foot - canvas.axis[window[0]][:, None]) / self.height
        if not x.size or not y.size:
            return
        shade = 1.08 - 0.22 * self.sun_side * np.clip(x / 0.13, -1, 1)
        for limb, colour in zip(self.limbs, self.colours, strict=True):
            coverage = canvas.inside(_depth(x, y, limb) * self.height)
            canvas.paint(coverage, canvas.lit(column(colour) * shade, self.haze), self.material, window)

    def _paint_shadow(self, canvas: Canvas) -> None:
        """Darker ground, away from the light. It stays below one half of cover, so the map keeps the ground."""
        (length, strength), h = self.shadow, self.height
        middle = self.u + 0.5 * length * self.sun_side * h
        half = (0.5 * length + 0.14) * h
        window = canvas.window(middle - half, middle + half, self.foot - 0.06 * h, self.foot + 0.06 * h)
        x = (canvas.axis[window[1]][None] - middle) / half
        y = (canvas.axis[window[0]][:, None] - self.foot + 0.01 * h) / (0.05 * h)
        soft = strength * np.clip(1.5 * (1 - x**2 - y**2), 0, 1)
        canvas.paint(soft, canvas.lit(SHADE), self.material, window)


@dataclass(frozen=True)
class Person(Jointed):
    """Somebody in the landscape."""

    pose: str  # of POSES
    skin: float  # tone from 0, very light, to 1, very dark


def _depth(x: Array, y: Array, limb: Array) -> Array:
    """How deep points lie in a limb, negative outside. x: (1, w), y: (h, 1); returns (h, w)."""
    x0, y0, x1, y1, r0, r1 = map(float, limb)
    dx, dy = x1 - x0, y1 - y0
    t = np.clip(((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
    return r0 + (r1 - r0) * t - np.hypot(x - x0 - t * dx, y - y0 - t * dy)


@dataclass(frozen=True)
class Joints:
    """Where the joints of a pose are; of arms and legs the farther one first."""

    head: Point  # middle of it
    torso: tuple[Point, Point]  # neck and waist
    legs: tuple[tuple[Point, Point, Point], ...]  # hip, knee, foot
    arms: tuple[tuple[Point, Point, Point], ...]  # shoulder, elbow, hand
    wide: float  # half the shoulders' width: 0 from the side
    face: float  # how far the face lies before the middle of the head, -1 where it is not seen


def _walking(rng: Rng) -> Joints:
    s = rng.uniform(0.09, 0.19)
    legs = (((0, 0.5), (-0.2 * s, 0.27), (-1.1 * s, 0.05)), ((0, 0.5), (0.7 * s + 0.02, 0.28), (s, 0.025)))
    swing = rng.uniform(0.6, 1.2) * s
    arms = (((0, 0.78), (swing, 0.64), (1.3 * swing + 0.05, 0.53)), ((0, 0.78), (-swing, 0.63), (-1.2 * swing, 0.49)))
    if rng.random() < 0.5:  # the other leg and the other arm in front
        legs, arms = legs[::-1], arms[::-1]
    return Joints((0.02, 0.925), ((0.005, 0.775), (0, 0.53)), legs, arms, 0.0, 0.022)


def _standing(rng: Rng) -> Joints:
    lift = rng.choice((0.0, 0.07))  # of a foot, for those who are under way
    legs = tuple(
        ((0.045 * k, 0.5), (0.058 * k, 0.27 + up / 3), (0.062 * k, 0.025 + up)) for k, up in ((-1, lift), (1, 0))
    )

    def arm(side: int) -> tuple[Point, Point, Point]:
        elbow, hand = (((0.165, 0.63), (0.16, 0.49)), ((0.22, 0.64), (0.11, 0.55)), ((0.22, 0.84), (0.2, 0.99)))[
            rng.choice(3, p=(0.75, 0.15, 0.1))
        ]  # hanging, akimbo, raised
        return (0.115 * side, 0.78), (elbow[0] * side, elbow[1]), (hand[0] * side, hand[1])

    face = rng.choice((0.0, -1.0), p=(0.7, 0.3))  # coming or going
    return Joints((0, 0.925), ((0, 0.765), (0, 0.53)), legs, (arm(-1), arm(1)), 0.085, face)


def _on_the_ground(rng: Rng) -> Joints:
    if rng.random() < 0.5:  # from the front, legs crossed
        legs = tuple(((0.04 * k, 0.09), (0.21 * k, 0.08), (-0.02 * k, 0.045)) for k in (-1, 1))
        arms = tuple(((0.115 * k, 0.36), (0.175 * k, 0.22), (0.1 * k, 0.13)) for k in (-1, 1))
        return Joints((0, 0.51), ((0, 0.35), (0, 0.12)), legs, arms, 0.085, 0.0)
    hip, neck = (-0.12, 0.09), (-0.17, 0.35)
    legs = ((hip, (0.06, 0.25), (0.17, 0.03)), (hip, (0.1, 0.26), (0.22, 0.03)))
    if rng.random() < 0.4:  # stretched out
        legs = ((hip, (0.07, 0.14), (0.28, 0.035)), (hip, (0.09, 0.1), (0.33, 0.035)))
    behind, on_knee = (neck, (-0.27, 0.21), (-0.31, 0.04)), (neck, (-0.04, 0.23), (0.08, 0.26))
    return Joints((-0.15, 0.5), (neck, hip), legs, (on_knee, behind if rng.random() < 0.5 else on_knee), 0.0, 0.022)


def _on_a_bench(rng: Rng) -> Joints:
    if rng.random() < 0.5:  # from the front
        legs = tuple(((0.05 * k, 0.32), (0.07 * k, 0.27), (0.065 * k, 0.025)) for k in (-1, 1))
        arms = tuple(((0.115 * k, 0.58), (0.165 * k, 0.44), (0.06 * k, 0.34)) for k in (-1, 1))
        return Joints((0, 0.735), ((0, 0.57), (0, 0.34)), legs, arms, 0.085, 0.0)
    hip, neck = (-0.07, 0.32), (-0.1, 0.57)
    legs = ((hip, (0.15, 0.3), (0.13, 0.025)), (hip, (0.17, 0.31), (0.2, 0.025)))
    arms = ((neck, (-0.02, 0.43), (0.11, 0.37)),) * 2
    return Joints((-0.08, 0.725), (neck, hip), legs, arms, 0.0, 0.022)


POSES = {"walking": _walking, "standing": _standing, "on the ground": _on_the_ground, "on a bench": _on_a_bench}
SIDE_BENCH = (
    ((-0.22, 0.24), (0.1, 0.24), 0.022, 0.022),
    ((-0.2, 0.25), (-0.24, 0.52), 0.018, 0.018),
    ((-0.18, 0.22), (-0.18, 0.01), 0.016, 0.016),
    ((0.07, 0.22), (0.07, 0.01), 0.016, 0.016),
)
FRONT_BENCH = (
    ((-0.36, 0.47), (0.36, 0.47), 0.045, 0.045),
    ((-0.36, 0.24), (0.36, 0.24), 0.03, 0.03),
    ((-0.32, 0.45), (-0.32, 0.01), 0.02, 0.02),
    ((0.32, 0.45), (0.32, 0.01), 0.02, 0.02),
)


def skin_colour(tone: float) -> Colour:
    """The albedo of a tone of skin from 0, very light, to 1, very dark."""
    places = np.linspace(0, 1, len(SKIN))
    return tuple(float(np.interp(tone, places, channel)) for channel in zip(*SKIN, strict=True))


def cloth(rng: Rng) -> Colour:
    """Any colour that is worn: every hue, pale or strong, dark or light."""
    return colorsys.hsv_to_rgb(rng.random(), rng.beta(1.3, 1.0), rng.uniform(0.15, 0.97))


class _Painter:
    """Limbs and their colours, in the order in which they are painted."""

    def __init__(self):
        self.limbs: list[tuple[float, ...]] = []
        self.colours: list[Array] = []

    def add(self, colour: Colour, start: Point, end: Point, at_start: float, at_end: float, share: float = 1.0) -> None:
        self.limbs.append((*start, *end, at_start, at_end))
        self.colours.append(share * np.asarray(colour, np.float32))


def _dressed(rng: Rng, joints: Joints, tone: float, warm: bool, child: bool) -> tuple[Array, Array]:
    """Limbs (n, 6) and colours (n, 3) of somebody in a pose; warm: where sleeves and trousers may be short."""
    skin, upper, lower, shoes = skin_colour(tone), cloth(rng), cloth(rng), cloth(rng)
    stout = rng.uniform(0.9, 1.2)
    bare_arms, bare_shins = (warm and rng.random() < share for share in (0.6, 0.45))
    upright = joints.torso[1][1] > 0.5
    skirt = upright and rng.random() < 0.22
    if skirt and rng.random() < 0.6:
        lower = upper  # a dress
    paint = _Painter()

    def arm(points: tuple[Point, Point, Point], share: float) -> None:
        shoulder, elbow, hand = points
        paint.add(upper, shoulder, elbow, 0.044 * stout, 0.036, share)
        paint.add(skin if bare_arms else upper, elbow, hand, 0.034, 0.028, share)
        paint.add(skin, hand, hand, 0.03, 0.03, share)

    def leg(points: tuple[Point, Point, Point], share: float) -> None:
        hip, knee, foot = points
        paint.add(lower, hip, knee, 0.066 * stout, 0.05, share)
        paint.add(skin if bare_shins or skirt else lower, knee, foot, 0.044, 0.03, share)
        paint.add(shoes, foot, (foot[0] + (0.045 if joints.wide == 0 else 0), foot[1] - 0.002), 0.026, 0.022, share)

    far = DARK if joints.wide == 0 else 1.0
    if joints.wide == 0:
        arm(joints.arms[0], far)
    for points, share in zip(joints.legs, (far, 1.0), strict=True):
        leg(points, share)
    neck, waist = joints.torso
    if upright and rng.random() < 0.14 and joints.wide == 0:  # a rucksack
        paint.add(cloth(rng), (-0.1, 0.74), (-0.095, 0.6), 0.058, 0.065)
    paint.add(upper, neck, waist, (0.078 + 0.02 * (joints.wide > 0)) * stout, 0.078 * stout)
    if joints.wide:
        paint.add(upper, (-joints.wide, neck[1]), (joints.wide, neck[1]), 0.052, 0.052)
    if skirt:
        paint.add(lower, (waist[0], waist[1] + 0.04), (waist[0], rng.uniform(0.27, 0.36)), 0.08 * stout, 0.13)
    _head(rng, paint, joints, skin, 1.25 if child else 1.0)
    for points in joints.arms[1:] if joints.wide == 0 else joints.arms:
        arm(points, 0.9)
    if upright and rng.random() < 0.15:  # a bag in the hand
        hand = joints.arms[-1][2]
        if hand[1] < 0.6:
            paint.add(cloth(rng), (hand[0] - 0.03, hand[1] - 0.09), (hand[0] + 0.03, hand[1] - 0.09), 0.05, 0.05)
    return np.array(paint.limbs, np.float32), np.array(paint.colours, np.float32)


def _head(rng: Rng, paint: _Painter, joints: Joints, skin: Colour, size: float) -> None:
    """Neck, hair, face, and now and then a hat."""
    (x, y), (neck_x, neck_y) = joints.head, joints.torso[0]
    hair, r = HAIR[rng.integers(len(HAIR))], 0.068 * size
    paint.add(skin, (neck_x, neck_y + 0.05), (x, y - 0.04), 0.036, 0.036)
    forward = max(joints.face, 0.0)
    if rng.random() < 0.4:  # long
        paint.add(hair, (x - 0.8 * forward, y), (x - 1.6 * forward, y - 0.13), r, 0.05)
    paint.add(hair, (x - 0.3 * forward, y + 0.012), (x - 0.3 * forward, y + 0.012), r, r)
    if joints.face >= 0:
        paint.add(skin, (x + forward, y - 0.012), (x + 0.8 * forward, y - 0.028), 0.78 * r, 0.7 * r)
    if rng.random() < 0.2:
        colour, top = cloth(rng), y + 0.6 * r
        paint.add(colour, (x - 0.028, top + 0.02), (x + 0.028, top + 0.02), 0.045 * size, 0.045 * size)
        brim = rng.choice((0.0, 0.11))  # a cap or a hat
        paint.add(colour, (x - brim, top), (x + max(brim, 3 * forward), top), 0.016, 0.016)


def somebody(
    rng: Rng,
    pose: str,
    place: tuple[float, float, float],
    faces: int,
    time: str,
    sun_side: float,
    warm: bool,
) -> list[Jointed]:
    """One person, behind it the bench it sits on, if any.

    Args:
        pose: one of POSES.
        place: u, v of the foot, and the standing height of a grown-up there.
        faces: 1 to the right, -1 to the left, for poses seen from the side.
        time: one of TIMES; it sets the shadow.
        warm: whether arms and shins may be bare.
    """
    u, foot, tall = place
    child = rng.random() < 0.15
    height = tall * (rng.uniform(0.62, 0.8) if child else rng.uniform(0.92, 1.05))
    joints, tone = POSES[pose](rng), float(rng.random())
    limbs, colours = _dressed(rng, joints, tone, warm, child)
    shadow = {"day": (0.25, 0.42), "sunset": (0.8, 0.4), "night": (0.25, 0.3)}[time]
    common = {"u": u, "foot": foot, "haze": float(np.clip(0.2 - 0.6 * tall, 0, 1)), "sun_side": sun_side}
    found: list[Jointed] = []
    if pose == "on a bench":
        bench = np.array([(*a, *b, *r) for a, b, *r in (FRONT_BENCH if joints.wide else SIDE_BENCH)], np.float32)
        wood = np.tile(np.array(WOOD, np.float32) * rng.uniform(0.7, 1.4), (len(bench), 1))
        found.append(
            Jointed("bench", "built", height=height, limbs=_turned(bench, faces), colours=wood, shadow=shadow, **common)
        )
    found.append(
        Person(
            "person",
            "person",
            height=height,
            limbs=_turned(limbs, faces),
            colours=colours,
            shadow=shadow,
            pose=pose,
            skin=tone,
            **common,
        )
    )
    return found


def _turned(limbs: Array, faces: int) -> Array:
    """Limbs that face the other way where faces is -1."""
    return limbs * np.array((faces, 1, faces, 1, 1, 1), np.float32)
