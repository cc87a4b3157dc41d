"""The command that fetches what is not in the project: fetch."""

import argparse
from pathlib import Path

from pyramid.scenes import places

DATASET = ("labels", "val", "train")  # what is fetched unless told


def fetch(args: argparse.Namespace) -> None:
    folder = Path(args.out or places.home())
    there = {name: places.fetch_part(name, folder) for name in args.parts}
    for name, paths in there.items():
        print(f"{name}: {places.PARTS[name].about}: {', '.join(map(str, paths))}")
    if "train" in there:
        print(f"Train with --data {args.out or 'places365'}")
    if "vgg" in there:
        print(f"Convert it with `python -m pyramid convert-vgg --archive {there['vgg'][0]}`")


def add_commands(add) -> None:
    """Register this group. add: function and summary -> its parser."""
    c = add(fetch, "fetch Places365, and its VGG-16; a download that broke off goes on")
    c.add_argument("what", choices=["places365"])
    about = "; ".join(f"{name}: {part.about}" for name, part in places.PARTS.items())
    c.add_argument("--parts", nargs="+", choices=places.PARTS, default=DATASET, metavar="PART", help=about)
    c.add_argument("--out", help="folder to fetch into (default: data/cache/places365)")
