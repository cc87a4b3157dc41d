"""Atomic, resumable state of a run, and released weights with their card.

A checkpoint is everything a run needs to go on; it is written to a temporary file and renamed, so a
killed run leaves the previous one whole. Released weights are half-precision safetensors whose SHA-256
stands in the card; nothing here unpickles objects.
"""

import errno
import hashlib
import json
import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pyramid.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent / "data"  # of the repository; an installed package carries its models inside
_INSTALLED = (_PACKAGE / "released").is_dir()
#: where released models lie, where saved runs of the course lie, and where arrays are kept that can be made again
MODELS = _PACKAGE / "released" if _INSTALLED else _CHECKOUT / "models"
RUNS = _CHECKOUT / "runs"
CACHE = Path(torch.hub.get_dir()) / "semantic-pyramid" if _INSTALLED else _CHECKOUT / "cache"


def write_atomically(path: Path, write) -> None:
    """Call `write(temporary_path)`, then rename to `path`. A full disk leaves the old file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if full or (isinstance(error, RuntimeError) and "write" in str(error)):  # torch wraps a failed write
            raise InputError(
                f"The disk is full: {path} was not written, and the file before it is unharmed; free some space."
            ) from None
        raise


@contextmanager
def graceful():
    """An event that Ctrl-C or SIGTERM sets, so that the step in hand ends and the state is saved."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint of tensors, numbers, strings, lists and dicts."""
    write_atomically(path, lambda temporary: torch.save(state, temporary))


def load_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint written by `save_state`. Raises InputError where it is none."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        raise InputError(
            f"{path} is not a checkpoint of this project; delete it to start the run anew, or give another folder."
        ) from None


def save_weights(path: Path, module: nn.Module) -> str:
    """Write a module's state in half precision (integers as they are); returns the file's SHA-256."""
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in module.state_dict().items()
    }
    write_atomically(path, lambda temporary: save_file(tensors, temporary))
    return sha256(path)


def load_weights(path: Path, module: nn.Module, expected: str | None = None) -> None:
    """Fill a module from a file of `save_weights`, checking its SHA-256 if one is given.

    Raises InputError for a file that is missing, altered, or of another shape.
    """
    if not path.is_file():
        raise InputError(f"The weights {path} are missing; fetch the project again, or train them.")
    if expected is not None and sha256(path) != expected:
        raise InputError(f"{path} is not the file its card names (another SHA-256); fetch the project again.")
    try:
        module.load_state_dict(_as_float(load_file(path)))
    except Exception:
        raise InputError(
            f"{path} does not fit a {type(module).__name__} of this preset; use the weights the card names."
        ) from None


def _as_float(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_card(folder: Path, card: dict[str, Any]) -> None:
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / "card.json", lambda temporary: temporary.write_text(text, encoding="utf-8"))


def released() -> list[str]:
    """Names of the models in data/models."""
    return sorted(card.parent.name for card in MODELS.glob("*/card.json"))


def find_model(name: str | Path) -> Path:
    """Folder of a released model, or of one given by path. Raises InputError, naming what there is."""
    for folder in (MODELS / name, Path(name)):
        if (folder / "card.json").is_file():
            return folder
    known = ", ".join(released()) or "none released yet"
    raise InputError(f"There is no model {str(name)!r}; there are: {known} (or give a folder with a card.json).")


def read_card(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{folder}/card.json is missing or damaged; fetch the project again.") from None
