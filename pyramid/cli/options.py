"""What several commands share: their constants, checks of arguments, and the files they write."""

import argparse
import json
import math
from pathlib import Path

from matplotlib.figure import Figure

from pyramid.checkpoints import write_atomically
from pyramid.errors import InputError
from pyramid.presets import Preset

OUTPUTS = Path("outputs")
DEFAULT_MODEL = "photos64"
CLASSIFIER = "vgg64"  # the released classifier with VGG-16's convolutions, fine-tuned on photographs


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be greater than 0, not {text}")
    return value


def count(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


def box(text: str) -> tuple[float, ...]:
    """left,top,right,bottom in shares of the square, for argparse."""
    try:
        values = tuple(float(part) for part in text.split(","))
        left, top, right, bottom = values
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be four numbers such as 0.3,0.3,0.7,0.7, not {text}") from None
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise argparse.ArgumentTypeError(f"must be left,top,right,bottom in shares of the square, not {text}")
    return values


def dataset(given: str | None, preset: Preset, option: str, suffix: str = "") -> str:
    """The dataset an option names, or the preset's own. Raises InputError where there is neither."""
    if given or preset.data:
        return given or preset.data + suffix
    raise InputError(f"{preset.name} has no dataset of its own; give a folder of pictures with {option}.")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and say so."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", bbox_inches="tight"))
    print(f"Wrote {path}")


def save_measured(args: argparse.Namespace, name: str, result: dict, table: str) -> Path:
    """Print the table, and write the result as JSON and the table as Markdown; returns the JSON's path."""
    path = Path(args.out) if args.out else OUTPUTS / f"{Path(args.model).name}-{name}.json"
    if path.suffix != ".json":
        path = path.with_name(f"{path.name}.json")  # the table and the figure go by the same name
    for file, text in ((path, json.dumps(result, indent=1)), (path.with_suffix(".md"), table + "\n")):
        write_atomically(file, lambda temporary, text=text: temporary.write_text(text, encoding="utf-8"))
    print(f"{table}\n\nWrote {path} and {path.with_suffix('.md')}")
    return path
