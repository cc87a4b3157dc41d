"""The average of the generator's weights over training, which is what gets released."""

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from pyramid.device import autocast, mean_over_ranks
from pyramid.generator import Generator
from pyramid.presets import Preset

if TYPE_CHECKING:
    from pyramid.training.loop import Run


YOUNG = 0.05  # of the images so far: the most that a half-life may be, since a young generator is soon out of date


@torch.no_grad()
def update_average(average: AveragedModel, generator: Generator, preset: Preset) -> None:
    """Take one step's weights into the average, with the preset's half-life in images, or YOUNG of those seen.

    Buffers are copied. `AveragedModel.update_parameters` does the same, but asks the device for its count of steps,
    for which a graphics card has to come to rest.
    """
    half_life = min(preset.ema_half_life, YOUNG * int(average.n_averaged) * preset.batch)
    weight = 1 - 0.5 ** (preset.batch / half_life) if half_life else 1.0
    torch._foreach_lerp_([*average.module.parameters()], [*generator.parameters()], weight)
    torch._foreach_copy_([*average.module.buffers()], [*generator.buffers()])
    average.n_averaged += 1


@torch.no_grad()
def averaged_generator(run: "Run", batches: int = 60) -> Generator:
    """The averaged generator of a run, its batch norms' statistics measured anew on training draws.

    Every rank of a run has to ask for it: each looks at its own rows of a draw.
    """
    generator = deepcopy(run.ema.module).eval()
    for norm in [m for m in generator.modules() if isinstance(m, _BatchNorm)]:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
        norm.train()
    for i in range(batches):
        for batch in run.sampler.draw(-1 - i).split(run.parts):
            with autocast(run.device):
                generator(run.encode(batch), batch.masks, batch.z, batch.labels)
    return generator.eval()


@torch.no_grad()
def distance_to_raw(run: "Run", generator: Generator, batches: int = 8) -> float:
    """Mean absolute difference, range [-1, 1], of a generator's images to the raw one's, both evaluating."""
    raw, generator, total = deepcopy(run.generator).eval(), deepcopy(generator).eval(), 0.0
    for i in range(batches):
        for batch in run.sampler.draw(-1_000_001 - i).split(run.parts):
            inputs = (run.encode(batch), batch.masks, batch.z, batch.labels)
            away = (generator(*inputs) - raw(*inputs)).abs().mean()
            total += float(mean_over_ranks(away)) / run.parts
    return total / batches
