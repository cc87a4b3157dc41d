"""At which level people are lost: how often they survive when one level alone is open, beside other small things.

What is equal in the comparison, and how:

- Size. A cell (4 x 4 pixels) counts for the thing that fills half of it or more. Cells are sorted by the visible area
  of the whole thing, in steps of a factor of two, and by whether the thing fills three quarters of the cell; a rate is
  taken in each such stratum, and the rates are averaged with the people's cells as weights, for people and for others
  alike. Strata in which either has fewer than LEAST_CELLS are left out of both.
- Ground. The others are figures that stand alone (OTHERS). A cell counts only where the same landscape with nothing
  standing in it has another material: a bale on its own crop would survive by being forgotten.
- Chance. That emptied landscape goes through the same level with the same z; how often the material is then read in the
  very same cells is what label, surroundings and the reader's errors alone give, and is taken off.
- The reader. It errs more over some things than over others, so what is left is a share of what it finds, in the same
  way, in the scenes themselves.

What is not equal: shape, contrast to the ground, how often a thing was seen in training, and that some things go with
one label (sails with the sea) while people go anywhere.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from pyramid import masks
from pyramid.errors import InputError
from pyramid.levels import LEVELS
from pyramid.measure.materials import CLEAR_SHARE, MaterialReader, material_shares, pictures
from pyramid.measure.metrics import bootstrap_interval
from pyramid.measure.tables import markdown
from pyramid.model import SemanticPyramid
from pyramid.scenes import LABELS, MATERIALS, RANGES, Scene, paint, plan, without_figures

OTHERS = ("sail", "umbrella", "cactus", "house")  # small things that stand alone
GROUPS = ("people", "others")
LEAST_SHARE = 0.5  # of a cell, for a thing to count there
LEAST_CELLS = 20  # of a stratum in either group
STEPS = 12  # of the area, each a factor of two: the last is half the picture and more
STRATA = 2 * STEPS
READ_SCENES = RANGES["people"][:2000]  # training scenes that the reader is fitted to
BATCH = 25
ORIGINAL = "the scenes themselves"
EXAMPLES, LOOKED_AT = 6, 100  # rows of the picture; scenes that they are chosen from

Reader = Callable[[Tensor], Tensor]  # images (B, 3, S, S) in [-1, 1] -> material of each cell, int64 (B, side, side)
Sample = Callable[[str, Tensor, Tensor, int], Tensor]  # level, images, labels (B,), number of the first -> images


@dataclass
class Cells:
    """What stands in the cells of scenes, (N, side, side) each."""

    group: Tensor  # int64: index into GROUPS, -1 for cells that do not count
    material: Tensor  # int64: index into MATERIALS, of the thing
    stratum: Tensor  # int64: 2 x step of the thing's area, + 1 where it fills CLEAR_SHARE of the cell


def cells_of(scenes: list[Scene], emptied: list[Scene], side: int) -> Cells:
    """The cells that a person or one of OTHERS fills to LEAST_SHARE.

    scenes: with everything that stands in them; emptied: the same landscapes with nothing in them.
    """
    behind = material_shares(emptied, side).argmax(1)  # (N, side, side)
    group, material, stratum = (torch.full(behind.shape, -1) for _ in range(3))
    for n, scene in enumerate(scenes):
        for thing in np.unique(scene.things):
            kind = scene.kinds[thing]
            if kind != "person" and kind not in OTHERS:
                continue
            where = torch.from_numpy(scene.things == thing)
            share = F.adaptive_avg_pool2d(where[None].float(), side)[0]  # (side, side)
            made_of = int(np.bincount(scene.materials[where.numpy()]).argmax())
            counts = (share >= LEAST_SHARE) & (behind[n] != made_of)
            step = STEPS + math.floor(math.log2(where.float().mean()))  # 0 and less: the smallest
            group[n][counts] = GROUPS.index("people" if kind == "person" else "others")
            material[n][counts] = made_of
            stratum[n][counts] = 2 * max(step, 0) + (share[counts] >= CLEAR_SHARE).long()
    return Cells(group, material, stratum)


def count_cells(where: Tensor, stratum: Tensor) -> Tensor:
    """How many of the chosen cells lie in each stratum, scene by scene: bool (N, side, side) -> (N, STRATA)."""
    return torch.stack([(where & (stratum == k)).flatten(1).sum(1) for k in range(STRATA)], 1).double()


def survival(
    read: Reader,
    sample: Sample,
    numbers: Sequence[int],
    size: int,
    levels: Sequence[str] = LEVELS,
    progress: bool = True,
) -> dict:
    """How often people and others are read where they stand, in the scenes and in what is made of one level of them.

    Returns {"settings": …, "cells": {group: count}, "rows": {ORIGINAL or level: {group: {"read": rate, "chance": rate,
    "kept": (share, low, high)}}}}: intervals of 95 %, by bootstrap over scenes. Raises InputError where people and
    others have no size in common, or nothing of one is read in the scenes themselves.
    """
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in (ORIGINAL, *levels)}
    parts = []
    for i in tqdm(range(0, len(numbers), BATCH), desc="people", unit=f"{BATCH} scenes", disable=not progress):
        plans = [plan(number, people=True) for number in numbers[i : i + BATCH]]
        scenes, emptied = [paint(p, size) for p in plans], [paint(without_figures(p), size) for p in plans]
        labels = torch.tensor([LABELS.index(scene.label) for scene in scenes])
        full, bare = pictures(scenes), pictures(emptied)
        found[ORIGINAL].append((read(full), read(bare)))
        for name in levels:
            found[name].append(tuple(read(sample(name, images, labels, i)) for images in (full, bare)))
        parts.append(cells_of(scenes, emptied, found[ORIGINAL][-1][0].shape[-1]))
    cells = Cells(*(torch.cat([getattr(p, name) for p in parts]) for name in ("group", "material", "stratum")))
    counts = {group: count_cells(cells.group == g, cells.stratum) for g, group in enumerate(GROUPS)}  # (N, STRATA)
    weights = size_weights(*(counts[group].sum(0) for group in GROUPS))
    hits = {name: _hits(maps, cells) for name, maps in found.items()}
    rows = {
        name: {group: _rates(hits[name][group], hits[ORIGINAL][group], counts[group], weights) for group in GROUPS}
        for name in found
    }
    settings = {"scenes": len(numbers), "size": size, "others": list(OTHERS)}
    totals = {group: int(counts[group][:, weights > 0].sum()) for group in GROUPS}
    return {"settings": settings, "cells": totals, "people": int(counts["people"].sum()), "rows": rows}


def size_weights(people: Tensor, others: Tensor) -> Tensor:
    """The share of people's cells in each stratum, of those where both have LEAST_CELLS: (STRATA,), sum 1."""
    shared = torch.where((people >= LEAST_CELLS) & (others >= LEAST_CELLS), people, 0.0)
    if not shared.any():
        raise InputError("People and other things of these scenes have no size in common; measure more scenes.")
    return shared / shared.sum()


def _hits(maps: list[tuple[Tensor, Tensor]], cells: Cells) -> dict[str, tuple[Tensor, Tensor]]:
    """For each group the cells read as their thing's material, with it there and without: (N, STRATA) each."""
    right = [torch.cat(part) == cells.material for part in zip(*maps, strict=True)]
    return {
        group: tuple(count_cells(hit & (cells.group == g), cells.stratum) for hit in right)
        for g, group in enumerate(GROUPS)
    }


def _rates(
    hits: tuple[Tensor, Tensor], original: tuple[Tensor, Tensor], counts: Tensor, weights: Tensor
) -> dict[str, float | tuple[float, float, float]]:
    """The numbers of one row and group. hits: with the things and without; original: of the scenes themselves."""

    def rates(means: Tensor) -> Tensor:
        """Means over scenes (…, 5 x STRATA) -> the four weighted rates (…, 4)."""
        *read, cells = means.unflatten(-1, (5, STRATA)).unbind(-2)
        return torch.stack([(part / cells.clamp(min=1e-9) * weights).sum(-1) for part in read], -1)

    def kept(means: Tensor) -> Tensor:
        read, chance, in_scenes, by_chance = rates(means).unbind(-1)
        return (read - chance) / (in_scenes - by_chance)

    values = torch.cat([*hits, *original, counts], 1)  # (N, 5 x STRATA)
    read, chance, in_scenes, by_chance = rates(values.mean(0)).tolist()
    if in_scenes <= by_chance:
        raise InputError("The reader does not tell people or other things from the ground; measure more scenes.")
    return {"read": read, "chance": chance, "kept": bootstrap_interval(values, kept)}


@torch.no_grad()
def measure(model: SemanticPyramid, numbers: Sequence[int], seed: int = 0, progress: bool = True) -> dict:
    """`survival` for a model of the built-in world, by a reader of its judge's maps.

    numbers: of scenes with people, none of READ_SCENES. Raises InputError for a model of other labels.
    """
    if model.classes != LABELS:
        raise InputError(f"People are measured in the built-in world, whose labels are {', '.join(LABELS)}.")

    def sample(name: str, images: Tensor, labels: Tensor, first: int) -> Tensor:
        return model.generate(model.features(images), masks.level(name), labels, seed=seed * 7919 + first)

    reader = MaterialReader(model.judge, model.image_size, READ_SCENES, people=True, balanced=True)
    result = survival(reader, sample, numbers, model.image_size, progress=progress)
    result["settings"] |= {"seed": seed, "fitted": len(READ_SCENES)}
    return result


def examples(model: SemanticPyramid, numbers: Sequence[int], seed: int = 0) -> Tensor:
    """The scenes, of those among LOOKED_AT that are not at night, in which people take most of the picture.

    With what each level makes of them: (EXAMPLES, 1 + 7, 3, S, S) in [-1, 1], fewer rows where there are fewer scenes.
    """
    plans = [plan(number, people=True) for number in numbers[:LOOKED_AT]]
    scenes = [paint(p, model.image_size) for p in plans if p.time != "night"]
    person = MATERIALS.index("person")
    chosen = sorted(scenes, key=lambda scene: -(scene.materials == person).mean())[:EXAMPLES]
    references, labels = pictures(chosen), torch.tensor([LABELS.index(scene.label) for scene in chosen])
    features = model.features(references)
    columns = [model.generate(features, masks.level(name), labels, seed=seed) for name in LEVELS]
    return torch.stack([references, *columns], 1)


def markdown_table(result: dict) -> str:
    """A row a level, settings below."""
    rows = []
    for name, row in result["rows"].items():
        cells = [name if name == ORIGINAL else f"`{name}`"]
        for group in GROUPS:
            value, low, high = row[group]["kept"]
            share = "–" if name == ORIGINAL else f"{value:.0%} ({low:.0%} to {high:.0%})"
            cells += [f"{row[group]['read']:.0%}", f"{row[group]['chance']:.0%}", share]
        rows.append(cells)
    s, cells = result["settings"], result["cells"]
    note = (
        f"{s['scenes']:,} scenes at {s['size']} px that no training saw, seed {s['seed']}; a linear reader of the "
        f"judge's second map, fitted on {s['fitted']:,} others. Cells read as what stands in them: {cells['people']:,} "
        f"of people ({result['people']:,} of all sizes), {cells['others']:,} of others ({', '.join(s['others'])}), "
        "weighted to the same sizes. By chance: in the same cells of the same landscape with nothing standing in it. "
        "Kept: what is read above chance, as a share of that in the scenes themselves, with its 95 % interval."
    )
    head = [f"{group}{what}" for group in GROUPS for what in (" read", ", by chance", " kept")]
    return markdown(["open level", *head], rows, note)
