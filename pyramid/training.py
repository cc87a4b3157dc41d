"""The training loop: one for CPU and GPU, interruptible and resumable.

    L = L_adv + alpha L_rec + beta L_div        (paper, section 3.1)

Each step draws batch / 2 references and two noise vectors for each, so the diversity loss needs no third
pass. The discriminator and then the generator are updated on the same generated images. The randomness
of step n comes from (seed, n), and schedules and the average count images, never time: a run that was
killed and resumed ends with the same weights, bit for bit, as one never stopped.
"""

import json
import math
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from pyramid import losses, masks
from pyramid.checkpoints import graceful, load_state, save_state, write_atomically
from pyramid.classifier import Classifier, FrozenStages
from pyramid.data import Photos, flip, from_bytes, shift, to_bytes
from pyramid.device import autocast, autocast_dtype, seeded
from pyramid.discriminator import HEAD_LEVELS, Discriminator
from pyramid.errors import InputError
from pyramid.figures import save_grid
from pyramid.generator import Generator
from pyramid.levels import CONV_LEVELS, LEVELS
from pyramid.presets import Preset, from_dict
from pyramid.retrieval import Gallery

BETAS = (0.0, 0.99)
REPORT_EVERY = 50  # steps between lines of metrics.jsonl
SAVE_MINUTES = 4.0  # between checkpoints and sample grids, unless told
GRID_REFERENCES = 8
CHECKPOINT, METRICS = "checkpoint.pt", "metrics.jsonl"
LOSSES = ("d", "heads", "g", "rec", "div", "fix", "near", "other", "part")  # in the metrics file, loss_<name>


class Run:
    """The networks, optimisers and counters of one training run."""

    def __init__(self, preset: Preset, photos: Photos, classifier: Classifier, frozen: FrozenStages, seed: int):
        """photos: on the device to train on; frozen: the stages that the feature heads read."""
        self.preset, self.photos, self.seed, self.step_count = preset, photos, seed, 0
        self.device = device = photos.images.device
        if classifier.image_size != preset.image_size or classifier.classes != len(photos.classes):
            raise InputError(
                f"The classifier is for {classifier.classes} classes at {classifier.image_size} px, the run for "
                f"{len(photos.classes)} at {preset.image_size} px; train one with train-classifier."
            )
        self.classifier = _place(classifier, device).eval().requires_grad_(False)
        self.frozen = _place(frozen, device)
        with seeded(seed):
            self.generator = _place(Generator(preset, len(photos.classes)), device)
            self.discriminator = _place(Discriminator(preset, len(photos.classes)), device)
        average = get_ema_multi_avg_fn(0.5 ** (preset.batch / preset.ema_half_life))
        self.gallery = Gallery(self.classifier, photos, preset.retrieval)
        self.generator.class_mean.copy_(self.gallery.class_mean)
        self.generator.class_std.copy_(self.gallery.class_std.clamp(min=1e-3))
        self.ema = AveragedModel(self.generator, multi_avg_fn=average)  # parameters averaged, buffers copied
        self.optimisers = [
            torch.optim.Adam(network.parameters(), lr=rate, betas=BETAS, fused=True)
            for network, rate in (
                (self.generator, preset.learning_rate),
                (self.discriminator, preset.discriminator_rate),
            )
        ]
        half = autocast_dtype(device) == torch.float16  # older cards only
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)
        self.labels = photos.labels.cpu()  # kept here, so that a draw never waits for the card
        self.by_class, self.class_sizes = self.labels.argsort(stable=True), self.labels.bincount()
        self._measure_feature_std()

    @property
    def images_seen(self) -> int:
        """Generated images so far; every reference counts once for each of its two z."""
        return self.step_count * self.preset.batch

    @torch.no_grad()
    def _measure_feature_std(self) -> None:
        sample = self.photos.images[:: max(1, len(self.photos) // 256)][:256]
        features = self.frozen(from_bytes(sample))
        for i, name in enumerate(HEAD_LEVELS):
            self.discriminator.feature_std[i] = features[name].std()

    def rate_share(self) -> float:
        """Share of the learning rates: from 1 to `final_share` by a cosine over `images`, then held."""
        done = min(self.images_seen / self.preset.images, 1.0)
        return self.preset.final_share + (1 - self.preset.final_share) * (1 + math.cos(math.pi * done)) / 2

    def _draw_pairs(self, count: int, generator: torch.Generator) -> Tensor:
        """Indices of `count` photographs, adjacent pairs of one class, as the discriminator wants them."""
        first = torch.randint(len(self.photos), (count // 2,), generator=generator)
        label = self.labels[first]
        rank = (torch.rand(count // 2, generator=generator) * self.class_sizes[label]).long()
        second = self.by_class[(self.class_sizes.cumsum(0) - self.class_sizes)[label] + rank]
        return torch.stack([first, second], 1).flatten()

    def draw(self, generator: torch.Generator) -> dict:
        """References (B/2), masks, labels and z (B) of one step; rows i and i + B/2 share a reference.

        Rows 2i and 2i + 1 are of one class.
        """
        half, p, device = self.preset.batch // 2, self.preset, self.device
        chosen = self._draw_pairs(half, generator).to(device)
        mirrored = (torch.rand(half, generator=generator) < 0.5).to(device)
        references = flip(from_bytes(self.photos.images[chosen]), mirrored)
        real_labels = self.photos.labels[chosen]
        drawn = masks.draw(half, p.image_size, p.shares, generator)
        other = torch.randint(1, max(len(self.photos.classes), 2), (half,), generator=generator).to(device)
        relabel = drawn.relabel.to(device) & (len(self.photos.classes) > 1)
        labels = torch.where(relabel, (real_labels + other) % len(self.photos.classes), real_labels)
        # a composed part comes under its own label; the whole is judged under the background's
        part = drawn.composed.flatten(1).any(1)
        told = torch.where(part.to(device), real_labels.roll(2, 0), labels)
        z = torch.randn(2 * half, self.generator.z_size, generator=generator).to(device)
        reach = int(p.image_size * p.shift)
        down, right = torch.randint(-reach, reach + 1, (2, half), generator=generator).to(device)
        return {
            "references": references.contiguous(memory_format=torch.channels_last),
            "real_labels": real_labels,
            "masks": {name: m.to(device).repeat(2, *[1] * (m.dim() - 1)) for name, m in drawn.masks.items()},
            "level": drawn.level.to(device),
            "composed": drawn.composed.to(device),
            "parts": part.nonzero().flatten().to(device),  # rows with a composed part
            "windows": masks.windows(drawn.composed).to(device),
            "labels": told.repeat(2),  # the generator's
            "judged": labels.repeat(2),  # the discriminator's
            "relabel": relabel.repeat(2),
            "scale": torch.where(relabel, 0.5, 1.0).repeat(2),
            "z": z,
            "shift": (down, right),
            "gallery": self.gallery.draw(generator),
        }

    @torch.no_grad()
    def features(self, batch: dict) -> dict[str, Tensor]:
        """The references' features, twice: (B, …). Where the draw composes, another reference's at the drawn level."""
        with autocast(self.device):
            features = self.classifier.pyramid(batch["references"])
        for i, name in enumerate(CONV_LEVELS):
            f = features[name]
            cells = masks.touched(batch["composed"], f.shape[-1]) & (batch["level"] == i).view(-1, 1, 1, 1)
            features[name] = torch.where(cells, f.roll(2, 0), f)  # rows 2i and 2i + 1 are of one class
        return {name: f.float().repeat(2, *[1] * (f.dim() - 1)) for name, f in features.items()}

    def step(self) -> dict[str, Tensor]:
        """One update of both networks; returns sums for the metrics, on the device."""
        p, half = self.preset, self.preset.batch // 2
        for optimiser, rate in zip(self.optimisers, (p.learning_rate, p.discriminator_rate), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * self.rate_share()
        batch = self.draw(torch.Generator().manual_seed(self.seed * 1_000_003 + self.step_count))
        discriminator_loss, generator_loss = losses.ADVERSARIAL[p.adversarial]

        features = self.features(batch)
        with autocast(self.device):
            fake = self.generator(features, batch["masks"], batch["z"], batch["labels"])  # (B, 3, S, S)
        down, right = batch["shift"]
        real_seen = shift(batch["references"], down, right)
        fake_seen = shift(fake, down.repeat(2), right.repeat(2))
        with autocast(self.device):
            with torch.no_grad():
                real_stages = self.frozen(real_seen)
            fake_stages = self.frozen(fake_seen[:half])  # the heads see one z of each reference

        # discriminator
        real_labels, labels = batch["real_labels"], batch["judged"]
        with autocast(self.device):
            pixels = self.discriminator.pixels(
                torch.cat([real_seen, fake_seen.detach()]), torch.cat([real_labels, labels])
            )  # whole (3B/2, 1), patches (3B/2, 64)
            real_heads = self.discriminator.forward_heads(real_stages, real_labels)
            fake_heads = self.discriminator.forward_heads(
                {name: fake_stages[name].detach() for name in HEAD_LEVELS}, labels[:half]
            )
        loss_d = sum(discriminator_loss(s[:half], s[half:]) for s in pixels) / 2
        loss_heads = sum(map(discriminator_loss, real_heads, fake_heads)) / len(real_heads)
        loss = loss_d + p.head_weight * loss_heads
        if p.r1_weight and self.step_count % p.r1_every == 0:
            images = real_seen.detach().requires_grad_()
            with sdpa_kernel(SDPBackend.MATH):  # the fused attention has no second derivative
                whole, patches = self.discriminator.pixels(images, real_labels)  # float32
            penalty = losses.r1(whole.mean(1) + patches.mean(1), images)
            loss = loss + p.r1_weight / 2 * p.r1_every * penalty
        self._update(1, loss)

        # generator
        self.discriminator.requires_grad_(False)
        with autocast(self.device):
            scores = self.discriminator.pixels(fake_seen, labels)
            heads = self.discriminator.forward_heads(fake_stages, labels[:half])
            again = self.classifier.pyramid(fake)
        loss_g = sum(map(generator_loss, scores)) / 2 + p.head_weight * sum(map(generator_loss, heads)) / len(heads)
        loss_rec = losses.reconstruction(again, features, batch["masks"], p.reconstruction, batch["scale"])
        beta = fake.new_tensor(p.diversity)[batch["level"]]  # (B/2,)
        per_pair = losses.diversity(fake[:half], fake[half:], batch["z"][:half], batch["z"][half:])
        loss_div = (beta * per_pair).mean()
        loss_fix = losses.fixed_pattern(fake[:half], fake[half:], batch["level"][0::2] == batch["level"][1::2])
        loss_near = self.gallery.loss(again, features, batch)
        loss_other = self._other_label(fake, again, batch)
        loss_part = self._part(fake, batch)
        weighted = p.fixed_pattern * loss_fix + loss_near + p.part * loss_part
        self._update(0, loss_g + loss_rec + loss_div + loss_other + weighted)
        self.discriminator.requires_grad_(True)

        self.ema.update_parameters(self.generator)
        self.step_count += 1
        with torch.no_grad():
            ones = torch.ones(half, device=self.device)
            names = len(masks.DRAW_NAMES)
            by_level = [
                fake.new_zeros(names).index_add_(0, batch["level"], values.float())
                for values in (ones, pixels[0][:half, 0], pixels[0][half : 2 * half, 0])
            ]
            parts = torch.stack(
                [loss_d, loss_heads, loss_g, loss_rec, loss_div, loss_fix, loss_near, loss_other, loss_part]
            )
            distance = (fake[:half] - fake[half:]).abs().mean()
            return {"steps": torch.ones(()), "losses": parts, "by_level": torch.stack(by_level), "distance": distance}

    def _part(self, fake: Tensor, batch: dict) -> Tensor:
        """Reconstruction of what was composed in: its window, enlarged, against the other reference's; mean over B."""
        rows = batch["parts"]
        if not len(rows):
            return fake.new_zeros(())
        half = len(batch["windows"])
        grid = F.affine_grid(batch["windows"][rows], (len(rows), *fake.shape[1:]), align_corners=False)
        theirs = batch["references"].roll(2, 0)[rows]
        made = [F.grid_sample(x[rows], grid, padding_mode="border", align_corners=False) for x in fake.split(half)]
        with autocast(self.device):
            with torch.no_grad():
                wanted = self.classifier.pyramid(
                    F.grid_sample(theirs, grid, padding_mode="border", align_corners=False)
                )
            got = self.classifier.pyramid(torch.cat(made))
        levels = batch["level"][rows].repeat(2)
        open_level = {
            name: (levels == i).float().view(-1, *[1] * (wanted[name].dim() - 1)).expand(-1, 1, *wanted[name].shape[2:])
            for i, name in enumerate(LEVELS)
        }
        wanted = {name: f.repeat(2, *[1] * (f.dim() - 1)) for name, f in wanted.items()}
        return losses.reconstruction(got, wanted, open_level, self.preset.reconstruction) * len(rows) / half

    def _other_label(self, fake: Tensor, again: dict[str, Tensor], batch: dict) -> Tensor:
        """Under another label the classifier must name it and the reference's edges must stay; mean over the batch."""
        logits = again["fc8"].float() * self.classifier.level_std[-1]
        named = F.cross_entropy(logits, batch["labels"], reduction="none")  # (B,)
        moved = losses.other_layout(fake, batch["references"].repeat(2, 1, 1, 1))  # (B,)
        return ((self.preset.other_label * named + self.preset.other_layout * moved) * batch["relabel"]).mean()

    def _update(self, which: int, loss: Tensor) -> None:
        optimiser = self.optimisers[which]
        optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(optimiser)
        if which == 0:
            self.scaler.update()

    def state(self) -> dict:
        """Everything needed to go on."""
        return {
            "preset": self.preset.asdict(),
            "classes": list(self.photos.classes),
            "seed": self.seed,
            "step": self.step_count,
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "ema": self.ema.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "scaler": self.scaler.state_dict(),
        }

    def resume(self, state: dict) -> None:
        """Go on from `state()`. Raises InputError for a run of another preset, seed or set of classes."""
        ours = (self.preset, list(self.photos.classes), self.seed)
        if (from_dict(state["preset"]), state["classes"], state["seed"]) != ours:
            raise InputError("The checkpoint is of another preset, seed or set of classes; give another --out folder.")
        self.step_count = state["step"]
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.ema.load_state_dict(state["ema"])
        for optimiser, stored in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(stored)
        self.scaler.load_state_dict(state["scaler"])

    def start_from(self, generator: dict[str, Tensor], discriminator: dict[str, Tensor]) -> None:
        """Begin with released weights; the average begins with them too."""
        self.generator.load_state_dict(generator)
        self.discriminator.load_state_dict(discriminator)
        self.ema.module.load_state_dict(generator)

    @torch.no_grad()
    def averaged_generator(self, batches: int = 60) -> Generator:
        """The averaged generator with batch-norm statistics measured anew on training draws."""
        generator = deepcopy(self.ema.module)
        norms = [m for m in generator.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over batches
        _norms_only_training(generator, norms)
        for i in range(batches):
            batch = self.draw(torch.Generator().manual_seed(-1 - i))
            features = self.features(batch)
            with autocast(self.device):
                generator(features, batch["masks"], batch["z"], batch["labels"])
        return generator.eval()

    @torch.no_grad()
    def distance_to_raw(self, generator: Generator, batches: int = 8) -> float:
        """Mean absolute difference, range [-1, 1], of its images to the raw generator's, both evaluating."""
        raw, total = deepcopy(self.generator).eval(), 0.0
        generator = deepcopy(generator).eval()
        for i in range(batches):
            batch = self.draw(torch.Generator().manual_seed(-1_000_001 - i))
            inputs = (self.features(batch), batch["masks"], batch["z"], batch["labels"])
            total += float((generator(*inputs) - raw(*inputs)).abs().mean())
        return total / batches

    @torch.no_grad()
    def grid(self, generator: Generator) -> Tensor:
        """Fixed references by (reference, seven levels, closed): uint8 (rows, columns, 3, S, S)."""
        chosen = torch.linspace(0, len(self.photos) - 1, GRID_REFERENCES).long().to(self.device)
        references, labels = from_bytes(self.photos.images[chosen]), self.photos.labels[chosen]
        features = self.classifier.pyramid(references)
        z = torch.randn(len(chosen), self.generator.z_size, generator=torch.Generator().manual_seed(0)).to(self.device)
        columns = [references]
        for mask in [*map(masks.level, LEVELS), masks.closed()]:
            at = mask.at(self.preset.image_size, len(chosen), self.device)
            columns.append(generator(features, at, z, labels))
        return to_bytes(torch.stack(columns, 1)).cpu()


def _norms_only_training(generator: Generator, norms: list) -> None:
    """Batch norms gather statistics while spectral norm keeps its vectors as they are."""
    generator.eval()
    for norm in norms:
        norm.train()


def _place(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    return network.to(device, memory_format=torch.channels_last)


def train(
    run: Run,
    folder: Path,
    minutes: float | None = None,
    steps: int | None = None,
    progress: bool = True,
    save_minutes: float = SAVE_MINUTES,
    watch: Callable[[Path], None] | None = None,
) -> Run:
    """Train until a budget is spent, Ctrl-C or SIGTERM; resumes the checkpoint in `folder` if there is one.

    Writes into `folder`: checkpoint.pt (atomic, every few minutes and at the end), metrics.jsonl (one
    object a line) and samples-<images>.png.

    Args:
        minutes: stop after so many minutes of this call.
        steps: stop when the run has done so many steps in all.
        save_minutes: between checkpoints and sample grids.
        watch: called with `folder` whenever they have been written.
    """
    checkpoint, metrics = folder / CHECKPOINT, folder / METRICS
    if checkpoint.is_file():
        run.resume(load_state(checkpoint))
    folder.mkdir(parents=True, exist_ok=True)
    start = saved = time.monotonic()
    gathered: dict[str, Tensor] = {}
    total = steps * run.preset.batch if steps else run.preset.images
    with (
        graceful() as stop,
        tqdm(total=total, initial=run.images_seen, unit="image", desc=run.preset.name, disable=not progress) as bar,
    ):
        while not stop.is_set():
            if steps is not None and run.step_count >= steps:
                break
            if minutes is not None and time.monotonic() - start >= 60 * minutes:
                break
            for name, value in run.step().items():
                gathered[name] = gathered[name] + value if name in gathered else value
            bar.update(run.preset.batch)
            if run.step_count % REPORT_EVERY == 0:
                line = summarise(run, gathered, time.monotonic() - start)
                with metrics.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                bar.set_postfix(D=line["loss_d"], rec=line["loss_rec"])
                gathered = {}
            if time.monotonic() - saved > 60 * save_minutes:
                _save(run, folder, watch)
                saved = time.monotonic()
        _save(run, folder, watch)
    return run


def _save(run: Run, folder: Path, watch: Callable[[Path], None] | None) -> None:
    save_state(folder / CHECKPOINT, run.state())
    _save_samples(run, folder)
    if watch:
        watch(folder)


def _save_samples(run: Run, folder: Path) -> None:
    path = folder / f"samples-{run.images_seen:07d}.png"
    picture = save_grid(run.grid(run.averaged_generator(20)))
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))


def summarise(run: Run, gathered: dict[str, Tensor], seconds: float) -> dict:
    """A line of the metrics file: means since the last one, scores by drawn level."""
    steps = float(gathered["steps"])
    parts = dict(zip(LOSSES, (gathered["losses"] / steps).tolist(), strict=True))
    count, real, fake = gathered["by_level"].tolist()
    scores = {
        name: {"real": round(r / n, 3), "fake": round(f / n, 3)}
        for name, n, r, f in zip(masks.DRAW_NAMES, count, real, fake, strict=True)
        if n
    }
    return {
        "step": run.step_count,
        "images": run.images_seen,
        "seconds": round(seconds, 1),
        "rate_share": round(run.rate_share(), 4),
        **{f"loss_{name}": round(value, 4) for name, value in parts.items()},
        "distance": round(float(gathered["distance"]) / steps, 4),
        "scores": scores,
    }
