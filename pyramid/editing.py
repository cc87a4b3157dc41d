"""Everything the one model can do beyond plain generation: repaint, compose, re-label, re-imagine (section 4).

Four short functions over `SemanticPyramid`, each for a batch of pictures. Pictures are (B, 3, H, W) in [-1, 1] of
any size; regions lie in [0, 1] at the pictures' size, one (H, W) for all or one for each (B, 1, H, W); both are
brought to the model's size by `fit`. A label is a class name for all, int64 labels (B,), or None for the
classifier's guess. Each use returns one image for every picture and seed, (B * len(seeds), 3, S, S), the seeds of
one picture adjacent.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pyramid.errors import InputError
from pyramid.levels import CONV_LEVELS, LEVELS, check_level, depth
from pyramid.masks import Box, Masks, bounding_boxes, soft, touched
from pyramid.masks import level as one_level
from pyramid.model import SemanticPyramid

Label = str | Tensor | None

#: what re-labelling keeps unless told otherwise: about a fifth of two fine levels holds the edges and leaves surface
#: and colour to the label
RELABEL_LEVELS = ("conv2", "conv3")


def fit(image: Tensor, size: int) -> Tensor:
    """The largest centred square of (B, C, H, W), at size x size pixels; as it is where it fits already."""
    height, width = image.shape[-2:]
    if (height, width) == (size, size):
        return image
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = image[..., top : top + side, left : left + side]
    small = F.interpolate(cut, (size, size), mode="bicubic", antialias=True)
    return small.clamp(float(image.min()), float(image.max()))


def _fit_region(region: Tensor, photos: Tensor, size: int) -> Tensor:
    """Regions at the pictures' size -> (B, 1, S, S) in [0, 1]. Raises InputError for another size or number."""
    regions = region.reshape(-1, 1, *region.shape[-2:]).float()
    if regions.shape[-2:] != photos.shape[-2:]:
        raise InputError(
            f"The region is {region.shape[-1]}x{region.shape[-2]} and the picture "
            f"{photos.shape[-1]}x{photos.shape[-2]}; give a region at the size of the picture."
        )
    if len(regions) not in (1, len(photos)):
        raise InputError(f"There are {len(regions)} regions for {len(photos)} pictures; give one for all, or one each.")
    return fit(regions, size).clamp(0, 1).expand(len(photos), -1, -1, -1)


def _each_seed(
    model: SemanticPyramid, features: dict[str, Tensor], masks: Masks, label: Label, seeds: Sequence[int]
) -> Tensor:
    """One image for every reference and seed: (B * len(seeds), 3, S, S), the seeds of one reference adjacent."""
    if not seeds:
        raise InputError("There are no seeds; give at least one number.")
    images = [model.generate(features, masks, label, seed=seed) for seed in seeds]  # each (B, 3, S, S)
    return torch.stack(images, 1).flatten(0, 1)


def repaint_masks(regions: Mapping[str, Tensor]) -> Masks:
    """The masks of `repaint`: type 2 of the paper, for one region or several.

    regions: level -> (B, 1, S, S), 1 where only this level (and what is deeper and open) may speak. The
    deepest level of all is open everywhere, as in training; every finer one outside the regions whose
    level is deeper than it.
    """
    deepest = max(map(depth, map(check_level, regions)))
    amounts: dict[str, float | Tensor] = {LEVELS[deepest]: 1.0}
    for name in LEVELS[:deepest]:
        closed = torch.stack([region for other, region in regions.items() if depth(other) > depth(name)]).amax(0)
        amounts[name] = 1 - closed
    return Masks(amounts)


def repaint(
    model: SemanticPyramid,
    photos: Tensor,
    regions: Mapping[str, Tensor],
    seeds: Sequence[int] = (0,),
    label: Label = None,
    paste: bool = False,
) -> Tensor:
    """Imagine regions of photographs anew; outside them keep them (section 4, figure 8).

    Args:
        photos: (B, 3, H, W).
        regions: level -> region, 1 inside; in each region its level is the finest that is open.
        label: what the whole is to be of.
        paste: lay the photograph itself over the outside, with a feathered edge; else the result is the
            generator's own everywhere.

    Raises InputError for no region, an unknown level, or a region of another size than the photographs.
    """
    if not regions:
        raise InputError("There is no region to repaint; give at least one, as {level: region}.")
    size = model.image_size
    fitted = {name: _fit_region(region, photos, size) for name, region in regions.items()}
    photos = fit(photos, size)
    images = _each_seed(model, model.features(photos), repaint_masks(fitted), label, seeds)
    if not paste:
        return images
    anywhere = torch.stack([*fitted.values()]).amax(0)
    original, inside = (part.to(images.device).repeat_interleave(len(seeds), 0) for part in (photos, anywhere))
    return feather(original, images, inside)


def feather(photo: Tensor, images: Tensor, region: Tensor, width: float = 1 / 16) -> Tensor:
    """The images inside a region, the photograph outside, faded into each other across the edge.

    The fade reaches `width` of the side to either side of the edge.
    photo: (1, 3, S, S) or (B, 3, S, S); images: (B, 3, S, S); region: (1, 1, S, S) or (B, 1, S, S).
    """
    reach = max(int(width * photo.shape[-1]), 1)
    padded = F.pad(region.to(images.device), [reach] * 4, mode="replicate")
    inside = F.avg_pool2d(padded, 2 * reach + 1, 1)
    return photo + inside * (images - photo)


def compose(
    model: SemanticPyramid,
    backgrounds: Tensor,
    foregrounds: Tensor,
    region: Tensor,
    placement: Box | Tensor,
    level: str | None = None,
    seeds: Sequence[int] = (0,),
    label: Label = None,
) -> Tensor:
    """Put a part of one picture into another, in feature space (section 4, figure 9).

    The foreground is moved and scaled so that its region comes to lie in the placement, and encoded whole,
    so that no edge of a cut-out is ever seen; in every cell that the region touches its features replace the
    background's at `level`. Finer levels come from the background, outside the region.

    Args:
        backgrounds, foregrounds: (B, 3, H, W), sizes of their own.
        region: at the foregrounds' size, 1 where the part is.
        placement: box in the background that the region's bounding box comes to fill: one, or a tensor (B, 4).
        level: None takes `compose_level`.
        label: of the part; None takes the classifier's guess of the foreground. Outside the region the fine
            levels leave the label nothing to say.

    Raises InputError for an empty region, an empty placement or an fc level.
    """
    size = model.image_size
    level = level or compose_level(model)
    if check_level(level) not in CONV_LEVELS:
        raise InputError(f"{level} has no places to compose at; choose one of {', '.join(CONV_LEVELS)}.")
    regions, foregrounds = _fit_region(region, foregrounds, size), fit(foregrounds, size)
    moved, inside = place(foregrounds, regions, placement)
    ours, theirs = model.features(fit(backgrounds, size)), model.features(moved)
    features = composed_features(ours, theirs, inside.to(ours[level].device), level)
    if label is None:
        label = model.features(foregrounds)["fc8"].argmax(1)
    return _each_seed(model, features, repaint_masks({level: inside}), label, seeds)


def composed_features(
    background: dict[str, Tensor], foreground: dict[str, Tensor], inside: Tensor, level: str
) -> dict[str, Tensor]:
    """The background's features, at one level the foreground's in every cell that `inside` (B, 1, S, S) touches."""
    cells = touched(inside, background[level].shape[-1])
    return {**background, level: torch.where(cells, foreground[level], background[level])}


def compose_level(model: SemanticPyramid) -> str:
    """The deepest conv level, from conv3 on, whose map is at least 8x8; conv3 where none is.

    On held-out training photographs a part composed at conv3 of `photos64` was told from its crop in 77 % (72 to 81),
    at conv4, where it has two or three cells a side, in 65 % (60 to 70).
    """
    return max(deepest_map(model, 8), "conv3", key=depth)


def deepest_map(model: SemanticPyramid, least: int) -> str:
    """The deepest conv level whose map has at least so many cells a side."""
    return [name for name in CONV_LEVELS if model.image_size // 2 ** (depth(name) + 1) >= least][-1]


def place(foregrounds: Tensor, regions: Tensor, placement: Box | Tensor) -> tuple[Tensor, Tensor]:
    """Move and scale pictures so that their regions' bounding boxes fill `placement`; mirrored beyond their borders.

    foregrounds: (B, 3, S, S); regions: (B, 1, S, S); placement: one box for all, or a tensor (B, 4).
    Returns both after the move. Raises InputError for an empty region or placement.
    """
    goal = torch.as_tensor(placement, dtype=torch.float32).reshape(-1, 4).expand(len(regions), 4)
    if not (regions > 0.5).flatten(1).any(1).all():
        raise InputError("The region of the foreground is empty; mark what is to be put into the background.")
    empty = goal[(goal[:, 2] <= goal[:, 0]) | (goal[:, 3] <= goal[:, 1])]
    if len(empty):
        box = tuple(round(value, 3) for value in empty[0].tolist())
        raise InputError(f"The placement {box} is empty; its right and bottom must exceed its left and top.")
    source, goal = 2 * bounding_boxes(regions) - 1, 2 * goal.to(regions.device) - 1  # in grid_sample's units, -1 … 1
    scale = (source[:, 2:] - source[:, :2]) / (goal[:, 2:] - goal[:, :2])  # (B, 2): across, down
    start = source[:, :2] - scale * goal[:, :2]
    theta = torch.cat([torch.diag_embed(scale), start[..., None]], 2)  # (B, 2, 3)
    grid = F.affine_grid(theta, [*foregrounds.shape], align_corners=False)
    moved = F.grid_sample(foregrounds, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    inside = F.grid_sample(regions, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved, inside


def relabel(
    model: SemanticPyramid,
    photos: Tensor,
    label: str | Tensor,
    levels: Sequence[str] = RELABEL_LEVELS,
    strength: float | None = None,
    seeds: Sequence[int] = (0,),
) -> Tensor:
    """Photographs' levels, turned down, under another class label: volcano to snowy mountain (section 4, figure 10).

    strength: in [0, 1], how far the mask amounts of `levels` are turned down, so that the label has more to say;
        None takes the preset's `relabel_strength`.

    Raises InputError for an unknown label or level, or a strength outside [0, 1].
    """
    strength = model.preset.relabel_strength if strength is None else strength
    if not 0 <= strength <= 1:
        raise InputError(f"The strength must lie in [0, 1], not {strength:g}.")
    features = model.features(fit(photos, model.image_size))
    return _each_seed(model, features, soft(**{name: 1 - strength for name in levels}), label, seeds)


def reimagine(
    model: SemanticPyramid, drawings: Tensor, level: str = "conv4", seeds: Sequence[int] = (0,), label: Label = None
) -> Tensor:
    """Photographs of what drawings, paintings or posters show: their features at a deep level (figure 7)."""
    return _each_seed(model, model.features(fit(drawings, model.image_size)), one_level(level), label, seeds)
