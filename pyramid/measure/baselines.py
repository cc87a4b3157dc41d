"""What a user would otherwise pick, beside the pyramid: same photographs, same regions, one table.

Copy and paste, feathering and Poisson blending (Perez et al. 2003) for composition; OpenCV's inpainting
(Telea 2004) for repainting; colour transfer (Reinhard et al. 2001) for re-labelling; inversion by optimisation
for repainting, re-labelling and drawings.
"""

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyramid import editing, masks
from pyramid.data import Photos, draw_edges, from_bytes, to_bytes
from pyramid.measure import metrics
from pyramid.measure.extractors import Extractor
from pyramid.measure.inversion import invert
from pyramid.measure.tables import markdown
from pyramid.measure.uses import (
    REIMAGINE_LEVEL,
    REPAINT_LEVEL,
    across_the_edge,
    compose_each,
    in_batches,
    layout_kept,
    masked_mean,
    next_label,
    part_seen,
    partners,
    photographs_of,
    random_boxes,
    relabel_each,
)
from pyramid.model import SemanticPyramid

SHOWN = 6  # photographs of each use kept for the figure


def copy_paste(background: Tensor, foreground: Tensor, region: Tensor) -> Tensor:
    """The foreground inside the region, the background outside. All (B, …, S, S), images in [-1, 1]."""
    return torch.where(region > 0.5, foreground, background)


def poisson(background: Tensor, foreground: Tensor, region: Tensor) -> Tensor:
    """The foreground's gradients inside the region, the background's colours at its edge (OpenCV's seamlessClone)."""
    results = []
    boxes = (masks.bounding_boxes(region) * region.shape[-1]).round().int().tolist()
    for back, front, inside, box in zip(_rows(background), _rows(foreground), region[:, 0] > 0.5, boxes, strict=True):
        centre = ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2)
        mask = inside.numpy().astype(np.uint8) * 255
        results.append(cv2.seamlessClone(front, back, mask, centre, cv2.NORMAL_CLONE))
    return _images(results)


def inpaint(photos: Tensor, region: Tensor) -> Tensor:
    """The region filled from its edge inwards (Telea 2004, OpenCV), radius 3 pixels."""
    fills = [
        cv2.inpaint(photo, inside.numpy().astype(np.uint8) * 255, 3, cv2.INPAINT_TELEA)
        for photo, inside in zip(_rows(photos), region[:, 0] > 0.5, strict=True)
    ]
    return _images(fills)


def colour_transfer(images: Tensor, others: Tensor) -> Tensor:
    """Each image in the colours of another: mean and standard deviation of every Lab channel (Reinhard et al. 2001).

    images, others: (B, 3, S, S) in [-1, 1]; Lab where the source has its own lab space.
    """
    results = []
    for image, other in zip(images, others, strict=True):
        lab, goal = (
            cv2.cvtColor(np.ascontiguousarray((x.permute(1, 2, 0).numpy() + 1) / 2), cv2.COLOR_RGB2LAB)
            for x in (image, other)
        )
        mean, std = lab.mean((0, 1)), lab.std((0, 1))
        moved = (lab - mean) / np.maximum(std, 1e-6) * goal.std((0, 1)) + goal.mean((0, 1))
        results.append(2 * torch.from_numpy(cv2.cvtColor(moved, cv2.COLOR_LAB2RGB)).permute(2, 0, 1) - 1)
    return torch.stack(results).clamp(-1, 1)


def _rows(images: Tensor) -> list[np.ndarray]:
    return [np.ascontiguousarray(image) for image in to_bytes(images).permute(0, 2, 3, 1).numpy()]


def _images(pictures: list[np.ndarray]) -> Tensor:
    return from_bytes(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))


@torch.no_grad()
def measure(model: SemanticPyramid, photos: Photos, count: int, side: int, seed: int = 0, progress=True) -> dict:
    """Four uses, each by the pyramid and by what else there is, over the same `count` photographs.

    KID is taken to as many other photographs.

    Returns: {"settings": …, "rows": {use: {method: {metric: number}}}, "pictures": {use: {title: (SHOWN, 3, S, S)}}}.
    Raises InputError where there are fewer than 2 * `count` photographs.
    """
    order, apart = metrics.chosen_and_others(photos, count, seed)
    x, y = from_bytes(photos.images[order]), photos.labels[order]
    region = random_boxes(count, model.image_size, torch.Generator().manual_seed(seed))
    extract = Extractor(side, model.device)
    real = in_batches(lambda _, images: extract(images), from_bytes(photos.images[apart]))
    wanted = next_label(model, y)
    others = photographs_of(x, y, wanted, seed)
    right = {"compose": [y, y[partners(y)]], "relabel": [wanted]}  # of a composition, the class of either part
    uses = {
        "repaint": lambda: repainted(model, x, y, region, seed),
        "compose": lambda: composed(model, x, y, region, seed),
        "relabel": lambda: relabelled(model, x, wanted, others, seed),
        "reimagine": lambda: reimagined(model, x, seed),
    }
    rows, pictures = {}, {}
    for use, make in tqdm(uses.items(), desc="baselines", unit="use", disable=not progress):
        given, made = make()
        pictures[use] = {title: images[:SHOWN] for title, images in (given | made).items()}
        rows[use] = {}
        for method, images in made.items():
            kid, spread = metrics.kernel_distances(real, in_batches(lambda _, part: extract(part), images))
            judged = in_batches(lambda _, part: model.judged(part), images)
            named = torch.stack([judged == label for label in right.get(use, [y])]).any(0)
            row = {"kid": kid, "kid_spread": spread, "judge": float(named.float().mean())}
            if use == "compose":
                row["part"] = float(part_seen(model, images, given["foreground"], x, region).float().mean())
            if use == "relabel":
                row["layout"] = float(layout_kept(images, x, others).float().mean())
            if use in ("repaint", "compose"):
                row["edge"] = float(across_the_edge(images, region).mean() / across_the_edge(x, region).mean())
                row["outside"] = float(masked_mean((images - x).abs(), 1 - region).mean())
            rows[use][method] = row
    return {"settings": {"images": count, "side": side, "seed": seed}, "rows": rows, "pictures": pictures}


def repainted(model: SemanticPyramid, x: Tensor, y: Tensor, region: Tensor, seed: int) -> tuple[dict, dict]:
    """What was given, and each method's repainting of it: title -> (N, 3, S, S).

    x: photographs (N, 3, S, S) in [-1, 1]; y: labels (N,); region: (N, 1, S, S), 1 where to repaint.
    """

    def ours(i, photo, inside, labels):
        return editing.repaint(model, photo, {REPAINT_LEVEL: inside}, (seed + i,), labels)

    own = in_batches(ours, x, region, y)
    searched = in_batches(lambda i, photo: _inverted(model, photo, REPAINT_LEVEL, seed + i), x)
    made = {
        "pyramid": own,
        "pyramid, pasted": editing.feather(x, own, region),
        "inpainting (Telea)": inpaint(x, region),
        "inversion, pasted": editing.feather(x, searched, region),
    }
    return {"photograph": x, "region": torch.where(region > 0.5, 1.0, x)}, made


def composed(model: SemanticPyramid, x: Tensor, y: Tensor, region: Tensor, seed: int) -> tuple[dict, dict]:
    """The same for a part of the next photograph of another class, put into the region of each."""
    front = x[partners(y)]
    made = {
        "pyramid": compose_each(model, x, y, region, seed),
        "copy and paste": copy_paste(x, front, region),
        "feathered": editing.feather(x, front, region),
        "Poisson": poisson(x, front, region),
    }
    return {"background": x, "foreground": front}, made


def relabelled(model: SemanticPyramid, x: Tensor, wanted: Tensor, others: Tensor, seed: int) -> tuple[dict, dict]:
    """The same for each photograph under the label that is wanted of it (N,).

    others: (N, 3, S, S), photographs of those labels; theirs are the colours that are transferred, and the fc8
    that the search looks for, from the photograph on.
    """

    def searched(_, photo, other):
        return invert(model.classifier, model.features(other)["fc8"], "fc8", start=photo)

    made = {
        "pyramid": relabel_each(model, x, wanted, seed),
        "colour transfer": colour_transfer(x, others),
        "inversion": in_batches(searched, x, others),
        "the photograph itself": x,
    }
    return {"photograph": x, "new class": others}, made


def reimagined(model: SemanticPyramid, x: Tensor, seed: int) -> tuple[dict, dict]:
    """The same for line drawings of the photographs, no label given."""
    drawings = draw_edges(x)

    made = {
        "pyramid": in_batches(lambda i, d: editing.reimagine(model, d, REIMAGINE_LEVEL, (seed + i,)), drawings),
        "inversion": in_batches(lambda i, drawing: _inverted(model, drawing, REIMAGINE_LEVEL, seed + i), drawings),
        "the drawing itself": drawings,
    }
    return {"photograph": x}, made


def _inverted(model: SemanticPyramid, photo: Tensor, level: str, seed: int) -> Tensor:
    return invert(model.classifier, model.features(photo)[level], level, seed=seed)


COLUMNS = {
    "kid": ("KID to other photographs", "{kid:.2f} ± {kid_spread:.2f}"),
    "judge": ("judge names the class", "{judge:.0%}"),
    "edge": ("edge over the originals'", "{edge:.2f}"),
    "outside": ("outside, distance", "{outside:.2f}"),
    "part": ("part nearer to the foreground", "{part:.0%}"),
    "layout": ("layout nearer to the original", "{layout:.0%}"),
}


def markdown_table(result: dict) -> str:
    """The table of `measure` as Markdown, settings below."""
    rows = [
        [use, method, *(form.format(**row) if key in row else "–" for key, (_, form) in COLUMNS.items())]
        for use, methods in result["rows"].items()
        for method, row in methods.items()
    ]
    s = result["settings"]
    note = f"{s['images']} held-out photographs, seed {s['seed']}; EfficientNet-lite0 at {s['side']} px."
    return markdown(["use", "method", *(title for title, _ in COLUMNS.values())], rows, note)
