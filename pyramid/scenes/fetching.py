"""A large file from the net: with progress, gone on with where it broke off, and checked before it takes its name.

What has come so far lies beside the place, as NAME.part. A server that knows byte ranges (RFC 9110, section 14) is
asked for the rest alone; of another the file begins anew.
"""

import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm.auto import tqdm

from pyramid.checkpoints import unwritable
from pyramid.errors import InputError

CHUNK = 2**20
TRIES = 5  # that bring nothing, in a row
WAIT = 2.0  # seconds after the first of them, then twice as long each time
TIMEOUT = 60.0  # seconds without a byte
BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


def fetch(url: str, path: Path, md5: str | None = None, progress: bool = True) -> Path:
    """Fetch a file to `path`, unless it is there. md5: what the file's publisher says it is, None for one who does not.

    Raises InputError, with the way to do it by hand, where it cannot be fetched, is another, or cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _all_of(url, part, path, progress)
        except BROKEN as error:
            raise _by_hand(url, path, str(getattr(error, "reason", error)) or type(error).__name__) from None
        except OSError as error:
            raise unwritable(part, error) from None
    whole = path if path.is_file() else part
    if md5 and _md5(whole, progress) != md5:
        if whole == part:
            part.unlink()
        raise _by_hand(url, path, f"what {'came' if whole == part else 'is there'} has another MD5 than {md5}")
    os.replace(whole, path)
    return path


def _by_hand(url: str, path: Path, why: str) -> InputError:
    return InputError(
        f"{path.name} could not be fetched ({' '.join(why.split())}); try again later, or fetch {url} on another "
        f"machine, put it at {path}, and give the same command."
    )


def _all_of(url: str, part: Path, path: Path, progress: bool) -> None:
    """Ask again for what is missing until `part` is whole. Raises one of BROKEN after TRIES that brought nothing."""
    fruitless = 0
    with tqdm(desc=path.name, unit="B", unit_scale=True, unit_divisor=1024, disable=not progress) as bar:
        while True:
            before = _size(part)
            try:
                if _more_of(url, part, bar):
                    return
                error = ConnectionError("the connection broke off")
            except urllib.error.HTTPError as refused:
                if refused.code < 500:  # it will say the same again
                    raise
                error = refused
            except BROKEN as broken:
                error = broken
            fruitless = 0 if _size(part) > before else fruitless + 1
            if fruitless == TRIES:
                raise error
            time.sleep(WAIT * 2 ** max(fruitless - 1, 0))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _more_of(url: str, part: Path, bar: tqdm) -> bool:
    """One request for what is missing, added to `part`; returns whether that is whole now."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        said = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if error.code != 416:  # nothing behind what there is
            raise
        if said and int(said[1]) == have:
            return True
        part.unlink()  # of another file
        return False
    with answer:
        begins = re.match(rf"bytes {have}-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if answer.status == 206 and not begins:  # another part than was asked for
            part.unlink()
            return False
        have = have if begins else 0
        length = answer.headers.get("Content-Length")
        total = int(begins[1]) if have else int(length) if length else None
        bar.total, bar.n = total, have
        with part.open("ab" if have else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        return total is None or _size(part) == total


def _md5(path: Path, progress: bool) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with (
        path.open("rb") as file,
        tqdm(total=_size(path), desc="checking", unit="B", unit_scale=True, disable=not progress) as bar,
    ):
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()
