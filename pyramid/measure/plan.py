"""The plan of a run at scale: what fits on which card, how fast it goes, days, energy, and what becomes the limit.

Computed from `scale.py` and from the constants here: figures of cards as their makers publish them, one measured
speed, and what is assumed of large kernels, links and disks. Nothing of paper256 was measured: two ways to its speed
are given. By the work alone, a step does as many operations a second as the measured one, in proportion to the card's
peak. Kernel by kernel, each takes the longer of its operations and its bytes, and all of them together the same factor
more than this says of the measured step.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from pyramid.errors import InputError
from pyramid.measure.scale import Estimate, classes_of, count_step
from pyramid.measure.tables import markdown
from pyramid.presets import PRESETS, Preset

SPARE = 0.1  # of a card's memory, for libraries and what lies unused
PEAK_SHARE, BANDWIDTH_SHARE = 0.7, 0.8  # of a card's published speeds, in large kernels
KERNEL = 2e-6  # seconds between two kernels of a recorded step
DISK = 1e9  # bytes a second of a disk that checkpoints are written to
SAVE_EVERY = 240  # seconds between checkpoints, `training.loop.SAVE_MINUTES`
LOADED = 1000  # photographs of 256 px a second that a process reads where all cores do: `tests.benchmark --loader`
MACHINE = 8  # cards in one machine
COUNTS = (1, 8, 64)  # of cards
BATCHES = (16, 32, 64, 128, 256)
Table = tuple[list[str], list[list[str]]]  # head, rows
DAY, KWH = 86_400, 3.6e6


@dataclass(frozen=True)
class Card:
    """A graphics card as its maker publishes it; links as they are usual between such cards."""

    name: str
    memory: float  # bytes
    peak: float  # operations a second in half precision, dense, on tensor cores
    bandwidth: float  # bytes a second of its memory
    watts: float
    inside: float  # bytes a second that a card exchanges with others in its machine
    outside: float  # and in other machines

    @property
    def usable(self) -> float:
        return (1 - SPARE) * self.memory


CARDS = (
    Card("T4 16 GB", 16e9, 65e12, 320e9, 70, 10e9, 1.5e9),
    Card("A100 40 GB", 40e9, 312e12, 1555e9, 400, 200e9, 20e9),
    Card("A100 80 GB", 80e9, 312e12, 2039e9, 400, 200e9, 20e9),
    Card("H100 80 GB", 80e9, 989e12, 3350e9, 700, 350e9, 40e9),
)
LATENCY = {True: 20e-6, False: 60e-6}  # seconds of a small all-reduce inside a machine and between machines
#: what was measured (docs/results.md, "On a graphics card"): images a second of photos64, recorded, batch 128
MEASURED_CARD, MEASURED_PRESET, MEASURED_BATCH, MEASURED_SPEED = CARDS[3], "photos64", 128, 3370


@dataclass(frozen=True)
class Way:
    """How a batch goes through a card: as a whole or in parts, inner maps kept or computed anew."""

    parts: int = 1
    recompute: bool = False

    def __str__(self) -> str:
        words = [f"--parts {self.parts}"] * (self.parts > 1) + ["--recompute"] * self.recompute
        return f"`{' '.join(words)}`" if words else "whole"


@dataclass(frozen=True)
class Pace:
    """How a run goes on some cards."""

    each: int  # images a card and step
    way: Way
    by_work: float  # images a second of all cards together, in proportion to the operations
    by_kernel: float  # and kernel by kernel, the all-reduce included
    exchange: float  # seconds of a step that go to exchange between cards
    days: float  # by kernel
    energy: float  # kWh of the cards alone, by kernel


def fits(e: Estimate, card: Card, batch: int) -> Way | None:
    """The first way in which a batch fits on a card: whole, recomputed, then in more and more parts; None if none."""
    for way in (Way(), Way(1, True), *(Way(2**i, True) for i in range(1, 7))):
        memory = e.thrifty if way.recompute else e.whole
        if batch % (4 * way.parts) == 0 and memory.at(batch // way.parts) <= card.usable:
            return way
    return None


def largest(e: Estimate, card: Card, recompute: bool) -> int:
    """The largest batch, a power of two, that fits on a card as a whole; 0 where 4 do not."""
    memory = e.thrifty if recompute else e.whole
    return max((2**i for i in range(2, 13) if memory.at(2**i) <= card.usable), default=0)


@lru_cache(4)
def kernels(preset: Preset, batch: int, way: Way, r1: bool) -> tuple[tuple[float, float], ...]:
    """(operations, bytes) of each kernel of a step."""
    count = count_step(preset, classes_of(preset), batch, parts=way.parts, recompute=way.recompute, r1=r1)
    return tuple(count.kernels)


@cache
def modelled(preset: Preset, batch: int, way: Way, card: Card) -> float:
    """Seconds of a step kernel by kernel, R1 at its share."""
    peak, bandwidth = PEAK_SHARE * card.peak, BANDWIDTH_SHARE * card.bandwidth
    with_r1, without = (
        sum(max(work / peak, size / bandwidth) + KERNEL for work, size in kernels(preset, batch, way, r1))
        for r1 in (True, False)
    )
    return without + (with_r1 - without) / preset.r1_every


@cache
def beyond_model() -> float:
    """How many times longer the measured step takes than it would kernel by kernel."""
    seconds = modelled(PRESETS[MEASURED_PRESET], MEASURED_BATCH, Way(), MEASURED_CARD)
    return MEASURED_BATCH / MEASURED_SPEED / seconds


@cache
def operations(preset: Preset, batch: int, way: Way) -> float:
    """Of a generated image in training, R1 at its share."""
    with_r1, without = (sum(work for work, _ in kernels(preset, batch, way, r1)) for r1 in (True, False))
    return (without + (with_r1 - without) / preset.r1_every) / batch


@cache
def measured_share() -> float:
    """Of the card's peak, what the measured step reaches."""
    return MEASURED_SPEED * operations(PRESETS[MEASURED_PRESET], MEASURED_BATCH, Way()) / MEASURED_CARD.peak


def exchange(e: Estimate, card: Card, cards: int) -> float:
    """Seconds of a step in which cards exchange gradients and batch statistics, one after the other with computing.

    A ring carries each gradient, float32, nearly twice over each link; a batch norm has two small sums forward and two
    back.
    """
    if cards == 1:
        return 0.0
    together = cards <= MACHINE
    size = 4 * (e.parameters["generator"] + e.parameters["discriminator"])
    ring = 2 * (cards - 1) / cards * size / (card.inside if together else card.outside)
    return ring + 4 * e.average_norms * LATENCY[together]


def pace(e: Estimate, card: Card, cards: int) -> Pace | None:
    """How the preset's run, its batch shared out, goes on so many cards; None where it fits in no way.

    A share is of whole pairs of references with two z each, so of four images or a multiple.
    """
    each = e.preset.batch // cards
    way = None if e.preset.batch % (4 * cards) else fits(e, card, each)
    if way is None:
        return None
    traffic = exchange(e, card, cards)
    seconds = modelled(e.preset, each, way, card) * beyond_model() + traffic
    by_kernel = e.preset.batch / seconds
    by_work = e.preset.batch / (each * operations(e.preset, each, way) / (measured_share() * card.peak) + traffic)
    days = e.preset.images / by_kernel / DAY
    return Pace(each, way, by_work, by_kernel, traffic, days, days * DAY * cards * card.watts / KWH)


def checkpoint_bytes(e: Estimate) -> float:
    """Of a run's state: weights and two moments of both networks, and the average, in float32."""
    return 4 * (4 * e.parameters["generator"] + 3 * e.parameters["discriminator"])


def tables(estimates: Sequence[Estimate]) -> dict[str, str]:
    """The tables of docs/scale.md as Markdown, by name; the plan and its limits are of the largest preset."""
    largest_one = max(estimates, key=lambda e: e.step)
    return {
        "networks": markdown(*_networks(estimates)),
        "memory": markdown(*_memory(estimates)),
        "fits": markdown(*_fits(estimates)),
        "growth": markdown(*_growth(estimates)),
        "plan": markdown(*_plan(largest_one)),
        "limits": markdown(*_limits(largest_one)),
    }


def fill(text: str, made: dict[str, str]) -> str:
    """A document with the tables between its marks, `<!-- scale: NAME -->` and `<!-- end -->`.

    Raises InputError where there is no such mark, or one of a table that there is not.
    """
    names = re.findall(r"<!-- scale: (\w+) -->", text)
    if not names or not made.keys() >= set(names):
        raise InputError(f"The file needs marks <!-- scale: NAME --> … <!-- end -->, NAME one of {', '.join(made)}.")
    for name in names:
        old = rf"(<!-- scale: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(old, lambda found, name=name: f"{found[1]}\n{made[name]}\n\n{found[2]}", text, flags=re.DOTALL)
    return text


def _networks(estimates: Sequence[Estimate]) -> Table:
    parts = ("generator", "discriminator", "classifier")
    head = ["preset", "pixels", "classes", *(f"{part}, M" for part in parts)]
    head += ["encode an image, GFLOP", "generate one", "train on one", "… with `--recompute`"]
    rows = [
        [f"`{e.preset.name}`", f"{e.preset.image_size}", f"{e.classes}"]
        + [f"{e.parameters[part] / 1e6:.1f}" for part in parts]
        + [f"{work / 1e9:.1f}" for work in (e.encoding, e.generation, e.step, e.recomputed)]
        for e in estimates
    ]
    return head, rows


def _memory(estimates: Sequence[Estimate]) -> Table:
    head = ["preset", "", *(f"batch {batch}" for batch in BATCHES), "more an image, MB"]
    rows = [
        [
            f"`{e.preset.name}`",
            name,
            *(f"{memory.at(batch) / 1e9:.1f}" for batch in BATCHES),
            f"{memory.image / 1e6:.0f}",
        ]
        for e in estimates
        for name, memory in (("as it is", e.whole), ("`--recompute`", e.thrifty))
    ]
    return head, rows


def _fits(estimates: Sequence[Estimate]) -> Table:
    cards = [card for card in CARDS if card.name != "H100 80 GB"]  # which holds what an A100 of 80 GB does
    head = ["preset", *(f"{card.name}: largest batch, with `--recompute`" for card in cards)]
    head += ["its own batch", *(f"on {card.name}" for card in cards)]
    rows = [
        [f"`{e.preset.name}`"]
        + [f"{largest(e, card, False)}, {largest(e, card, True)}" for card in cards]
        + [f"{e.preset.batch}", *(str(fits(e, card, e.preset.batch) or "no") for card in cards)]
        for e in estimates
    ]
    return head, rows


def _growth(estimates: Sequence[Estimate]) -> Table:
    head = ["preset", "pixels", "GFLOP an image", "over the one before", "MB an image", "images of a run"]
    head += ["all operations, 10^18", "H100, images a second", "hours on one H100"]
    rows, before = [], None
    for e in sorted(estimates, key=lambda e: e.step):
        found, images = pace(e, MEASURED_CARD, 1), e.preset.images
        rows.append(
            [f"`{e.preset.name}`", f"{e.preset.image_size}", f"{e.step / 1e9:.1f}"]
            + [f"{e.step / before.step:.1f}" if before else "–", f"{e.whole.image / 1e6:.1f}", f"{images:,}"]
            + [f"{images * e.step / 1e18:.3g}"]
            + ([f"{found.by_kernel:,.0f}", f"{24 * found.days:.2g}"] if found else ["–", "–"])
        )
        before = e
    return head, rows


def _paces(e: Estimate) -> list[tuple[Card, int, Pace]]:
    found = [(card, count, pace(e, card, count)) for count in COUNTS for card in CARDS]
    return sorted(((c, n, p) for c, n, p in found if p), key=lambda row: (CARDS.index(row[0]), row[1]))


def _plan(e: Estimate) -> Table:
    head = [f"`{e.preset.name}` on", "images a card", "", "images a second: by the work alone", "kernel by kernel"]
    head += ["days: by the work alone", "kernel by kernel", "kWh of the cards, kernel by kernel"]
    rows = [
        [f"{count} x {card.name}", f"{p.each}", str(p.way), f"{p.by_work:,.0f}", f"{p.by_kernel:,.0f}"]
        + [f"{e.preset.images / p.by_work / DAY:.2g}", f"{p.days:.2g}", f"{p.energy:,.0f}"]
        for card, count, p in _paces(e)
    ]
    return head, rows


def _limits(e: Estimate) -> Table:
    head = [f"`{e.preset.name}` on", "photographs a second", "cores that read them", "exchange, ms a step", "of a step"]
    head += ["a checkpoint, GB", "of the time"]
    size = checkpoint_bytes(e)
    saving = size / DISK / SAVE_EVERY
    rows = []
    for card, count, p in _paces(e):
        read = p.by_kernel / 2  # a reference has two images
        step = e.preset.batch / p.by_kernel
        rows.append(
            [f"{count} x {card.name}", f"{read:,.0f}", f"{math.ceil(read / LOADED)}", f"{1000 * p.exchange:.1f}"]
            + [f"{p.exchange / step:.0%}", f"{size / 1e9:.1f}", f"{saving:.1%}"]
        )
    return head, rows
