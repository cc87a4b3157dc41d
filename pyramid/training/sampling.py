"""Everything that is drawn for a training step: references, masks, other labels, parts to compose, z, shifts.

Two random streams of the paper come together here: type 1 masks (one level open) and type 2 masks (finer levels
outside a region), each sample by itself, and ours beside them. The randomness of step n comes from (seed, n) alone.
Where several processes share a batch, each draws the numbers of all its rows and makes tensors of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import count

import torch
from torch import Tensor
from torch.nn import functional as F

from pyramid import masks
from pyramid.data import Labelled, flip, from_bytes
from pyramid.levels import FC_LEVELS, LEVELS, depth
from pyramid.presets import MaskShares, Preset
from pyramid.training import ranks

CLOSED, SEVERAL = len(LEVELS), len(LEVELS) + 1
DRAW_NAMES = (*LEVELS, "closed", "several")  # what `Batch.level` counts
OF_BOTH_Z = ("masks", "labels", "judged", "z")  # what of a batch has a row for each image, not each reference
OTHERS = 1024  # photographs among which a reference must be found, for the retrieval term


@dataclass
class MaskDraw:
    """Masks of B references. Tensors of length B except `masks`."""

    masks: dict[str, Tensor]  # level -> (B, 1, h, w) or (B, 1)
    level: Tensor  # int64: index of the drawn level in DRAW_NAMES
    alone: Tensor  # bool: the drawn level is the only one that is open (type 1)
    relabelled: Tensor  # bool: generate under a label other than the reference's
    composed: Tensor  # (B, 1, S, S): 1 where another reference's features are to come in at the drawn level
    region: Tensor  # bool: finer levels are open in a part of the image alone (type 2)


@dataclass
class Batch:
    """One step's draw: B / 2 references, two z for each, B generated images.

    Rows i and i + B/2 of what has B rows share a reference: `both_z` makes them, `split_z` parts them. References
    2i and 2i + 1 are of one class: `of_one_class` parts them; `of_another_pair` looks one pair ahead.
    """

    references: Tensor  # (B/2, 3, S, S) in [-1, 1]
    real_labels: Tensor  # (B/2,) int64
    masks: dict[str, Tensor]  # level -> (B, 1, h, w) or (B, 1)
    level: Tensor  # (B/2,) int64: index of the drawn level in DRAW_NAMES
    alone: Tensor  # (B/2,) bool: the drawn level is the only one that is open
    composed: Tensor  # (B/2, 1, S, S): 1 where the features of another pair come in, at the drawn level
    region: Tensor  # (B/2,) bool: finer levels are open in a part of the image alone
    relabelled: Tensor  # (B/2,) bool: under a label other than the reference's
    labels: Tensor  # (B,): what the generator is told; of a composition, the part's own
    #: what the discriminator is told, of references (B/2,) and of images (B,): a label, of a composition the
    #: background's; with `Preset.told_level` one number a label and drawn level, `level * K + label`
    real_judged: Tensor
    judged: Tensor
    z: Tensor  # (B, z_size)
    #: (B/2,) each: pixels down and right, the same for a reference and its images; 0 where `region`, which would have
    #: to move along
    shift: tuple[Tensor, Tensor]
    others: Tensor  # (OTHERS,): photographs of the gallery among which a reference must be found

    @staticmethod
    def both_z(x: Tensor) -> Tensor:
        """What belongs to the references, for the images of both z: (B/2, …) -> (B, …)."""
        return torch.cat([x, x])

    @staticmethod
    def split_z(x: Tensor) -> tuple[Tensor, Tensor]:
        """The images of the first z and of the second: (B, …) -> (B/2, …) twice."""
        first, second = x.chunk(2)
        return first, second

    @staticmethod
    def of_one_class(x: Tensor) -> tuple[Tensor, Tensor]:
        """The two references of each pair: (B/2, …) -> (B/4, …) twice."""
        return x[0::2], x[1::2]

    @staticmethod
    def of_another_pair(x: Tensor) -> Tensor:
        """For each reference the one of the neighbouring pair, mostly of another class: (B/2, …) -> (B/2, …)."""
        return torch.cat([ranks.of_rank_before(x[-2:]), x[:-2]])

    def split(self, parts: int) -> "list[Batch]":
        """The batch in parts of as many references, each of whole pairs with both z; `others` stays whole."""
        if parts == 1:
            return [self]

        def cut(name: str, value):
            if isinstance(value, dict):
                tables = zip(*(cut(name, v) for v in value.values()), strict=True)
                return [dict(zip(value, table, strict=True)) for table in tables]
            if isinstance(value, tuple):
                return list(zip(*(cut(name, v) for v in value), strict=True))
            if name == "others":
                return [value] * parts
            if name in OF_BOTH_Z:
                return [
                    torch.cat(halves) for halves in zip(*(v.chunk(parts) for v in self.split_z(value)), strict=True)
                ]
            return value.chunk(parts)

        columns = {f.name: cut(f.name, getattr(self, f.name)) for f in fields(self)}
        return [Batch(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


class Sampler:
    """Draws the steps' batches from photographs. `parts`: in how many a step goes through its batch."""

    parts = 1

    def __init__(self, photos: Labelled, preset: Preset, z_size: int, seed: int):
        self.photos, self.preset, self.z_size, self.seed = photos, preset, z_size, seed
        self.labels = photos.labels.cpu()  # kept here, so that a draw never waits for the card
        self.by_class, self.class_sizes = self.labels.argsort(stable=True), self.labels.bincount()
        self.following, self.stream = -1, iter(())  # the step whose pixels come next out of the stream

    def draw(self, step: int) -> Batch:
        """The batch of a step, from (seed, step) alone. Steps below 0 are for measuring, never for training."""
        random = self._random(step)
        p, half, device = self.preset, self.preset.batch // 2, self.photos.device
        classes, own = len(self.photos.classes), ranks.own(half)
        rows = self._draw_pairs(half, random)
        pixels, chosen = self._pixels(step, rows[own]), rows[own].to(device)
        mirrored = (torch.rand(half, generator=random) < 0.5)[own].to(device)
        references = flip(from_bytes(pixels), mirrored)
        drawn = draw_masks(half, p.image_size, p.shares, random, device, own)
        real_labels = self.photos.labels[chosen]
        other = torch.randint(1, max(classes, 2), (half,), generator=random)[own].to(device)
        relabelled = drawn.relabelled & (classes > 1)
        judged = torch.where(relabelled, (real_labels + other) % classes, real_labels)
        at_level = classes * drawn.level * bool(p.told_level)
        part = drawn.composed.flatten(1).any(1)  # a composed part comes under its own label
        # as `Batch.of_another_pair` in each part, without asking other processes
        another = self.labels[rows].unflatten(0, (self.parts, -1)).roll(2, 1).flatten()[own].to(device)
        labels = torch.where(part, another, judged)
        z = torch.randn(2 * half, self.z_size, generator=random).unflatten(0, (2, half))[:, own]
        reach = int(p.image_size * p.shift)
        moved = torch.randint(-reach, reach + 1, (2, half), generator=random)[:, own]
        down, right = moved.to(device) * ~drawn.region
        others = torch.randint(self.photos.gallery, (OTHERS,), generator=random).to(device)
        return Batch(
            references=references.contiguous(memory_format=torch.channels_last),
            real_labels=real_labels,
            masks={name: Batch.both_z(m) for name, m in drawn.masks.items()},
            level=drawn.level,
            alone=drawn.alone,
            composed=drawn.composed,
            region=drawn.region,
            relabelled=relabelled,
            labels=Batch.both_z(labels),
            real_judged=real_labels + at_level,
            judged=Batch.both_z(judged + at_level),
            z=z.flatten(0, 1).to(device),
            shift=(down, right),
            others=others,
        )

    def _random(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 1_000_003 + step)

    def _pixels(self, step: int, rows: Tensor) -> Tensor:
        """The photographs of a step: read ahead where steps follow each other in training, else at once."""
        if step < 0:
            return self.photos.pixels(rows)
        if step != self.following:
            self.stream = self.photos.batches(self._rows_from(step))
        pixels = next(self.stream)
        self.following = step + 1
        return pixels

    def _rows_from(self, step: int) -> Iterator[Tensor]:
        """What each step from this one on chooses, which is the first that it draws."""
        half = self.preset.batch // 2
        return (self._draw_pairs(half, self._random(n))[ranks.own(half)] for n in count(step))

    def _draw_pairs(self, count: int, random: torch.Generator) -> Tensor:
        """Indices of `count` photographs, adjacent pairs of one class, as the discriminator wants them."""
        first = torch.randint(len(self.photos), (count // 2,), generator=random)
        label = self.labels[first]
        rank = (torch.rand(count // 2, generator=random) * self.class_sizes[label]).long()
        second = self.by_class[(self.class_sizes.cumsum(0) - self.class_sizes)[label] + rank]
        return torch.stack([first, second], 1).flatten()


def draw_masks(
    batch: int,
    image_size: int,
    shares: MaskShares,
    random: torch.Generator,
    device: torch.device | str = "cpu",
    own: slice = slice(None),
) -> MaskDraw:
    """Draw training masks, every sample by itself; two adjacent ones share the level.

    The numbers are drawn on the CPU, for all samples; the maps are made of them on the device, of `own` alone.

    Types 1 and 2 of the paper (one level open everywhere; for type 2 the finer levels too, outside or
    inside a random region), and ours: all closed, several soft amounts, a label not the reference's (the
    open amounts then turned down by a strength from U(0, 1)), and, where the finer levels are closed, part
    of another reference at the drawn level.
    """
    weights = torch.tensor(shares.levels, dtype=torch.float32)
    pairs = torch.multinomial(weights, (batch + 1) // 2, replacement=True, generator=random)
    level = pairs.repeat_interleave(2)[:batch]  # (B,); pairs, for the fixed-pattern term
    kind = torch.rand(batch, generator=random)
    is_closed = kind < shares.closed
    is_several = ~is_closed & (kind < shares.closed + shares.several)
    is_region = ~is_closed & ~is_several & (kind < shares.closed + shares.several + shares.region)

    one = F.one_hot(level, len(LEVELS)).float()  # (B, 7)
    chosen = (torch.rand(batch, len(LEVELS), generator=random) < 0.4).float()
    chosen[torch.arange(batch), level] = 1.0
    amounts = torch.rand(batch, len(LEVELS), generator=random) * chosen
    everywhere = torch.where(is_several[:, None], amounts, one) * (~is_closed)[:, None]  # (B, 7)
    open_part = random_regions(batch, image_size, random, device, own)  # (own, 1, S, S)
    finer = torch.arange(len(LEVELS))[None] < level[:, None]  # (B, 7)
    partial = (finer & is_region[:, None]).float()

    finest = (everywhere + partial).gt(0).float().argmax(1)
    wanted = torch.rand(batch, generator=random) < shares.relabel
    relabelled = wanted & (finest >= depth("conv3")) & ~is_closed
    everywhere, level = _make_room_for_a_label(everywhere, partial, level, relabelled, random)
    compose = is_region & (level >= depth("conv3")) & (level <= depth("conv5")) & ~relabelled
    compose &= torch.rand(batch, generator=random) < shares.compose
    return MaskDraw(
        masks=_mask_pyramid(everywhere[own].to(device), partial[own].to(device), open_part),
        level=torch.where(is_closed, CLOSED, torch.where(is_several, SEVERAL, level))[own].to(device),
        alone=~(is_closed | is_several | is_region)[own].to(device),
        relabelled=relabelled[own].to(device),
        composed=(1 - open_part) * compose[own].to(device).view(-1, 1, 1, 1),
        region=is_region[own].to(device),
    )


def _make_room_for_a_label(
    everywhere: Tensor, partial: Tensor, level: Tensor, relabelled: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Amounts (B, 7) and level (B,) where another label is to speak: fc levels closed, the rest turned down."""
    batch = len(level)
    fc = torch.tensor([name in FC_LEVELS for name in LEVELS])
    everywhere = torch.where(relabelled[:, None] & fc[None], 0.0, everywhere)
    # an fc level drawn alone has nothing left to relabel: open conv3 or conv4 in its place
    emptied = relabelled & (everywhere.sum(1) + partial.sum(1) == 0)
    instead = torch.randint(depth("conv3"), depth("conv5"), (batch,), generator=random)
    everywhere[emptied] = F.one_hot(instead, len(LEVELS)).float()[emptied]
    strength = torch.rand(batch, generator=random)
    everywhere = torch.where(relabelled[:, None], everywhere * (1 - strength[:, None]), everywhere)
    return everywhere, torch.where(emptied, instead, level)


def _mask_pyramid(everywhere: Tensor, partial: Tensor, open_part: Tensor) -> dict[str, Tensor]:
    """The mask of every level from its amount everywhere (B, 7) and, where `partial` (B, 7), in the open part."""
    pyramid = {}
    for i, name in enumerate(LEVELS):
        amount, part = everywhere[:, i], partial[:, i]
        if name in FC_LEVELS:
            pyramid[name] = amount[:, None]  # (B, 1); a region never opens an fc level
        else:
            mask = masks.to_level(open_part, name) * part.view(-1, 1, 1, 1)
            pyramid[name] = torch.maximum(mask, amount.view(-1, 1, 1, 1))  # (B, 1, h, w)
    return pyramid


def random_regions(
    batch: int, size: int, random: torch.Generator, device: torch.device | str = "cpu", own: slice = slice(None)
) -> Tensor:
    """Where type 2 lets fine levels pass: outside, or for one in four inside, of a box or an ellipse.

    Sides from 0.25 to 0.8 of the image, anywhere in it. Returns `own` of (B, 1, size, size) of 0 and 1.
    """
    extent, start, shape = (torch.rand(batch, 2, generator=random)[own].to(device) for _ in range(3))
    extent = 0.25 + 0.55 * extent  # (B, 2): height, width
    start = start * (1 - extent)
    box = masks.box(torch.cat([start.flip(1), (start + extent).flip(1)], 1), size) > 0  # left, top, right, bottom
    place = (torch.arange(size, device=device) + 0.5) / size
    away = (place[None, None] - (start + extent / 2)[..., None]).abs() / (extent / 2)[..., None]  # (B, 2, S)
    ellipse = (away[:, 0, :, None].square() + away[:, 1, None, :].square() <= 1)[:, None]
    inside = torch.where((shape[:, 0] < 0.5).view(-1, 1, 1, 1), ellipse, box)  # (B, 1, S, S)
    flipped = (shape[:, 1] < 0.25).view(-1, 1, 1, 1)
    return torch.where(flipped, inside, ~inside).float()
