"""The seven levels of the semantic pyramid: names, shapes and receptive fields.

Semantic Pyramid for Image Generation (Shocher et al., CVPR 2020), figures 1 and 2: a VGG-16 gives
CONV1 … CONV5, FC7 and FC8, from pixels-and-edges to pure meaning. `convN` is the output of stage
N's max-pool (the paper leaves the exact tensor open). Levels are spoken of by name everywhere.
"""

from pyramid.errors import InputError

CONV_LEVELS = ("conv1", "conv2", "conv3", "conv4", "conv5")
FC_LEVELS = ("fc7", "fc8")
LEVELS = CONV_LEVELS + FC_LEVELS  # fine to deep

CONVOLUTIONS = {"conv1": 2, "conv2": 2, "conv3": 3, "conv4": 3, "conv5": 3}  # 3x3 convolutions a stage
CHANNELS = (64, 128, 256, 512, 512)  # of VGG-16's conv1 … conv5
FC_UNITS = 4096  # of VGG-16's fc6 and fc7


def check_level(name: str) -> str:
    """Return `name` if it is a level; raises InputError otherwise."""
    if name not in LEVELS:
        raise InputError(f"There is no level {name!r}; the levels are {', '.join(LEVELS)}.")
    return name


def depth(name: str) -> int:
    """0 for conv1 … 6 for fc8: how far from the pixels a level lies."""
    return LEVELS.index(check_level(name))


def _receptive_fields() -> dict[str, tuple[int, int]]:
    """Walk VGG-16 from the pixels: level -> (receptive field, stride), both in pixels.

    A 3x3 convolution widens the field by two steps of the current stride; a 2x2 max-pool widens it
    by one step and then doubles the stride.
    """
    field, stride, table = 1, 1, {}
    for name in CONV_LEVELS:
        field += 2 * stride * CONVOLUTIONS[name]
        field += stride
        stride *= 2
        table[name] = (field, stride)
    return table


#: level -> (receptive field, stride) in pixels: conv1 (6, 2) … conv5 (212, 32). A cell i of a level
#: sees the pixels from i * stride - (field - stride) / 2 on, `field` of them. fc levels see everything.
RECEPTIVE_FIELDS = _receptive_fields()


def shapes(image_size: int, channels: tuple[int, ...], units: int, classes: int) -> dict[str, tuple[int, ...]]:
    """Shape of every level's features without the batch axis: (C, H, W), or (C,) for fc levels.

    Args:
        image_size: side of the square image in pixels, a multiple of 32.
        channels: of conv1 … conv5; `CHANNELS` are VGG-16's.
        units: of fc7; 4,096 in VGG-16.
        classes: units of fc8.
    """
    table: dict[str, tuple[int, ...]] = {}
    for name, count in zip(CONV_LEVELS, channels, strict=True):
        side = image_size // RECEPTIVE_FIELDS[name][1]
        table[name] = (count, side, side)
    table["fc7"] = (units,)
    table["fc8"] = (classes,)
    return table
