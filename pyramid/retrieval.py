"""Finding the reference among other photographs, as a loss (ours): what keeps a sample that of one photograph.

The reconstruction is nearly satisfied by what all references of a class share; at the deep levels a generator
that learns from it alone draws the class and forgets the photograph.
"""

import torch
from torch import Tensor

from pyramid import losses
from pyramid.classifier import Classifier
from pyramid.data import Photos, from_bytes
from pyramid.device import autocast
from pyramid.levels import LEVELS

CLASS_LEVEL = "fc8"  # says the class above all: there a photograph is found by what sets it apart from its class
OTHERS = 1024  # photographs among which a reference must be found


class Gallery:
    """The training photographs' features at the levels that have a weight, in half precision: level -> (N, D)."""

    @torch.no_grad()
    def __init__(self, classifier: Classifier, photos: Photos, weights: tuple[float, ...]):
        """classifier: frozen, on the device of the photographs; weights: in the order of LEVELS."""
        self.labels = photos.labels
        self.weights = {name: weight for name, weight in zip(LEVELS, weights, strict=True) if weight}
        parts: dict[str, list[Tensor]] = {name: [] for name in {*self.weights, CLASS_LEVEL}}
        for pixels in photos.images.split(256):
            with autocast(pixels.device):
                features = classifier.pyramid(from_bytes(pixels))
            for name, part in parts.items():
                part.append(features[name].flatten(1).half())
        self.features = {name: torch.cat(part) for name, part in parts.items()}
        last = self.features[CLASS_LEVEL].float()
        groups = [last[self.labels == c] for c in range(len(photos.classes))]
        #: of fc8 over the photographs of each class, (K, K); a class of one or none has mean 0 and deviation 1
        self.class_mean = torch.stack([g.mean(0) if len(g) > 1 else torch.zeros_like(last[0]) for g in groups])
        self.class_std = torch.stack([g.std(0) if len(g) > 1 else torch.ones_like(last[0]) for g in groups])

    def draw(self, generator: torch.Generator) -> Tensor:
        """Indices of OTHERS photographs, int64."""
        return torch.randint(len(self.labels), (OTHERS,), generator=generator).to(self.labels.device)

    def loss(self, again: dict[str, Tensor], features: dict[str, Tensor], batch: dict) -> Tensor:
        """`losses.retrieval` of the samples that had a level alone, times its weight; mean over the batch.

        again, features: level -> (B, …) of the generated images and of their references; batch: of `Run.draw`.
        """
        level, total = batch["level"].repeat(2), again[CLASS_LEVEL].new_zeros(())
        for name, weight in self.weights.items():
            alone = (level == LEVELS.index(name)) & (batch["masks"]["conv1"].amax((1, 2, 3)) == 0)
            made, own = again[name].float().flatten(1), features[name].flatten(1)  # (B, D)
            others = self.features[name][batch["gallery"]].float()  # (OTHERS, D)
            if name == CLASS_LEVEL:
                mean = self.class_mean[batch["real_labels"]].repeat(2, 1)  # (B, K)
                others = others - self.class_mean[self.labels[batch["gallery"]]]
                near = losses.retrieval(made - mean, own - mean, others, temperature=0.1)
            else:
                near = losses.retrieval(made, own, others)  # (B,)
            total = total + weight * (near * alone * batch["scale"]).mean()
        return total
