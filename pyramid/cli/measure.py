"""Commands that measure: evaluate, curve, applications, compare, baselines, study-report."""

import argparse
import sys
from pathlib import Path

import torch

from pyramid import data, figures
from pyramid.cli.options import DEFAULT_MODEL, count, dataset, save_figure, save_measured
from pyramid.errors import InputError
from pyramid.levels import check_level
from pyramid.measure import baselines as others
from pyramid.measure import comparison, levels, study, uses
from pyramid.measure import curve as curves
from pyramid.measure.extractors import Inception
from pyramid.model import SemanticPyramid, load
from pyramid.scenes import RANGES, load_photos


def evaluate(args: argparse.Namespace) -> None:
    model = load(args.model)
    photos = _held_out(args, model)
    training = load_photos(dataset(args.against, model.preset, "--against"), model.image_size)
    if photos.classes != model.classes:
        raise InputError(f"The photographs have other classes than {args.model}: {', '.join(model.classes)}.")
    inception = None
    if args.fid is not None:
        try:
            inception = Inception(Path(args.fid) if args.fid else None, model.device)
        except InputError as error:  # one sentence, and the other columns
            print(error, file=sys.stderr)
    result = levels.evaluate(model, photos, training, args.images, args.side, args.seed, args.seeds, inception)
    path = save_measured(args, f"{args.side}px", result, levels.markdown_table(result))
    save_figure(figures.plot_level_table(result), path.with_suffix(".png"))


def curve(args: argparse.Namespace) -> None:
    run = Path(args.run_folder)
    kept = curves.snapshots(run)
    model = load(run / "model")
    photos = load_photos(dataset(args.data, model.preset, "--data"), model.image_size).part(held_out=True)
    result = curves.measure(model, kept, photos, args.images, args.side, args.seed)
    args.model = run.name
    path = save_measured(args, "curve", result, curves.markdown_table(result))
    seen = torch.tensor([int(count) for count in result["rows"]])
    lines = {n: torch.tensor([row["lite0"][n] for row in result["rows"].values()]) for n in levels.ROWS}
    figure = figures.plot_lines(seen, lines, "images seen", "Fréchet distance (lite0)")
    save_figure(figure, path.with_suffix(".png"))


def applications(args: argparse.Namespace) -> None:
    model = load(args.model)
    numbers = RANGES.get(dataset(args.data, model.preset, "--data", "-test"))
    result = uses.measure(model, _held_out(args, model), args.images, args.seed, args.side, numbers)
    save_measured(args, "applications", result, uses.markdown_table(result))


def compare(args: argparse.Namespace) -> None:
    model = load(args.model)
    names = [check_level(name) for name in args.levels.split(",")]
    result = comparison.compare(model, _held_out(args, model), names, args.images, args.side, args.seed)
    pictures = result.pop("pictures")
    path = save_measured(args, "compare", result, comparison.markdown_table(result))
    grid = torch.stack([data.from_bytes(row) for row in pictures.values()])
    save_figure(figures.plot_grid(grid, rows=[name.replace(" ", "\n") for name in pictures]), path.with_suffix(".png"))


def baselines(args: argparse.Namespace) -> None:
    model = load(args.model)
    result = others.measure(model, _held_out(args, model), args.images, args.side, args.seed)
    pictures = result.pop("pictures")
    path = save_measured(args, "baselines", result, others.markdown_table(result))
    save_figure(figures.plot_blocks(pictures), path.with_suffix(".png"))


def study_report(args: argparse.Namespace) -> None:
    print(study.markdown_report(study.report(study.read_answers(args.files))))


def _held_out(args: argparse.Namespace, model: SemanticPyramid) -> data.Photos:
    """The photographs that --data names, or those of the preset's own world that no training saw."""
    return load_photos(dataset(args.data, model.preset, "--data", "-test"), model.image_size)


def add_commands(add) -> None:
    """Register this group. add: function and summary -> its parser."""
    c = add(evaluate, "measure every level over held-out photographs")
    _common(c, images=3000, side=224, name="<side>px")
    c.add_argument("--against", help="folder of training photographs, for the floor (scenes models: scenes)")
    c.add_argument("--seeds", type=count, default=1, help="of z, for the distances' spread (default: 1)")
    c.add_argument("--fid", nargs="?", const="", help="add FID; its Inception is fetched, or this FILE")

    c = add(curve, "distances of a run's kept generators, on two extractors")
    c.add_argument("run_folder", metavar="run", help="folder of a run, with its snapshots and its model")
    c.add_argument("--data", help="the run's training photographs: their held-out tenth is used (scenes: scenes)")
    _measured(c, images=1400, side=160, name="curve")

    c = add(applications, "measure repainting, composition, re-labelling and re-imagining")
    _common(c, 200, 160, "applications")

    c = add(compare, "one pass of the generator against inversion by optimisation")
    c.add_argument("--levels", default="conv1,conv3,conv4,fc7", help="with commas (default: %(default)s)")
    _common(c, 100, 160, "compare")

    c = add(baselines, "the four uses against paste, blending, inpainting, colour transfer and inversion")
    _common(c, 100, 160, "baselines")

    c = add(study_report, "confusion rates of the real/fake study, from the raters' files")
    c.add_argument("files", nargs="+", type=Path, help="answers that the study wrote (.jsonl)")


def _common(command: argparse.ArgumentParser, images: int, side: int, name: str) -> None:
    command.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, help="released name or folder (default: %(default)s)"
    )
    command.add_argument("--data", help="folder of held-out photographs, class by class (scenes models: scenes-test)")
    _measured(command, images, side, name)


def _measured(command: argparse.ArgumentParser, images: int, side: int, name: str) -> None:
    command.add_argument("--images", type=count, default=images, help="photographs (default: %(default)s)")
    command.add_argument("--side", type=count, default=side, help="pixels for the extractor (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of z, and of the order (default: 0)")
    command.add_argument(
        "--out", help=f"JSON file to write, beside it .md and .png (default: outputs/<model>-{name}.json)"
    )
