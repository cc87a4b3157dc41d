"""A2, after notebook 03: to_level(region, field, stride) -> what a level's cells may pass of a region, its mask.

region: (B, 1, S, S) in [0, 1], 1 open, 0 closed; field, stride: of the level, in pixels. Returned: (B, 1, S / stride,
S / stride). Cell i sees `field` pixels from i * stride - (field - stride) / 2 on, and passes what the most closed of
them passes; beyond the border nothing is closed. (The module's own function then lets the mask fade over one cell.)
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pyramid.course.engine import Assignment, Function, Trace, Wrong, same

LEVELS = {(6, 2): (2,), (16, 4): (2, 2), (44, 8): (2, 2, 3)}  # (field, stride) -> convolutions a stage
SIDE = 64  # pixels


def drawn(rng: np.random.Generator, batch: int = 2) -> Tensor:
    """Regions with a closed rectangle and a half-open one each, and a closed pixel at the border."""
    region = np.ones((batch, 1, SIDE, SIDE), dtype=np.float32)
    for i in range(batch):
        within = SIDE - 12 if i else 8  # the first keeps most of its cells open at every level
        for amount in (0.0, rng.uniform(0.2, 0.8)):
            top, left, height, width = rng.integers((0, 0, 4, 4), (within, within, 12, 12))
            region[i, 0, top : top + height, left : left + width] = amount
        region[i, 0, rng.integers(within), 0] = 0
    return torch.from_numpy(region)


def mask_of(function: Function, region: Tensor, field: int, stride: int) -> Tensor:
    """What a function returns, if it has the right shape."""
    mask = torch.as_tensor(function(region.clone(), field, stride)).detach().float()
    shape = (len(region), 1, region.shape[2] // stride, region.shape[3] // stride)
    if mask.shape != shape:
        raise Wrong(f"A region {tuple(region.shape)} at stride {stride} gives {shape}; this is {tuple(mask.shape)}.")
    return mask


def by_hand(region: Tensor, field: int, stride: int) -> np.ndarray:
    """The minimum of each cell's receptive field, cell by cell."""
    pixels, margin = region[:, 0].numpy(), (field - stride) // 2
    spans = [slice(max(i * stride - margin, 0), i * stride - margin + field) for i in range(SIDE // stride)]
    cells = np.array([[pixels[:, rows, columns].min((1, 2)) for columns in spans] for rows in spans])  # (h, w, B)
    return cells.transpose(2, 0, 1)[:, None]


def minimum(function: Function, rng: np.random.Generator) -> None:
    for field, stride in LEVELS:
        region = drawn(rng)
        mask, right = mask_of(function, region, field, stride).numpy(), by_hand(region, field, stride)
        if not same(mask, right):
            _, _, row, column = (int(n) for n in np.argwhere(np.abs(mask - right) > 1e-4)[0])
            raise Wrong(
                f"Field {field}, stride {stride}: the cell in row {row}, column {column} should pass "
                f"{right[:, 0, row, column]}, the least of its {field} x {field} pixels, in the samples of a batch; "
                f"it passes {mask[:, 0, row, column]}."
            )


def monotone(function: Function, rng: np.random.Generator) -> None:
    for field, stride in LEVELS:
        region = drawn(rng)
        closer = region * torch.from_numpy(rng.uniform(0.3, 1, region.shape).astype(np.float32))
        before, after = (mask_of(function, r, field, stride) for r in (region, closer))
        if (after > before + 1e-6).any():
            raise Wrong("A region was closed further, and some cell now passes more. Which way round is the mask?")
        if same(after, before):
            raise Wrong("A region was closed further everywhere, and no cell passes less.")


def open_stays_open(function: Function, rng: np.random.Generator) -> None:
    amount = float(np.round(rng.uniform(0.3, 0.9), 2))
    for field, stride in LEVELS:
        for value in (1.0, amount):
            mask = mask_of(function, torch.full((1, 1, SIDE, SIDE), value), field, stride)
            if not same(mask, torch.full_like(mask, value)):
                raise Wrong(
                    f"A region that is {value:g} everywhere should give a mask that is {value:g} everywhere; at field "
                    f"{field} it lies between {mask.min():.2f} and {mask.max():.2f}. Look at the border."
                )


def nothing_leaks(function: Function, rng: np.random.Generator) -> None:
    seed = torch.Generator().manual_seed(int(rng.integers(2**31)))
    for (field, stride), convolutions in LEVELS.items():
        closed = (drawn(rng, 1) == 0).float()
        photo, noise = (torch.rand(1, 3, SIDE, SIDE, generator=seed) for _ in range(2))
        mask = mask_of(function, 1 - closed, field, stride)
        before, after = features(torch.cat([photo, torch.where(closed.bool(), noise, photo)]), convolutions, seed)
        leak = float(((before - after) * mask[0]).abs().max())
        if leak > 1e-5:
            raise Wrong(
                f"The closed part of a photograph was replaced by noise, and at field {field} masked features changed "
                f"by up to {leak:.3f}: some cell that sees closed pixels is open."
            )


def features(images: Tensor, convolutions: tuple[int, ...], seed: torch.Generator) -> Tensor:
    """Features of images (B, 3, S, S) in a network of random weights, after its last pool: (B, 4, h, w)."""
    x = images
    for count in convolutions:
        for _ in range(count):
            weight = torch.randn(4, x.shape[1], 3, 3, generator=seed) / (4.5 * x.shape[1]) ** 0.5
            x = F.relu(F.conv2d(x, weight, padding=1))
        x = F.max_pool2d(x, 2)
    return x


def trace(function: Function, rng: np.random.Generator) -> Trace:
    answers = []
    for field, stride in LEVELS:
        region = drawn(rng)
        region[:, :, : stride + 2, : stride + 2] = 1  # a corner that only a closed border could close
        answers.append(mask_of(function, region, field, stride).numpy())
    return answers


def _pool(region: Tensor, field: int, stride: int) -> Tensor:
    return F.max_pool2d(region, field, stride, padding=(field - stride) // 2)


def _maximum(region: Tensor, field: int, stride: int) -> Tensor:
    return _pool(region, field, stride)


def _mean(region: Tensor, field: int, stride: int, count_border: bool = False) -> Tensor:
    return F.avg_pool2d(region, field, stride, (field - stride) // 2, count_include_pad=count_border)


def _mean_with_border(region: Tensor, field: int, stride: int) -> Tensor:
    return _mean(region, field, stride, count_border=True)


def _mean_of_cells(region: Tensor, field: int, stride: int) -> Tensor:
    return F.avg_pool2d(region, stride)


def _resized(region: Tensor, field: int, stride: int) -> Tensor:
    return F.interpolate(region, scale_factor=1 / stride, mode="bilinear")


def _stride_as_window(region: Tensor, field: int, stride: int) -> Tensor:
    return -F.max_pool2d(-region, stride)


def _border_closed(region: Tensor, field: int, stride: int) -> Tensor:
    return -F.max_pool2d(-F.pad(region, [(field - stride) // 2] * 4), field, stride)


def _closedness(region: Tensor, field: int, stride: int) -> Tensor:
    return _pool(1 - region, field, stride)


def _one_is_closed(region: Tensor, field: int, stride: int) -> Tensor:
    return 1 - _pool(region, field, stride)


ASSIGNMENT = Assignment(
    name="a2_to_level",
    questions={
        "The minimum over each receptive field": minimum,
        "Closing more never opens a cell": monotone,
        "What is open everywhere stays so": open_stays_open,
        "Noise in the closed part changes no masked feature": nothing_leaks,
    },
    mistakes={
        "That is the maximum: one open pixel opens the whole cell. Which pixel of its field decides what a cell may "
        "pass?": _maximum,
        "That is a mean: a cell that sees a few closed pixels still passes most of what it sees, and they leak. How "
        "much may it pass?": [_mean, _mean_with_border, _mean_of_cells, _resized],
        "Each cell looks at its own square of stride x stride pixels alone. How many pixels does it see, and what do "
        "those outside its square do to its features?": _stride_as_window,
        "Beyond the border counts as closed, so the mask closes along the edge of the picture. What is out there that "
        "could leak?": _border_closed,
        "Open and closed have changed places: 1 lets a feature pass, in the region and in the mask alike.": [
            _closedness,
            _one_is_closed,
        ],
    },
    trace=trace,
)
