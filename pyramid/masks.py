"""Mask pyramids: how much of each level passes, and where (paper, section 3 and figure 3).

A mask holds, for every open level, an amount in [0, 1]: one number, or a region at image resolution.
Levels it does not name are closed. It has no shape until a model asks for one with `Masks.at`, so the
same mask works for any model and image size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from pyramid.errors import InputError
from pyramid.levels import CONV_LEVELS, FC_LEVELS, LEVELS, RECEPTIVE_FIELDS, check_level, depth


@dataclass(frozen=True)
class Masks:
    """level -> amount: a number in [0, 1] or a region (H, W) or (B, 1, H, W) in [0, 1]."""

    amounts: Mapping[str, float | Tensor] = field(default_factory=dict)

    def __post_init__(self):
        for name, amount in self.amounts.items():
            check_level(name)
            low, high = (float(amount.min()), float(amount.max())) if isinstance(amount, Tensor) else (amount, amount)
            if not 0 <= low <= high <= 1:
                raise InputError(f"The mask amount of {name} must lie in [0, 1], not {low:g} … {high:g}.")

    def at(self, image_size: int, batch: int = 1, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """The mask m_i of every level: (B, 1, h, w) for conv levels, (B, 1) for fc levels, in [0, 1].

        A region drawn at another size is first brought to `image_size` (bilinear).
        """
        pyramid = {}
        for name in LEVELS:
            amount = self.amounts.get(name, 0.0)
            if isinstance(amount, Tensor):
                region = amount.to(device, torch.float32)
                region = region.reshape(-1, 1, *region.shape[-2:])  # (1 or B, 1, H, W)
                if region.shape[-1] != image_size or region.shape[-2] != image_size:
                    region = F.interpolate(region, (image_size, image_size), mode="bilinear", antialias=True)
                mask = to_level(region.clamp(0, 1), name)
                pyramid[name] = mask.expand(batch, *mask.shape[1:])
            else:
                shape = (
                    (batch, 1, *[image_size // RECEPTIVE_FIELDS[name][1]] * 2) if name in CONV_LEVELS else (batch, 1)
                )
                pyramid[name] = torch.full(shape, float(amount), device=device)
        return pyramid


def windows(region: Tensor) -> Tensor:
    """The box around each region as an affine map from the whole square to it, for `affine_grid`: (B, 2, 3).

    region: (B, 1, S, S) of 0 and 1; an empty one gives the whole square.
    """
    size, maps = region.shape[-1], []
    for axis in (3, 2):  # x from the columns, y from the rows
        found = region.amax(5 - axis).flatten(1) > 0  # (B, S)
        found = found | ~found.any(1, keepdim=True)
        low = found.int().argmax(1) / size  # (B,)
        high = 1 - found.flip(1).int().argmax(1) / size
        maps.append((high - low, high + low - 1))  # scale and centre in -1 … 1
    (sx, cx), (sy, cy) = maps
    zero = torch.zeros_like(sx)
    return torch.stack([torch.stack([sx, zero, cx], 1), torch.stack([zero, sy, cy], 1)], 1)


def level(name: str, amount: float = 1.0) -> Masks:
    """One level open, every other closed: type 1 of the paper."""
    return Masks({name: amount})


def soft(**amounts: float) -> Masks:
    """Any amount in [0, 1] for each level: `soft(conv3=0.5, fc8=1)`."""
    return Masks(amounts)


def closed() -> Masks:
    """Everything closed: only z and the class label are left."""
    return Masks()


def region(inside: Tensor, deep: str, fine: tuple[str, ...] | None = None) -> Masks:
    """`deep` open everywhere, finer levels only outside a region: type 2 of the paper, for editing.

    Args:
        inside: (H, W), 1 inside the region that is to be imagined anew, 0 outside.
        deep: the level that is open inside; deeper ones are closed.
        fine: levels open outside; by default all finer than `deep`.
    """
    fine = LEVELS[: depth(deep)] if fine is None else fine
    outside = 1 - inside.float()
    return Masks({**{name: outside for name in fine}, deep: 1.0})


def to_level(region: Tensor, name: str) -> Tensor:
    """Resize a region to a level: a cell passes what the most closed pixel of its receptive field passes.

    So nothing of a closed part leaks in through a convolution that straddles the edge. Beside a closed cell
    a cell passes at most the mean of the 3x3 around it: a mask that ends from one cell to the next leaves a
    seam in the picture. Used for training and editing alike.

    region: (B, 1, S, S) in [0, 1]. Returns (B, 1, h, w), or (B, 1) for fc levels.
    """
    if name in FC_LEVELS:
        return region.amin((2, 3))
    receptive, stride = RECEPTIVE_FIELDS[check_level(name)]
    # max_pool2d pads with minus infinity: beyond the border nothing is closed
    mask = -F.max_pool2d(-region, receptive, stride, padding=(receptive - stride) // 2)  # (B, 1, h, w)
    return torch.minimum(mask, F.avg_pool2d(F.pad(mask, [1] * 4, mode="replicate"), 3, 1))


def touched(region: Tensor, side: int) -> Tensor:
    """The cells of a side x side map that a region touches: bool (B, 1, side, side). region: (B, 1, S, S)."""
    return F.adaptive_max_pool2d(region, side) > 0.5


@dataclass(frozen=True)
class MaskShares:
    """How training masks are drawn. Shares are of all samples; each sample makes its own draw."""

    region: float = 0.30  # type 2 of the paper: one level everywhere, finer ones outside a region (reported)
    closed: float = 0.05  # ours: everything closed, the class-only baseline
    several: float = 0.10  # ours: two or more levels with amounts from U(0, 1), for the sliders
    relabel: float = 0.14  # ours: of samples whose finest open level is conv3 or deeper, given another label
    compose: float = 0.6  # ours: of the type 2 samples with conv3, conv4 or conv5 drawn, another photograph's inside
    levels: tuple[float, ...] = (1, 1, 1, 1, 1, 1, 1)  # weight of each level in types 1 and 2 (paper: uniform)


@dataclass
class TrainingDraw:
    """One batch of training masks. Tensors of length B except `masks`."""

    masks: dict[str, Tensor]  # level -> (B, 1, h, w) or (B, 1)
    level: Tensor  # int64: index of the drawn level; 7 for all closed, 8 for several levels
    relabel: Tensor  # bool: generate under a label other than the reference's
    composed: Tensor  # (B, 1, S, S): 1 where another reference's features are to come in at the drawn level


CLOSED, SEVERAL = len(LEVELS), len(LEVELS) + 1
DRAW_NAMES = (*LEVELS, "closed", "several")


def draw(batch: int, image_size: int, shares: MaskShares, generator: torch.Generator) -> TrainingDraw:
    """Draw the masks of a training batch on the CPU, every sample by itself; two adjacent ones share the level.

    Types 1 and 2 of the paper (one level open everywhere; for type 2 the finer levels too, outside or
    inside a random region), and ours: all closed, several soft amounts, a label not the reference's (the
    open amounts then turned down by a strength from U(0, 1)), and, where the finer levels are closed, part
    of another reference at the drawn level.
    """
    weights = torch.tensor(shares.levels, dtype=torch.float32)
    pairs = torch.multinomial(weights, (batch + 1) // 2, replacement=True, generator=generator)
    drawn = pairs.repeat_interleave(2)[:batch]  # (B,); pairs, for `losses.fixed_pattern`
    kind = torch.rand(batch, generator=generator)
    is_closed = kind < shares.closed
    is_several = ~is_closed & (kind < shares.closed + shares.several)
    is_region = ~is_closed & ~is_several & (kind < shares.closed + shares.several + shares.region)

    one = F.one_hot(drawn, len(LEVELS)).float()  # (B, 7)
    chosen = (torch.rand(batch, len(LEVELS), generator=generator) < 0.4).float()
    chosen[torch.arange(batch), drawn] = 1.0
    amounts = torch.rand(batch, len(LEVELS), generator=generator) * chosen
    everywhere = torch.where(is_several[:, None], amounts, one) * (~is_closed)[:, None]  # (B, 7)
    open_part = random_regions(batch, image_size, generator)  # (B, 1, S, S)
    finer = torch.arange(len(LEVELS))[None] < drawn[:, None]  # (B, 7)
    partial = (finer & is_region[:, None]).float()

    finest = (everywhere + partial).gt(0).float().argmax(1)
    relabel = (finest >= depth("conv3")) & ~is_closed & (torch.rand(batch, generator=generator) < shares.relabel)
    fc = torch.tensor([name in FC_LEVELS for name in LEVELS])
    everywhere = torch.where(relabel[:, None] & fc[None], 0.0, everywhere)
    # an fc level drawn alone has nothing left to relabel: open conv3 or conv4 in its place
    emptied = relabel & (everywhere.sum(1) + partial.sum(1) == 0)
    instead = torch.randint(depth("conv3"), depth("conv5"), (batch,), generator=generator)
    everywhere[emptied] = F.one_hot(instead, len(LEVELS)).float()[emptied]
    drawn = torch.where(emptied, instead, drawn)
    strength = torch.rand(batch, generator=generator)
    everywhere = torch.where(relabel[:, None], everywhere * (1 - strength[:, None]), everywhere)

    maps = (drawn >= depth("conv3")) & (drawn <= depth("conv5"))
    compose = is_region & maps & ~relabel & (torch.rand(batch, generator=generator) < shares.compose)

    masks = {}
    for i, name in enumerate(LEVELS):
        amount, part = everywhere[:, i], partial[:, i]
        if name in FC_LEVELS:
            masks[name] = amount[:, None]  # (B, 1); a region never opens an fc level
        else:
            mask = to_level(open_part, name) * part.view(-1, 1, 1, 1)
            masks[name] = torch.maximum(mask, amount.view(-1, 1, 1, 1))  # (B, 1, h, w)
    tag = torch.where(is_closed, CLOSED, torch.where(is_several, SEVERAL, drawn))
    return TrainingDraw(masks, tag, relabel, (1 - open_part) * compose.view(-1, 1, 1, 1))


def random_regions(batch: int, size: int, generator: torch.Generator) -> Tensor:
    """Where type 2 lets fine levels pass: outside, or for one in four inside, of a box or an ellipse.

    Sides from 0.25 to 0.8 of the image, anywhere in it. Returns (B, 1, size, size) of 0 and 1.
    """
    extent = 0.25 + 0.55 * torch.rand(batch, 2, generator=generator)  # (B, 2): height, width
    start = torch.rand(batch, 2, generator=generator) * (1 - extent)
    shape = torch.rand(batch, 2, generator=generator)
    place = (torch.arange(size) + 0.5) / size
    away = (place[None, None] - (start + extent / 2)[..., None]).abs() / (extent / 2)[..., None]  # (B, 2, S)
    down, right = away[:, 0, :, None], away[:, 1, None, :]
    ellipse = down.square() + right.square() <= 1
    box = torch.maximum(down, right) <= 1
    inside = torch.where((shape[:, 0] < 0.5).view(-1, 1, 1), ellipse, box)  # (B, S, S)
    flipped = (shape[:, 1] < 0.25).view(-1, 1, 1)
    return torch.where(flipped, inside, ~inside).float()[:, None]
