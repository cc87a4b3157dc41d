"""A3, after notebook 03: generator_block(x, m, f, noise, keep, resblock, conv) -> one block of the released generator.

x: (B, C, h, w) from the deeper block; m: (B, 1, H, W) in [0, 1]; f: features (B, c, H, W); noise: (B, n, H, W);
keep: (C', 1, 1), the gate before its sigmoid; resblock: x -> (B, C', H, W), often twice as large as x; conv: (B, c + 1
+ n, H, W) -> (B, C', H, W), whose input channels are m * f, m, (1 - m) * noise, in this order. Returned: resblock(x),
times the gate where the mask is open, plus conv of what is given: (B, C', H, W).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pyramid.course.engine import Assignment, Function, Trace, Wrong, same
from pyramid.device import seeded
from pyramid.layers import ResBlock, conv

Part = Callable[[Tensor], Tensor]
FEATURES, NOISE, WIDE = 5, 2, 6  # channels of f, of noise, and behind the block
SHUT = 50.0  # of the gate: its sigmoid is 1, everything is kept


def numbers(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape).astype(np.float32))


def inputs(rng: np.random.Generator, up: bool = True) -> dict:
    """Arguments for the function, its modules random: a residual block of the project's, to twice the size if `up`."""
    with seeded(int(rng.integers(2**31))):
        block, convolution = ResBlock(4, WIDE, 3, up=up).eval(), conv(FEATURES + 1 + NOISE, WIDE)
    c = numbers(rng, 2, 3)
    side = 8 if up else 4
    region = torch.from_numpy(rng.random((2, 1, side, side)) * (rng.random((2, 1, side, side)) > 0.4))
    return {
        "x": numbers(rng, 2, 4, 4, 4),
        "m": region.float(),
        "f": numbers(rng, 2, FEATURES, side, side),
        "noise": numbers(rng, 2, NOISE, side, side),
        "keep": numbers(rng, WIDE, 1, 1),
        "resblock": lambda x: block(x, c),
        "conv": convolution,
    }


def block_of(function: Function, given: dict) -> Tensor:
    """What a function returns, if it has the right shape."""
    with torch.no_grad():
        made = function(**given)
        wanted = given["resblock"](given["x"]).shape
    if getattr(made, "shape", None) != wanted:
        raise Wrong(f"The block should return a tensor {tuple(wanted)}, as resblock does; this is {_shape(made)}.")
    return made


def _shape(made: object) -> str:
    return str(tuple(made.shape)) if isinstance(made, Tensor) else type(made).__name__


def closed_features(function: Function, rng: np.random.Generator) -> None:
    given = inputs(rng)
    closed = (given["m"] == 0).float()
    other = {**given, "f": given["f"] + closed * 9 * numbers(rng, *given["f"].shape)}
    before, after = (block_of(function, each) for each in (given, other))
    if not same(after, before):
        raise Wrong(
            "Features were replaced where the mask is closed, and the block's output changed by up to "
            f"{(after - before).abs().max():.2f}: they leak."
        )


def open_without_noise(function: Function, rng: np.random.Generator) -> None:
    given = inputs(rng)
    given["m"] = torch.ones_like(given["m"])
    before, after = (block_of(function, each) for each in (given, {**given, "noise": -3 * given["noise"]}))
    if not same(after, before):
        raise Wrong("The mask is open everywhere, and other noise still changes the output.")
    given["m"] = torch.zeros_like(given["m"])
    before, after = (block_of(function, each) for each in (given, {**given, "noise": -3 * given["noise"]}))
    if same(after, before):
        raise Wrong("The mask is closed everywhere, and other noise changes nothing: what is not given needs chance.")


def closed_is_not_zero(function: Function, rng: np.random.Generator) -> None:
    given = inputs(rng) | {"keep": torch.full((WIDE, 1, 1), SHUT)}
    given |= {name: torch.zeros_like(given[name]) for name in ("f", "noise")}
    closed, opened = (block_of(function, {**given, "m": torch.full_like(given["m"], m)}) for m in (0.0, 1.0))
    if same(closed, opened):
        raise Wrong(
            "Closed, and open with features that are zero, give one and the same output, the gate keeping all. What "
            "tells the convolution which of the two it is?"
        )


def formula(function: Function, rng: np.random.Generator) -> None:
    for up in (True, False):
        given = inputs(rng, up)
        made = block_of(function, given).double().numpy()
        with torch.no_grad():
            deeper = given["resblock"](given["x"]).double().numpy()
            m, f, noise = (given[name] for name in ("m", "f", "noise"))
            listened = given["conv"](torch.cat([m * f, m, noise - m * noise], 1)).double().numpy()
        kept = 1 / (1 + np.exp(-given["keep"].double().numpy()))  # share of a channel where the mask is open
        m = given["m"].double().numpy()
        if same(made, deeper + listened):
            raise Wrong("The gate is missing: where the mask is open, a channel of resblock(x) is kept by its share.")
        if not same(made, (1 - m) * deeper + m * kept * deeper + listened):
            raise Wrong("With random modules, soft masks and gates the output is not that of the formula.")


def trace(function: Function, rng: np.random.Generator) -> Trace:
    """Answers with a convolution that takes any number of channels, and a block that keeps the size."""
    kernel = numbers(rng, WIDE, 16, 3, 3)
    mixing = numbers(rng, WIDE, WIDE, 1, 1)
    m = torch.from_numpy(rng.random((2, 1, 8, 8)).astype(np.float32))
    with torch.no_grad():
        made = function(
            numbers(rng, 2, WIDE, 8, 8),
            torch.where(m > 0.6, 1.0, torch.where(m < 0.3, 0.0, m)),
            numbers(rng, 2, FEATURES, 8, 8),
            numbers(rng, 2, NOISE, 8, 8),
            numbers(rng, WIDE, 1, 1),
            lambda x: x + F.conv2d(torch.tanh(x), mixing),
            lambda given: F.conv2d(given, kernel[:, : given.shape[1]], padding=1),
        )
    return [made.numpy()]


def _gate(m: Tensor, keep: Tensor) -> Tensor:
    return 1 - m + m * torch.sigmoid(keep)


def _given(m: Tensor, f: Tensor, noise: Tensor) -> Tensor:
    return torch.cat([m * f, m, (1 - m) * noise], 1)


def _mask_after(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * _gate(m, keep) + m * conv(torch.cat([f, m, (1 - m) * noise], 1))


def _mask_after_with_all_noise(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * _gate(m, keep) + m * conv(torch.cat([f, m, noise], 1))


def _features_where_closed(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * _gate(m, keep) + conv(torch.cat([(1 - m) * f, m, (1 - m) * noise], 1))


def _features_and_noise_swapped(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * _gate(m, keep) + conv(torch.cat([(1 - m) * f, m, m * noise], 1))


def _all_swapped(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * _gate(1 - m, keep) + conv(_given(1 - m, f, noise))


def _no_mask_channel(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * _gate(m, keep) + conv(torch.cat([m * f, (1 - m) * noise], 1))


def _mask_channel_empty(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * _gate(m, keep) + conv(torch.cat([m * f, torch.zeros_like(m), (1 - m) * noise], 1))


def _noise_where_open(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * _gate(m, keep) + conv(torch.cat([m * f, m, m * noise], 1))


def _noise_everywhere(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * _gate(m, keep) + conv(torch.cat([m * f, m, noise], 1))


def _added_before(x, m, f, noise, keep, resblock, conv):
    return resblock(x + conv(_given(m, f, noise))) * _gate(m, keep)


def _gated_and_added_before(x, m, f, noise, keep, resblock, conv):
    return resblock(x * _gate(m, keep) + conv(_given(m, f, noise)))


ASSIGNMENT = Assignment(
    name="a3_generator_block",
    questions={
        "Closed features may be anything": closed_features,
        "Noise enters where nothing is given, and only there": open_without_noise,
        "Closed is not the same as open and zero": closed_is_not_zero,
        "Random modules, as the formula has it": formula,
    },
    mistakes={
        "The mask comes after the convolution: by then a 3x3 window has read its closed neighbours and mixed them in. "
        "What must a closed feature be before the convolution reads it?": [_mask_after, _mask_after_with_all_noise],
        "Features pass where the mask is 0 and stop where it is 1. Which of m and 1 - m lets a feature through?": [
            _features_where_closed,
            _features_and_noise_swapped,
            _all_swapped,
        ],
        "The convolution is not told the mask, so 'closed' and 'zero' look alike to it. Count the input channels that "
        "conv expects: which is missing?": [_no_mask_channel, _mask_channel_empty],
        "Noise also enters where the mask is open, and spoils what is given. Where does chance belong?": [
            _noise_where_open,
            _noise_everywhere,
        ],
        "The features are added before the residual block, so it works on them too, and where it doubles the size the "
        "two do not even fit. At which of its ends do they come in?": [_added_before, _gated_and_added_before],
    },
    trace=trace,
)
