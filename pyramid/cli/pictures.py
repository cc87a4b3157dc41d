"""Commands that make pictures from one picture: demo, generate, repaint, relabel; and models, what there is."""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from pyramid import data, editing, figures, masks
from pyramid.checkpoints import released
from pyramid.cli.options import DEFAULT_MODEL, OUTPUTS, box, samples, save_figure, seed
from pyramid.errors import InputError
from pyramid.levels import LEVELS, check_level
from pyramid.model import load, open_release

DEMO_PHOTOGRAPHS = (13, 61, 27, 82, 47, 29)  # streets, a house, trees and shores of the sample package


def demo(args: argparse.Namespace) -> None:
    model = load(args.model)
    paths = data.sample_photographs()
    photos = torch.cat([data.open_image(paths[i], model.image_size) for i in DEMO_PHOTOGRAPHS])
    features = model.features(photos)
    columns = [photos] + [model.generate(features, masks.level(name), seed=args.seed) for name in LEVELS]
    titles = figures.pyramid_titles()
    figure = figures.plot_grid(torch.stack(columns, 1), titles, title=f"Semantic pyramids by {args.model}")
    save_figure(figure, args.out, OUTPUTS / "demo.png")
    print("Open the picture, then the notebooks: python -m jupyterlab notebooks")


def generate(args: argparse.Namespace) -> None:
    model = load(args.model)
    levels = [check_level(name) for name in args.levels.split(",")]
    photo = data.open_image(args.image, model.image_size)
    features = model.features(photo)
    guess = model.guess(features)[0]
    label = args.label or guess[0][0]
    model.label_index(label)
    print("The classifier sees: " + ", ".join(f"{name} {share:.0%}" for name, share in guess))
    if not model.is_familiar(features)[0]:
        print("The picture resembles nothing the model was trained on; expect odd results at deep levels.")
    rows = [
        torch.cat([photo, model.generate(features, masks.level(name), label, args.samples, args.seed)])
        for name in levels
    ]
    titles = ["reference", *(f"sample {i + 1}" for i in range(args.samples))]
    figure = figures.plot_grid(torch.stack(rows), titles, levels, title=f"label: {label}")
    save_figure(figure, args.out, OUTPUTS / f"{Path(args.image).stem}-{Path(args.model).name}.png")


def _open_square(path: str, size: int) -> Tensor:
    """A picture's centre square, at most four times the model's size: (1, 3, H, H) in [-1, 1]."""
    image = data.read_image(path)
    return data.to_tensor(data.square(image, min(min(image.size), 4 * size)))


def _region(args: argparse.Namespace, photo: Tensor) -> Tensor:
    """The region of --box or --mask at the photograph's size: (1, 1, H, W), 1 inside."""
    side = photo.shape[-1]
    if args.mask:
        drawn = data.to_tensor(data.square(data.read_image(args.mask), side))
        region = (drawn.mean(1, keepdim=True) > 0).float()
    else:
        region = masks.box(args.box, side)
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
    shown = editing.fit(region, model.image_size).expand_as(small) * 2 - 1
    titles = ["picture", f"{args.level} only", *(f"seed {seed}" for seed in seeds)]
    figure = figures.plot_grid(torch.cat([small, shown, images])[None], titles)
    save_figure(figure, args.out, OUTPUTS / f"{Path(args.image).stem}-repainted.png")


def relabel(args: argparse.Namespace) -> None:
    model = load(args.model)
    photo = data.open_image(args.image, model.image_size)
    levels = args.levels.split(",")
    seeds = range(args.seed, args.seed + args.samples)
    strength = model.preset.relabel_strength if args.strength is None else args.strength
    images = editing.relabel(model, photo, args.label, levels, strength, seeds)
    titles = ["picture", "its edges", *(f"{args.label}, seed {seed}" for seed in seeds)]
    title = f"{', '.join(levels)} kept at {1 - strength:.0%}"
    figure = figures.plot_grid(torch.cat([photo, data.draw_edges(photo), images])[None], titles, title=title)
    save_figure(figure, args.out, OUTPUTS / f"{Path(args.image).stem}-{args.label.replace('/', '-')}.png")


def models(args: argparse.Namespace) -> None:
    for name in released():
        release = open_release(name)
        size = sum(file.stat().st_size for file in release.folder.iterdir())
        print(f"{name}: {release.preset.image_size} px, {size / 1e6:.1f} MB, {', '.join(release.classes)}")
        for line in release.card.get("summary", []):
            print(f"  {line}")


def add_commands(add) -> None:
    """Register this group. add: function and summary -> its parser."""
    c = add(demo, "sample photographs -> a contact sheet of pyramids in outputs/")
    c.add_argument("--model", default=DEFAULT_MODEL, help="released name or folder (default: %(default)s)")
    c.add_argument("--seed", type=seed, default=0, help="of the noise z (default: 0)")
    c.add_argument("--out", help="file to write (default: outputs/demo.png)")

    c = add(generate, "images from one picture, level by level")
    c.add_argument("image", help="path of a picture")
    c.add_argument("--levels", default=",".join(LEVELS), help="levels opened, one row each (default: all seven)")
    c.add_argument("--label", help="class the images are to be of (default: the classifier's own guess)")
    _common(c)

    c = add(repaint, "imagine a region of a picture anew, keep the rest")
    c.add_argument("image", help="path of a picture; its centre square is used")
    c.add_argument(
        "--box", type=box, default=(0.3, 0.3, 0.7, 0.7), help="left,top,right,bottom in shares (default: the middle)"
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

    add(models, "what is released: size, data, metrics")


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default=DEFAULT_MODEL, help="released name or folder (default: %(default)s)")
    command.add_argument("--samples", type=samples, default=4, help="images, one a seed (default: 4)")
    command.add_argument("--seed", type=seed, default=0, help="first seed of the noise z (default: 0)")
    command.add_argument("--out", help="file to write (default: in outputs/)")
