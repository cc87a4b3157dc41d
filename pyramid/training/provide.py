"""The classifier and the judge of a run: found, or made before the generator's training begins."""

from dataclasses import dataclass
from pathlib import Path

from pyramid.checkpoints import locked, read_card, released
from pyramid.classifier import Classifier
from pyramid.data import Labelled
from pyramid.device import seeded
from pyramid.errors import InputError
from pyramid.judge import Judge
from pyramid.model import Release, open_release, save
from pyramid.presets import Preset
from pyramid.training import imagenet
from pyramid.training.classifiers import (
    FINE_TUNING,
    FROM_RANDOM,
    familiarity_threshold,
    train_head,
    train_supervised,
)

FINE_TUNING_EPOCHS = 5  # of all layers behind ImageNet's convolutions and a fitted head
EPOCHS = 16  # of a judge, or slim classifier, that begins with random weights
EPOCHS_MORE = 3  # of one that begins with trained ones
KEPT_OF = "photos64"  # whose first stages a classifier may have


@dataclass(frozen=True)
class Plan:
    """How a classifier and its judge are made; see `make_classifiers`."""

    source: Release | None = None  # begin with this release's networks
    vgg: Path | None = None  # else with VGG-16's ImageNet convolutions in this file; None downloads them
    epochs: int | None = None  # of everything that is trained as a whole; None takes the constants above
    seed: int = 0


def make_classifiers(preset: Preset, photos: Labelled, plan: Plan, folder: Path) -> dict[str, float]:
    """Train the classifier and the judge on nine tenths of `photos`; save them as a folder that `open_release` takes.

    A preset with batch norm in its classifier has a slim one, trained as a whole. One without has VGG-16's own
    layers: from a source the convolutions stay as they are and the fully connected layers alone are fitted, in
    minutes; from ImageNet's, everything is fine-tuned behind that. A run that was cut short goes on from the
    checkpoints in `folder`.

    Returns the accuracy of each on the held-out tenth. Raises InputError where a source does not fit.
    """
    photos.check_trainable()
    _check_data(folder, photos)
    with seeded(plan.seed):
        networks = {
            "classifier": Classifier(len(photos.classes), **preset.classifier),
            "judge": Judge(len(photos.classes), preset.judge_base),
        }
    if preset.classifier_kept:
        keep_stages(networks["classifier"], open_release(KEPT_OF).network("classifier"))
    if plan.source:
        for part, network in networks.items():
            begin_with(network, plan.source, part)
    with locked(folder):
        scores = _train(networks, preset, photos, plan, folder)
    card = {
        "preset": preset.asdict(),
        "classes": photos.classes,
        "data": photos.fingerprint,
        "held_out_accuracy": scores,
        "familiar_above": familiarity_threshold(networks["classifier"], photos.part(held_out=True)),
    }
    save(folder, card, **networks)
    return scores


def _train(networks: dict, preset: Preset, photos: Labelled, plan: Plan, folder: Path) -> dict[str, float]:
    """The classifier, then the judge; returns their accuracies on the held-out tenth."""
    epochs = plan.epochs or (EPOCHS_MORE if plan.source else EPOCHS)

    def whole(part: str, epochs: int, peak_rate: float = FROM_RANDOM) -> float:
        seed = plan.seed + list(networks).index(part)
        return train_supervised(networks[part], photos, folder / f"{part}.pt", epochs, seed, peak_rate=peak_rate)

    if preset.classifier_batch_norm:
        scores = {"classifier": whole("classifier", epochs)}
    elif plan.source:
        scores = {"classifier": train_head(networks["classifier"], photos, plan.seed)}
    else:
        if not (folder / "classifier.pt").is_file():
            imagenet.load_convolutions(networks["classifier"], plan.vgg)
            train_head(networks["classifier"], photos, plan.seed)
        scores = {"classifier": whole("classifier", plan.epochs or FINE_TUNING_EPOCHS, FINE_TUNING)}
    scores["judge"] = whole("judge", epochs)
    return scores


def _check_data(folder: Path, photos: Labelled) -> None:
    """Raises InputError where `folder` has the classifier of other photographs: it stays as it is."""
    if (folder / "card.json").is_file() and read_card(folder).get("data") != photos.fingerprint:
        raise InputError(f"{folder} has the classifier of other photographs; give another folder with --out.")


def begin_with(network: Classifier | Judge, source: Release, part: str) -> None:
    """Take over a release's weights of `part`; layers that go by classes or image size begin anew where these differ.

    Raises InputError where the others do not fit.
    """
    own, given = network.state_dict(), source.network(part).state_dict()
    fits = {name: name in given and given[name].shape == value.shape for name, value in own.items()}
    if not all(fit for name, fit in fits.items() if not name.startswith(("classifier.", "head."))):
        raise InputError(
            f"The {part} of {source.folder} has other layers than this preset's; leave --from out, or name a model "
            "of this preset."
        )
    network.load_state_dict({name: given[name] if fits[name] else value for name, value in own.items()})


def keep_stages(network: Classifier, source: Classifier) -> None:
    """Take over the stages that a classifier has of another and keeps: those whose weights are not trained."""
    given = source.state_dict()
    for name, value in network.named_parameters():
        if not value.requires_grad:
            value.data.copy_(given[name])


def find_classifier(preset: Preset, photos: Labelled, folder: Path, plan: Plan) -> Release:
    """The classifier of a run: made in `folder` earlier, else the preset's released one, else made there now.

    A file of ImageNet's convolutions in the plan asks for one of its own, made from them.
    """
    _check_data(folder, photos)
    if not (folder / "card.json").is_file():
        if not plan.vgg and preset.name in released():
            release = open_release(preset.name)
            if release.classes == tuple(photos.classes) and release.preset.classifier == preset.classifier:
                return release
        make_classifiers(preset, photos, plan, folder)
    return open_release(folder)
