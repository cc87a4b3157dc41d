"""Several processes, ranks 0 to n - 1, that train one run, as `torchrun` starts them: NCCL on cards, gloo on CPUs.

The batch is the preset's, shared out. Each rank draws the numbers of all of it, which come from (seed, step) alone,
and keeps its own rows, whole pairs of references with both their z. What mixes rows is taken over the ranks: batch
statistics, a ratio of means, the pair before the first. So a step is that of one process, but for rounding. All ranks
hold the same weights, optimisers and average; rank 0 alone writes and speaks.
"""

import io
import os
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as dist

from pyramid.device import mean_over_ranks, ranks
from pyramid.errors import InputError
from pyramid.presets import Preset

PATIENCE = timedelta(days=30)  # rank 0 may train a classifier first; one that dies is noticed at once
ENDED = (
    "Another process of this run has ended, and this one with it; what was saved is unharmed, and the same command "
    "goes on from there."
)


@contextmanager
def together() -> Iterator[None]:
    """Join the other processes, if `torchrun` has started any: its environment variables say so.

    Raises InputError where there are fewer cards than processes, and, while they work, where another one has ended.
    """
    count, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    if count == 1:
        yield
        return
    if torch.cuda.is_available():
        if local >= (cards := torch.cuda.device_count()):
            raise InputError(
                f"Each process takes a card, and there are {cards}; give torchrun --nproc-per-node {cards}."
            )
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Grad strides do not match")  # of 1x1 kernels: a copy, nothing else
            yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise InputError(ENDED) from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if ranks() > 1 else 0


def first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return rank() == 0


@contextmanager
def first_before_others() -> Iterator[None]:
    """Rank 0 goes through what this holds, then the others, without a word, which find what it has made."""
    if first():
        yield
    anyone(False)  # who comes here waits for all
    if not first():
        with redirect_stdout(io.StringIO()):
            yield


def largest(number: int) -> int:
    """The largest of the numbers that the processes give, which wait for each other here."""
    if ranks() == 1:
        return number
    known = torch.tensor(number)  # on the CPU: no card has to come to rest
    dist.all_reduce(known, dist.ReduceOp.MAX)
    return int(known)


def anyone(flag: bool) -> bool:
    """Whether a flag is up in any process; the same answer in all, which wait for each other here."""
    return bool(largest(int(flag)))


def check(preset: Preset) -> None:
    """Raises InputError where a batch cannot be shared out: a rank takes pairs of references, with two z for each."""
    if preset.batch % (4 * ranks()):
        raise InputError(
            f"{ranks()} processes cannot share the {preset.batch} images of a step of {preset.name}; start a "
            f"number that divides {preset.batch // 4}."
        )


def check_number(before: int) -> None:
    """Raises InputError where a run that so many processes share would go on with another number: sums would round
    otherwise.
    """
    if before != ranks():
        raise InputError(
            f"The run in this folder is shared by {before} processes, not {ranks()}; start {before}, or give another "
            "folder with --out."
        )


def check_step(step: int) -> None:
    """Raises InputError where the processes are not all at this step."""
    if largest(step) != -largest(-step):
        raise InputError("The processes do not find the same checkpoint; give a folder that all can read with --out.")


def own(count: int) -> slice:
    """This rank's rows of `count`."""
    part = count // ranks()
    return slice(rank() * part, (rank() + 1) * part)


def of_rank_before(x: Tensor) -> Tensor:
    """What the rank before this one, for rank 0 the last, has for x; without a gradient."""
    if ranks() == 1:
        return x
    everyones = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(ranks())]
    dist.all_gather(everyones, x.contiguous())
    return everyones[rank() - 1]


def as_rank_0(x: Tensor) -> Tensor:
    """What rank 0 has for x: another card may round otherwise."""
    if ranks() > 1:
        dist.broadcast(x, 0)
    return x


@torch.no_grad()
def means(values: dict[Hashable, Tensor]) -> dict[Hashable, Tensor]:
    """The mean over the ranks of each of several tensors, the same keys and shapes in all."""
    if ranks() == 1:
        return values
    whole = mean_over_ranks(torch.cat([value.flatten() for value in values.values()]))
    parts = whole.split([value.numel() for value in values.values()])
    return {key: part.view_as(value) for (key, value), part in zip(values.items(), parts, strict=True)}


@torch.no_grad()
def std(x: Tensor) -> Tensor:
    """Standard deviation of all that the ranks have for x, of one size in each: a scalar."""
    if ranks() == 1:
        return x.std()
    count = ranks() * x.numel()
    centred = x - mean_over_ranks(x.mean())
    return (mean_over_ranks(centred.square().mean()) * count / (count - 1)).sqrt()


def averaging(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """A function that gives a loss back such that `backward` leaves at the network's weights the mean of all ranks'
    gradients.
    """
    if ranks() == 1:
        return lambda loss: loss
    return nn.parallel.DistributedDataParallel(_Weights(network), find_unused_parameters=True)


class _Weights(nn.Module):
    """What `DistributedDataParallel` takes for the network.

    A step goes through a network more than once, for several terms; for the gradients it is enough that their sum comes
    by here. There are no buffers to send about: running statistics are of all ranks, and spectral norm follows the
    weights. `find_unused_parameters` keeps the buckets of gradients as they are first laid out, so that a resumed run
    adds in the same order, and knows the weights of a term that is left out; `unused` is there for it to find.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.weights = nn.ParameterList(network.parameters())
        self.unused = nn.Parameter(torch.zeros((), device=self.weights[0].device))

    def forward(self, loss: Tensor) -> Tensor:
        return loss
