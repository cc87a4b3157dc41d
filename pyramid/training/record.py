"""What a run writes: lines of metrics, sheets of samples, and the folder of a trained model."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyramid import masks
from pyramid.checkpoints import append, read_lines, save_weights, write_atomically
from pyramid.data import from_bytes, to_bytes
from pyramid.errors import InputError
from pyramid.figures import contact_sheet
from pyramid.figures.runs import is_of_a_run
from pyramid.generator import Generator
from pyramid.levels import LEVELS, depth
from pyramid.losses import layout
from pyramid.model import Release, save
from pyramid.training import ranks
from pyramid.training.averaging import averaged_generator, distance_to_raw
from pyramid.training.objective import Scores, by_level
from pyramid.training.sampling import DRAW_NAMES, Batch

if TYPE_CHECKING:
    from pyramid.training.loop import Run

METRICS = "metrics.jsonl"
SNAPSHOTS = "snapshots"
SHEET_REFERENCES = 8
DEEP = depth("conv5")


class Metrics:
    """Gathers what the steps since the last line measured, on the device, and makes the next line of it."""

    def __init__(self):
        self.sums: dict[tuple[str, ...], Tensor] = {}
        self.counts: dict[tuple[str, ...], int] = {}

    def _add(self, key: tuple[str, ...], value: Tensor) -> None:
        self.sums[key] = self.sums[key] + value.detach() if key in self.sums else value.detach().clone()
        self.counts[key] = self.counts.get(key, 0) + 1

    @torch.no_grad()
    def add(self, batch: Batch, fake: Tensor, scores: Scores, terms: dict[str, dict[str, Tensor]]) -> None:
        """One step. terms: network -> term -> its unweighted value, a scalar or one value a level."""
        for network, values in terms.items():
            for name, value in values.items():
                self._add((network, name), value)
        first, second = batch.split_z(fake)
        self._add(("z_distance",), (first - second).abs().mean())
        self._add(("pictures",), torch.stack([ranks.std(fake), (fake.abs() > 0.98).float().mean()]))
        level = torch.stack(batch.of_one_class(batch.level))  # (2, B/4)
        deep = ((level >= DEEP) & (level < len(LEVELS))).all(0)  # (B/4,)
        apart = [_apart(batch, images) * deep for images in (first, batch.references)]
        self._add(("variety",), torch.stack([a.sum() for a in apart]))
        if scores.real:
            whole = (scores.real[0][:, 0], batch.split_z(scores.fake[0])[0][:, 0])  # (B/2,) each
            sums = [by_level(batch, s.float()) for s in (torch.ones_like(whole[0]), *whole)]
            self._add(("scores",), torch.stack(sums))  # (3, 9): counts, real, fake

    def line(self) -> dict:
        """Means over the steps added and the ranks; a term of several levels by level, scores by drawn level.

        `pictures`: standard deviation of all pixels, in [-1, 1], and the share of values beyond 0.98. `variety`: how
        far two images of one class lie apart in layout where conv5, fc7 or fc8 was drawn for both, as a share of how
        far their references do.
        """
        sums = ranks.means(self.sums)
        means = {key: value / self.counts[key] for key, value in sums.items()}
        terms = {"discriminator": {}, "generator": {}}
        for (network, *name), value in means.items():
            if name:
                terms[network][name[0]] = _rounded(value)
        of_fakes, of_references = sums[("variety",)].tolist()
        spread, saturated = means[("pictures",)].tolist()
        line = {**terms, "z_distance": _rounded(means[("z_distance",)])}
        line["pictures"] = {"spread": round(spread, 4), "saturated": round(saturated, 4)}
        if of_references:
            line["variety"] = round(of_fakes / of_references, 4)
        if ("scores",) in sums:
            count, real, fake = sums[("scores",)].tolist()
            line["scores"] = {
                name: {"real": round(r / n, 3), "fake": round(f / n, 3)}
                for name, n, r, f in zip(DRAW_NAMES, count, real, fake, strict=True)
                if n
            }
        return line


def _apart(batch: Batch, images: Tensor) -> Tensor:
    """How far the layouts of the two images of each pair of one class lie apart: (B/2, 3, S, S) -> (B/4,)."""
    one, other = batch.of_one_class(layout(images))
    return (one - other).abs().mean((1, 2, 3))


def _rounded(value: Tensor) -> float | dict[str, float]:
    if value.dim() == 0:
        return round(float(value), 4)
    return {name: round(v, 4) for name, v in zip(DRAW_NAMES, value.tolist(), strict=False)}


def append_line(folder: Path, line: dict) -> None:
    """Add one object to the run's metrics file."""
    append(folder / METRICS, json.dumps(line))


def forget_after(folder: Path, step: int) -> None:
    """Take out of the metrics file what a resumed run does anew, and what a kill has cut in the middle."""
    path = folder / METRICS
    if path.is_file():
        lines = read_lines(path)
        steps = [line.get("step") for line in lines]
        if not step and lines and not any(map(is_of_a_run, lines)):
            raise InputError(f"{path} is the log of something else; give another folder with --out.")
        kept = [line for line, n in zip(lines, steps, strict=True) if type(n) is int and n <= step]
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept).encode())


@torch.no_grad()
def sample_sheet(run: "Run", generator: Generator) -> Tensor:
    """Fixed references by (reference, seven levels, closed): uint8 (rows, columns, 3, S, S)."""
    chosen = torch.linspace(0, len(run.photos) - 1, SHEET_REFERENCES).long().to(run.device)
    references, labels = from_bytes(run.photos.pixels(chosen)), run.photos.labels[chosen]
    features = run.classifier.pyramid(references)
    z = torch.randn(len(chosen), generator.z_size, generator=torch.Generator().manual_seed(0)).to(run.device)
    columns = [references]
    for mask in [*map(masks.level, LEVELS), masks.closed()]:
        at = mask.at(run.preset.image_size, len(chosen), run.device)
        columns.append(generator(features, at, z, labels))
    return to_bytes(torch.stack(columns, 1)).cpu()


def save_samples(run: "Run", folder: Path) -> None:
    """Write samples-<images>.png: `sample_sheet` of the averaged generator as it is now."""
    averaged = averaged_generator(run, 20)
    if not ranks.first():
        return
    picture = contact_sheet(sample_sheet(run, averaged))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    write_atomically(folder / f"samples-{run.images_seen:07d}.png", buffer.getbuffer())


def save_snapshot(run: "Run", folder: Path) -> None:
    """Write snapshots/<images>.safetensors: the averaged generator as it is now, for the curve of a run."""
    averaged = averaged_generator(run)
    if ranks.first():
        save_weights(folder / SNAPSHOTS / f"{run.images_seen:07d}.safetensors", averaged)


def save_model(run: "Run", folder: Path, source: Release) -> None:
    """Write a run's averaged generator, and what belongs to it, as a model that `pyramid.load` takes.

    source: where the run's classifier came from; its judge goes along.
    """
    averaged = averaged_generator(run)
    card = {
        "preset": run.preset.asdict(),
        "classes": run.photos.classes,
        "familiar_above": source.card["familiar_above"],
        "images_seen": run.images_seen,
        "average_to_raw_generator": {
            "copied_statistics": distance_to_raw(run, run.ema.module),
            "statistics_measured_anew": distance_to_raw(run, averaged),
        },
    }
    networks = {"classifier": run.classifier, "judge": source.network("judge")}
    if ranks.first():
        save(folder, card, **networks, generator=averaged, discriminator=run.discriminator)
