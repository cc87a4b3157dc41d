"""Files that are whole or not there: state of a run, released weights with their card, whatever else is written.

A file is written beside its place and renamed, so that a full disk or a kill leaves the one before it. A model folder
is written whole into a folder `.next` inside it, which the next reader or writer moves into place if a kill came in
between. Released weights are half-precision safetensors whose SHA-256 stands in the card; nothing here unpickles
objects.
"""

import errno
import glob
import hashlib
import io
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from pyramid.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent / "data"  # of the repository; an installed package carries its models inside
_INSTALLED = (_PACKAGE / "released").is_dir()
#: where released models lie, where saved runs of the course lie, and where arrays are kept that can be made again
MODELS = _PACKAGE / "released" if _INSTALLED else _CHECKOUT / "models"
RUNS = _CHECKOUT / "runs"
CACHE = Path(torch.hub.get_dir()) / "semantic-pyramid" if _INSTALLED else _CHECKOUT / "cache"

NO_LOCKS = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK)
STALE = 600  # seconds after which a temporary file belongs to a write that was killed
NEXT = ".next"  # folder inside a model's folder: a whole model that is about to take its place


def unwritable(path: Path, error: OSError) -> InputError:
    """What the operating system said about a path, as one sentence with the way out."""
    return InputError(
        f"{path} could not be written ({error.strerror or type(error).__name__}); whatever was there before is "
        "unharmed. Free some space, or write to a folder of your own."
    )


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it is whole, or as it was before. Raises InputError where it cannot be written."""
    if _is(Path.is_symlink, path):
        path = path.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    if _is_something_else(path):
        raise InputError(f"{path} is no file that can be replaced; give another.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):  # in a folder that cannot be written there is nothing to remove
            temporary.unlink(missing_ok=True)


def _is_something_else(path: Path) -> bool:
    """A device or a pipe: to rename a file over it would take it away."""
    return _is(Path.exists, path) and not (path.is_file() or path.is_dir())


def _sweep(path: Path) -> None:
    """Remove what killed writes of this file have left behind."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > STALE:
                old.unlink()


def append(path: Path, line: str) -> None:
    """Add a line to a file, on the disk before this returns; begins afresh behind one that a kill has cut short.

    Raises InputError where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = "\n" + line
            file.write((line + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file of lines; what is no object, as a line cut short, is passed over."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, RecursionError):
            if isinstance(value := json.loads(line), dict):
                found.append(value)
    return found


@contextmanager
def locked(folder: Path):
    """Only one writer in a run's folder. The operating system lets go when the process ends, however it ends.

    Raises InputError where another run has it, or where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("ab")
    except OSError as error:
        raise unwritable(folder, error) from None
    with file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno in NO_LOCKS:  # a mount that knows no locks: better without than not at all
                yield
                return
            raise InputError(
                f"Another run is at work in {folder}; wait for it, stop it, or give another folder with --out."
            ) from None
        yield


def _lock(file) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getbuffer())


def load_state(path: Path, keys: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a checkpoint written by `save_state`. Raises InputError where it is none, or lacks one of `keys`."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(state, dict) and all(key in state for key in keys):
            return state
    except Exception:  # torch, zipfile and pickle raise many kinds for broken files
        pass
    raise InputError(
        f"{path} is not a checkpoint of this project; delete it to start the run anew, or give another folder."
    )


def as_bytes(module: nn.Module) -> bytes:
    """A module's state in half precision (integers as they are), as the content of a safetensors file."""
    return safetensors_bytes(
        {
            name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
            for name, value in module.state_dict().items()
        }
    )


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's state in half precision."""
    write_atomically(path, as_bytes(module))


def load_weights(path: Path, module: nn.Module, expected: str | None = None) -> None:
    """Fill a module from a file of `save_weights`, checking its SHA-256 if one is given.

    Raises InputError for a file that is missing, altered, or of another shape.
    """
    if not path.is_file():
        raise InputError(f"The weights {path} are missing; fetch the project again, or train them.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"The weights {path} cannot be read ({error.strerror}).") from None
    if expected is not None and hashlib.sha256(content).hexdigest() != expected:
        raise InputError(f"{path} is not the file its card names (another SHA-256); fetch the project again.")
    try:
        module.load_state_dict(_as_float(load(content)))
    except Exception:
        raise InputError(
            f"{path} does not fit a {type(module).__name__} of this preset; use the weights the card names."
        ) from None


def _as_float(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_folder(folder: Path, card: dict[str, Any], networks: dict[str, nn.Module]) -> None:
    """Write networks and a card that names their SHA-256 as a model folder: all of it, or nothing.

    Everything is first written into `.next`, under another name until it is whole; then it is moved into place.
    Raises InputError where it cannot be written; the model that was there before then still loads.
    """
    finish(folder)
    apart = folder / f"{NEXT}.{os.getpid()}"
    contents = {f"{part}.safetensors": as_bytes(network) for part, network in networks.items()}
    hashes = {name.split(".")[0]: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    text = json.dumps({**card, "sha256": hashes}, indent=1) + "\n"
    try:
        for old in (folder / NEXT, *folder.glob(f"{NEXT}.*")):  # of kills before it was whole
            shutil.rmtree(old, ignore_errors=True)
        for name, content in {**contents, "card.json": text.encode()}.items():
            write_atomically(apart / name, content)
        os.rename(apart, folder / NEXT)
    except (OSError, InputError) as error:
        shutil.rmtree(apart, ignore_errors=True)
        raise error if isinstance(error, InputError) else unwritable(folder, error) from None
    finish(folder)


def finish(folder: Path) -> None:
    """Move a whole model in `.next` into place, the card last; does nothing where there is none."""
    waiting = folder / NEXT
    if not (waiting / "card.json").is_file():
        return
    before, named = _parts(folder), _parts(waiting)
    try:
        for part in sorted(named):
            name = f"{part}.safetensors"
            if (waiting / name).exists():  # else it was moved before a kill
                os.replace(waiting / name, folder / name)
        os.replace(waiting / "card.json", folder / "card.json")
        for part in before - named:
            (folder / f"{part}.safetensors").unlink(missing_ok=True)
        shutil.rmtree(waiting, ignore_errors=True)
    except OSError as error:
        raise unwritable(folder, error) from None


def _parts(folder: Path) -> set[str]:
    """The networks that a folder's card names; none where there is no card that can be read."""
    try:
        return set(json.loads((folder / "card.json").read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def released() -> list[str]:
    """Names of the models in data/models."""
    return sorted(card.parent.name for card in MODELS.glob("*/card.json"))


def find_model(name: str | Path) -> Path:
    """Folder of a released model, or of one given by path. Raises InputError, naming what there is."""
    for folder in (MODELS / name, Path(name)):
        if _is(Path.is_file, folder / NEXT / "card.json"):
            finish(folder)
        if _is(Path.is_file, folder / "card.json"):
            return folder
    known = ", ".join(released()) or "none released yet"
    raise InputError(f"There is no model {str(name)!r}; there are: {known} (or give a folder with a card.json).")


def _is(question: Callable[[Path], bool], path: Path) -> bool:
    """`Path.is_file` and the like, False for a name that no file can have."""
    try:
        return question(path)
    except (OSError, ValueError):
        return False


def read_card(folder: Path) -> dict[str, Any]:
    """A model's card. Raises InputError where it is missing, damaged or lacks what every card has."""
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        names, hashes = card["classes"], card["sha256"]
        whole = isinstance(card["preset"], dict) and 0 <= float(card["familiar_above"]) <= 1
        if whole and names and all(isinstance(n, str) for n in names) and isinstance(hashes, dict):
            return card
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{folder}/card.json is missing or damaged; fetch the project again.")
