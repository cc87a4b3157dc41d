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


def level(name: str) -> Masks:
    """One level open, every other closed: type 1 of the paper."""
    return Masks({name: 1.0})


def soft(**amounts: float) -> Masks:
    """Any amount in [0, 1] for each level: `soft(conv3=0.5, fc8=1)`."""
    return Masks(amounts)


def closed() -> Masks:
    """Everything closed: only z and the class label are left."""
    return Masks()


def region(inside: Tensor, deep: str) -> Masks:
    """`deep` open everywhere, finer levels only outside a region: type 2 of the paper, for editing.

    Args:
        inside: (H, W), 1 inside the region that is to be imagined anew, 0 outside.
        deep: the level that is open inside; deeper ones are closed.
    """
    outside = 1 - inside.float()
    return Masks({**{name: outside for name in LEVELS[: depth(deep)]}, deep: 1.0})


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


Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the side


def box(corners: Box | Tensor, size: int) -> Tensor:
    """Boxes as regions: 1 at the pixels whose centres lie inside. One `Box` or (B, 4) -> (B, 1, size, size)."""
    corners = torch.as_tensor(corners, dtype=torch.float32).reshape(-1, 4)
    left, top, right, bottom = corners.T[:, :, None]  # each (B, 1)
    places = (torch.arange(size, device=corners.device) + 0.5) / size
    columns = (places >= left) & (places < right)  # (B, S)
    rows = (places >= top) & (places < bottom)
    return (rows[:, :, None] & columns[:, None]).float()[:, None]


def bounding_boxes(regions: Tensor) -> Tensor:
    """The box around what each region holds (above 1/2), in shares of the side; of an empty one the whole square.

    regions: (B, 1, S, S). Returns (B, 4): left, top, right, bottom.
    """
    ends = []
    for axis in (2, 3):  # columns, then rows
        found = (regions > 0.5).any(axis)[:, 0]  # (B, S)
        found = found | ~found.any(1, keepdim=True)
        side = found.shape[1]
        ends.append((found.int().argmax(1) / side, 1 - found.flip(1).int().argmax(1) / side))
    (left, right), (top, bottom) = ends
    return torch.stack([left, top, right, bottom], 1)
