"""The four uses in numbers, over held-out photographs: what the paper only showed.

Every metric is a mean or a share with a 95 % interval. Distances are mean absolute differences in [-1, 1].
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from pyramid import editing, masks
from pyramid.data import Photos, draw_edges, from_bytes, to_bytes
from pyramid.errors import InputError
from pyramid.measure.extractors import Extractor
from pyramid.measure.materials import MaterialReader, cell_materials
from pyramid.measure.metrics import (
    bootstrap_interval,
    check_enough,
    chosen,
    fit_gaussian,
    frechet_distance,
    share_interval,
)
from pyramid.measure.tables import markdown
from pyramid.model import SemanticPyramid
from pyramid.scenes import RANGES

CLEAR = 8  # pixels from the edge beyond which "outside" begins
REPAINT_LEVEL = REIMAGINE_LEVEL = "conv4"
SEEN_CELLS = 4  # a side of the map that says what is in a picture, and roughly where
BATCH = 10
READ_SCENES = RANGES["scenes"][:2000]  # training scenes that the reader of materials is fitted to
Metric = tuple[float, float | None, float | None, str]  # value, its interval, the bound it should keep


def in_batches(work: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """`work` over batches of the tensors' rows, its first argument the number of the batch's first row."""
    parts = zip(*(t.split(BATCH) for t in tensors), strict=True)
    return torch.cat([work(BATCH * i, *part) for i, part in enumerate(parts)])


def random_boxes(count: int, size: int, generator: torch.Generator) -> Tensor:
    """A box in each picture, sides 0.35 to 0.55 of it, at least an eighth from the border. (count, 1, S, S)."""
    side = ((0.35 + 0.2 * torch.rand(count, 2, generator=generator)) * size).round()  # (count, 2): height, width
    border = size // 8
    start = border + (torch.rand(count, 2, generator=generator) * (size - 2 * border - side)).round()
    return masks.box(torch.cat([start.flip(1), (start + side).flip(1)], 1) / size, size)


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


def drawn_edges(images: Tensor) -> Tensor:
    """The lines of a drawing at a quarter of the resolution, of mean 0 and norm 1 in each image: (B, n).

    What measures whether a layout was kept; `training.extras.edge_strength`, which training keeps, is nearly the
    same: Sobel's strengths without the drawing's limit of ink.
    """
    strength = 1 - (draw_edges(F.avg_pool2d(images, 4))[:, 0] + 1) / 2  # (B, S/4, S/4)
    flat = strength.flatten(1) - strength.flatten(1).mean(1, keepdim=True)
    return F.normalize(flat, dim=1)


def measure_repaint(model: SemanticPyramid, images: Tensor, labels: Tensor, seed: int) -> dict[str, Metric]:
    """Repainting a random box in each photograph at REPAINT_LEVEL. images: (N, 3, S, S)."""
    regions = random_boxes(len(images), model.image_size, torch.Generator().manual_seed(seed))

    def measure(i: int, x: Tensor, y: Tensor, region: Tensor) -> Tensor:
        """(B, 8): the distances that the ratios below are made of."""
        outside = 1 - F.max_pool2d(region, 2 * CLEAR + 1, 1, CLEAR)
        seeds = (seed + 2 * i, seed + 2 * i + 1)
        first, second = editing.repaint(model, x, {REPAINT_LEVEL: region}, seeds, y).unflatten(0, (-1, 2)).unbind(1)
        features = model.features(x)
        plain = model.generate(features, masks.level("conv1"), y, seed=seeds[0])
        alone = [model.generate(features, masks.level(REPAINT_LEVEL), y, seed=s) for s in seeds]
        columns = [
            masked_mean((first - x).abs(), outside),
            masked_mean((plain - x).abs(), outside),
            masked_mean((first - second).abs(), region),
            masked_mean((first - second).abs(), outside),
            masked_mean((alone[0] - alone[1]).abs(), region),
            across_the_edge(first, region),
            across_the_edge(editing.feather(x, first, region), region),
            across_the_edge(x, region),
        ]
        return torch.stack(columns, 1)

    repainted, conv1, inside, outside, alone, own, pasted, edge = in_batches(measure, images, labels, regions).T
    return {
        "outside: distance to the original over plain conv1's": (*ratio(repainted, conv1), "at most 1.1"),
        "inside: difference of two seeds over that outside": (*ratio(inside, outside), "at least 3"),
        "inside: difference of two seeds over the level's alone": (*ratio(inside, alone), "at least 0.5"),
        "across the edge, own output, over the originals'": (*ratio(own, edge), "0.7 to 1.2"),
        "across the edge, feathered paste, over the originals'": (*ratio(pasted, edge), "0.7 to 1.2"),
    }


def ratio(above: Tensor, below: Tensor) -> tuple[float, float, float]:
    """Ratio of two means over the same images, and its 95 % bootstrap interval."""
    return bootstrap_interval(torch.stack([above, below], 1), lambda m: m[..., 0] / m[..., 1])


def share(right: Tensor) -> tuple[float, float, float]:
    """Share of true entries of (N,), and its 95 % Wilson interval."""
    return share_interval(int(right.sum()), len(right))


def partners(labels: Tensor) -> Tensor:
    """For each label (N,) the next row, round the end, whose label differs; the next one where none does: (N,)."""
    count, rows = len(labels), []
    for i, label in enumerate(labels):
        later = (torch.arange(1, count) + i) % count
        different = later[labels[later] != label]
        rows.append(int(different[0]) if len(different) else (i + 1) % count)
    return torch.tensor(rows)


def compose_each(model: SemanticPyramid, images: Tensor, labels: Tensor, regions: Tensor, seed: int) -> Tensor:
    """A region of each photograph's partner put into it at the same place: (N, 3, S, S)."""
    other = partners(labels)

    def compose(i: int, background: Tensor, foreground: Tensor, region: Tensor, label: Tensor) -> Tensor:
        place = masks.bounding_boxes(region)
        return editing.compose(model, background, foreground, region, place, seeds=(seed + i,), label=label)

    return in_batches(compose, images, images[other], regions, labels[other])


def measure_compose(model: SemanticPyramid, images: Tensor, labels: Tensor, seed: int) -> dict[str, Metric]:
    """A box of each photograph's partner of another class put into it, at the same place."""
    regions = random_boxes(len(images), model.image_size, torch.Generator().manual_seed(seed))
    made, fronts = compose_each(model, images, labels, regions, seed), images[partners(labels)]
    rest = (torch.where(regions.bool(), 0.0, pictures) for pictures in (made, images, fronts))
    crop = share(part_seen(model, made, fronts, images, regions))
    return {
        f"crop at {editing.deepest_map(model, SEEN_CELLS)} nearer to the foreground": (*crop, "at least 80 %"),
        "rest nearer to the background": (*share(nearer_to_first(model, *rest)), "at least 95 %"),
    }


def part_seen(model: SemanticPyramid, made: Tensor, fronts: Tensor, backs: Tensor, regions: Tensor) -> Tensor:
    """Whether each region's crop, enlarged to the whole square, is nearer to the foreground's than the background's.

    Pictures (N, 3, S, S); regions (N, 1, S, S). Returns booleans (N,).
    """
    size = (model.image_size, model.image_size)
    boxes = (masks.bounding_boxes(regions) * model.image_size).round().int().tolist()

    def enlarged(pictures: Tensor) -> Tensor:
        crops = [p[:, top:bottom, left:right] for p, (left, top, right, bottom) in zip(pictures, boxes, strict=True)]
        return torch.cat([F.interpolate(c[None], size, mode="bicubic", antialias=True).clamp(-1, 1) for c in crops])

    return nearer_to_first(model, *map(enlarged, (made, fronts, backs)))


def nearer_to_first(model: SemanticPyramid, made: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Whether features at the deepest map are nearer to the first's than to the second's, by cosine: (N,) booleans."""

    def work(_: int, *pictures: Tensor) -> Tensor:
        level = editing.deepest_map(model, SEEN_CELLS)
        a, b, c = (F.normalize(model.features(p)[level].flatten(1), dim=1) for p in pictures)
        return ((a * b).sum(1) > (a * c).sum(1)).cpu()

    return in_batches(work, made, first, second)


def measure_materials(
    model: SemanticPyramid, images: Tensor, labels: Tensor, numbers: list[int], seed: int, people: bool = False
) -> dict[str, dict[str, Metric]]:
    """Repainting and composition of computed scenes, judged by their maps: which material is read where.

    Cells of a quarter of the resolution, those that one material fills and that lie whole inside the region or
    CLEAR pixels away from it; for composition, those in which the two maps differ.
    numbers: of the scenes; people: whether these have people.
    """
    reader = MaterialReader(model.judge, model.image_size, READ_SCENES, people)
    truth = cell_materials(numbers, model.image_size, reader.side, people)  # (N, side, side)
    regions = random_boxes(len(images), model.image_size, torch.Generator().manual_seed(seed))
    inside = F.adaptive_avg_pool2d(regions, reader.side)[:, 0] == 1
    outside = F.adaptive_max_pool2d(F.max_pool2d(regions, 2 * CLEAR + 1, 1, CLEAR), reader.side)[:, 0] == 0

    def repaint(i: int, x: Tensor, y: Tensor, region: Tensor) -> Tensor:
        return reader(editing.repaint(model, x, {REPAINT_LEVEL: region}, (seed + i,), y))

    original = in_batches(lambda _, x: reader(x), images)
    repainted = in_batches(repaint, images, labels, regions)
    composed = in_batches(lambda _, x: reader(x), compose_each(model, images, labels, regions, seed))
    theirs = truth[partners(labels)]
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
    return in_batches(lambda i, x, y: editing.relabel(model, x, y, seeds=(seed + i,)), images, wanted)


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
    ours, theirs, new = map(drawn_edges, (images, others, made))
    return (new * ours).sum(1) > (new * theirs).sum(1)


def measure_relabel(model: SemanticPyramid, images: Tensor, labels: Tensor, seed: int) -> dict[str, Metric]:
    """Each photograph under the next label; its layout against a random photograph of the new class."""
    new = next_label(model, labels)
    made = relabel_each(model, images, new, seed)
    named = in_batches(lambda _, x: model.judged(x), made) == new
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
        made = editing.reimagine(model, drawings, REIMAGINE_LEVEL, seeds=(seed + i,))
        named.append(model.judged(made) == photos.labels[i : i + BATCH])
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
    people: bool = False,
    progress: bool = True,
) -> dict:
    """All four uses: {use: {metric: (value, low, high, bound)}}, over the first `count` photographs of a fixed order.

    Re-imagining takes all photographs, since a Fréchet distance needs thousands.
    Ctrl-C keeps the uses that are measured. Raises InputError, before anything is measured, where there are too few
    photographs, or none of a label.
    numbers: where the photographs are computed scenes, theirs; their maps then judge repainting and composition too.
    people: whether those scenes have people.
    """
    order = chosen(photos, count, seed)
    images, labels = from_bytes(photos.images[order]), photos.labels[order]
    check_enough(len(photos), Extractor.features)  # for what comes last, before anything is begun
    photographs_of(images, labels, torch.arange(len(model.classes)), seed)  # every label is asked for
    uses: dict[str, Callable[[], dict]] = {
        "repaint": lambda: measure_repaint(model, images, labels, seed),
        "compose": lambda: measure_compose(model, images, labels, seed),
        "relabel": lambda: measure_relabel(model, images, labels, seed),
        "reimagine": lambda: measure_reimagine(model, photos, seed, side, progress),
    }
    rows = {}
    try:
        for name, work in tqdm(uses.items(), desc="uses", disable=not progress):
            rows[name] = work()
        if numbers is not None:
            by_map = measure_materials(model, images, labels, [numbers[i] for i in order.tolist()], seed, people)
            rows = {use: found | by_map.get(use, {}) for use, found in rows.items()}
    except KeyboardInterrupt:
        if not rows:
            raise
        print(f"Stopped; measured: {', '.join(rows)}.")
    settings = {"images": len(order), "drawings": len(photos), "seed": seed, "side": side}
    return {"settings": settings, "rows": rows}


def markdown_table(result: dict) -> str:
    """The metrics of `measure` as Markdown, settings below."""
    rows = []
    for use, found in result["rows"].items():
        for name, (value, low, high, bound) in found.items():
            form = "{:.0%}" if bound.endswith("%") else "{:.2f}"
            interval = "–" if low is None else f"{form.format(low)} to {form.format(high)}"
            rows.append([use, name, form.format(value), interval, bound])
    s = result["settings"]
    note = (
        f"{s['images']} held-out photographs, seed {s['seed']}; drawings of {s['drawings']:,}, "
        f"EfficientNet-lite0 at {s['side']} px; the judge is a classifier that trained no generator."
    )
    return markdown(["use", "metric", "measured", "95 % interval", "bound"], rows, note)
