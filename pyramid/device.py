"""Where to compute, in which precision, and in how many processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils._python_dispatch import _get_current_dispatch_mode

from pyramid.errors import InputError

_precision: ContextVar[torch.dtype | None] = ContextVar("precision")  # of `in_precision`


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The half precision a device computes natively, or None.

    bfloat16 on cards of compute capability 8 and up (`torch.cuda.is_bf16_supported` also says yes to a
    T4, by emulation) and on CPUs with AMX or AVX512-BF16; float16 on older cards. Intel's cores that have
    AVX512-FP16 too compute bfloat16 outside AMX at little more than half the speed of float32 (a virtual
    machine may hide AMX): None there. Within `in_precision` it is what was asked for.
    """
    if (asked := _precision.get(device)) is not device:
        return asked
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    amx, native = (
        getattr(torch.cpu, name, lambda: False)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    )
    slow = getattr(torch.cpu, "get_capabilities", dict)().get("avx512_fp16", False)
    return torch.bfloat16 if amx or (native and not slow) else None


@contextmanager
def in_precision(dtype: torch.dtype | None) -> Iterator[None]:
    """Within it `autocast` computes in this half precision (None: in float32), whatever the device is fast at."""
    token = _precision.set(dtype)
    try:
        yield
    finally:
        _precision.reset(token)


def autocast(device: torch.device) -> torch.autocast:
    """Mixed precision for the networks; losses and penalties are computed in float32 outside it."""
    dtype = autocast_dtype(device)
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def ranks() -> int:
    """How many processes work together: 1, unless `torchrun` has started more (see `training/ranks.py`)."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _MeanOverRanks(torch.autograd.Function):
    """The mean y of one x a process has dy / dx = 1 / n for each: a gradient comes back by the same mean."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total / ranks()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _MeanOverRanks.apply(gradient)


def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean of the tensors x, of one shape, that the processes have, the same in each; differentiable.

    The gradient is that of the sum of all processes' losses: what `DistributedDataParallel` divides by their number.
    """
    return _MeanOverRanks.apply(x) if ranks() > 1 else x


def constant(values: float | tuple[float, ...], device: torch.device) -> Tensor:
    """Fixed numbers as a float32 tensor that lies on a device once and for all: a graphics card waits for a copy.

    Where tensors have no content (`measure.scale`), it is made anew and not kept.
    """
    real = _get_current_dispatch_mode() is None
    return _constant(values, device) if real else torch.tensor(values, device=device)


@cache
def _constant(values: float | tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)


def random_from(seed: int) -> torch.Generator:
    """Randomness that a seed begins. Raises InputError for a number that is no seed: below 0, or beyond 63 bits."""
    if not 0 <= seed < 2**63:
        raise InputError(f"A seed is a whole number from 0 to 2^63 - 1, not {seed}.")
    return torch.Generator().manual_seed(int(seed))


@contextmanager
def seeded(seed: int):
    """Initialise networks from a seed without touching the caller's random state."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
