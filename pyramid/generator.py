"""The generator: VGG-16 mirrored, with the masked features added at every level (paper, section 3).

    G_i(x) = ResBlock(x) + Conv(m_i * f_i)

from the deep end, where z enters, to the pixels; linear layers in place of convolutions at fc7 and fc8.
Ours: where a level is open, what the deeper blocks made of it passes only through a gate, one learnt number a
channel; and how far each of the seven levels is open stands beside z and label in the condition of every batch
norm, so that a deep block knows whether what it imagines will be seen. The mask itself is a further input channel
of the convolution, so that "closed" and "zero" differ; so is noise where the mask is closed: what is not given is
left to chance. And fc8 comes in as what sets the reference apart from its label's photographs: the label says the
rest, and beside it that part is too small to be learnt from; where the classifier doubts the label, the label holds.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyramid.layers import ConditionalBatchNorm, ResBlock, SelfAttention, VectorBlock, conv, recomputed
from pyramid.levels import CONV_LEVELS, FC_LEVELS, LEVELS
from pyramid.presets import Preset

CLASS_EMBEDDING = 64  # numbers
KEEP = -1.0  # of every gate before the sigmoid, at the start: 0.27 of a channel is kept where its level is open
WITHIN = 8.0  # standard deviations by which fc8 differs from its label's mean at most; few photographs give poor ones
NOISE_CHANNELS = {"conv5": 0, "conv4": 8, "conv3": 4, "conv2": 2, "conv1": 1}


def noise_shapes(preset: Preset) -> dict[str, tuple[int, int, int]]:
    """Shape (C, h, w) of the part of z that is a map of noise at each conv level."""
    table = preset.shapes(classes=1)
    return {name: (count, *table[name][1:]) for name, count in NOISE_CHANNELS.items()}


def z_size(preset: Preset) -> int:
    """Numbers in a noise vector: `global_z` for the whole image, then the noise maps, deep to fine."""
    return preset.global_z + sum(c * h * w for c, h, w in noise_shapes(preset).values())


class Generator(nn.Module):
    """Images from masked features, z and a class label.

    Args:
        preset: sizes; `generator_channels` lists vector, conv5, …, conv1, full size.
        classes: number of labels, also the units of fc8.

    With `recompute` set, the way back computes each level's inner maps anew instead of keeping them, see
    `layers.recomputed`.
    """

    recompute = False

    def __init__(self, preset: Preset, classes: int):
        super().__init__()
        self.global_z, self.noise = preset.global_z, noise_shapes(preset)
        self.z_size = z_size(preset)
        self.embedding = nn.Embedding(classes, CLASS_EMBEDDING)
        #: mean and standard deviation of fc8 over each label's photographs, see `measure_labels`: (K, K), rows labels
        self.register_buffer("class_mean", torch.zeros(classes, classes))
        self.register_buffer("class_std", torch.ones(classes, classes))
        entry = preset.global_z + CLASS_EMBEDDING
        condition = entry + len(LEVELS)
        table = preset.shapes(classes)
        units, *widths, last = preset.generator_channels

        self.entry = nn.Linear(entry, units)
        self.blocks, self.inject, self.attention = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.keep = nn.ParameterDict()
        for name in reversed(FC_LEVELS):  # fc8, fc7
            self.blocks[name] = VectorBlock(units, condition)
            self.inject[name] = nn.Linear(table[name][0] + 1, units)
        self.grid = table["conv5"][1]
        self.unfold = nn.Linear(units, widths[0] * self.grid**2)
        channels = widths[0]
        for name, out in zip(reversed(CONV_LEVELS), widths, strict=True):  # conv5 … conv1
            self.blocks[name] = ResBlock(channels, out, condition, up=name != "conv5")
            self.inject[name] = conv(table[name][0] + 1 + NOISE_CHANNELS[name], out)
            if table[name][1] == preset.attention_side:
                self.attention[name] = SelfAttention(out)
            channels = out
        self.last = ResBlock(channels, last, condition, up=True)
        self.norm = ConditionalBatchNorm(last, condition)
        self.to_rgb = conv(last, 3)
        for name in self.blocks:
            width = len(self.inject[name].bias)
            self.keep[name] = nn.Parameter(torch.full((width,) if name in FC_LEVELS else (width, 1, 1), KEEP))

    def forward(self, features: dict[str, Tensor], masks: dict[str, Tensor], z: Tensor, labels: Tensor) -> Tensor:
        """Generate images.

        Args:
            features: level -> (B, C, h, w) or (B, C), as `Classifier.pyramid` gives them.
            masks: level -> (B, 1, h, w) or (B, 1) in [0, 1], as `Masks.at` gives them.
            z: (B, z_size), standard normal.
            labels: int64 (B,).

        Returns: images (B, 3, H, W) in [-1, 1].
        """
        whole, *maps = z.split([self.global_z, *(c * h * w for c, h, w in self.noise.values())], 1)
        noise = {name: n.unflatten(1, shape) for (name, shape), n in zip(self.noise.items(), maps, strict=True)}
        c = torch.cat([whole, self.embedding(labels)], 1)
        x = self.entry(c)  # (B, units)
        amounts = [masks[name].flatten(1).mean(1, keepdim=True) for name in LEVELS]
        c = torch.cat([c, *amounts], 1)  # (B, condition)
        for name in self.blocks:  # fc8, fc7, conv5, …, conv1
            if name == "conv5":
                x = self.unfold(x).unflatten(1, (-1, self.grid, self.grid))  # (B, C, S/32, S/32)
            f = self.within_class(features[name], labels) if name == "fc8" else features[name]
            x = self._pass(partial(self.level, name), x, c, f, masks[name], noise.get(name))
        return torch.tanh(self._pass(self._to_pixels, x, c).float())

    def _pass(self, work: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        return recomputed(work, *inputs, within=self) if self.recompute else work(*inputs)

    def level(self, name: str, x: Tensor, c: Tensor, f: Tensor, m: Tensor, noise: Tensor | None) -> Tensor:
        """G_i. x: what the deeper levels made; c: (B, condition); f, m, noise: the level's own, as in `forward`."""
        given = [m * f, m]
        if noise is not None:
            given.append((1 - m) * noise)
        x = self.blocks[name](x, c) * (1 - m * (1 - torch.sigmoid(self.keep[name])))
        x = x + self.inject[name](torch.cat(given, 1))
        return self.attention[name](x) if name in self.attention else x

    def _to_pixels(self, x: Tensor, c: Tensor) -> Tensor:
        x = self.last(x, c)  # (B, last, S, S)
        return self.to_rgb(F.relu(self.norm(x, c)))  # (B, 3, S, S)

    @torch.no_grad()
    def measure_labels(self, fc8: Tensor, labels: Tensor) -> None:
        """Set what `within_class` goes by, from the training photographs' fc8 (N, K) and their labels (N,).

        A label of one photograph or none keeps mean 0 and standard deviation 1.
        """
        for label in range(len(self.class_mean)):
            group = fc8[labels == label]
            if len(group) > 1:
                self.class_mean[label] = group.mean(0)
                self.class_std[label] = group.std(0).clamp(min=1e-3)

    def within_class(self, fc8: Tensor, labels: Tensor) -> Tensor:
        """How fc8 (B, K) differs from its label's mean, in standard deviations, as far as it speaks for that label.

        With p the softmax's share of the label, of fc8 over that of the label's mean and at most 1, it is p^2 times
        the difference: all of it where the classifier is as sure of the label as of its photographs on average, nothing
        under a label that is not the reference's. (B, K), within ±WITHIN.
        """
        mean = self.class_mean[labels]  # (B, K)
        share, usual = (f.softmax(1).gather(1, labels[:, None]) for f in (fc8, mean))  # (B, 1)
        within = (fc8 - mean) / self.class_std[labels] * (share / usual).clamp(max=1).square()
        return within.clamp(-WITHIN, WITHIN)
