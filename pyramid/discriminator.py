"""The discriminator: a projection discriminator on pixels, and small heads on frozen features beside it.

Projection (Miyato & Koyama 2018): the score of an image under class y is psi(phi(x)) + <embed(y), phi(x)>.
The pixel network keeps the layout: a linear layer reads its 4x4 map, and a score per patch at 8x8 stands
beside the score of the whole. The heads (ours, after Projected GANs, Sauer et al. 2021) score three levels
of the frozen classifier; they share its blind spots and never replace the pixel network.

Images come in pairs, rows 2i and 2i + 1, of one class: how far two images of a pair differ is a further
channel of the deep maps (after the minibatch standard deviation of Karras et al. 2018, in groups of two), so
that a generator with one layout for all images of a class is found out.

What is called labels here is with `Preset.told_level` one number for a label and the level that was drawn,
`level * classes + label`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyramid.layers import DownBlock, SelfAttention, conv, normalise_spectrally
from pyramid.levels import LEVELS
from pyramid.presets import Preset

HEAD_LEVELS = ("conv2", "conv3", "conv4")
DRAWS = len(LEVELS) + 2  # what may have been open: one level, none, several
SUMMARY = 256  # numbers that sum up the 4x4 map
#: factor behind every normalised block and layer of the pixel network, not within a block: with largest singular value
#: 1 the signal fades to a fiftieth on its way, and the gradient with it (Lin et al. 2021, "Why Spectral Normalization
#: Stabilizes GANs")
GAIN = 1.6


def with_difference(x: Tensor) -> Tensor:
    """Append the pair's mean absolute difference at each position. (B, C, h, w) -> (B, C + 1, h, w), B even."""
    difference = (x[0::2] - x[1::2]).abs().mean(1, keepdim=True)  # (B/2, 1, h, w)
    return torch.cat([x, difference.repeat_interleave(2, 0)], 1)


class PixelDiscriminator(nn.Module):
    """Scores of an image under a class: one for the whole (B, 1), and one a patch (B, 64)."""

    def __init__(self, preset: Preset, classes: int):
        super().__init__()
        told = preset.told_level
        widths = preset.discriminator_channels
        self.entry = conv(3 * 4, widths[0])
        side = preset.image_size // 2
        layers: list[nn.Module] = []
        for channels, out in zip(widths, widths[1:], strict=False):
            if side == preset.attention_side:
                layers.append(SelfAttention(channels))
            layers.append(DownBlock(channels, out, GAIN))
            side //= 2
        self.shallow, self.deep = nn.Sequential(*layers[:-1]), layers[-1]  # … 8x8, 4x4
        self.patch = Projection(widths[-2], classes, told)
        self.narrow = conv(widths[-1] + 1, 64)
        self.summary = nn.Linear(64 * side**2, SUMMARY)
        self.whole = Projection(SUMMARY, classes, told)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """images: (B, 3, S, S) in [-1, 1], pairs of one class adjacent; labels: int64 (B,)."""
        x = GAIN * self.entry(F.pixel_unshuffle(images, 2))  # (B, C, S/2, S/2)
        x = self.shallow(x)  # (B, C, 8, 8)
        patches = GAIN * self.patch(F.relu(x), labels)  # (B, 64)
        x = GAIN * F.relu(self.narrow(with_difference(F.relu(self.deep(x)))))  # (B, 64, 4, 4)
        x = GAIN * F.relu(self.summary(x.flatten(1)))  # (B, SUMMARY)
        return GAIN * self.whole(x[..., None, None], labels), patches


class Projection(nn.Module):
    """psi(phi) + <embed(y), phi> at every position. (B, C, h, w), (B,) -> (B, h * w).

    told: of the level beside the label, see `Preset.told_level`. "paired": each pair of them has a vector. "summed":
    each label and each level has one, and they are added, so that what a label looks like is learnt from all levels.
    """

    def __init__(self, channels: int, classes: int, told: str):
        super().__init__()
        self.classes, self.told = classes, told
        self.psi = conv(channels, 1, 1)
        self.embedding = nn.Embedding(classes * DRAWS if told == "paired" else classes, channels)
        if told == "summed":
            self.of_level = nn.Embedding(DRAWS, channels)
        for table in [m for m in self.children() if isinstance(m, nn.Embedding)]:
            nn.init.normal_(table.weight, std=channels**-0.5)

    def embed(self, labels: Tensor) -> Tensor:
        """(B,) -> (B, C)."""
        if self.told == "summed":
            return self.embedding(labels % self.classes) + self.of_level(labels // self.classes)
        return self.embedding(labels)

    def forward(self, phi: Tensor, labels: Tensor) -> Tensor:
        projected = (phi * self.embed(labels)[..., None, None]).sum(1, keepdim=True)
        return (self.psi(phi) + projected).flatten(1)


class FeatureHead(nn.Module):
    """Scores the positions of one frozen level. (B, C, h, w), (B,) -> (B, h * w)."""

    def __init__(self, channels: int, width: int, classes: int, told: str):
        super().__init__()
        self.conv1 = conv(channels + 1, width)
        self.conv2 = conv(width, width)
        self.score = Projection(width, classes, told)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        h = F.leaky_relu(self.conv1(with_difference(features)), 0.2)
        return self.score(F.leaky_relu(self.conv2(h), 0.2), labels)


class Discriminator(nn.Module):
    """The pixel discriminator, and the feature heads, which read the classifier's pyramid."""

    def __init__(self, preset: Preset, classes: int):
        super().__init__()
        table = preset.shapes(classes)
        self.pixels = PixelDiscriminator(preset, classes)
        self.heads = nn.ModuleDict(
            {
                name: FeatureHead(table[name][0], preset.head_channels, classes, preset.told_level)
                for name in HEAD_LEVELS
            }
        )
        normalise_spectrally(self)

    def forward_heads(self, features: dict[str, Tensor], labels: Tensor) -> list[Tensor]:
        """Scores (B, positions) of each head, from the classifier's pyramid."""
        return [head(features[name], labels) for name, head in self.heads.items()]
