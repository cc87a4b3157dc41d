"""The judge: a second classifier, for a second opinion in every measure of class agreement.

A small residual network (He et al. 2016). It has another architecture than the feature pyramid's classifier,
other random weights, and no part in any generator's training. A released model brings it along.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from pyramid.classifier import normalise


class Judge(nn.Module):
    """Names the class of an image. Args: classes: how many there are; base: channels of its first stage."""

    def __init__(self, classes: int, base: int = 24):
        super().__init__()
        self.classes, self.base = classes, base
        self.stem = nn.Conv2d(3, base, 5, stride=2, padding=2, bias=False)
        widths = (base, 2 * base, 4 * base, 8 * base)
        blocks, channels = [], base
        for out in widths:
            blocks.append(JudgeBlock(channels, out, stride=1 if out == base else 2))
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class logits (B, classes) of images (B, 3, H, W) in [-1, 1]."""
        return self.head(F.dropout(self.summary(images), 0.2, self.training))

    def summary(self, images: Tensor) -> Tensor:
        """What the class is read from, (B, 8 * base), of images (B, 3, H, W) in [-1, 1]."""
        x = self.stem(normalise(images))
        return F.relu(self.norm(self.blocks(x))).mean((2, 3))


class JudgeBlock(nn.Module):
    """Pre-activation residual block: norm, ReLU, convolution, twice; 1x1 skip where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        same = channels == out and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(x))
        h = self.conv2(F.relu(self.norm2(self.conv1(h))))
        return self.skip(x) + h
