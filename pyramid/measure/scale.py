"""What a preset takes: parameters, floating-point operations, memory of a training step, before anything is trained.

A step is taken once with tensors that have shapes and no content (torch's FakeTensor), in bfloat16 as on a card: every
operation is counted by torch's own formulas, every tensor by its bytes for as long as it lives. What libraries take
beside that (workspaces, the context of a card, what lies unused between tensors) is not in it. `plan.py` goes on
from these numbers.
"""

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from pyramid.classifier import Classifier
from pyramid.data import Photos
from pyramid.device import in_precision
from pyramid.discriminator import Discriminator
from pyramid.generator import Generator, z_size
from pyramid.presets import Preset
from pyramid.scenes import LABELS, RANGES
from pyramid.training import Run, objective, ranks
from pyramid.training.sampling import OTHERS, Batch, Sampler
from pyramid.training.step import economise

SMALLEST = 4  # images of a batch: a pair of references with two z each
MEASURED_AT = (32, 64)  # batches from which the memory of others follows: from 32 on it grows by the image
PHOTO_CLASSES = 6  # of the Intel scenes, for presets of no dataset of their own


@dataclass(frozen=True)
class Memory:
    """Bytes of a training step by its batch: fixed + batch * image."""

    fixed: float
    image: float

    def at(self, batch: int) -> float:
        return self.fixed + batch * self.image


@dataclass(frozen=True)
class Estimate:
    """What a preset takes."""

    preset: Preset
    classes: int
    parameters: dict[str, int]  # network -> how many
    generation: float  # FLOPs of one image from the features: what using the model takes beside the classifier
    encoding: float  # FLOPs of one image's feature pyramid
    step: float  # FLOPs a generated image of a training step, R1 at its share
    recomputed: float  # the same with --recompute
    whole: Memory  # of a step with R1, which takes most
    thrifty: Memory  # with --recompute
    average_norms: int  # batch norms of the generator, whose statistics several cards have in common


class Counter(TorchDispatchMode):
    """Counts what is computed within it.

    kernels: (FLOPs, bytes read and written) of every operation that does more than look at a tensor otherwise;
    now, peak: bytes of the tensors that are alive, and the most that were.
    """

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.kernels: list[tuple[float, float]] = []
        self.alive: set[int] = set()

    @property
    def flops(self) -> float:
        return sum(work for work, _ in self.kernels)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        made = _tensors(out)
        for value in made:
            self._note(value.untyped_storage())
        looks = any(r.alias_info is not None and not r.alias_info.is_write for r in function._schema.returns)
        if made and not looks:
            formula = flop_registry.get(function._overloadpacket)
            size = sum(t.numel() * t.element_size() for t in (*made, *_tensors((args, kwargs))))
            self.kernels.append((formula(*args, **kwargs, out_val=out) if formula else 0, size))
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self.alive:
            self.alive.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.alive.discard(key)
        self.now -= size


def _tensors(values) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


class DryRun(Run):
    """The networks of a run, what it keeps beside them, and its step, on the CPU and for no photographs.

    Optimisers move nothing; the moments that Adam keeps are there, and the average's weights.
    """

    def __init__(self, preset: Preset, classes: int):
        self.preset, self.step_count, self.parts, self.device = preset, 0, 1, torch.device("cpu")
        self.classifier = Classifier(classes, **preset.classifier).eval().requires_grad_(False)
        self.generator, self.discriminator = Generator(preset, classes), Discriminator(preset, classes)
        learning = (self.generator, self.discriminator)
        self.kept = [torch.empty_like(p) for n in (*learning, *learning, self.generator) for p in n.parameters()]
        self.rates = dict.fromkeys(learning, 0.0)
        self.averaging = {network: ranks.averaging(network) for network in learning}
        self.optimisers = {n: torch.optim.SGD(n.parameters(), lr=0.0, foreach=False) for n in learning}
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.sampler = SimpleNamespace(parts=1)
        self.gallery = {
            name: torch.empty(OTHERS, math.prod(shape), dtype=torch.float16)
            for (name, shape), weight in zip(preset.shapes(classes).items(), preset.retrieval, strict=True)
            if weight
        }
        self.gallery_labels = torch.zeros(OTHERS, dtype=torch.int64)


def _no_photos(preset: Preset, classes: int) -> Photos:
    """Two black photographs a class, which take no memory."""
    images = torch.zeros(1, 3, preset.image_size, preset.image_size, dtype=torch.uint8).expand(2 * classes, -1, -1, -1)
    labels = torch.arange(2 * classes) % classes
    return Photos(images, labels, torch.zeros(2 * classes, dtype=torch.bool), tuple(map(str, range(classes))))


def count_step(
    preset: Preset,
    classes: int,
    batch: int,
    precision: torch.dtype | None = torch.bfloat16,
    parts: int = 1,
    recompute: bool = False,
    r1: bool = True,
) -> Counter:
    """What a training step of `batch` images takes, with R1 or without; the peak has in it what a run always keeps.

    parts, recompute: as `step.economise`. precision: in which the networks compute. The batch's rows are copies of few.
    """
    small = replace(preset, batch=SMALLEST)
    drawn = Sampler(_no_photos(small, classes), small, z_size(small), 0).draw(0)
    preset = replace(preset, batch=batch)
    weight = objective.full_weights(preset) | ({} if r1 else {"r1": 0.0})
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, Counter() as counter, in_precision(precision):
        run = DryRun(preset, classes)
        economise(run, parts, recompute)
        enlarged = _enlarged(drawn, batch // SMALLEST, mode.from_tensor)
        counter.kernels, counter.peak = [], counter.now
        run.learn(enlarged, weight)
    return counter


def _enlarged(batch: Batch, times: int, convert: Callable[[Tensor], Tensor]) -> Batch:
    """A batch of so many times the rows."""

    def enlarge(name: str, value):
        if isinstance(value, dict):
            return {key: enlarge(name, v) for key, v in value.items()}
        if isinstance(value, tuple):
            return tuple(enlarge(name, v) for v in value)
        value = convert(value)
        return value if name == "others" else value.repeat(times, *[1] * (value.dim() - 1))

    return Batch(**{f.name: enlarge(f.name, getattr(batch, f.name)) for f in fields(batch)})


def count_pass(network: nn.Module, *inputs: Tensor | dict[str, Tensor]) -> float:
    """FLOPs of a forward pass. network and inputs may be on any device; on "meta" nothing is computed."""
    with torch.no_grad(), Counter() as counter:
        network(*inputs)
    return counter.flops


def classes_of(preset: Preset) -> int:
    """How many classes a preset's own dataset has, or the Intel scenes."""
    known = {"places365": 365} | dict.fromkeys(RANGES, len(LABELS))
    return known.get(preset.data, PHOTO_CLASSES)


def estimate(preset: Preset) -> Estimate:
    """All of `Estimate`, in some ten seconds."""
    classes, size = classes_of(preset), preset.image_size
    with torch.device("meta"):
        networks = {
            "generator": Generator(preset, classes),
            "discriminator": Discriminator(preset, classes),
            "classifier": Classifier(classes, **preset.classifier),
        }
        shapes = preset.shapes(classes)
        features = {name: torch.zeros(1, *shape) for name, shape in shapes.items()}
        masks = {name: torch.zeros(1, 1, *shape[1:]) for name, shape in shapes.items()}
        z, label = torch.zeros(1, z_size(preset)), torch.zeros(1, dtype=torch.int64)
        generation = count_pass(networks["generator"].eval(), features, masks, z, label)
        encoding = count_pass(networks["classifier"].eval(), torch.zeros(1, 3, size, size))
    memory, work = {}, {}
    for recompute in (False, True):
        counts = [count_step(preset, classes, batch, recompute=recompute) for batch in MEASURED_AT]
        (few, many), (low, high) = MEASURED_AT, (count.peak for count in counts)
        image = (high - low) / (many - few)
        memory[recompute] = Memory(low - few * image, image)
        work[recompute] = counts[0].flops / few
    without = count_step(preset, classes, SMALLEST, r1=False).flops / SMALLEST
    r1 = work[False] - without
    return Estimate(
        preset=preset,
        classes=classes,
        parameters={name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()},
        generation=generation,
        encoding=encoding,
        step=without + r1 / preset.r1_every,
        recomputed=work[True] - r1 + r1 / preset.r1_every,
        whole=memory[False],
        thrifty=memory[True],
        average_norms=sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in networks["generator"].modules()),
    )
