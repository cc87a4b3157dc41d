"""VGG-16 as a feature pyramid (paper, section 3 and figure 2).

Very Deep Convolutional Networks (Simonyan & Zisserman 2015), configuration D. Modules and parameter names are
torchvision's `vgg16`, so its state dict loads as it is. The photographs' classifier has VGG-16's own convolutions,
begun from ImageNet, and smaller fully connected levels; the built-in world's have fewer channels and batch
norm, and begin from random weights, or with the photographs' first stages, which stay as they are (`kept`).
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from pyramid.device import constant
from pyramid.layers import recomputed
from pyramid.levels import CHANNELS, CONV_LEVELS, CONVOLUTIONS, FC_UNITS, LEVELS, depth

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB, of images in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """Images in [-1, 1] to what every classifier here expects: RGB, ImageNet mean 0, standard deviation 1.

    The one place of the project where input is normalised. images: (B, 3, H, W).
    """
    mean, std = (constant(v, images.device).to(images.dtype).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return ((images + 1) / 2 - mean) / std


def stages(
    layers: nn.Sequential, x: Tensor, run: Callable[[nn.Module, Tensor], Tensor] = nn.Module.__call__
) -> Iterator[tuple[str, Tensor]]:
    """Walk VGG-16's convolutions: (level, its features) after each stage's max-pool.

    x: normalised (B, 3, H, W); run: passes a map through a stage's layers.
    """
    begin, names = 0, iter(CONV_LEVELS)
    for i, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d):
            x, begin = run(layers[begin : i + 1], x), i + 1
            yield next(names), x


class Classifier(nn.Module):
    """VGG-16; its stages C_1 … C_N are the paper's feature pyramid (section 3).

    Args:
        classes: units of fc8.
        image_size: side of its images in pixels, a multiple of 32; 224 for torchvision's weights.
        channels: of conv1 … conv5.
        units: of fc6 and fc7.
        batch_norm: put a batch norm behind every convolution, as torchvision's `vgg16_bn` does.
        kept: stages from conv1 on that have none and are not trained: another classifier's.
        grid: side of the map that fc6 reads, 7 in torchvision's; conv5 is averaged to it; 0: conv5's own side.

    With `recompute` set, the way back computes each stage's inner maps anew, see `layers.recomputed`.
    """

    recompute = False

    def __init__(
        self,
        classes: int,
        image_size: int = 224,
        channels: tuple[int, ...] = CHANNELS,
        units: int = FC_UNITS,
        batch_norm: bool = False,
        grid: int = 0,
        kept: int = 0,
    ):
        super().__init__()
        self.classes, self.image_size = classes, image_size
        layers: list[nn.Module] = []
        into = 3
        for stage, (name, out) in enumerate(zip(CONV_LEVELS, channels, strict=True)):
            for _ in range(CONVOLUTIONS[name]):
                layers.append(nn.Conv2d(into, out, 3, padding=1).requires_grad_(stage >= kept))
                if batch_norm and stage >= kept:
                    layers.append(nn.BatchNorm2d(out))
                layers.append(nn.ReLU())  # never in place: a captured map must not change later
                into = out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        grid = grid or image_size // 32
        self.avgpool = nn.AdaptiveAvgPool2d(grid)  # of conv5's own side it is the identity
        self.classifier = nn.Sequential(
            nn.Linear(into * grid * grid, units), nn.ReLU(), nn.Dropout(),
            nn.Linear(units, units), nn.ReLU(), nn.Dropout(),
            nn.Linear(units, classes),
        )  # fmt: skip
        #: standard deviation of every level over training photographs, in the order of LEVELS
        self.register_buffer("level_std", torch.ones(len(LEVELS)))

    def pyramid_of_normalised(self, x: Tensor, deepest: str = LEVELS[-1]) -> dict[str, Tensor]:
        """Features of already normalised images (B, 3, H, W) down to a level: level -> (B, C, h, w) or (B, C)."""
        features: dict[str, Tensor] = {}
        run = self._recomputed if self.recompute else nn.Module.__call__
        for name, f in stages(self.features, x, run):
            features[name] = f
            if name == deepest:
                return features
        x = self.avgpool(f).flatten(1)
        fc7 = self.classifier[:5](x)  # fc6, ReLU, dropout, fc7, ReLU
        features["fc7"] = fc7
        features["fc8"] = self.classifier[5:](fc7)
        return features

    @staticmethod
    def _recomputed(stage: nn.Module, x: Tensor) -> Tensor:
        return recomputed(stage, x, within=stage)

    def pyramid(self, images: Tensor, deepest: str = LEVELS[-1]) -> dict[str, Tensor]:
        """The feature pyramid of images in [-1, 1], each level divided by its `level_std`.

        images: (B, 3, H, W); deepest: of the conv levels, the one to stop at, by default none.
        Returns level -> (B, C, h, w), or (B, C) for fc7 and fc8.
        """
        features = self.pyramid_of_normalised(normalise(images), deepest)
        return {name: f / self.level_std[depth(name)] for name, f in features.items()}

    def forward(self, images: Tensor) -> Tensor:
        """Class logits (B, classes) of images (B, 3, H, W) in [-1, 1]."""
        return self.pyramid_of_normalised(normalise(images))["fc8"]

    @torch.no_grad()
    def measure_level_std(self, batches) -> None:
        """Set `level_std` from batches of images in [-1, 1]: one number a level, over all its entries."""
        count, total, square = 0, torch.zeros(len(LEVELS)), torch.zeros(len(LEVELS))
        for images in batches:
            features = self.pyramid_of_normalised(normalise(images))
            count += len(images)
            for i, name in enumerate(LEVELS):
                f = features[name].double().flatten(1)
                total[i] += f.mean(1).sum().cpu()
                square[i] += f.square().mean(1).sum().cpu()
        self.level_std.copy_((square / count - (total / count) ** 2).sqrt())
