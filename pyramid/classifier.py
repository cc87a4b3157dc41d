"""VGG-16 as a feature pyramid, full and slim (paper, section 3 and figure 2).

Very Deep Convolutional Networks (Simonyan & Zisserman 2015), configuration D. At width 1 the modules
and their parameter names are torchvision's `vgg16`, so its state dict loads as it is. The slim
classifier (width 0.25, batch norm) is trained here by `python -m pyramid train-classifier`.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16

from pyramid.errors import InputError
from pyramid.levels import CHANNELS, CONV_LEVELS, CONVOLUTIONS, FC_UNITS, LEVELS, depth

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB, of images in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """Images in [-1, 1] to what every classifier here expects: RGB, ImageNet mean 0, standard deviation 1.

    The one place of the project where input is normalised. images: (B, 3, H, W).
    """
    mean = images.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = images.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return ((images + 1) / 2 - mean) / std


def stages(layers: nn.Sequential, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Walk VGG-16's convolutions: (level, its features) after each stage's max-pool. x: normalised (B, 3, H, W)."""
    names = iter(CONV_LEVELS)
    for layer in layers:
        x = layer(x)
        if isinstance(layer, nn.MaxPool2d):
            yield next(names), x


class Classifier(nn.Module):
    """VGG-16 with a width factor; its stages C_1 … C_N are the paper's feature pyramid (section 3).

    Args:
        classes: units of fc8.
        image_size: side of its images in pixels, a multiple of 32; 224 for torchvision's weights.
        width: factor on every channel count.
        batch_norm: put a batch norm behind every convolution, as torchvision's `vgg16_bn` does.
    """

    def __init__(self, classes: int, image_size: int = 64, width: float = 0.25, batch_norm: bool = True):
        super().__init__()
        self.classes, self.image_size, self.width = classes, image_size, width
        layers: list[nn.Module] = []
        channels = 3
        for name in CONV_LEVELS:
            out = int(CHANNELS[name] * width)
            for _ in range(CONVOLUTIONS[name]):
                layers.append(nn.Conv2d(channels, out, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(out))
                layers.append(nn.ReLU())  # never in place: a captured map must not change later
                channels = out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        grid, units = image_size // 32, int(FC_UNITS * width)
        self.avgpool = nn.AdaptiveAvgPool2d(grid)  # the identity at image_size
        self.classifier = nn.Sequential(
            nn.Linear(channels * grid * grid, units), nn.ReLU(), nn.Dropout(),
            nn.Linear(units, units), nn.ReLU(), nn.Dropout(),
            nn.Linear(units, classes),
        )  # fmt: skip
        #: standard deviation of every level over training photographs, in the order of LEVELS
        self.register_buffer("level_std", torch.ones(len(LEVELS)))

    def pyramid_of_normalised(self, x: Tensor, deepest: str = LEVELS[-1]) -> dict[str, Tensor]:
        """Features of already normalised images (B, 3, H, W) down to a level: level -> (B, C, h, w) or (B, C)."""
        features: dict[str, Tensor] = {}
        for name, f in stages(self.features, x):
            features[name] = f
            if name == deepest:
                return features
        x = self.avgpool(f).flatten(1)
        fc7 = self.classifier[:5](x)  # fc6, ReLU, dropout, fc7, ReLU
        features["fc7"] = fc7
        features["fc8"] = self.classifier[5:](fc7)
        return features

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


class FrozenStages(nn.Module):
    """The stages of a classifier up to conv4's max-pool, for the discriminator's feature heads.

    Its parameters take no gradient; the images do.
    """

    def __init__(self, classifier: Classifier):
        super().__init__()
        pools = [i for i, layer in enumerate(classifier.features) if isinstance(layer, nn.MaxPool2d)]
        self.features = classifier.features[: pools[3] + 1]
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """conv1 … conv4 of images (B, 3, H, W) in [-1, 1], not divided by any standard deviation."""
        return dict(stages(self.features, normalise(images)))


def imagenet_vgg16(path: Path | None = None) -> Classifier:
    """Full VGG-16 with torchvision's ImageNet weights, downloaded once, or its convolutions from a file.

    Args:
        path: safetensors with torchvision's names, at least `features.*`; None downloads (528 MB).

    Raises InputError where the weights can neither be fetched nor read.
    """
    model = Classifier(classes=1000, image_size=224, width=1.0, batch_norm=False)
    try:
        state = vgg16(weights=VGG16_Weights.IMAGENET1K_V1).state_dict() if path is None else load_file(path)
        model.features.load_state_dict(
            {name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")}
        )
    except Exception as error:
        where = f"read from {path}" if path else "downloaded"
        raise InputError(
            f"VGG-16's ImageNet weights could not be {where} ({type(error).__name__}); give a safetensors file "
            "with --vgg, or train a preset whose heads read the slim classifier."
        ) from None
    return model
