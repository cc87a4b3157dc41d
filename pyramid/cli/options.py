"""What several commands share: their constants, checks of arguments, and the files they write."""

import argparse
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from pyramid.checkpoints import sha256, write_atomically
from pyramid.errors import InputError
from pyramid.figures import png
from pyramid.presets import Preset

OUTPUTS = Path("outputs")
MADE = ".made.json"  # in a folder of outputs: what was written there by a command
DEFAULT_MODEL = "photos64"


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be greater than 0, not {text}")
    return value


def between(low: int, high: int | None = None) -> Callable[[str], int]:
    """A whole number from low to high, or of at least low, for argparse."""
    wanted = f"from {low} to {high}" if high is not None else f"at least {low}"

    def whole_number(text: str) -> int:
        value = int(text)
        if value < low or high is not None and value > high:
            raise argparse.ArgumentTypeError(f"must be {wanted}, not {text}")
        return value

    return whole_number


count = between(1)
samples = between(1, 64)  # images side by side
seed = between(0, 2**31 - 1)  # with a step's or an image's number it must still be one
side = between(32, 1024)  # pixels that an extractor's images are resized to


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


def own_file(path: Path, suffixes: tuple[str, ...]) -> Path:
    """The file itself, or, where another's lies there, the same name with the first number that is free.

    What a command writes unasked may replace only what a command wrote there: its SHA-256 then stands in a list
    beside it. A file that was put there, or changed since, is nobody's but the user's. suffixes: of all files that
    go by the name.
    """
    number, free, made = 1, path, _made(path.parent)

    def taken(file: Path) -> bool:
        return file.exists() and (not file.is_file() or made.get(file.name) != sha256(file))

    while any(taken(free.with_suffix(suffix)) for suffix in suffixes):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def _made(folder: Path) -> dict[str, str]:
    """The list of a folder: name of what a command wrote -> its SHA-256."""
    try:
        made = json.loads((folder / MADE).read_text(encoding="utf-8"))
        return made if isinstance(made, dict) else {}
    except (OSError, ValueError):
        return {}


def write(path: Path, contents: dict[str, bytes], asked: bool) -> list[Path]:
    """Write files under one name, by suffix: where `--out` asked for it, or as `own_file` says; returns where."""
    if not asked:
        path = own_file(path, tuple(contents))
    files = {path.with_suffix(suffix): content for suffix, content in contents.items()}
    for file, content in files.items():
        write_atomically(file, content)
    if not asked:
        made = _made(path.parent) | {file.name: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        write_atomically(path.parent / MADE, json.dumps(made, indent=1).encode())
    return list(files)


def save_figure(figure: Figure, given: str | None, default: Path) -> None:
    """Write a figure as PNG, to the file given with --out or to a default, and say where."""
    path = Path(given or default)
    if path.suffix.lower() not in ("", ".png"):
        raise InputError(f"{path} would hold a PNG; give --out a name that ends in .png.")
    print(f"Wrote {write(path, {path.suffix or '.png': png(figure)}, bool(given))[0]}")


def save_measured(args: argparse.Namespace, name: str, result: dict, table: str, figure: Figure | None = None) -> None:
    """Print the table; write the result as JSON, the table as Markdown and a figure as PNG, all under one name."""
    path = Path(args.out) if args.out else OUTPUTS / f"{Path(args.model).name}-{name}.json"
    if path.suffix != ".json":
        path = path.with_name(f"{path.name}.json")  # the table and the figure go by the same name
    contents = {".json": json.dumps(result, indent=1).encode(), ".md": (table + "\n").encode()}
    if figure is not None:
        contents[".png"] = png(figure)
    if args.out:  # the one file that was asked for; those beside it under a name that is free
        beside = own_file(path, tuple(suffix for suffix in contents if suffix != ".json"))
        written = write(path, {".json": contents.pop(".json")}, asked=True) + write(beside, contents, asked=False)
    else:
        written = write(path, contents, asked=False)
    print(f"{table}\n\nWrote {', '.join(map(str, written))}")
