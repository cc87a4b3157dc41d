"""Commands that train: convert-vgg, train-classifier, train."""

import argparse
from pathlib import Path

from pyramid import training
from pyramid.checkpoints import released
from pyramid.cli.options import DEFAULT_MODEL, OUTPUTS, count, dataset, positive, seed, write
from pyramid.data import Labelled
from pyramid.device import default_device
from pyramid.errors import InputError
from pyramid.model import Release, open_release
from pyramid.presets import PRESETS, TERMS, Preset, get_preset, without
from pyramid.scenes import load_photos
from pyramid.training import caffe, imagenet, ranks
from pyramid.training.provide import Plan, find_classifier, make_classifiers
from pyramid.training.record import save_model
from pyramid.training.step import check_economies, economise


def convert_vgg(args: argparse.Namespace) -> None:
    given = Path(args.archive)
    content = caffe.convert(given) if given.suffix == ".caffemodel" else imagenet.convert(given)
    default = OUTPUTS / f"{given.stem if given.suffix == '.caffemodel' else 'vgg16'}.safetensors"
    (path,) = write(Path(args.out or default), {".safetensors": content}, bool(args.out))
    print(f"Wrote {path}; give it to train with --vgg {path}")


def train_classifier(args: argparse.Namespace) -> None:
    preset = get_preset(args.preset)
    folder = Path(args.out or f"runs/{preset.name}-classifier")
    photos = load_photos(dataset(args.data, preset, "--data"), preset.image_size, streamed=True).to(default_device())
    scores = make_classifiers(preset, photos, _plan(args, preset), folder)
    print(f"Wrote {folder}: " + ", ".join(f"{name} {score:.1%}" for name, score in scores.items()))


def train(args: argparse.Namespace) -> None:
    preset = get_preset(args.preset)
    if args.without:
        preset = without(preset, args.without)
    folder = Path(args.out or f"runs/{preset.name}")
    with ranks.together():
        check_economies(preset, args.parts, args.recompute, args.compile)
        with ranks.first_before_others():
            photos, source = _begin(args, preset, folder)
        run = training.start(preset, photos, source, args.seed)
        if args.start:
            run.start_from(source)
        economise(run, args.parts, args.recompute, args.compile)
        training.train(run, folder, args.minutes, args.steps)
        save_model(run, folder / "model", source)
        if ranks.first():
            print(f'{run.images_seen:,} images; the model is in {folder / "model"}: pyramid.load("{folder / "model"}")')


def _begin(args: argparse.Namespace, preset: Preset, folder: Path) -> tuple[Labelled, Release]:
    """What a run is made of: its photographs, and the model with its classifier, made now if there is none."""
    photos = load_photos(dataset(args.data, preset, "--data"), preset.image_size, ranks.first(), streamed=True)
    if args.start or args.classifier:
        return photos, open_release(args.start or args.classifier)
    plan, mine = _plan(args, preset), photos.to(default_device())
    where = folder / "classifier" if args.out else Path(f"runs/{args.preset}-classifier")
    return photos, find_classifier(get_preset(args.preset), mine, where, plan)


def _plan(args: argparse.Namespace, preset: Preset) -> Plan:
    """Raises InputError where --vgg was given for a slim classifier.

    From what a classifier begins: --from, --vgg, or for photographs the released convolutions."""
    if args.vgg and preset.classifier_batch_norm:
        raise InputError(f"The classifier of {preset.name} is a slim one; --vgg is for the photos presets.")
    source = open_release(args.start) if args.start else None
    if not (source or args.vgg or preset.classifier_batch_norm) and DEFAULT_MODEL in released():
        release = open_release(DEFAULT_MODEL)
        source = release if release.preset.classifier_channels == preset.classifier_channels else None
    return Plan(source, args.vgg, getattr(args, "epochs", None), args.seed)


def add_commands(add) -> None:
    """Register this group. add: function and summary -> its parser."""
    c = add(convert_vgg, "turn ImageNet's or Places365's VGG-16 into safetensors, for --vgg")
    fetch = f"from `{imagenet.FETCH}` (default: %(default)s), or a VGG-16's .caffemodel"
    c.add_argument("--archive", default=imagenet.ARCHIVE, help=fetch)
    c.add_argument("--out", help="file to write (default: outputs/vgg16.safetensors, or by the .caffemodel's name)")

    c = add(train_classifier, "train the classifier and the judge on a folder of class folders")
    c.add_argument("--preset", default=DEFAULT_MODEL, help=f"one of {', '.join(PRESETS)} (default: %(default)s)")
    c.add_argument("--data", help="folder with a folder of pictures per class (scenes presets: scenes)")
    c.add_argument("--epochs", type=count, help="of what is trained as a whole (default: 16 from random weights)")
    begin = c.add_mutually_exclusive_group()
    begin.add_argument("--from", dest="start", help="begin with the networks of this model or folder")
    begin.add_argument("--vgg", type=Path, help="begin with the convolutions in a file of convert-vgg (photos presets)")
    c.add_argument("--seed", type=seed, default=0, help="(default: 0)")
    c.add_argument("--out", help="folder to write (default: runs/<preset>-classifier)")

    c = add(train, "train a generator; Ctrl-C saves, the same command goes on")
    c.add_argument("preset", help=f"one of {', '.join(PRESETS)}")
    c.add_argument("--data", help="folder with a folder per class, or one flat folder (scenes presets: scenes)")
    begin = c.add_mutually_exclusive_group()
    begin.add_argument("--classifier", help="model or folder with the classifier (default: released, or made first)")
    begin.add_argument("--from", dest="start", help="begin with the weights of this model or folder")
    c.add_argument("--without", choices=TERMS, metavar="TERM", help="leave a term out, of docs/replication.md")
    begin.add_argument("--vgg", type=Path, help="make the classifier first, from a file of convert-vgg")
    c.add_argument("--minutes", type=positive, help="stop after so many minutes of the generator's training")
    c.add_argument("--steps", type=count, help="stop at so many steps in all")
    c.add_argument("--parts", type=count, default=1, help="go through a batch in so many parts: less memory")
    c.add_argument("--recompute", action="store_true", help="keep no inner maps for the way back: less memory")
    c.add_argument("--compile", action="store_true", help="fuse with torch.compile")
    c.add_argument("--seed", type=seed, default=0, help="(default: 0)")
    c.add_argument("--out", help="folder of the run (default: runs/<preset>)")
