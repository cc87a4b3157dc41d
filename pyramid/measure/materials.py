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
from pyramid.scenes import MATERIALS, Scene, render

CLEAR_SHARE = 0.75  # of a cell's pixels that one material must have, for the cell to count
RIDGE = 1.0
BATCH = 100


def cell_materials(numbers: list[int], size: int, side: int, people: bool = False) -> Tensor:
    """The material of every cell of scenes, -1 where none has CLEAR_SHARE of it: int64 (N, side, side)."""
    return clear_materials([render(number, size, people=people) for number in numbers], side)


def clear_materials(scenes: list[Scene], side: int) -> Tensor:
    """As `cell_materials`, of scenes that are painted."""
    share, material = material_shares(scenes, side).max(1)  # (N, side, side)
    return torch.where(share >= CLEAR_SHARE, material, -1)


def material_shares(scenes: list[Scene], side: int) -> Tensor:
    """The share of every material in every cell: (N, len(MATERIALS), side, side)."""
    maps = torch.stack([torch.from_numpy(scene.materials).long() for scene in scenes])  # (N, S, S)
    return F.adaptive_avg_pool2d(F.one_hot(maps, len(MATERIALS)).permute(0, 3, 1, 2).float(), side)


def pictures(scenes: list[Scene]) -> Tensor:
    """The scenes' images in [-1, 1]: (N, 3, S, S)."""
    return from_bytes(torch.stack([torch.from_numpy(scene.image) for scene in scenes]).permute(0, 3, 1, 2))


class MaterialReader:
    """Reads materials off pictures, on a map of size / 4 cells a side."""

    def __init__(self, judge: Judge, size: int, numbers: range, people: bool = False, balanced: bool = False):
        """Fit a reader.

        Args:
            numbers: of the scenes it is fitted to; none of those it is to judge.
            people: whether these have people.
            balanced: whether each material counts the same, however rare. Least squares would hardly ever read what
                is one cell in a hundred, as people are; balanced, it reads more of it, also where there is none.
        """
        self.judge, self.side = judge, size // 4
        count = len(MATERIALS)
        grams, targets, cells = [0.0] * count, [0.0] * count, torch.zeros(count, dtype=torch.float64)
        for i in range(0, len(numbers), BATCH):
            scenes = [render(number, size, people=people) for number in numbers[i : i + BATCH]]
            x = self._features(pictures(scenes))  # (N, side, side, D)
            y = clear_materials(scenes, self.side).to(x.device)
            for k in range(count):
                of_one = x[y == k]  # (cells, D)
                grams[k], targets[k] = grams[k] + of_one.T @ of_one, targets[k] + of_one.sum(0)
                cells[k] += len(of_one)
        share = (cells.sum() / (cells > 0).sum() / cells.clamp(min=1)).tolist() if balanced else [1.0] * count
        gram = sum(weight * part for weight, part in zip(share, grams, strict=True))
        target = torch.stack([weight * part for weight, part in zip(share, targets, strict=True)], 1)
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
