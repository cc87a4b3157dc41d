"""A training step recorded once as a CUDA graph and played back.

A step is some five thousand kernels, most of them small: a fast card is done with one before Python has asked for the
next. A graph asks for all of them at once. Each set of terms that a step can have (with R1 or without, before LATE and
after) has a recording of its own, where the card has room for it: a step that fills half of a card has large kernels
and needs none. What changes from step to step lies at fixed places on the device: the draw, the learning rates and how
far the terms of LATE have come in. Where several processes share a run there is no recording:
`DistributedDataParallel` sends a gradient on from within the backward pass, while the rest is being computed.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from pyramid.device import constant
from pyramid.presets import Preset
from pyramid.training import objective
from pyramid.training.sampling import Batch

if TYPE_CHECKING:
    from pyramid.training.loop import Run
    from pyramid.training.step import Learned

WARM_UP = 3  # steps without a graph before one is recorded, for libraries to choose and allocate
T = TypeVar("T")


class Recorder:
    """Draws and learns for a run on a CUDA device. A step on the same draw computes what `Run.learn` computes."""

    def __init__(self, run: "Run"):
        self.run = run
        self.drawing, self.working = torch.cuda.Stream(run.device), torch.cuda.Stream(run.device)
        self.late = torch.zeros((), device=run.device)
        self.batch: Batch | None = None
        self.recordings: dict[tuple[str, ...], tuple[torch.cuda.CUDAGraph, list[Learned]]] = {}
        self.warmed: Counter[tuple[str, ...]] = Counter()

    def draw(self, step: int) -> Batch:
        """The batch of a step at its fixed place; drawn while the card is still at work on the one before."""
        now = torch.cuda.current_stream()
        with torch.cuda.stream(self.drawing):
            batch = self.run.sampler.draw(step)
        now.wait_stream(self.drawing)
        if self.batch is None:
            self.batch = _copy(batch)
        else:
            torch._foreach_copy_([*_tensors(self.batch)], [*_tensors(batch)])
        self.drawing.wait_stream(now)  # the next draw may take the same memory
        return self.batch

    def learn(self, batch: Batch, weight: objective.Weights) -> "list[Learned]":
        """`Run.learn` on the batch of `draw`: played back, or the first few times as it is."""
        run = self.run
        self.late.fill_(objective.ramp(run.preset, run.images_seen))
        key = tuple(name for name, value in weight.items() if np.any(value))
        if key not in self.recordings:
            if self.warmed[key] < WARM_UP or not self._has_room():
                self.warmed[key] += 1
                return self._aside(lambda: run.learn(batch, weight, weights_on(run.device, run.preset, self.late)))
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.working):
                learned = run.learn(batch, weight, weights_on(run.device, run.preset, self.late))
            self.recordings[key] = graph, learned
        graph, learned = self.recordings[key]
        graph.replay()
        return learned

    def _has_room(self) -> bool:
        """Whether what is free holds a step once more: a recording keeps its memory to itself."""
        free, _ = torch.cuda.mem_get_info(self.run.device)
        return torch.cuda.max_memory_allocated(self.run.device) < 0.9 * free

    def _aside(self, work: Callable[[], T]) -> T:
        """Work on the stream that records: autograd wants its nodes to stay on one."""
        now = torch.cuda.current_stream()
        self.working.wait_stream(now)
        with torch.cuda.stream(self.working):
            done = work()
        now.wait_stream(self.working)
        return done


def weights_on(device: torch.device, preset: Preset, late: Tensor) -> objective.Weights:
    """The weights of the terms on a device; those of LATE by what `late` holds when they are used."""
    full = objective.full_weights(preset)
    table = {name: constant(value, device) for name, value in full.items()}
    return table | {name: table[name] * late for name in objective.LATE}


def _copy(batch: Batch) -> Batch:
    """The same draw in memory of its own."""

    def copied(value):
        if isinstance(value, dict):
            return {name: v.clone() for name, v in value.items()}
        return tuple(v.clone() for v in value) if isinstance(value, tuple) else value.clone()

    return replace(batch, **{f.name: copied(getattr(batch, f.name)) for f in fields(batch)})


def _tensors(batch: Batch) -> Iterator[Tensor]:
    for f in fields(batch):
        value = getattr(batch, f.name)
        yield from value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
