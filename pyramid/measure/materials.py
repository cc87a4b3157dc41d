"""What lies where in a picture of a computed scene, read cell by cell: the scenes' maps as a judge of edits.

A linear reader (ridge regression in closed form) of the judge's second map, fitted to the maps that come with
the scenes. No generator was trained against either.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pyramid.classifier import normalise
from pyramid.data import from_bytes
from pyramid.judge import Judge
from pyramid.scenes import MATERIALS, render

CLEAR_SHARE = 0.75  # of a cell's pixels that one material must have, for the cell to count
RIDGE = 1.0
BATCH = 100


def cell_materials(numbers: list[int], size: int, side: int) -> Tensor:
    """The material of every cell of scenes, -1 where none has CLEAR_SHARE of it: int64 (N, side, side)."""
    maps = torch.stack([torch.from_numpy(render(number, size).materials).long() for number in numbers])  # (N, S, S)
    shares = F.adaptive_avg_pool2d(F.one_hot(maps, len(MATERIALS)).permute(0, 3, 1, 2).float(), side)
    share, material = shares.max(1)  # (N, side, side)
    return torch.where(share >= CLEAR_SHARE, material, -1)


class MaterialReader:
    """Reads materials off pictures, on a map of size / 4 cells a side."""

    def __init__(self, judge: Judge, size: int, numbers: range):
        """numbers: of the scenes it is fitted to; none of those it is to judge."""
        self.judge, self.side = judge, size // 4
        gram, target = 0.0, 0.0
        for i in range(0, len(numbers), BATCH):
            part = [*numbers[i : i + BATCH]]
            images = torch.stack([torch.from_numpy(render(number, size).image) for number in part])
            x = self._features(from_bytes(images.permute(0, 3, 1, 2)))
            y = cell_materials(part, size, self.side).to(x.device)
            x, y = x[y >= 0], F.one_hot(y[y >= 0], len(MATERIALS)).double()  # (cells, D), (cells, materials)
            gram, target = gram + x.T @ x, target + x.T @ y
        self.weights = torch.linalg.solve(
            gram + RIDGE * torch.eye(len(gram), dtype=gram.dtype, device=gram.device), target
        )

    @torch.no_grad()
    def _features(self, images: Tensor) -> Tensor:
        """The judge's second map with the eight cells around each, and 1: float64 (B, side, side, D)."""
        device = next(self.judge.parameters()).device
        x = F.relu(self.judge.blocks[:2](self.judge.stem(normalise(images.to(device)))))  # (B, C, S/4, S/4)
        around = F.unfold(F.pad(x, [1] * 4, mode="replicate"), 3).transpose(1, 2)  # (B, cells, 9 C)
        return F.pad(around, (0, 1), value=1.0).unflatten(1, (self.side, self.side)).double()

    def __call__(self, images: Tensor) -> Tensor:
        """The likeliest material of every cell of (B, 3, S, S) in [-1, 1]: int64 (B, side, side), on the CPU."""
        return (self._features(images) @ self.weights).argmax(-1).cpu()
