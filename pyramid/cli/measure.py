"""Commands that measure: evaluate, export, curve, readout, applications, people, compare, baselines, study-report."""

import argparse
import sys
from functools import partial
from pathlib import Path

import torch

from pyramid import data, figures
from pyramid.cli.options import DEFAULT_MODEL, OUTPUTS, between, count, dataset, save_measured, seed, side
from pyramid.errors import InputError
from pyramid.levels import LEVELS, check_level
from pyramid.measure import baselines as others
from pyramid.measure import comparison, levels, study, uses
from pyramid.measure import curve as curves
from pyramid.measure import export as exports
from pyramid.measure import people as crowds
from pyramid.measure import readout as readers
from pyramid.measure.extractors import Extractor, Inception
from pyramid.model import SemanticPyramid, load
from pyramid.scenes import PEOPLED, RANGES, load_photos
from pyramid.training import imagenet

MOST_IMAGES = 3000  # that evaluate measures unless told


def evaluate(args: argparse.Namespace) -> None:
    if args.statistics and args.fid is None:
        raise InputError("--statistics holds what FID is taken against; give --fid too.")
    model = load(args.model)
    photos = _held_out(args, model, streamed=True)
    if args.data and not args.against:  # of a run's own folder the held-out tenth, against the rest
        photos, training = photos.part(held_out=True), photos.part(held_out=False)
        others = "other photographs of the same folder"
    else:
        others = "training photographs"
        training = _photos_of(dataset(args.against, model.preset, "--against"), model, args.model, streamed=True)
    images = args.images or min(MOST_IMAGES, len(photos), len(training))
    wanted = {"A Fréchet distance": Extractor} | ({"FID": Inception} if args.fid is not None else {})
    for title, extractor in wanted.items():
        if images <= extractor.features:
            print(f"{title} needs more than {extractor.features} images; with {images} it is left out.")
    inception = None
    if args.fid is not None and images > Inception.features:
        try:
            inception = Inception(Path(args.fid) if args.fid else None, model.device)
        except InputError as error:  # one sentence, and the other columns
            print(error, file=sys.stderr)
    statistics = args.statistics if inception else None
    result = levels.evaluate(
        model, photos, training, images, args.side, args.seed, args.seeds, inception, others, statistics
    )
    table, figure = levels.markdown_table(result), figures.plot_level_table(result)
    save_measured(args, f"{args.side}px", result, table, figure)


def export(args: argparse.Namespace) -> None:
    model = load(args.model)
    photos = _held_out(args, model, streamed=True)
    if args.held_out:
        photos = photos.part(held_out=True)
    folder = Path(args.out or OUTPUTS / f"{Path(args.model).name}-export")
    names = args.levels.split(",")
    for path in exports.export(model, photos, args.images or len(photos), names, folder, args.seed):
        print(f"Wrote {path}")


def curve(args: argparse.Namespace) -> None:
    run = Path(args.run_folder)
    kept = curves.snapshots(run)
    model = load(run / "model")
    photos = _photos_of(dataset(args.data, model.preset, "--data"), model, args.run_folder).part(held_out=True)
    result = curves.measure(model, kept, photos, args.images, args.side, args.seed)
    args.model = run.resolve().name
    seen = torch.tensor([int(count) for count in result["rows"]])
    lines = {n: torch.tensor([row["lite0"][n] for row in result["rows"].values()]) for n in levels.ROWS}
    figure = figures.plot_lines(seen, lines, "images seen", "Fréchet distance (lite0)")
    save_measured(args, "curve", result, curves.markdown_table(result), figure)


def readout(args: argparse.Namespace) -> None:
    model = load(args.model)
    if args.vgg:
        imagenet.load_convolutions(model.classifier, args.vgg)
    photos = _photos_of(dataset(args.data, model.preset, "--data"), model, args.model)
    training, held_out = photos.part(held_out=False), photos.part(held_out=True)
    fitted = min(args.images, len(training))
    result = readers.measure(partial(_to_conv3, model), training, held_out, fitted, args.seed)
    save_measured(args, "readout", result, readers.markdown_table(result))


def _to_conv3(model: SemanticPyramid, images: torch.Tensor) -> dict[str, torch.Tensor]:
    return model.classifier.pyramid(images.to(model.device), "conv3")


def applications(args: argparse.Namespace) -> None:
    model = load(args.model)
    source = dataset(args.data, model.preset, "--data", "-test")
    world = (RANGES.get(source), source in PEOPLED)
    result = uses.measure(model, _held_out(args, model), args.images, args.seed, args.side, *world)
    save_measured(args, "applications", result, uses.markdown_table(result))


def people(args: argparse.Namespace) -> None:
    model, numbers = load(args.model), RANGES["people-test"][: args.images]
    result = crowds.measure(model, numbers, args.seed)
    figure = figures.plot_grid(crowds.examples(model, numbers, args.seed), figures.pyramid_titles())
    save_measured(args, "people", result, crowds.markdown_table(result), figure)


def compare(args: argparse.Namespace) -> None:
    model = load(args.model)
    names = [check_level(name) for name in args.levels.split(",")]
    result = comparison.compare(model, _held_out(args, model), names, args.images, args.side, args.seed)
    pictures = result.pop("pictures")
    grid = torch.stack([data.from_bytes(row) for row in pictures.values()])
    figure = figures.plot_grid(grid, rows=[name.replace(" ", "\n") for name in pictures])
    save_measured(args, "compare", result, comparison.markdown_table(result), figure)


def baselines(args: argparse.Namespace) -> None:
    model = load(args.model)
    result = others.measure(model, _held_out(args, model), args.images, args.side, args.seed)
    pictures = result.pop("pictures")
    save_measured(args, "baselines", result, others.markdown_table(result), figures.plot_blocks(pictures))


def study_report(args: argparse.Namespace) -> None:
    print(study.markdown_report(study.report(study.read_answers(args.files))))


def _held_out(args: argparse.Namespace, model: SemanticPyramid, streamed: bool = False) -> data.Labelled:
    """The photographs that --data names, or those of the preset's own world that no training saw."""
    return _photos_of(dataset(args.data, model.preset, "--data", "-test"), model, args.model, streamed)


def _photos_of(source: str, model: SemanticPyramid, name: str, streamed: bool = False) -> data.Labelled:
    """The photographs of a dataset. Raises InputError where their classes are not the model's, in its order.

    streamed: what does not fit in memory is read as it is needed, else a sample of it is loaded.
    """
    photos = load_photos(source, model.image_size, streamed=streamed)
    if tuple(photos.classes) != model.classes:
        raise InputError(
            f"The photographs of {source} have the classes {', '.join(photos.classes)}, {name} has "
            f"{', '.join(model.classes)}; give a folder with the model's classes, each with its pictures."
        )
    return photos


def add_commands(add) -> None:
    """Register this group. add: function and summary -> its parser."""
    c = add(evaluate, "measure every level over held-out photographs")
    _common(c, images=None, pixels=224, name="<side>px")
    c.add_argument(
        "--against",
        help="folder of training photographs, for the floor; without it, of a folder given with --data the held-out "
        "tenth is measured, against the rest",
    )
    c.add_argument("--seeds", type=count, default=1, help="of z, for the distances' spread (default: 1)")
    c.add_argument("--fid", nargs="?", const="", help="add FID; its Inception is fetched, or this FILE")
    c.add_argument("--statistics", type=Path, help="of FID's real photographs, an .npz: read, or written if not there")

    c = add(export, "what evaluate measures as folders of PNGs, for `python -m pytorch_fid FOLDER FOLDER`")
    c.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="released name or folder (default: %(default)s)")
    c.add_argument("--data", help="folder of held-out photographs, class by class (scenes models: scenes-test)")
    c.add_argument("--held-out", action="store_true", help="only the held-out tenth of a run's own folder")
    c.add_argument("--images", type=count, help="photographs (default: all)")
    c.add_argument("--levels", default=",".join(LEVELS), help="or closed, with commas (default: all seven)")
    c.add_argument("--seed", type=seed, default=0, help="of z, and of the order (default: 0)")
    c.add_argument(
        "--out", help="folder to write, a folder for each level and `real` (default: outputs/<model>-export)"
    )

    c = add(curve, "distances of a run's kept generators, on two extractors")
    c.add_argument("run_folder", metavar="run", help="folder of a run, with its snapshots and its model")
    c.add_argument("--data", help="the run's training photographs: their held-out tenth is used (scenes: scenes)")
    _measured(c, images=1400, pixels=160, name="curve")

    c = add(readout, "how much of a photograph a linear reader finds in the features of conv1 to conv3")
    c.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="released name or folder (default: %(default)s)")
    c.add_argument("--data", help="the model's training photographs: the held-out tenth is read (scenes: scenes)")
    c.add_argument("--vgg", type=Path, help="read these convolutions of convert-vgg instead of the model's")
    c.add_argument("--images", type=count, default=2000, help="photographs to fit the reader on (default: 2,000)")
    c.add_argument("--seed", type=seed, default=0, help="of their order (default: 0)")
    c.add_argument("--out", help="JSON file to write, beside it .md (default: outputs/<model>-readout.json)")

    c = add(applications, "measure repainting, composition, re-labelling and re-imagining")
    _common(c, 200, 160, "applications")

    c = add(people, "at which level people in the built-in world are lost, beside other things of their size")
    c.add_argument("model", help="released name or folder of a model of the built-in world")
    most = len(RANGES["people-test"])
    c.add_argument("--images", type=between(1, most), default=1000, help=f"scenes, at most {most:,} (default: 1,000)")
    c.add_argument("--seed", type=seed, default=0, help="of z (default: 0)")
    c.add_argument("--out", help="JSON file to write, beside it .md and .png (default: outputs/<model>-people.json)")

    c = add(compare, "one pass of the generator against inversion by optimisation")
    c.add_argument("--levels", default="conv1,conv3,conv4,fc7", help="with commas (default: %(default)s)")
    _common(c, 100, 160, "compare")

    c = add(baselines, "the four uses against paste, blending, inpainting, colour transfer and inversion")
    _common(c, 100, 160, "baselines")

    c = add(study_report, "confusion rates of the real/fake study, from the raters' files")
    c.add_argument("files", nargs="+", type=Path, help="answers that the study wrote (.jsonl)")


def _common(command: argparse.ArgumentParser, images: int | None, pixels: int, name: str) -> None:
    command.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, help="released name or folder (default: %(default)s)"
    )
    command.add_argument("--data", help="folder of held-out photographs, class by class (scenes models: scenes-test)")
    _measured(command, images, pixels, name)


def _measured(command: argparse.ArgumentParser, images: int | None, pixels: int, name: str) -> None:
    default = f"{images:,}" if images else f"{MOST_IMAGES:,}, or as many as there are"
    command.add_argument("--images", type=count, default=images, help=f"photographs (default: {default})")
    command.add_argument("--side", type=side, default=pixels, help="pixels for the extractor (default: %(default)s)")
    command.add_argument("--seed", type=seed, default=0, help="of z, and of the order (default: 0)")
    command.add_argument(
        "--out", help=f"JSON file to write, beside it .md and .png (default: outputs/<model>-{name}.json)"
    )
