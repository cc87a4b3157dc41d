"""`python -m pyramid …`: thin commands over the module."""

import argparse
import json
import math
import sys
from pathlib import Path

import torch

from pyramid import data, editing, figures, masks
from pyramid.checkpoints import find_model, load_weights, read_card, released, write_atomically
from pyramid.classifier import Classifier, FrozenStages, Judge, imagenet_vgg16
from pyramid.device import default_device, seeded
from pyramid.errors import InputError
from pyramid.generator import Generator
from pyramid.levels import LEVELS, check_level
from pyramid.model import load, load_classifiers, load_discriminator, save
from pyramid.presets import PRESETS, WITHOUT, Preset, from_dict, get_preset, without
from pyramid.scenes import RANGES, load_photos
from pyramid.supervised import draw_edges

OUTPUTS = Path("outputs")
DEFAULT_MODEL = "photos64"
DEMO_PHOTOGRAPHS = (13, 61, 27, 82, 47, 29)  # streets, a house, trees and shores of the sample package


def _save_figure(figure, path: Path) -> None:
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", bbox_inches="tight"))
    print(f"Wrote {path}")


def demo(args: argparse.Namespace) -> None:
    model = load(args.model)
    paths = data.sample_photographs()
    photos = torch.cat([data.open_image(paths[i], model.image_size) for i in DEMO_PHOTOGRAPHS])
    features = model.features(photos)
    columns = [photos] + [model.generate(features, masks.level(name), seed=args.seed) for name in LEVELS]
    titles = figures.pyramid_titles()
    figure = figures.show_grid(torch.stack(columns, 1), titles, title=f"Semantic pyramids by {args.model}")
    _save_figure(figure, OUTPUTS / "demo.png")
    print("Open the picture, then the notebooks: python -m jupyterlab notebooks")


def generate(args: argparse.Namespace) -> None:
    model = load(args.model)
    levels = [check_level(name) for name in args.levels.split(",")]
    photo = data.open_image(args.image, model.image_size)
    features = model.features(photo)
    guess = model.guess(photo)[0]
    label = args.label or guess[0][0]
    model.label_index(label)
    print("The classifier sees: " + ", ".join(f"{name} {share:.0%}" for name, share in guess))
    if not model.is_familiar(photo)[0]:
        print("The picture resembles nothing the model was trained on; expect odd results at deep levels.")
    rows = [
        torch.cat([photo, model.generate(features, masks.level(name), label, args.samples, args.seed)])
        for name in levels
    ]
    titles = ["reference", *(f"sample {i + 1}" for i in range(args.samples))]
    figure = figures.show_grid(torch.stack(rows), titles, levels, title=f"label: {label}")
    _save_figure(figure, Path(args.out) if args.out else OUTPUTS / f"{Path(args.image).stem}-{args.model}.png")


def _open_square(path: str, size: int) -> torch.Tensor:
    """A picture's centre square, at most four times the model's size: (1, 3, H, H) in [-1, 1]."""
    image = data.read_image(path)
    return data.to_tensor(data.square(image, min(min(image.size), 4 * size)))


def _region(args: argparse.Namespace, photo: torch.Tensor) -> torch.Tensor:
    """The region of --box or --mask at the photograph's size: (H, W), 1 inside."""
    side = photo.shape[-1]
    if args.mask:
        drawn = data.to_tensor(data.square(data.read_image(args.mask), side))
        region = (drawn.mean(1)[0] > 0).float()
    else:
        left, top, right, bottom = args.box
        axis = (torch.arange(side) + 0.5) / side
        region = (((axis >= top) & (axis < bottom))[:, None] & ((axis >= left) & (axis < right))[None]).float()
    if not region.any():
        raise InputError(
            "The region is empty; give a --box of shares such as 0.3,0.3,0.7,0.7, or a mask with white in it."
        )
    return region


def repaint(args: argparse.Namespace) -> None:
    model = load(args.model)
    photo = _open_square(args.image, model.image_size)
    region = _region(args, photo)
    seeds = range(args.seed, args.seed + args.samples)
    images = editing.repaint(model, photo, {args.level: region}, seeds, args.label, args.paste)
    small = editing.fit(photo, model.image_size)
    shown = editing.fit(region[None, None], model.image_size).expand_as(small) * 2 - 1
    titles = ["picture", f"{args.level} only", *(f"seed {seed}" for seed in seeds)]
    figure = figures.show_grid(torch.cat([small, shown, images])[None], titles)
    _save_figure(figure, Path(args.out) if args.out else OUTPUTS / f"{Path(args.image).stem}-repainted.png")


def relabel(args: argparse.Namespace) -> None:
    model = load(args.model)
    photo = data.open_image(args.image, model.image_size)
    levels = args.levels.split(",")
    seeds = range(args.seed, args.seed + args.samples)
    strength = model.preset.relabel_strength if args.strength is None else args.strength
    images = editing.relabel(model, photo, args.label, levels, strength, seeds)
    edges = draw_edges(photo)
    titles = ["picture", "its edges", *(f"{args.label}, seed {seed}" for seed in seeds)]
    title = f"{', '.join(levels)} kept at {1 - strength:.0%}"
    figure = figures.show_grid(torch.cat([photo, edges, images])[None], titles, title=title)
    _save_figure(figure, Path(args.out) if args.out else OUTPUTS / f"{Path(args.image).stem}-{args.label}.png")


def applications(args: argparse.Namespace) -> None:
    from pyramid import applications as uses

    model = load(args.model)
    data_name = _dataset(args.data, model.preset, "--data", "-test")
    photos = load_photos(data_name, model.image_size)
    result = uses.measure(model, photos, args.images, args.seed, args.side, RANGES.get(data_name))
    _write_measured(args, "applications", result, uses.markdown_table(result))


def _write_measured(args: argparse.Namespace, name: str, result: dict, table: str) -> Path:
    """Print the table, and write the result as JSON and the table as Markdown; returns the JSON's path."""
    path = Path(args.out) if args.out else OUTPUTS / f"{Path(args.model).name}-{name}.json"
    if path.suffix != ".json":
        path = path.with_name(f"{path.name}.json")  # the table and the figure go by the same name
    for file, text in ((path, json.dumps(result, indent=1)), (path.with_suffix(".md"), table + "\n")):
        write_atomically(file, lambda temporary, text=text: temporary.write_text(text, encoding="utf-8"))
    print(f"{table}\n\nWrote {path} and {path.with_suffix('.md')}")
    return path


def compare(args: argparse.Namespace) -> None:
    from pyramid import comparison

    model = load(args.model)
    levels = [check_level(name) for name in args.levels.split(",")]
    photos = load_photos(_dataset(args.data, model.preset, "--data", "-test"), model.image_size)
    result = comparison.compare(model, photos, levels, args.images, args.side, args.seed)
    pictures = result.pop("pictures")
    path = _write_measured(args, "compare", result, comparison.markdown_table(result))
    grid = torch.stack([data.from_bytes(row) for row in pictures.values()])
    _save_figure(figures.show_grid(grid, rows=[name.replace(" ", "\n") for name in pictures]), path.with_suffix(".png"))


def baselines(args: argparse.Namespace) -> None:
    from pyramid import baselines as others

    model = load(args.model)
    photos = load_photos(_dataset(args.data, model.preset, "--data", "-test"), model.image_size)
    result = others.measure(model, photos, args.images, args.side, args.seed)
    pictures = result.pop("pictures")
    path = _write_measured(args, "baselines", result, others.markdown_table(result))
    _save_figure(figures.show_blocks(pictures), path.with_suffix(".png"))


def _dataset(given: str | None, preset: Preset, option: str, suffix: str = "") -> str:
    """The dataset an option names, or the preset's own. Raises InputError where there is neither."""
    if given or preset.data:
        return given or preset.data + suffix
    raise InputError(f"{preset.name} has no dataset of its own; give a folder of pictures with {option}.")


def train_classifier(args: argparse.Namespace) -> None:
    from pyramid.supervised import familiarity_threshold, train_supervised

    preset = get_preset(args.preset)
    folder = Path(args.out or f"runs/{preset.name}-classifier")
    photos = load_photos(_dataset(args.data, preset, "--data"), preset.image_size).to(default_device())
    classes = len(photos.classes)
    with seeded(args.seed):
        networks = {
            "classifier": Classifier(classes, preset.image_size, preset.classifier_width),
            "judge": Judge(classes, preset.judge_base),
        }
        if args.start:
            networks = dict(zip(networks, load_classifiers(args.start), strict=True))
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
    from pyramid.training import Run
    from pyramid.training import train as run_training

    preset = get_preset(args.preset)
    if args.without:
        preset = without(preset, args.without)
    folder = Path(args.out or f"runs/{preset.name}")
    source = find_model(args.start or args.classifier or args.preset)
    data_name = _dataset(args.data, preset, "--data")
    photos = load_photos(data_name, preset.image_size).part(held_out=False).to(default_device())
    classifier, judge = load_classifiers(source)
    card = read_card(source)
    if list(photos.classes) != card["classes"]:
        raise InputError(
            f"{data_name} has the classes {', '.join(photos.classes)}, the classifier {', '.join(card['classes'])}; "
            "train one for this folder with train-classifier."
        )
    frozen = FrozenStages(imagenet_vgg16(args.vgg) if preset.heads == "imagenet" else classifier)
    run = Run(preset, photos, classifier, frozen, args.seed)
    if args.start:
        generator = Generator(from_dict(card["preset"]), len(photos.classes))
        load_weights(source / "generator.safetensors", generator, card["sha256"]["generator"])
        discriminator = load_discriminator(source)
        run.start_from(generator.state_dict(), discriminator.state_dict())
    run_training(run, folder, args.minutes, args.steps)
    averaged = run.averaged_generator()
    before, after = run.distance_to_raw(run.ema.module), run.distance_to_raw(averaged)
    save(
        folder / "model",
        {
            "preset": preset.asdict(),
            "classes": photos.classes,
            "familiar_above": card["familiar_above"],
            "images_seen": run.images_seen,
            "average_to_raw_generator": {"copied_statistics": before, "statistics_measured_anew": after},
        },
        classifier=classifier,
        judge=judge,
        generator=averaged,
        discriminator=run.discriminator,
    )
    print(f'{run.images_seen:,} images; the model is in {folder / "model"}: pyramid.load("{folder / "model"}")')


def evaluate(args: argparse.Namespace) -> None:
    from pyramid import evaluation
    from pyramid.extractors import Inception, fetch_inception

    model = load(args.model)
    data_name = _dataset(args.data, model.preset, "--data", "-test")
    photos = load_photos(data_name, model.image_size)
    training = load_photos(_dataset(args.against, model.preset, "--against"), model.image_size)
    if photos.classes != model.classes:
        raise InputError(f"{data_name} has other classes than {args.model}: {', '.join(model.classes)}.")
    inception = None
    if args.fid is not None:
        try:
            inception = Inception(args.fid or fetch_inception(), model.device)
        except InputError as error:  # one sentence, and the other columns
            print(error, file=sys.stderr)
    result = evaluation.evaluate(model, photos, training, args.images, args.side, args.seed, args.seeds, inception)
    path = _write_measured(args, f"{args.side}px", result, evaluation.markdown_table(result))
    _save_figure(figures.show_level_table(result), path.with_suffix(".png"))


def study_report(args: argparse.Namespace) -> None:
    from pyramid import study

    print(study.markdown_report(study.report(study.read_answers(args.files))))


def models(args: argparse.Namespace) -> None:
    for name in released():
        card = read_card(find_model(name))
        size = sum(file.stat().st_size for file in find_model(name).iterdir())
        print(f"{name}: {card['preset']['image_size']} px, {size / 1e6:.1f} MB, {', '.join(card['classes'])}")
        for line in card.get("summary", []):
            print(f"  {line}")


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be greater than 0, not {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


def _box(text: str) -> tuple[float, ...]:
    try:
        box = tuple(float(part) for part in text.split(","))
        left, top, right, bottom = box
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be four numbers such as 0.3,0.3,0.7,0.7, not {text}") from None
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise argparse.ArgumentTypeError(f"must be left,top,right,bottom in shares of the square, not {text}")
    return box


def parser() -> argparse.ArgumentParser:
    """The command line; one sub-command each, its help on one screen."""
    top = argparse.ArgumentParser(prog="pyramid", description="Semantic Pyramid for Image Generation (CVPR 2020)")
    commands = top.add_subparsers(dest="command", required=True)

    def add(function, summary: str) -> argparse.ArgumentParser:
        name = function.__name__.replace("_", "-")
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=function)
        return command

    c = add(demo, "sample photographs -> a contact sheet of pyramids in outputs/")
    c.add_argument("--model", default=DEFAULT_MODEL, help="released name or folder (default: %(default)s)")
    c.add_argument("--seed", type=int, default=0, help="of the noise z (default: 0)")

    c = add(generate, "images from one picture, level by level")
    c.add_argument("image", help="path of a picture")
    c.add_argument("--model", default=DEFAULT_MODEL, help="released name or folder (default: %(default)s)")
    c.add_argument("--levels", default=",".join(LEVELS), help="levels opened, one row each (default: all seven)")
    c.add_argument("--label", help="class the images are to be of (default: the classifier's own guess)")
    c.add_argument("--samples", type=_count, default=4, help="images a level (default: 4)")
    c.add_argument("--seed", type=int, default=0, help="of the noise z (default: 0)")
    c.add_argument("--out", help="file to write (default: outputs/<image>-<model>.png)")

    c = add(repaint, "imagine a region of a picture anew, keep the rest")
    c.add_argument("image", help="path of a picture; its centre square is used")
    c.add_argument(
        "--box", type=_box, default=(0.3, 0.3, 0.7, 0.7), help="left,top,right,bottom in shares (default: the middle)"
    )
    c.add_argument("--mask", help="picture that is white in the region, instead of --box")
    c.add_argument("--level", default="conv4", help="the finest level open inside (default: %(default)s)")
    c.add_argument("--label", help="class of the whole (default: the classifier's own guess)")
    c.add_argument("--paste", action="store_true", help="lay the picture itself over the outside, edge feathered")
    _common(c)

    c = add(relabel, "a picture's layout under another class label")
    c.add_argument("image", help="path of a picture")
    c.add_argument("label", help="class it is to become")
    levels = ",".join(editing.RELABEL_LEVELS)
    c.add_argument("--levels", default=levels, help="levels that are kept, with commas (default: %(default)s)")
    c.add_argument("--strength", type=float, help="0 … 1, how far they are turned down (default: the model's own)")
    _common(c)

    c = add(applications, "measure repainting, composition, re-labelling and re-imagining")
    _measuring(c, 200, "applications")

    c = add(compare, "one pass of the generator against inversion by optimisation")
    c.add_argument("--levels", default="conv1,conv3,conv4,fc7", help="with commas (default: %(default)s)")
    _measuring(c, 100, "compare")

    c = add(baselines, "the four uses against paste, blending, inpainting, colour transfer and inversion")
    _measuring(c, 100, "baselines")

    c = add(train_classifier, "train the slim VGG-16 and the judge on a folder of class folders")
    c.add_argument("--preset", default=DEFAULT_MODEL, help=f"one of {', '.join(PRESETS)} (default: %(default)s)")
    c.add_argument("--data", help="folder with a folder of pictures per class (scenes presets: scenes)")
    c.add_argument("--epochs", type=_count, default=16, help="(default: 16)")
    c.add_argument("--from", dest="start", help="begin with the classifiers of this model or folder")
    c.add_argument("--seed", type=int, default=0, help="(default: 0)")
    c.add_argument("--out", help="folder to write (default: runs/<preset>-classifier)")

    c = add(train, "train a generator; Ctrl-C saves, the same command goes on")
    c.add_argument("preset", help=f"one of {', '.join(PRESETS)}")
    c.add_argument("--data", help="folder with a folder per class, or one flat folder (scenes presets: scenes)")
    c.add_argument("--classifier", help="model or folder with the classifier (default: the preset's release)")
    c.add_argument("--from", dest="start", help="begin with the weights of this model or folder")
    c.add_argument("--without", choices=tuple(WITHOUT), help="leave one loss out, to see what it is good for")
    c.add_argument("--vgg", type=Path, help="safetensors with VGG-16's ImageNet weights (default: download)")
    c.add_argument("--minutes", type=_positive, help="stop after so many minutes")
    c.add_argument("--steps", type=_count, help="stop at so many steps in all")
    c.add_argument("--seed", type=int, default=0, help="(default: 0)")
    c.add_argument("--out", help="folder of the run (default: runs/<preset>)")

    c = add(evaluate, "measure every level over held-out photographs")
    c.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="released name or folder (default: %(default)s)")
    c.add_argument("--data", help="folder of held-out photographs, class by class (scenes models: scenes-test)")
    c.add_argument("--against", help="folder of training photographs, for the floor (scenes models: scenes)")
    c.add_argument("--images", type=_count, default=3000, help="references (default: 3000)")
    c.add_argument("--side", type=_count, default=224, help="pixels for the extractor (default: 224)")
    c.add_argument("--seed", type=int, default=0, help="first of z, and of the order (default: 0)")
    c.add_argument("--seeds", type=_count, default=1, help="of z, for the distances' spread (default: 1)")
    c.add_argument("--fid", nargs="?", const="", help="add FID; its Inception is fetched, or this FILE")
    c.add_argument("--out", help="JSON file to write, beside it .md and .png (default: outputs/<model>-<side>px.json)")

    c = add(study_report, "confusion rates of the real/fake study, from the raters' files")
    c.add_argument("files", nargs="+", type=Path, help="answers that the study wrote (.jsonl)")

    add(models, "what is released: size, data, figures")
    return top


def _measuring(command: argparse.ArgumentParser, images: int, name: str) -> None:
    command.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, help="released name or folder (default: %(default)s)"
    )
    command.add_argument("--data", help="folder of held-out photographs, class by class (scenes models: scenes-test)")
    command.add_argument("--images", type=_count, default=images, help="photographs (default: %(default)s)")
    command.add_argument("--side", type=_count, default=160, help="pixels for the extractor (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="(default: 0)")
    command.add_argument(
        "--out", help=f"JSON file to write, beside it .md and .png (default: outputs/<model>-{name}.json)"
    )


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default=DEFAULT_MODEL, help="released name or folder (default: %(default)s)")
    command.add_argument("--samples", type=_count, default=4, help="images, one a seed (default: 4)")
    command.add_argument("--seed", type=int, default=0, help="first seed (default: 0)")
    command.add_argument("--out", help="file to write (default: in outputs/)")


def main(arguments: list[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
