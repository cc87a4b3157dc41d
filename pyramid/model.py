"""`SemanticPyramid`: a classifier, the generator that mirrors it, and their card, as one model.

model = pyramid.load("photos64")
photo = pyramid.open_image("street.jpg", model.image_size)
images = model.generate(model.features(photo), pyramid.masks.level("conv4"), samples=4, seed=0)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyramid.checkpoints import find_model, load_weights, read_card, save_folder
from pyramid.classifier import Classifier
from pyramid.device import default_device, random_from
from pyramid.discriminator import Discriminator
from pyramid.errors import InputError
from pyramid.generator import Generator
from pyramid.judge import Judge
from pyramid.masks import Masks
from pyramid.presets import Preset, from_dict


@dataclass
class SemanticPyramid:
    """One trained model. Made by `load`; every network is in evaluation mode."""

    preset: Preset
    classes: tuple[str, ...]
    classifier: Classifier
    judge: Judge
    generator: Generator
    card: dict[str, Any]

    @property
    def image_size(self) -> int:
        """Side of the model's images in pixels."""
        return self.preset.image_size

    @property
    def device(self) -> torch.device:
        return next(self.generator.parameters()).device

    @torch.no_grad()
    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The feature pyramid F of images (B, 3, S, S) in [-1, 1]: level -> (B, C, h, w) or (B, C).

        Raises InputError for images of another size.
        """
        size = self.image_size
        if images.dim() != 4 or images.shape[1:] != (3, size, size):
            raise InputError(
                f"The model takes images of shape (B, 3, {size}, {size}), not {tuple(images.shape)}; "
                "open them with pyramid.open_image."
            )
        return self.classifier.pyramid(images.to(self.device))

    @torch.no_grad()
    def generate(
        self,
        features: dict[str, Tensor],
        masks: Masks,
        label: str | Tensor | None = None,
        samples: int = 1,
        seed: int = 0,
    ) -> Tensor:
        """Images from whichever features the masks let through: G(z, F, M) of the paper.

        Args:
            features: of B references, from `features`.
            masks: amounts per level; see `pyramid.masks`.
            label: class name, or int64 labels (B,); None takes the classifier's own guess.
            samples: images of each reference, each with its own z.
            seed: of z; the same seed gives the same images on the same machine.

        Raises InputError for fewer than one sample, a label there is not, and a number that is no seed.

        Returns: (B * samples, 3, S, S) in [-1, 1], the samples of one reference adjacent; on the CPU, where
            pictures live, while networks and features stay on the model's device.
        """
        references = len(features["fc8"])
        if samples < 1:
            raise InputError(f"At least one sample is made of a reference, not {samples}.")
        count = references * samples
        if label is None:
            labels = features["fc8"].argmax(1)
        elif isinstance(label, str):
            labels = torch.full((references,), self.label_index(label))
        else:
            labels = label
        z = self.noise(count, seed)
        at = masks.at(self.image_size, references, self.device)
        repeated = [{k: v.repeat_interleave(samples, 0) for k, v in part.items()} for part in (features, at)]
        return self.generator(*repeated, z, labels.to(self.device).repeat_interleave(samples)).cpu()

    def noise(self, count: int, seed: int) -> Tensor:
        """`count` noise vectors z, standard normal, (count, z_size); row i depends on the seed and i alone."""
        return torch.randn(count, self.generator.z_size, generator=random_from(seed)).to(self.device)

    def label_index(self, label: str) -> int:
        """Index of a class name. Raises InputError, naming the classes, where there is none."""
        if label not in self.classes:
            raise InputError(f"There is no label {label!r}; the labels are {', '.join(self.classes)}.")
        return self.classes.index(label)

    def surest(self, images: Tensor, label: str) -> int:
        """Which of the images (N, 3, H, W) the classifier most surely takes for `label`: an index.

        The rule by which the notebooks choose their references. Raises InputError for a label there is none of.
        """
        logits = torch.cat([self.features(part)["fc8"] for part in images.split(50)]) * self.classifier.level_std[-1]
        return int(logits.softmax(1)[:, self.label_index(label)].argmax())

    def guess(self, features: dict[str, Tensor], top: int = 3) -> list[list[tuple[str, float]]]:
        """The classifier's top classes with their probabilities, for every image whose `features` these are."""
        logits = features["fc8"] * self.classifier.level_std[-1]
        values, indices = logits.softmax(1).topk(min(top, len(self.classes)), 1)
        return [
            [(self.classes[i], float(v)) for v, i in zip(row_values, row_indices, strict=True)]
            for row_values, row_indices in zip(values, indices.tolist(), strict=True)
        ]

    def is_familiar(self, features: dict[str, Tensor]) -> list[bool]:
        """Whether each image resembles the training photographs, by the classifier's confidence.

        Unfamiliar is an image whose best probability lies under that of 95 % of held-out photographs
        (the card's `familiar_above`). A hint, not a guarantee.
        """
        return [row[0][1] >= self.card["familiar_above"] for row in self.guess(features, top=1)]

    @torch.no_grad()
    def judged(self, images: Tensor) -> Tensor:
        """The class that the judge names for each image (B, 3, S, S) in [-1, 1]: int64 (B,), on the CPU."""
        return self.judge(images.to(self.device)).argmax(1).cpu()


@dataclass(frozen=True)
class Release:
    """A released folder, its card read once: what it holds, network by network. Made by `open_release`."""

    folder: Path
    card: dict[str, Any]
    preset: Preset
    classes: tuple[str, ...]

    def network(self, part: str) -> nn.Module:
        """The classifier, judge, generator or discriminator, in evaluation mode, on the CPU.

        Raises InputError for a part that the folder does not hold, and for files that are missing or altered.
        """
        if part not in self.card["sha256"]:
            raise InputError(f"{self.folder} holds no {part}; train a {part} with `python -m pyramid train`.")
        preset, classes = self.preset, len(self.classes)
        makers = {
            "classifier": lambda: Classifier(classes, **preset.classifier),
            "judge": lambda: Judge(classes, preset.judge_base),
            "generator": lambda: Generator(preset, classes),
            "discriminator": lambda: Discriminator(preset, classes),
        }
        try:
            made = makers[part]()
        except (TypeError, ValueError, RuntimeError, LookupError, OverflowError, ArithmeticError):
            raise InputError(
                f"No {part} can be made from the sizes in {self.folder}/card.json; fetch the project again."
            ) from None
        load_weights(self.folder / f"{part}.safetensors", made, self.card["sha256"][part])
        return made.eval()


def open_release(name: str | Path) -> Release:
    """A released model by name, or one in a folder. Raises InputError for an unknown name or a damaged card."""
    folder = find_model(name)
    card = read_card(folder)
    return Release(folder, card, from_dict(card["preset"]), tuple(card["classes"]))


def load(name: str | Path, device: torch.device | str | None = None) -> SemanticPyramid:
    """Load a released model by name, or one in a folder; checks every file against the card's SHA-256.

    Raises InputError for an unknown name and for missing or altered files.
    """
    release = open_release(name)
    networks = {part: release.network(part) for part in ("classifier", "judge", "generator")}
    for network in networks.values():
        network.to(device or default_device(), memory_format=torch.channels_last).requires_grad_(False)
    return SemanticPyramid(release.preset, release.classes, card=release.card, **networks)


def save(folder: Path, card: dict[str, Any], **networks: torch.nn.Module) -> None:
    """Write networks in half precision and a card that names their SHA-256: all of it, or nothing.

    card: at least preset, classes and familiar_above; networks: by the names that `Release.network` knows.
    """
    save_folder(folder, card, networks)
