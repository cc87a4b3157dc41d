"""A6, after notebook 06: reconstruction(generated, reference, mask) -> one number, the loss of one level.

generated, reference: (B, C, h, w) with even h, w of at least 4, or (B, C) at an fc level; mask: (B, 1, h, w) or
(B, 1), of zeros and ones. Maps are max-pooled 2x2 before they are compared (L1); a window counts only where the mask
is open in all of it; the mean is over what is open, then over the samples; a sample with nothing open counts as 0.
"""

from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pyramid.course.engine import Assignment, Function, Trace, Wrong, same


def maps(rng: np.random.Generator, *shape: int) -> Tensor:
    """Random features of a shape."""
    return torch.tensor(rng.normal(size=shape), dtype=torch.float32)


def torn(rng: np.random.Generator, batch: int, side: int) -> Tensor:
    """Masks (batch, 1, side, side) whose boundaries cut windows: a random rectangle's outside, some cells closed."""
    mask = torch.tensor(rng.random((batch, 1, side, side)) > 0.1, dtype=torch.float32)
    for i in range(batch):
        top, left = (int(n) for n in rng.integers(1, side // 2, 2))
        mask[i, 0, top : top + 3, left : left + 3] = 0
        mask[i, 0, :2, :2] = 1  # one window at least is open
    return mask


def loss(function: Function, generated: Tensor, reference: Tensor, mask: Tensor) -> float:
    """What a function answers, as a number."""
    value = torch.as_tensor(function(generated.clone(), reference.clone(), mask.clone()))
    if value.numel() != 1:
        raise Wrong(f"One number is to be returned, the mean over the samples; it has the shape {tuple(value.shape)}.")
    if not torch.isfinite(value).all():
        raise Wrong("The loss is not a finite number. Where nothing is open, what is the sum divided by?")
    return float(value)


def shifted(rng: np.random.Generator, side: int, value: float) -> tuple[Tensor, Tensor, Tensor]:
    """Maps (1, 3, side, side) with one bright cell a channel: as it is, moved in its window, moved to the next."""
    here, near, far = torch.zeros(3, 1, 3, side, side).unbind()
    for channel in range(3):
        top, left = (2 * int(n) for n in rng.integers(0, side // 2 - 1, 2))
        here[0, channel, top, left] = near[0, channel, top + 1, left + 1] = far[0, channel, top, left + 2] = value
    return here, near, far


def closed_entries(function: Function, rng: np.random.Generator) -> None:
    mask, reference, generated = torn(rng, 3, 8), maps(rng, 3, 4, 8, 8), maps(rng, 3, 4, 8, 8)
    before = loss(function, generated, reference, mask)
    after = loss(function, generated + (1 - mask) * rng.uniform(5, 9), reference, mask)
    if not same(after, before):
        raise Wrong(
            f"Closed entries were changed and nothing else, and the loss went from {before:.3f} to {after:.3f}. Look "
            "at a window that the mask's boundary cuts."
        )
    mask, error = torch.ones(1, 1, 4, 4), torch.zeros(1, 4, 4, 4)
    mask[0, 0, 0, 0], error[0, :, 1, 1] = 0, 3  # an open entry of a window with a closed one
    if (value := loss(function, error, torch.zeros_like(error), mask)) > 1e-5:
        raise Wrong(f"A window counts only where all of it is open; errors in half-open ones give {value:.3f}.")
    if (value := loss(function, error, torch.zeros_like(error), torch.zeros_like(mask))) != 0:
        raise Wrong(f"Where all is closed the loss should be 0, not {value:.3f}.")


def small_shifts(function: Function, rng: np.random.Generator) -> None:
    for side in (4, 8, 16):
        value = rng.uniform(1, 4)
        here, near, far = shifted(rng, side, value)
        mask = torch.ones(1, 1, side, side)
        if (free := loss(function, near, here, mask)) > 1e-5:
            raise Wrong(f"A bright cell that moves inside its 2x2 window should cost nothing; it costs {free:.3f}.")
        moved, by_hand = loss(function, far, here, mask), 2 * value / (side // 2) ** 2
        if not same(moved, by_hand):
            raise Wrong(
                f"A cell of {value:.2f} moves into the next window of a {side}x{side} map: two of "
                f"{(side // 2) ** 2} windows differ by {value:.2f}, so {by_hand:.4f}, not {moved:.4f}."
            )


def size_does_not_matter(function: Function, rng: np.random.Generator) -> None:
    errors = torch.tensor(rng.uniform(0.2, 2, 2), dtype=torch.float32).view(2, 1, 1, 1)
    for side, channels in ((4, 6), (8, 3), (16, 2)):
        reference, mask = maps(rng, 2, channels, side, side), torch.ones(2, 1, side, side)
        mask[1, :, :, side // 2 :] = 0
        value, by_hand = loss(function, reference + errors, reference, mask), float(errors.mean())
        if not same(value, by_hand, 1e-3):
            raise Wrong(
                f"Two samples off by {errors[0].item():.2f} and {errors[1].item():.2f} everywhere, the second half "
                f"closed, should give their mean {by_hand:.3f}, however large the map; {channels} channels of "
                f"{side}x{side} give {value:.3f}."
            )


def fully_connected(function: Function, rng: np.random.Generator) -> None:
    units, errors = 2 * int(rng.integers(3, 8)), rng.uniform(1, 3, 2)
    first, second = torch.zeros(2, 2, units).unbind()  # samples whose units 0 and 1 are swapped
    first[:, 0] = second[:, 1] = torch.tensor(errors, dtype=torch.float32)
    for mask, what in (([1.0, 1.0], "both"), ([1.0, 0.0], "the first")):
        by_hand = float(errors @ mask) / units  # two units of each sample differ, and there are two samples
        value = loss(function, first, second, torch.tensor(mask)[:, None])
        if not same(value, by_hand, 1e-3):
            raise Wrong(
                f"Two samples of {units} units, in which two neighbours are swapped, differ there by {errors[0]:.2f} "
                f"and {errors[1]:.2f}; with {what} open that is {by_hand:.4f} by hand, not {value:.4f}."
            )


def window_by_window(function: Function, rng: np.random.Generator) -> None:
    x, y, mask = maps(rng, 3, 2, 8, 8), maps(rng, 3, 2, 8, 8), torn(rng, 3, 8)
    means = []
    for sample in range(3):
        differences = []
        for top, left in product(range(0, 8, 2), repeat=2):
            window = (..., slice(top, top + 2), slice(left, left + 2))
            if mask[sample][window].all():
                differences += [
                    float(a[window].max() - b[window].max()) for a, b in zip(x[sample], y[sample], strict=True)
                ]
        means.append(np.abs(differences).mean())
    value = loss(function, x, y, mask)
    if not same(value, np.mean(means), 1e-3):
        raise Wrong(f"Counted window by window the loss of random maps is {np.mean(means):.4f}, not {value:.4f}.")


def trace(function: Function, rng: np.random.Generator) -> Trace:
    """What becomes of the loss in experiments each of which shows one of the mistakes."""
    part = torch.ones(2, 1, 8, 8)
    part[..., 4:] = 0  # along windows
    cut = part.roll(1, 3)  # through windows
    x, y = maps(rng, 2, 3, 8, 8), maps(rng, 2, 3, 8, 8)
    matters = [loss(function, y + 9 * (1 - mask), x, mask) > 1.01 * loss(function, y, x, mask) for mask in (part, cut)]
    half, whole, double = (
        loss(function, x + error, x, mask) for error, mask in ((1, part), (1, torch.ones_like(part)), (2, part))
    )
    wide = x.repeat(1, 1, 2, 1)
    large = loss(function, wide + 1, wide, part.repeat(1, 1, 2, 1))
    here, near, _ = shifted(rng, 8, 1.0)
    shift = 16 * loss(function, near, here, torch.ones(1, 1, 8, 8))  # of 16 windows
    units = torch.eye(2, 6)
    swap = loss(function, units, units.flip(0), torch.ones(2, 1))
    return [np.array([*matters, half / whole, double / half, large / half, shift, swap], dtype=np.float64)]


def _pooled(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2) if x.dim() == 4 else x


def _open_windows(mask: Tensor) -> Tensor:
    return 1 - _pooled(1 - mask)


def _mean_over_open(difference: Tensor, mask: Tensor) -> Tensor:
    each = (difference.mean(1, keepdim=True) * mask).flatten(1).sum(1)  # (B,)
    return (each / mask.flatten(1).sum(1).clamp(min=1)).mean()


def _mask_max_pooled(generated: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    return _mean_over_open((_pooled(generated) - _pooled(reference)).abs(), _pooled(mask))


def _mean_over_all(generated: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    return ((_pooled(generated) - _pooled(reference)).abs() * _open_windows(mask)).mean()


def _difference_pooled(generated: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    return _mean_over_open(_pooled((generated - reference).abs()), _open_windows(mask))


def _squared(generated: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    return _mean_over_open((_pooled(generated) - _pooled(reference)).square(), _open_windows(mask))


def _units_pooled(generated: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    x, y = (F.max_pool1d(f[:, None], 2)[:, 0] if f.dim() == 2 else _pooled(f) for f in (generated, reference))
    return _mean_over_open((x - y).abs(), _open_windows(mask))


ASSIGNMENT = Assignment(
    name="a6_reconstruction",
    questions={
        "Closed entries do not matter": closed_entries,
        "A shift inside a window is free, across windows it is not": small_shifts,
        "An equal error is an equal loss, however large the map": size_does_not_matter,
        "The units of an fc level are compared one by one": fully_connected,
        "Random maps, window by window": window_by_window,
    },
    mistakes={
        "A window that the mask's boundary cuts counts as open, as it does where the mask is max-pooled: then a closed "
        "entry may be the maximum that is compared. When may a window count?": _mask_max_pooled,
        "The mean is over all entries, the closed ones too: the smaller the open part, the less an error there costs. "
        "By how many is the sum to be divided?": _mean_over_all,
        "The difference is max-pooled, so a shift inside a window still costs. What has to be pooled, and before "
        "which step, that the place inside a window is forgotten?": _difference_pooled,
        "The error is squared: twice the error costs four times as much. Which norm does the paper take?": _squared,
        "The units of an fc level are pooled with their neighbours. Neighbours in space show nearly the same; what do "
        "neighbouring units have in common?": _units_pooled,
    },
    trace=trace,
)
