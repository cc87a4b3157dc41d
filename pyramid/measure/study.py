"""The real/fake study of the paper (section 5): who takes the generated image for the photograph?

A trial shows a photograph and a generated image side by side for one second. Paired: the photograph is the
reference the image was made from. Unpaired: it is another photograph. The figure of merit is the confusion
rate, the share of trials in which the generated image was taken for the photograph; 50 % is perfect.
A rater to whom a second is too short may choose a longer exposure (ours); its rates are reported apart.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import torch
from torch import Tensor

from pyramid import masks
from pyramid.checkpoints import append, read_lines
from pyramid.errors import InputError
from pyramid.levels import LEVELS
from pyramid.measure.metrics import share_interval
from pyramid.measure.tables import markdown
from pyramid.model import SemanticPyramid

TESTS = ("paired", "unpaired")
EXPOSURES = {"standard": 1.0, "longer": 10.0}  # seconds that a pair is shown; ten times, as WCAG 2.2.1 asks of limits
TRAINING = 3  # trials with the solution shown, at the beginning; never counted
LEAST_ATTENTION = 0.8  # share of attention checks a rater must get right to be counted
PAPER = {"raters": 100, "images": 75}


@dataclass(frozen=True)
class Trial:
    """One pair. photo: index of the photograph shown; source: of the one whose features make the other image."""

    number: int
    kind: str  # "training", "attention" (the other image is noise) or "test"
    test: str  # "paired" or "unpaired"
    level: str
    photo: int
    source: int
    fake_left: bool


@dataclass(frozen=True)
class Answer:
    """What a rater said to one trial."""

    rater: str
    trial: int
    kind: str
    test: str
    level: str
    fooled: bool  # the generated image was taken for the photograph
    seconds: float = 0.0  # from the pair to the answer
    simulated: bool = False
    exposure: str = "standard"  # one of EXPOSURES; files of answers that do not say are of the standard one


def plan_trials(photographs: int, each: int, seed: int) -> list[Trial]:
    """The trials of one rater: training first, then tests and attention checks in random order.

    Args:
        photographs: how many there are to choose from, at least 2.
        each: trials of every level in every test; on half of them, rounded, the generated image is at the left.
        seed: of everything drawn; one for each rater.

    An attention check comes with every ten tests, five at least.
    """
    if photographs < 2:
        raise InputError("A study needs at least two photographs: an unpaired trial shows another one.")
    random = torch.Generator().manual_seed(seed)

    def draw(below: int) -> int:
        return int(torch.randint(below, (), generator=random))

    kinds = [("test", test, level, i % 2 == 0) for test in TESTS for level in LEVELS for i in range(each)]
    checks = max(5, len(kinds) // 10)
    kinds += [("attention", TESTS[i % 2], LEVELS[draw(len(LEVELS))], i % 2 == 0) for i in range(checks)]
    order = torch.randperm(len(kinds), generator=random).tolist()
    begin = [("training", TESTS[i % 2], LEVELS[draw(len(LEVELS))], i % 2 == 0) for i in range(TRAINING)]
    trials = []
    for number, (kind, test, level, left) in enumerate(begin + [kinds[i] for i in order]):
        source = draw(photographs)
        other = (source + 1 + draw(photographs - 1)) % photographs
        trials.append(Trial(number, kind, test, level, source if test == "paired" else other, source, left))
    return trials


def rater_seed(rater: str) -> int:
    """The seed of a rater's trials, from the name alone, so that an interrupted study goes on with the same ones."""
    return int.from_bytes(hashlib.sha256(rater.encode()).digest()[:4], "big")


def trial_images(model: SemanticPyramid, photos: Tensor, trial: Trial, seed: int) -> tuple[Tensor, Tensor]:
    """What a trial shows at the left and at the right, each (3, S, S) in [-1, 1].

    photos: (N, 3, S, S) in [-1, 1]; seed: of z. An attention check shows noise in place of the generated image.
    """
    source = photos[trial.source : trial.source + 1]
    if trial.kind == "attention":
        random = torch.Generator().manual_seed(seed + trial.number)
        other = torch.rand(source.shape, generator=random) * 2 - 1
    else:
        other = model.generate(model.features(source), masks.level(trial.level), seed=seed + trial.number)
    pair = (other[0], photos[trial.photo])
    return pair if trial.fake_left else pair[::-1]


def answer(
    trial: Trial,
    rater: str,
    chose_left: bool,
    seconds: float = 0.0,
    simulated: bool = False,
    exposure: str = "standard",
) -> Answer:
    """The answer of a rater who took the left (or right) image for the photograph."""
    asked = (rater, trial.number, trial.kind, trial.test, trial.level)
    return Answer(*asked, chose_left == trial.fake_left, round(seconds, 3), simulated, exposure)


def append_answer(path: Path, given: Answer) -> None:
    """Add one line to a rater's file, on the disk before this returns: a killed study loses no answer."""
    append(path, json.dumps(asdict(given)))


def read_answers(paths: Iterable[Path]) -> list[Answer]:
    """The answers of many files, merged: a rater's first answer to a trial counts, half-written lines do not.

    Raises InputError for a file that is missing or holds no answer.
    """
    found: dict[tuple[str, int], Answer] = {}
    for path in map(Path, paths):
        if not path.is_file():
            raise InputError(f"There is no file {path}; give the files of answers that the study wrote.")
        answers = [given for line in read_lines(path) if (given := _as_answer(line))]
        for given in answers:
            found.setdefault((given.rater, given.trial), given)
        if not answers:
            raise InputError(f"{path} holds no answer; give the files (.jsonl) that the study wrote.")
    return list(found.values())


def _as_answer(line: dict) -> Answer | None:
    """An answer from a line of a file, None where it is none: other fields, or values of another kind."""
    try:
        given = Answer(**line)
    except TypeError:
        return None
    kinds = {"rater": str, "trial": int, "kind": str, "test": str, "level": str, "fooled": bool, "exposure": str}
    sound = all(type(getattr(given, name)) is kind for name, kind in kinds.items())
    return given if sound and given.exposure in EXPOSURES else None


def report(answers: list[Answer]) -> dict:
    """Confusion rates with 95 % Wilson intervals, without the raters who failed the attention checks.

    Returns: {"raters", "excluded", "simulated", "rows": {test: {level: {"rate", "low", "high", "trials"}}}, "longer"}:
    "rows" are of the standard exposure alone, "longer", of the same form, of the longer one alone.
    The interval treats all trials as independent; raters differ, so with few raters it is too narrow.
    """
    raters = sorted({given.rater for given in answers})
    excluded = [rater for rater in raters if _attention(answers, rater) < LEAST_ATTENTION]
    counted = [given for given in answers if given.kind == "test" and given.rater not in excluded]
    return {
        "raters": len(raters),
        "excluded": excluded,
        "simulated": any(given.simulated for given in answers),
        "rows": _rates([given for given in counted if given.exposure == "standard"]),
        "longer": _rates([given for given in counted if given.exposure == "longer"]),
    }


def _rates(counted: list[Answer]) -> dict[str, dict[str, dict]]:
    """Test -> level -> confusion rate, its interval and the number of trials, where there are any."""
    rows: dict[str, dict[str, dict]] = {}
    for test in TESTS:
        for level in LEVELS:
            fooled = [given.fooled for given in counted if (given.test, given.level) == (test, level)]
            if fooled:
                rate, low, high = share_interval(sum(fooled), len(fooled))
                rows.setdefault(test, {})[level] = {"rate": rate, "low": low, "high": high, "trials": len(fooled)}
    return rows


def _attention(answers: list[Answer], rater: str) -> float:
    """Share of attention checks a rater got right; 1 without any."""
    checks = [not given.fooled for given in answers if given.rater == rater and given.kind == "attention"]
    return sum(checks) / len(checks) if checks else 1.0


def answers_needed(
    rate: float, chance: float = 0.5, power: float = 0.8, significance: float = 0.05, each: int = 1, icc: float = 0.0
) -> int:
    """Answers after which a confusion rate is told from chance, two-sided (normal approximation).

        n = ((z_a sqrt(c (1 - c)) + z_b sqrt(r (1 - r))) / (r - c))^2 x (1 + (each - 1) icc)

    Args:
        rate, chance: the two shares to tell apart.
        power, significance: of the test.
        each: answers a rater gives; icc: how alike a rater's answers are, 0 (independent) to 1.
    """
    a, b = NormalDist().inv_cdf(1 - significance / 2), NormalDist().inv_cdf(power)
    spread = a * math.sqrt(chance * (1 - chance)) + b * math.sqrt(rate * (1 - rate))
    return math.ceil((spread / (rate - chance)) ** 2 * (1 + (each - 1) * icc))


def simulate(trials: list[Trial], rates: dict[str, float], rater: str, seed: int, attention: float = 0.98) -> list:
    """Answers of a rater who does not exist: fooled at the rate of each level. Marked as simulated for good."""
    random = torch.Generator().manual_seed(seed)
    answers = []
    for trial in trials:
        rate = 1 - attention if trial.kind == "attention" else rates[trial.level]
        fooled = float(torch.rand((), generator=random)) < rate
        answers.append(answer(trial, rater, chose_left=fooled == trial.fake_left, simulated=True))
    return answers


def markdown_report(result: dict) -> str:
    """The report as text: one line a level, those of the longer exposure below, and what it rests on."""
    apart = {"standard": result["rows"], "longer": result["longer"]}
    rows = [
        [
            f"{EXPOSURES[exposure]:g} s",
            test,
            f"`{level}`",
            f"{r['rate']:.1%}",
            f"{r['low']:.1%} to {r['high']:.1%}",
            str(r["trials"]),
        ]
        for exposure, tests in apart.items()
        for test, levels in tests.items()
        for level, r in levels.items()
    ]
    out = f"; left out for failed attention checks: {', '.join(result['excluded'])}" if result["excluded"] else ""
    note = (
        f"{result['raters']} raters{out}. 50 % is perfect. To tell 40 % from 50 % (power 80 %) a level needs\n"
        f"{answers_needed(0.4)} independent answers, or {answers_needed(0.4, each=10, icc=0.05)} if each rater gives "
        f"ten that are alike by 0.05; the paper's {PAPER['raters']} raters x {PAPER['images']} images are "
        f"{PAPER['raters'] * PAPER['images']:,}."
    )
    table = markdown(["shown for", "test", "level", "confusion rate", "95 % interval", "trials"], rows, note)
    return f"**SIMULATED RATERS**\n\n{table}" if result["simulated"] else table
