"""Commands that train: train-classifier, train."""

import argparse
from pathlib import Path

from pyramid import training
from pyramid.classifier import Classifier
from pyramid.cli.options import DEFAULT_MODEL, count, dataset, positive
from pyramid.device import default_device, seeded
from pyramid.judge import Judge
from pyramid.model import open_release, save
from pyramid.presets import PRESETS, TERMS, get_preset, without
from pyramid.scenes import load_photos
from pyramid.training.classifiers import familiarity_threshold, train_supervised
from pyramid.training.record import save_model


def train_classifier(args: argparse.Namespace) -> None:
    preset = get_preset(args.preset)
    folder = Path(args.out or f"runs/{preset.name}-classifier")
    photos = load_photos(dataset(args.data, preset, "--data"), preset.image_size).to(default_device())
    classes = len(photos.classes)
    with seeded(args.seed):
        networks = {
            "classifier": Classifier(classes, preset.image_size, preset.classifier_width),
            "judge": Judge(classes, preset.judge_base),
        }
    if args.start:
        networks = {name: open_release(args.start).network(name) for name in networks}
    scores = {
        name: train_supervised(network, photos, folder / f"{name}.pt", args.epochs, args.seed + i)
        for i, (name, network) in enumerate(networks.items())
    }
    card = {
        "preset": preset.asdict(),
        "classes": photos.classes,
        "held_out_accuracy": scores,
        "familiar_above": familiarity_threshold(networks["classifier"], photos.part(held_out=True)),
    }
    save(folder, card, **networks)
    print(f"Wrote {folder}: " + ", ".join(f"{name} {score:.1%}" for name, score in scores.items()))


def train(args: argparse.Namespace) -> None:
    preset = get_preset(args.preset)
    if args.without:
        preset = without(preset, args.without)
    folder = Path(args.out or f"runs/{preset.name}")
    source = open_release(args.start or args.classifier or args.preset)
    photos = load_photos(dataset(args.data, preset, "--data"), preset.image_size)
    run = training.start(preset, photos, source, args.seed, args.vgg)
    if args.start:
        run.start_from(source)
    training.train(run, folder, args.minutes, args.steps)
    save_model(run, folder / "model", source)
    print(f'{run.images_seen:,} images; the model is in {folder / "model"}: pyramid.load("{folder / "model"}")')


def add_commands(add) -> None:
    """Register this group. add: function and summary -> its parser."""
    c = add(train_classifier, "train the slim VGG-16 and the judge on a folder of class folders")
    c.add_argument("--preset", default=DEFAULT_MODEL, help=f"one of {', '.join(PRESETS)} (default: %(default)s)")
    c.add_argument("--data", help="folder with a folder of pictures per class (scenes presets: scenes)")
    c.add_argument("--epochs", type=count, default=16, help="(default: 16)")
    c.add_argument("--from", dest="start", help="begin with the classifiers of this model or folder")
    c.add_argument("--seed", type=int, default=0, help="(default: 0)")
    c.add_argument("--out", help="folder to write (default: runs/<preset>-classifier)")

    c = add(train, "train a generator; Ctrl-C saves, the same command goes on")
    c.add_argument("preset", help=f"one of {', '.join(PRESETS)}")
    c.add_argument("--data", help="folder with a folder per class, or one flat folder (scenes presets: scenes)")
    c.add_argument("--classifier", help="model or folder with the classifier (default: the preset's release)")
    c.add_argument("--from", dest="start", help="begin with the weights of this model or folder")
    c.add_argument("--without", choices=TERMS, metavar="TERM", help=f"leave a term out, one of {', '.join(TERMS)}")
    c.add_argument("--vgg", type=Path, help="safetensors with VGG-16's ImageNet weights (default: download)")
    c.add_argument("--minutes", type=positive, help="stop after so many minutes")
    c.add_argument("--steps", type=count, help="stop at so many steps in all")
    c.add_argument("--seed", type=int, default=0, help="(default: 0)")
    c.add_argument("--out", help="folder of the run (default: runs/<preset>)")
