"""Is a run well? What its metrics say when something is off, in words.

Bounds are on lines of the metrics file, each a mean over 50 steps; a complaint needs all of the last PATIENCE lines.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from pyramid.errors import InputError

PATIENCE = 20  # lines
CHANCE = {"hinge": 2.0, "least_squares": 0.25}  # the discriminator's loss where it cannot tell real from fake

#: what is said -> whether a line of metrics of a game (hinge or least_squares) shows it
SIGNS: dict[str, Callable[[dict, str], bool]] = {
    "The pixel discriminator is at chance: the generator learns nothing from it. Raise its rate, or lower R1.": (
        lambda line, game: _loss(line) > 0.97 * CHANCE[game]
    ),
    "The pixel discriminator is far ahead: the generator cannot follow. Lower its rate, or raise R1.": (
        lambda line, game: _loss(line) < 0.05 * CHANCE[game]
    ),
    "Pictures of one class look alike, whatever the reference and z: raise diversity at conv5 … fc8.": (
        lambda line, game: line.get("variety", math.inf) < 0.25
    ),
    "The pictures are of nearly one tone. Start anew with lower learning rates.": (
        lambda line, game: line["pictures"]["spread"] < 0.1
    ),
    "More than half of the pixels are black, white or full of one colour. Start anew with lower learning rates.": (
        lambda line, game: line["pictures"]["saturated"] > 0.5
    ),
}


def _loss(line: dict) -> float:
    return line["discriminator"].get("adversarial", math.nan)  # a comparison with nan is false


def complaints(lines: list[dict], game: str) -> list[str]:
    """What is off in the last PATIENCE lines of a metrics file, a sentence each; none where there are fewer."""
    recent = lines[-PATIENCE:]
    if len(recent) < PATIENCE:
        return []
    return [said for said, shows in SIGNS.items() if all(shows(line, game) for line in recent)]


class Watch:
    """Keeps a run's last lines and hands on each complaint once, until it has gone and come again."""

    def __init__(self, game: str):
        self.game, self.lines, self.standing = game, [], set()

    def look(self, line: dict) -> list[str]:
        """Take in one more line; returns what is newly off."""
        self.lines = [*self.lines, line][-PATIENCE:]
        now = complaints(self.lines, self.game)
        new = [said for said in now if said not in self.standing]
        self.standing = set(now)
        return new


def check_finite(networks: dict[str, nn.Module], line: dict, where: str) -> None:
    """Raise InputError where a value of a metrics line or a weight is not a finite number.

    where: what has been kept, for the sentence.
    """
    broken = [name for name, value in _numbers(line) if not math.isfinite(value)]
    for name, network in networks.items():
        tensors: list[Tensor] = [t for t in network.state_dict().values() if t.is_floating_point()]
        if not all(bool(torch.isfinite(t).all()) for t in tensors):
            broken.append(f"weights of the {name}")
    if broken:
        raise InputError(
            f"The run has gone wrong: {', '.join(broken[:4])} no longer finite. {where} "
            "Start anew in another folder with lower learning rates."
        )


def _numbers(line: dict, prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in line.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", value
