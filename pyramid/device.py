"""Where to compute and in which precision."""

from contextlib import contextmanager

import torch


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The half precision a device computes natively, or None.

    bfloat16 on cards of compute capability 8 and up (`torch.cuda.is_bf16_supported` also says yes to a
    T4, by emulation) and on CPUs with AVX512-BF16 or AMX; float16 on older cards.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        if getattr(torch.cpu, name, lambda: False)():
            return torch.bfloat16
    return None


def autocast(device: torch.device) -> torch.autocast:
    """Mixed precision for the networks; losses and penalties are computed in float32 outside it."""
    dtype = autocast_dtype(device)
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


@contextmanager
def seeded(seed: int):
    """Initialise networks from a seed without touching the caller's random state."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
