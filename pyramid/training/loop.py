"""The training loop: one for CPU and GPU, interruptible and resumable.

Each step draws batch / 2 references and two noise vectors for each, so the diversity loss needs no third pass. The
discriminator and then the generator are updated on the same generated images. The randomness of step n comes from
(seed, n), and schedules and the average count images, never time: a run that was killed and resumed ends with the
same weights as one never stopped, on a CPU bit for bit, on a card but for the order of its sums. Several processes
may share a run, see `ranks.py`.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from pyramid import masks
from pyramid.checkpoints import as_bytes, graceful, load_state, locked, save_state
from pyramid.classifier import Classifier
from pyramid.data import Labelled, from_bytes
from pyramid.device import autocast, autocast_dtype, default_device, seeded
from pyramid.discriminator import Discriminator
from pyramid.errors import InputError
from pyramid.generator import Generator
from pyramid.levels import CONV_LEVELS, LEVELS
from pyramid.model import Release, open_release
from pyramid.presets import Preset, from_dict
from pyramid.training import health, objective, ranks
from pyramid.training.averaging import update_average
from pyramid.training.graphs import Recorder
from pyramid.training.objective import total
from pyramid.training.record import Metrics, append_line, forget_after, save_samples, save_snapshot
from pyramid.training.sampling import Batch, Sampler
from pyramid.training.step import Learned, learn_in_parts, learn_whole

BETAS = (0.0, 0.99)
REPORT_EVERY = 50  # steps between lines of the metrics file
SAVE_MINUTES = 4.0  # between checkpoints and sheets of samples, unless told
#: shares of the preset's images after which the averaged generator is kept: at first at every doubling, then evenly
SNAPSHOTS = (1 / 64, 1 / 32, 1 / 16, *(k / 8 for k in range(1, 9)))
CHECKPOINT = "checkpoint.pt"


class Run:
    """The networks, optimisers and counters of one training run; `start` makes it from a preset and photographs."""

    def __init__(self, preset: Preset, photos: Labelled, classifier: Classifier, seed: int):
        """photos: on the device to train on.

        Raises InputError where the classifier is for other classes or another size, or where there are more processes
        than share the preset's batch.
        """
        ranks.check(preset)
        self.preset, self.photos, self.seed, self.step_count, self.parts = preset, photos, seed, 0, 1
        self.device = device = photos.device
        if classifier.image_size != preset.image_size or classifier.classes != len(photos.classes):
            raise InputError(
                f"The classifier is for {classifier.classes} classes at {classifier.image_size} px, the run for "
                f"{len(photos.classes)} at {preset.image_size} px; train one with train-classifier."
            )
        self.of_classifier = hashlib.sha256(as_bytes(classifier)).hexdigest()[:16]
        self.classifier = _place(classifier, device).eval().requires_grad_(False)
        with seeded(seed):
            self.generator = _place(Generator(preset, len(photos.classes)), device)
            self.discriminator = _place(Discriminator(preset, len(photos.classes)), device)
        self.gallery = self._encode_photos()
        self.gallery_labels = photos.labels[photos.known.to(device)]
        self.generator.measure_labels(self.gallery["fc8"].float(), self.gallery_labels)
        self.ema = AveragedModel(self.generator)
        self.full_rates = {self.generator: preset.learning_rate, self.discriminator: preset.discriminator_rate}
        self.rates = {network: torch.tensor(rate, device=device) for network, rate in self.full_rates.items()}
        on_card = device.type == "cuda"
        self.optimisers = {
            network: torch.optim.Adam(network.parameters(), lr=rate, betas=BETAS, fused=True, capturable=on_card)
            for network, rate in self.rates.items()
        }
        self.sampler = Sampler(photos, preset, self.generator.z_size, seed)
        half = autocast_dtype(device) == torch.float16  # older cards only
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)
        self.recorder = Recorder(self) if on_card and not half and ranks.ranks() == 1 else None
        #: brings the gradients of a network's loss together, where there are several processes
        self.averaging = {network: ranks.averaging(network) for network in self.full_rates}

    @property
    def images_seen(self) -> int:
        """Generated images so far; every reference counts once for each of its two z."""
        return self.step_count * self.preset.batch

    @torch.no_grad()
    def _encode_photos(self) -> dict[str, Tensor]:
        """fc8 of the known photographs, and of a gallery of them what retrieval weighs, as halves: level -> (N, D)."""
        names = [n for n, weight in zip(LEVELS, self.preset.retrieval, strict=True) if weight or n == "fc8"]
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        order = self.photos.known.split(64)
        for i, pixels in enumerate(self.photos.batches(order)):
            with autocast(self.device):
                features = self.classifier.pyramid(from_bytes(pixels))
            for name, part in parts.items():
                if name != "fc8" and 64 * i >= self.photos.gallery:
                    continue
                part.append(features[name].flatten(1).half())
        return {name: ranks.as_rank_0(torch.cat(part)) for name, part in parts.items()}

    def lr_factor(self) -> float:
        """Factor on the learning rates: from 1 to `final_lr_factor` by a cosine over `images`, then held."""
        done = min(self.images_seen / self.preset.images, 1.0)
        final = self.preset.final_lr_factor
        return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2

    @torch.no_grad()
    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """The references' features for both z: (B, …). Where the draw composes, another's at the drawn level."""
        with autocast(self.device):
            features = {name: f.float() for name, f in self.classifier.pyramid(batch.references).items()}
        for i, name in enumerate(CONV_LEVELS):
            f = features[name]
            cells = masks.touched(batch.composed, f.shape[-1]) & (batch.level == i).view(-1, 1, 1, 1)
            features[name] = torch.where(cells, batch.of_another_pair(f), f)
        return {name: batch.both_z(f) for name, f in features.items()}

    def step(self, metrics: Metrics) -> None:
        """One update of both networks on one draw; what it measures goes into the metrics."""
        draw, learn = (self.recorder.draw, self.recorder.learn) if self.recorder else (self.sampler.draw, self.learn)
        weight = objective.weights(self.preset, self.images_seen)
        if self.step_count % self.preset.r1_every:
            weight["r1"] = 0.0  # lazy regularisation
        for network, rate in self.full_rates.items():
            self.rates[network].fill_(rate * self.lr_factor())
        learned = learn(draw(self.step_count), weight)
        self.scaler.update()
        update_average(self.ema, self.generator, self.preset)
        self.step_count += 1
        for part in learned:
            metrics.add(*part)

    def learn(
        self, batch: Batch, weight: objective.Weights, on_device: objective.Weights | None = None
    ) -> list[Learned]:
        """Update both networks on a draw. weight: of each term, 0 to leave it out; the same on the device, if there.

        Returns what each part of the batch leaves for the metrics.
        """
        way = learn_whole if self.parts == 1 else learn_in_parts
        return way(self, batch, weight, on_device or weight)

    def update(self, network: nn.Module, parts: Iterable[dict[str, Tensor]], weight: objective.Weights) -> None:
        """Step along the gradient of the weighted sum of the terms, its mean over the parts of the batch."""
        optimiser = self.optimisers[network]
        optimiser.param_groups[0]["lr"] = self.rates[network]
        optimiser.zero_grad(set_to_none=True)
        for values in parts:
            if values:  # without an adversary there is nothing to learn from
                self.scaler.scale(self.averaging[network](total(values, weight) / self.parts)).backward()
        if any(p.grad is not None for p in network.parameters()):
            self.scaler.step(optimiser)

    def state(self) -> dict:
        """Everything needed to go on."""
        return {
            "preset": self.preset.asdict(),
            "classes": list(self.photos.classes),
            "data": self.photos.fingerprint,
            "classifier": self.of_classifier,
            "seed": self.seed,
            "processes": ranks.ranks(),
            "step": self.step_count,
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "ema": self.ema.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers.values()],
            "scaler": self.scaler.state_dict(),
        }

    def resume(self, state: dict) -> None:
        """Go on from `state()`.

        Raises InputError for one of another preset, seed, data or number of processes, and for a damaged one.
        """
        ours = {
            "preset": self.preset,
            "classes": list(self.photos.classes),
            "data": self.photos.fingerprint,
            "classifier": self.of_classifier,
            "seed": self.seed,
        }
        theirs = {**state, "preset": from_dict(state["preset"])}
        other = [n for n, value in ours.items() if type(theirs[n]) is not type(value) or theirs[n] != value]
        if other:
            raise InputError(
                f"The run in this folder has another {' and '.join(other)}; give another folder with --out."
            )
        ranks.check_number(state["processes"])
        parts = {"generator": self.generator, "discriminator": self.discriminator, "ema": self.ema}
        try:
            for name, part in parts.items():
                part.load_state_dict(state[name])
            if state["scaler"] and self.scaler.is_enabled():  # there is none where the card knows bfloat16
                self.scaler.load_state_dict(state["scaler"])
            for optimiser, stored in zip(self.optimisers.values(), state["optimisers"], strict=True):
                optimiser.load_state_dict(stored)
                optimiser.param_groups[0]["capturable"] = self.device.type == "cuda"  # as here, not where it was saved
            self.step_count = int(state["step"])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
            raise InputError("The checkpoint in this folder is damaged; give another folder with --out.") from None

    def start_from(self, release: Release) -> None:
        """Begin with a model's weights; the average begins with them too. Raises InputError where they do not fit."""
        weights = {part: release.network(part).state_dict() for part in ("generator", "discriminator")}
        try:
            self.generator.load_state_dict(weights["generator"])
            self.ema.module.load_state_dict(weights["generator"])
            self.discriminator.load_state_dict(weights["discriminator"])
        except RuntimeError:
            raise InputError(
                f"The networks in {release.folder} are not those of the preset {self.preset.name}; leave --from out."
            ) from None
        for network in (self.generator, self.ema.module):  # the release's are of other photographs
            network.measure_labels(self.gallery["fc8"].float(), self.gallery_labels)


def start(preset: Preset, photos: Labelled, source: str | Path | Release, seed: int = 0) -> Run:
    """A run at its beginning, on the best device there is.

    Args:
        photos: training photographs; their held-out tenth is left out.
        source: model or folder whose classifier becomes the feature pyramid.

    Raises InputError where the photographs' classes are not the classifier's.
    """
    release = source if isinstance(source, Release) else open_release(source)
    if tuple(photos.classes) != release.classes:
        raise InputError(
            f"The photographs have the classes {', '.join(photos.classes)}, the classifier "
            f"{', '.join(release.classes)}; train one for these photographs with train-classifier."
        )
    if release.preset.classifier != preset.classifier:
        raise InputError(
            f"The classifier in {release.folder} has other layers than the preset {preset.name}'s; leave it out, and "
            "train makes one."
        )
    photos.check_trainable()
    return Run(preset, photos.part(held_out=False).to(default_device()), release.network("classifier"), seed)


def train(
    run: Run,
    folder: Path,
    minutes: float | None = None,
    steps: int | None = None,
    progress: bool = True,
    save_minutes: float = SAVE_MINUTES,
    watch: Callable[[Path], None] | None = None,
) -> Run:
    """Train until the preset's images or a budget are spent, Ctrl-C or SIGTERM; resumes the checkpoint in `folder`.

    Writes into `folder`: checkpoint.pt (atomic, every few minutes and at the end), metrics.jsonl (one
    object a line), samples-<images>.png, and averaged generators at the shares of SNAPSHOTS in snapshots/. Where a
    loss or a weight is no longer finite it raises InputError, and the last checkpoint is as it was.

    Args:
        minutes: stop after so many minutes of this call.
        steps: stop when the run has done so many steps in all; None: when it has made the preset's images.
        save_minutes: between checkpoints and sheets of samples.
        watch: called with `folder` whenever they have been written.

    Of several processes, each calls this; rank 0 alone writes, shows and watches. They stop and save at one step.
    """
    first = ranks.first()
    with locked(folder) if first else nullcontext():
        if (folder / CHECKPOINT).is_file():
            run.resume(load_state(folder / CHECKPOINT, tuple(run.state())))
        ranks.check_step(run.step_count)
        if first:
            forget_after(folder, run.step_count)
        return _train(run, folder, minutes, steps, progress and first, save_minutes, watch)


def _train(run, folder, minutes, steps, progress, save_minutes, watch) -> Run:
    begun = saved = time.monotonic()
    metrics, doctor = Metrics(), health.Watch(run.preset.game)
    steps = steps or -(-run.preset.images // run.preset.batch)
    total = steps * run.preset.batch
    with (
        graceful() as stop,
        tqdm(total=total, initial=run.images_seen, unit="image", desc=run.preset.name, disable=not progress) as bar,
    ):
        while run.step_count < steps:
            spent = minutes is not None and time.monotonic() - begun >= 60 * minutes
            if ranks.anyone(stop.is_set() or spent):
                break
            run.step(metrics)
            bar.update(run.preset.batch)
            if run.step_count % REPORT_EVERY == 0:
                line = _head(run, time.monotonic() - begun) | metrics.line()
                _check(run, line)
                metrics = Metrics()
                if ranks.first():
                    append_line(folder, line)
                    bar.set_postfix(line["discriminator"])
                    for complaint in doctor.look(line):
                        tqdm.write(f"{run.images_seen:,} images: {complaint}")
            if snapshot_due(run.preset, run.images_seen):
                _check(run, {})
                save_snapshot(run, folder)
            if ranks.anyone(time.monotonic() - saved > 60 * save_minutes):
                _save(run, folder, watch)
                saved = time.monotonic()
        _save(run, folder, watch)
    return run


def snapshot_due(preset: Preset, seen: int) -> bool:
    """Whether the step that brought a run to `seen` images reached one of SNAPSHOTS."""
    return any(seen - preset.batch < share * preset.images <= seen for share in SNAPSHOTS)


def _head(run: Run, seconds: float) -> dict:
    """How far a run has come: the beginning of a line of the metrics file."""
    position = {"step": run.step_count, "images": run.images_seen, "seconds": round(seconds, 1)}
    return position | {"lr_factor": round(run.lr_factor(), 4)}


def _check(run: Run, line: dict) -> None:
    """Raises InputError where a loss or a weight is not finite: nothing of it may be saved."""
    networks = {"generator": run.generator, "discriminator": run.discriminator}
    health.check_finite(networks, line, "The last checkpoint is as it was.")


def _save(run: Run, folder: Path, watch: Callable[[Path], None] | None) -> None:
    _check(run, {})
    if ranks.first():
        save_state(folder / CHECKPOINT, run.state())
    save_samples(run, folder)
    if watch and ranks.first():
        watch(folder)


def _place(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    return network.to(device, memory_format=torch.channels_last)
