"""Building blocks of both networks, after SAGAN (Zhang et al. 2019).

Conditional batch norm lets z and the class label set gain and bias of every channel; spectral norm (Miyato et al.
2018), which the discriminator has on every layer, bounds the largest singular value of its kernel as a matrix at 1.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.checkpoint import checkpoint

from pyramid.device import mean_over_ranks, ranks


def conv(channels: int, out: int, kernel: int = 3) -> nn.Conv2d:
    """Convolution that keeps the size."""
    return nn.Conv2d(channels, out, kernel, padding=kernel // 2)


def normalise_spectrally(network: nn.Module) -> None:
    """Put spectral norm on every convolution and linear layer of a network, but for those inside a batch norm."""
    for module in [m for m in network.modules() if not isinstance(m, ConditionalBatchNorm)]:
        for layer in [m for m in module.children() if isinstance(m, nn.Conv2d | nn.Linear)]:
            spectral_norm(layer)


def normalise_over_ranks(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """What `norm` makes in training of the batches of all processes laid together. x: (B, C, …); B the same in each.

    `torch.nn.SyncBatchNorm` does it on graphics cards alone.
    """
    rest, shape = [0, *range(2, x.dim())], (1, -1, *[1] * (x.dim() - 2))
    variance, mean = torch.var_mean(x.float(), rest, correction=0)  # (C,) each
    whole = mean_over_ranks(mean)  # (C,)
    variance = mean_over_ranks(variance + (mean - whole).square())  # (C,): within the processes and between them
    with torch.no_grad():
        count = ranks() * x.numel() / x.shape[1]
        norm.num_batches_tracked += 1
        step = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
        norm.running_mean += step * (whole - norm.running_mean)
        norm.running_var += step * (variance * count / (count - 1) - norm.running_var)
    return ((x - whole.view(shape)) * (variance + norm.eps).rsqrt().view(shape)).to(x.dtype)


@contextmanager
def statistics_held(network: nn.Module) -> Iterator[None]:
    """Within it the network's batch norms compute as ever, and leave their running statistics as they are."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, norm.num_batches_tracked.clone()
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def recomputed(work: Callable[..., Tensor], *inputs: Tensor | None, within: nn.Module) -> Tensor:
    """work(*inputs), whose inner maps are let go and computed anew for the way back (Chen et al. 2016).

    Memory for time: only the inputs stay. The same gradients to the bit, since nothing in here is random; the batch
    norms of the module `within`, which `work` belongs to, update their statistics once.
    """

    def contexts():
        return nullcontext(), statistics_held(within)  # of the first pass, and of the second

    return checkpoint(work, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and bias are linear in a condition (z and class embedding, concatenated).

    The statistics are of the whole batch, also where several processes have a part of it each.
    """

    def __init__(self, channels: int, condition: int, maps: bool = True):
        super().__init__()
        self.norm = (nn.BatchNorm2d if maps else nn.BatchNorm1d)(channels, affine=False)
        self.gain = nn.Linear(condition, channels)
        self.bias = nn.Linear(condition, channels)
        for layer, start in ((self.gain, 1.0), (self.bias, 0.0)):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.constant_(layer.bias, start)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """x: (B, C, H, W), or (B, C) without maps; c: (B, condition)."""
        shape = (*x.shape[:2], *[1] * (x.dim() - 2))
        x = normalise_over_ranks(self.norm, x) if self.norm.training and ranks() > 1 else self.norm(x)
        return x * self.gain(c).view(shape) + self.bias(c).view(shape)


def upsample(x: Tensor) -> Tensor:
    """Twice the size, bilinear (a pixel shuffle leaves a dither)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class ResBlock(nn.Module):
    """Generator block: two convolutions and a skip, optionally to twice the size.

    The first convolution runs before the upsampling, where it costs a quarter.
    """

    def __init__(self, channels: int, out: int, condition: int, up: bool):
        super().__init__()
        self.up = up
        self.norm1 = ConditionalBatchNorm(channels, condition)
        self.conv1 = conv(channels, out)
        self.norm2 = ConditionalBatchNorm(out, condition)
        self.conv2 = conv(out, out)
        self.skip = nn.Identity() if channels == out else conv(channels, out, 1)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """x: (B, channels, h, w); c: (B, condition). Returns (B, out, h, w), or 2h, 2w."""
        h = self.conv1(F.relu(self.norm1(x, c)))  # (B, out, h, w)
        x = self.skip(x)
        if self.up:
            h, x = upsample(h), upsample(x)  # (B, out, 2h, 2w)
        return x + self.conv2(F.relu(self.norm2(h, c)))


class VectorBlock(nn.Module):
    """The same with linear layers, for the fully connected levels. x: (B, units)."""

    def __init__(self, units: int, condition: int):
        super().__init__()
        self.norm1 = ConditionalBatchNorm(units, condition, maps=False)
        self.linear1 = nn.Linear(units, units)
        self.norm2 = ConditionalBatchNorm(units, condition, maps=False)
        self.linear2 = nn.Linear(units, units)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = self.linear1(F.relu(self.norm1(x, c)))
        return x + self.linear2(F.relu(self.norm2(h, c)))


class DownBlock(nn.Module):
    """Discriminator block: two convolutions and a skip to half the size, times `gain`; no batch norm."""

    def __init__(self, channels: int, out: int, gain: float):
        super().__init__()
        self.gain = gain
        self.conv1 = conv(channels, channels)
        self.conv2 = conv(channels, out)
        self.skip = conv(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, out, h/2, w/2)."""
        h = F.avg_pool2d(self.conv1(F.relu(x)), 2)  # (B, channels, h/2, w/2)
        return self.gain * (self.skip(F.avg_pool2d(x, 2)) + self.conv2(F.relu(h)))


class SelfAttention(nn.Module):
    """SAGAN's self-attention: every position looks at every other; enters through a gain that starts at 0."""

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // 4  # one width for all three, so that torch's fused kernel applies
        self.query = conv(channels, inner, 1)
        self.key = conv(channels, inner, 1)
        self.value = conv(channels, inner, 1)
        self.out = conv(inner, channels, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        q, k, v = (f(x).flatten(2).transpose(1, 2) for f in (self.query, self.key, self.value))  # (B, HW, C/4)
        attended = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]  # (B, HW, C/4)
        return x + self.gain * self.out(attended.transpose(1, 2).unflatten(2, x.shape[2:]))
