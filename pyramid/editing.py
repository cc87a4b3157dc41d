"""Everything the one model can do beyond plain generation: repaint, compose, re-label, re-imagine (section 4).

Four short functions over `SemanticPyramid`. Pictures are (1, 3, H, W) in [-1, 1] of any size, regions
(H, W) in [0, 1] at the picture's size; both are brought to the model's size by `fit`, the same for all.
Each returns one image for every seed: (len(seeds), 3, S, S).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pyramid.errors import InputError
from pyramid.levels import CONV_LEVELS, LEVELS, check_level, depth
from pyramid.masks import Masks, soft, touched
from pyramid.masks import level as one_level
from pyramid.model import SemanticPyramid

#: what re-labelling keeps unless told otherwise: about a fifth of two fine levels holds the edges and leaves surface
#: and colour to the label
RELABEL_LEVELS = ("conv2", "conv3")

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the model's square


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


def _fit_region(region: Tensor, photo: Tensor, size: int) -> Tensor:
    """A region (H, W) at the picture's size -> (1, 1, S, S) in [0, 1]. Raises InputError for another size."""
    if region.shape[-2:] != photo.shape[-2:]:
        raise InputError(
            f"The region is {region.shape[-1]}x{region.shape[-2]} and the picture {photo.shape[-1]}x{photo.shape[-2]}; "
            "give a region at the size of the picture."
        )
    return fit(region.reshape(1, 1, *region.shape[-2:]).float(), size).clamp(0, 1)


def _each_seed(model: SemanticPyramid, features, masks: Masks, label, seeds: Sequence[int]) -> Tensor:
    if not seeds:
        raise InputError("There are no seeds; give at least one number.")
    return torch.cat([model.generate(features, masks, label, seed=seed) for seed in seeds])


def repaint_masks(regions: Mapping[str, Tensor]) -> Masks:
    """The masks of `repaint`: type 2 of the paper, for one region or several.

    regions: level -> (1, 1, S, S), 1 where only this level (and what is deeper and open) may speak. The
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
    photo: Tensor,
    regions: Mapping[str, Tensor],
    seeds: Sequence[int] = (0,),
    label: str | None = None,
    paste: bool = False,
) -> Tensor:
    """Imagine regions of a photograph anew; outside them keep it (section 4, figure 8).

    Args:
        photo: (1, 3, H, W).
        regions: level -> (H, W), 1 inside; in each region its level is the finest that is open.
        label: class the whole is to be of; None takes the classifier's guess.
        paste: lay the photograph itself over the outside, with a feathered edge; else the result is the
            generator's own everywhere.

    Raises InputError for no region, an unknown level, or a region of another size than the photograph.
    """
    if not regions:
        raise InputError("There is no region to repaint; give at least one, as {level: region}.")
    photo, fitted = fit(photo, model.image_size), {
        name: _fit_region(region, photo, model.image_size) for name, region in regions.items()
    }  # fmt: skip
    images = _each_seed(model, model.features(photo), repaint_masks(fitted), label, seeds)
    return feather(photo.to(images.device), images, torch.stack([*fitted.values()]).amax(0)) if paste else images


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
    background: Tensor,
    foreground: Tensor,
    region: Tensor,
    placement: Box,
    level: str | None = None,
    seeds: Sequence[int] = (0,),
    label: str | None = None,
) -> Tensor:
    """Put a part of one picture into another, in feature space (section 4, figure 9).

    The foreground is moved and scaled so that its region comes to lie in the placement, and encoded whole,
    so that no edge of a cut-out is ever seen; in every cell that the region touches its features replace the
    background's at `level`. Finer levels come from the background, outside the region.

    Args:
        background, foreground: (1, 3, H, W), sizes of their own.
        region: (H, W) at the foreground's size, 1 where the part is.
        placement: box in the background that the region's bounding box comes to fill.
        level: by default the deepest conv level whose map is at least 4x4.
        label: of the part; None takes the classifier's guess of the foreground. Outside the region the fine
            levels leave the label nothing to say.

    Raises InputError for an empty region, an empty placement or an fc level.
    """
    size = model.image_size
    level = level or deepest_map(model)
    if check_level(level) not in CONV_LEVELS:
        raise InputError(f"{level} has no places to compose at; choose one of {', '.join(CONV_LEVELS)}.")
    moved, inside = place(fit(foreground, size), _fit_region(region, foreground, size), placement)
    ours, theirs = model.features(fit(background, size)), model.features(moved)
    features = composed_features(ours, theirs, inside.to(ours[level].device), level)
    return _each_seed(model, features, repaint_masks({level: inside}), label or _guess(model, foreground), seeds)


def composed_features(
    background: dict[str, Tensor], foreground: dict[str, Tensor], inside: Tensor, level: str
) -> dict[str, Tensor]:
    """The background's features, at one level the foreground's in every cell that `inside` (B, 1, S, S) touches."""
    cells = touched(inside, background[level].shape[-1])
    return {**background, level: torch.where(cells, foreground[level], background[level])}


def _guess(model: SemanticPyramid, photo: Tensor) -> str:
    return model.guess(fit(photo, model.image_size), top=1)[0][0][0]


def deepest_map(model: SemanticPyramid) -> str:
    """The deepest conv level whose map is at least 4x4."""
    return [name for name in CONV_LEVELS if model.image_size // 2 ** (depth(name) + 1) >= 4][-1]


def place(foreground: Tensor, region: Tensor, placement: Box) -> tuple[Tensor, Tensor]:
    """Move and scale a picture so that its region's bounding box fills `placement`; mirrored beyond its border.

    foreground: (1, 3, S, S); region: (1, 1, S, S). Returns both after the move.
    Raises InputError for an empty region or placement.
    """
    size = foreground.shape[-1]
    rows, columns = (region[0, 0] > 0.5).nonzero(as_tuple=True)
    left, top, right, bottom = placement
    if not len(rows):
        raise InputError("The region of the foreground is empty; mark what is to be put into the background.")
    if right <= left or bottom <= top:
        raise InputError(f"The placement {placement} is empty; its right and bottom must exceed its left and top.")
    theta = []
    for low, high, start, end in (
        (columns.min(), columns.max() + 1, left, right),
        (rows.min(), rows.max() + 1, top, bottom),
    ):
        low, high = 2 * float(low) / size - 1, 2 * float(high) / size - 1  # in grid_sample's units, -1 … 1
        start, end = 2 * start - 1, 2 * end - 1
        scale = (high - low) / (end - start)
        theta.append((scale, low - scale * start))
    matrix = foreground.new_tensor([[theta[0][0], 0, theta[0][1]], [0, theta[1][0], theta[1][1]]])[None]
    grid = F.affine_grid(matrix, [1, 3, size, size], align_corners=False)
    moved = F.grid_sample(foreground, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    inside = F.grid_sample(region, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved, inside


def relabel(
    model: SemanticPyramid,
    photo: Tensor,
    label: str,
    levels: Sequence[str] = RELABEL_LEVELS,
    strength: float | None = None,
    seeds: Sequence[int] = (0,),
) -> Tensor:
    """A photograph's levels, turned down, under another class label: volcano to snowy mountain (section 4, figure 10).

    strength: in [0, 1], how far the mask amounts of `levels` are turned down, so that the label has more to say;
        None takes the preset's `relabel_strength`.

    Raises InputError for an unknown label or level, or a strength outside [0, 1].
    """
    model.label_index(label)
    strength = model.preset.relabel_strength if strength is None else strength
    if not 0 <= strength <= 1:
        raise InputError(f"The strength must lie in [0, 1], not {strength:g}.")
    features = model.features(fit(photo, model.image_size))
    return _each_seed(model, features, soft(**{name: 1 - strength for name in levels}), label, seeds)


def reimagine(
    model: SemanticPyramid, drawing: Tensor, level: str = "conv4", seeds: Sequence[int] = (0,), label: str | None = None
) -> Tensor:
    """Photographs of what a drawing, a painting or a poster shows: its features at a deep level (figure 7).

    label: None takes the classifier's guess of the drawing.
    """
    return _each_seed(model, model.features(fit(drawing, model.image_size)), one_level(level), label, seeds)
