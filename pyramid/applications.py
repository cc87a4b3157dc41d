"""The four uses in numbers, over held-out photographs: what the paper only showed.

Every figure is a mean or a share with a 95 % interval. Distances are mean absolute differences in [-1, 1].
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from pyramid import editing, masks
from pyramid.data import Photos, from_bytes, to_bytes
from pyramid.errors import InputError
from pyramid.extractors import Extractor
from pyramid.materials import MaterialReader, cell_materials
from pyramid.metrics import bootstrap_interval, fit_gaussian, frechet_distance, wilson_interval
from pyramid.model import SemanticPyramid
from pyramid.scenes import RANGES
from pyramid.supervised import draw_edges

CLEAR = 8  # pixels from the edge beyond which "outside" begins
REPAINT_LEVEL = "conv4"
REIMAGINE_LEVEL = "conv4"
BATCH = 10
READ_SCENES = RANGES["scenes"][:2000]  # training scenes that the reader of materials is fitted to


def random_boxes(count: int, size: int, generator: torch.Generator) -> Tensor:
    """A box in each picture, sides 0.35 to 0.55 of it, at least an eighth from the border. (count, 1, S, S)."""
    side = ((0.35 + 0.2 * torch.rand(count, 2, generator=generator)) * size).round()  # (count, 2)
    border = size // 8
    start = border + (torch.rand(count, 2, generator=generator) * (size - 2 * border - side)).round()
    axis = torch.arange(size)
    inside = (axis >= start[..., None]) & (axis < (start + side)[..., None])  # (count, 2, S)
    return (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None].float()


def masked_mean(values: Tensor, region: Tensor) -> Tensor:
    """Mean of (B, C, H, W) over the region (B, 1, H, W) of each image: (B,)."""
    return (values * region).sum((1, 2, 3)) / (region.sum((1, 2, 3)) * values.shape[1]).clamp(min=1)


def across_the_edge(images: Tensor, region: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels, one inside and one outside the region: (B,)."""
    total, count = 0.0, 0.0
    for axis in (2, 3):
        side = images.shape[axis] - 1
        step = (images.narrow(axis, 1, side) - images.narrow(axis, 0, side)).abs().mean(1, keepdim=True)
        straddles = (region.narrow(axis, 1, side) != region.narrow(axis, 0, side)).float()
        total, count = total + (step * straddles).sum((1, 2, 3)), count + straddles.sum((1, 2, 3))
    return total / count.clamp(min=1)


def edges(images: Tensor) -> Tensor:
    """Edge strengths at a quarter of the resolution, of mean 0 and norm 1 in each image: (B, n)."""
    strength = 1 - (draw_edges(F.avg_pool2d(images, 4))[:, 0] + 1) / 2  # (B, S/4, S/4)
    flat = strength.flatten(1) - strength.flatten(1).mean(1, keepdim=True)
    return F.normalize(flat, dim=1)


def measure_repaint(model: SemanticPyramid, images: Tensor, labels: Tensor, seed: int) -> dict:
    """Repainting a random box in each photograph at REPAINT_LEVEL. images: (N, 3, S, S)."""
    regions = random_boxes(len(images), model.image_size, torch.Generator().manual_seed(seed))
    near = F.max_pool2d(regions, 2 * CLEAR + 1, 1, CLEAR)  # the box and CLEAR pixels about it
    rows: dict[str, list[Tensor]] = {name: [] for name in ("repaint", "conv1", "in", "out", "alone", "own", "paste")}
    edge = []
    for i in range(0, len(images), BATCH):
        x, region, y = images[i : i + BATCH], regions[i : i + BATCH], labels[i : i + BATCH]
        outside, features = 1 - near[i : i + BATCH], model.features(x)
        mask = editing.repaint_masks({REPAINT_LEVEL: region})
        first, second = (model.generate(features, mask, y, seed=seed + 2 * i + k) for k in (0, 1))
        plain = model.generate(features, masks.level("conv1"), y, seed=seed + 2 * i)
        free = [model.generate(features, masks.level(REPAINT_LEVEL), y, seed=seed + 2 * i + k) for k in (0, 1)]
        pasted = editing.feather(x, first, region)
        rows["repaint"].append(masked_mean((first - x).abs(), outside))
        rows["conv1"].append(masked_mean((plain - x).abs(), outside))
        rows["in"].append(masked_mean((first - second).abs(), region))
        rows["out"].append(masked_mean((first - second).abs(), outside))
        rows["alone"].append(masked_mean((free[0] - free[1]).abs(), region))
        rows["own"].append(across_the_edge(first, region))
        rows["paste"].append(across_the_edge(pasted, region))
        edge.append(across_the_edge(x, region))
    r, e = {name: torch.cat(parts) for name, parts in rows.items()}, torch.cat(edge)
    return {
        "outside: distance to the original over plain conv1's": (*ratio(r["repaint"], r["conv1"]), "at most 1.1"),
        "inside: difference of two seeds over that outside": (*ratio(r["in"], r["out"]), "at least 3"),
        "inside: difference of two seeds over the level's alone": (*ratio(r["in"], r["alone"]), "at least 0.5"),
        "across the edge, own output, over the originals'": (*ratio(r["own"], e), "0.7 to 1.2"),
        "across the edge, feathered paste, over the originals'": (*ratio(r["paste"], e), "0.7 to 1.2"),
    }


def ratio(above: Tensor, below: Tensor) -> tuple[float, float, float]:
    """Ratio of two means over the same images, and its 95 % bootstrap interval."""
    return bootstrap_interval(torch.stack([above, below], 1), lambda m: m[..., 0] / m[..., 1])


def share(right: Tensor) -> tuple[float, float, float]:
    """Share of true entries of (N,), and its 95 % Wilson interval."""
    return wilson_interval(int(right.sum()), len(right))


def measure_compose(model: SemanticPyramid, images: Tensor, labels: Tensor, seed: int) -> dict:
    """A box of each photograph put into the next one of another class, at the same place."""
    size, level = model.image_size, editing.deepest_map(model)
    boxes = random_boxes(len(images), size, torch.Generator().manual_seed(seed))
    nearer_inside, nearer_outside = [], []
    for i in range(len(images)):
        other = next_of_another_class(labels, i)
        background, foreground, region = images[i : i + 1], images[other : other + 1], boxes[i, 0]
        left, top, right, bottom = bounds(region)
        placement = (left / size, top / size, right / size, bottom / size)
        label = model.classes[int(labels[other])]
        result = editing.compose(model, background, foreground, region, placement, seeds=(seed + i,), label=label)
        nearer_inside.append(part_seen(model, result, foreground, background, region))
        greyed = (torch.where(region.bool(), 0.0, p) for p in (result, background, foreground))
        nearer_outside.append(nearer_to_first(model, *greyed))
    return {
        f"crop at {level} nearer to the foreground": (*share(torch.tensor(nearer_inside)), "at least 80 %"),
        "rest nearer to the background": (*share(torch.tensor(nearer_outside)), "at least 95 %"),
    }


def bounds(region: Tensor) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what a region (H, W) holds, in pixels; right and bottom lie outside it."""
    rows, columns = (region > 0).nonzero(as_tuple=True)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def part_seen(model: SemanticPyramid, result: Tensor, foreground: Tensor, background: Tensor, region: Tensor) -> bool:
    """Whether a region's crop, enlarged to the whole square, is nearer to the foreground's than to the background's.

    Pictures (1, 3, S, S); region (S, S).
    """
    left, top, right, bottom = bounds(region)
    size = (model.image_size, model.image_size)
    crops = (p[..., top:bottom, left:right] for p in (result, foreground, background))
    whole = (F.interpolate(crop, size, mode="bicubic", antialias=True).clamp(-1, 1) for crop in crops)
    return nearer_to_first(model, *whole)


def nearer_to_first(model: SemanticPyramid, result: Tensor, first: Tensor, second: Tensor) -> bool:
    """Whether a picture's features at the deepest map are nearer to the first's than to the second's, by cosine."""
    features = model.features(torch.cat([result, first, second]))[editing.deepest_map(model)]
    f = F.normalize(features.flatten(1), dim=1)
    return bool(f[0] @ f[1] > f[0] @ f[2])


def next_of_another_class(labels: Tensor, i: int) -> int:
    """Index of the next row, round the end, whose label differs from row i's; the next one where none does."""
    count = len(labels)
    return next((j % count for j in range(i + 1, i + count) if labels[j % count] != labels[i]), (i + 1) % count)


def measure_materials(model: SemanticPyramid, images: Tensor, labels: Tensor, numbers: list[int], seed: int) -> dict:
    """Repainting and composition of computed scenes, judged by their maps: which material is read where.

    Cells of a quarter of the resolution, those that one material fills and that lie whole inside the region or
    CLEAR pixels away from it; for composition, those in which the two maps differ. numbers: of the scenes.
    """
    size = model.image_size
    reader = MaterialReader(model.judge, size, READ_SCENES)
    truth = cell_materials(numbers, size, reader.side)  # (N, side, side)
    regions = random_boxes(len(images), size, torch.Generator().manual_seed(seed))
    inside = F.adaptive_avg_pool2d(regions, reader.side)[:, 0] == 1
    outside = F.adaptive_max_pool2d(F.max_pool2d(regions, 2 * CLEAR + 1, 1, CLEAR), reader.side)[:, 0] == 0
    others = torch.tensor([next_of_another_class(labels, i) for i in range(len(labels))])
    level = editing.deepest_map(model)
    repainted, composed = [], []
    for i in range(0, len(images), BATCH):
        rows = slice(i, i + BATCH)
        features, parts = model.features(images[rows]), model.features(images[others[rows]])
        mask = editing.repaint_masks({REPAINT_LEVEL: regions[rows]})
        repainted.append(reader(model.generate(features, mask, labels[rows], seed=seed + i)))
        mixed = editing.composed_features(features, parts, regions[rows].to(model.device), level)
        mask = editing.repaint_masks({level: regions[rows]})
        composed.append(reader(model.generate(mixed, mask, labels[others[rows]], seed=seed + i)))
    original = torch.cat([reader(part) for part in images.split(BATCH)])
    repainted, composed, theirs = torch.cat(repainted), torch.cat(composed), truth[others]
    tell = (truth >= 0) & (theirs >= 0) & (truth != theirs)

    def read(found: Tensor, maps: Tensor, where: Tensor) -> tuple[float, float, float]:
        """Share of the cells read as the map has them, interval over scenes."""
        right, cells = ((x & where).flatten(1).sum(1).double() for x in (found == maps, torch.ones_like(where)))
        return ratio(right, cells)

    known = f"the scenes themselves: {read(original, truth, truth >= 0)[0]:.0%}"
    return {
        "repaint": {
            "outside: cells of the map's material": (*read(repainted, truth, outside & (truth >= 0)), known),
            "inside: cells of the map's material": (*read(repainted, truth, inside & (truth >= 0)), known),
        },
        "compose": {
            "inside: cells of the part's material": (*read(composed, theirs, inside & tell), known),
            "outside: cells of the background's material": (*read(composed, truth, outside & tell), known),
        },
    }


def next_label(model: SemanticPyramid, labels: Tensor) -> Tensor:
    """The label that re-labelling asks for: the next one, round the end. (N,) -> (N,)."""
    return (labels + 1) % len(model.classes)


def relabel_each(model: SemanticPyramid, images: Tensor, wanted: Tensor, seed: int) -> Tensor:
    """Each of (N, 3, S, S) under its wanted label (N,)."""
    pairs = enumerate(zip(images.split(1), wanted.tolist(), strict=True))
    return torch.cat([editing.relabel(model, x, model.classes[y], seeds=(seed + i,)) for i, (x, y) in pairs])


def photographs_of(images: Tensor, labels: Tensor, wanted: Tensor, seed: int) -> Tensor:
    """A random one of the photographs (N, 3, S, S) for each wanted label (M,): (M, 3, S, S).

    Raises InputError where none has that label.
    """
    generator, chosen = torch.Generator().manual_seed(seed), []
    for label in wanted:
        of_class = (labels == label).nonzero().flatten()
        if not len(of_class):
            raise InputError(
                f"None of the {len(images)} photographs has the label number {int(label)}; raise --images."
            )
        chosen.append(of_class[torch.randint(len(of_class), (), generator=generator)])
    return images[torch.stack(chosen).to(images.device)]


def layout_kept(made: Tensor, images: Tensor, others: Tensor) -> Tensor:
    """Whether the edges of what was made are nearer to those of the image than to those of another: (N,) booleans."""
    return (edges(made) * edges(images)).sum(1) > (edges(made) * edges(others)).sum(1)


def measure_relabel(model: SemanticPyramid, images: Tensor, labels: Tensor, seed: int) -> dict:
    """Each photograph under the next label; its layout against a random photograph of the new class."""
    new = next_label(model, labels)
    made = relabel_each(model, images, new, seed)
    named = model.judge(made.to(model.device)).argmax(1).cpu() == new
    kept = layout_kept(made, images, photographs_of(images, labels, new, seed))
    return {
        "judge names the new label": (*share(named), "at least 70 %"),
        "layout nearer to the original than to the new class": (*share(kept), "at least 80 %"),
    }


def measure_reimagine(model: SemanticPyramid, photos: Photos, seed: int, side: int, progress: bool) -> dict:
    """Line drawings of all photographs, re-imagined with no label given."""
    extract = Extractor(side, model.device)
    sets: dict[str, list[Tensor]] = {"photographs": [], "drawings": [], "results": []}
    named = []
    for i in tqdm(range(0, len(photos), BATCH), desc="reimagine", disable=not progress):
        x = from_bytes(photos.images[i : i + BATCH])
        drawings = draw_edges(x)
        made = model.generate(model.features(drawings), masks.level(REIMAGINE_LEVEL), seed=seed + i)
        named.append(model.judge(made.to(model.device)).argmax(1).cpu() == photos.labels[i : i + BATCH])
        for name, batch in (("photographs", x), ("drawings", drawings), ("results", from_bytes(to_bytes(made)))):
            sets[name].append(extract(batch))
    real, drawn, results = (fit_gaussian(torch.cat(parts)) for parts in sets.values())
    far, near = frechet_distance(real, drawn), frechet_distance(real, results)
    return {
        f"Fréchet distance over the drawings' own ({near:.0f} / {far:.0f})": (near / far, None, None, "at most 0.5"),
        "judge names the drawing's class, no label given": (*share(torch.cat(named)), "at least 60 %"),
    }


@torch.no_grad()
def measure(
    model: SemanticPyramid,
    photos: Photos,
    count: int,
    seed: int = 0,
    side: int = 160,
    numbers: range | None = None,
    progress: bool = True,
) -> dict:
    """All four uses: {use: {figure: (value, low, high, asked)}}, over the first `count` photographs of a fixed order.

    Re-imagining takes all photographs, since a Fréchet distance needs thousands.
    numbers: where the photographs are computed scenes, theirs; their maps then judge repainting and composition too.
    """
    order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(seed))[:count]
    images, labels = from_bytes(photos.images[order]), photos.labels[order]
    uses: dict[str, Callable[[], dict]] = {
        "repaint": lambda: measure_repaint(model, images, labels, seed),
        "compose": lambda: measure_compose(model, images, labels, seed),
        "relabel": lambda: measure_relabel(model, images, labels, seed),
        "reimagine": lambda: measure_reimagine(model, photos, seed, side, progress),
    }
    rows = {name: work() for name, work in tqdm(uses.items(), desc="uses", disable=not progress)}
    if numbers is not None:
        by_map = measure_materials(model, images, labels, [numbers[i] for i in order.tolist()], seed)
        rows = {use: figures | by_map.get(use, {}) for use, figures in rows.items()}
    settings = {"images": len(order), "drawings": len(photos), "seed": seed, "side": side}
    return {"settings": settings, "rows": rows}


def markdown_table(result: dict) -> str:
    """The figures of `measure` as Markdown, settings below."""
    lines = ["| use | figure | measured | 95 % interval | asked |", "|---|---|---|---|---|"]
    for use, figures in result["rows"].items():
        for name, (value, low, high, asked) in figures.items():
            form = "{:.0%}" if asked.endswith("%") else "{:.2f}"
            interval = "–" if low is None else f"{form.format(low)} to {form.format(high)}"
            lines.append(f"| {use} | {name} | {form.format(value)} | {interval} | {asked} |")
    s = result["settings"]
    lines.append(
        f"\n{s['images']} held-out photographs, seed {s['seed']}; drawings of {s['drawings']:,}, "
        f"EfficientNet-lite0 at {s['side']} px; the judge is a classifier that trained no generator."
    )
    return "\n".join(lines)
