"""A Caffe model by the wire format: written here by hand, read by the module, computed by a second route."""

import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch.nn import functional as F

from pyramid.classifier import Classifier, normalise
from pyramid.errors import InputError
from pyramid.levels import CONVOLUTIONS
from pyramid.training import caffe, imagenet

CHANNELS, UNITS, CLASSES = (3, 4, 5, 6, 7), 9, 11


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    """A field of wire type 0 or 2."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def blob(array: np.ndarray, legacy: bool) -> bytes:
    if legacy:  # four dimensions in fields of their own
        shape = [1] * (4 - array.ndim) + list(array.shape)
        return b"".join(field(i + 1, n) for i, n in enumerate(shape)) + field(5, array.astype("<f4").tobytes())
    shape = field(7, field(1, b"".join(map(varint, array.shape))))
    return shape + field(5, array.astype("<f4").tobytes())


def model(legacy: bool) -> tuple[bytes, dict[str, list[np.ndarray]]]:
    """A random VGG-16 of few channels, in the newer format or in Caffe's older one."""
    rng, arrays, into = np.random.default_rng(0), {}, 3
    for stage, (count, out) in enumerate(zip(CONVOLUTIONS.values(), CHANNELS, strict=True), 1):
        for i in range(1, count + 1):
            arrays[f"conv{stage}_{i}"] = [rng.standard_normal((out, into, 3, 3)) * 0.3, rng.standard_normal(out) * 0.1]
            into = out
    for name, size in (("fc6", (UNITS, into)), ("fc7", (UNITS, UNITS)), ("fc8a", (CLASSES, UNITS))):
        arrays[name] = [rng.standard_normal(size) * 0.3, rng.standard_normal(size[0])]
    content = field(1, b"VGG_ILSVRC_16_layers")
    for name, pair in arrays.items():
        parts = b"".join(field(6 if legacy else 7, blob(a, legacy)) for a in pair)
        content += field(2 if legacy else 100, field(4 if legacy else 1, name.encode()) + parts + field(10, 3))
    content += field(2 if legacy else 100, field(4 if legacy else 1, b"relu"))  # a layer without arrays
    return content, arrays


@pytest.mark.parametrize("legacy", [False, True])
def test_converted_features_are_those_of_the_blobs(legacy, tmp_path):
    """Against torch's functions on the blobs themselves, fed with BGR in 0 … 255 less the mean, padded by hand.

    The padding holds what the converted model has there: 0 after normalisation, ImageNet's mean colour.
    """
    content, arrays = model(legacy)
    (tmp_path / "m.caffemodel").write_bytes(content)
    classifier = Classifier(CLASSES, 32, CHANNELS, UNITS).eval()
    missing, unexpected = classifier.load_state_dict(load(caffe.convert(tmp_path / "m.caffemodel")), strict=False)
    assert not any("features" in name for name in missing) and not unexpected
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = (images + 1) / 2 * 255
    around = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 255
    x = F.pad(x - around, [1] * 4) + around
    x = x.flip(1) - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    padding = 0
    for stage, count in enumerate(CONVOLUTIONS.values(), 1):
        for i in range(1, count + 1):
            weight, bias = (torch.tensor(a, dtype=torch.float32) for a in arrays[f"conv{stage}_{i}"])
            x, padding = F.relu(F.conv2d(x, weight, bias, padding=padding)), 1
        x = F.max_pool2d(x, 2)
    with torch.no_grad():
        conv5 = classifier.pyramid_of_normalised(normalise(images))["conv5"]
    torch.testing.assert_close(conv5, x, rtol=1e-2, atol=1e-2 * float(x.abs().max()))  # kernels in half precision


def test_its_convolutions_can_begin_a_classifier(tmp_path):
    content, arrays = model(False)
    (tmp_path / "m.caffemodel").write_bytes(content)
    (tmp_path / "m.safetensors").write_bytes(caffe.convert(tmp_path / "m.caffemodel"))
    classifier = Classifier(2, 32, CHANNELS, units=5)
    imagenet.load_convolutions(classifier, tmp_path / "m.safetensors")
    np.testing.assert_allclose(classifier.features[2].weight.detach().numpy(), arrays["conv1_2"][0], rtol=1e-3)


def test_fields_by_hand():
    """The example of protocol buffers' own documentation: field 1 = 150; and floats one at a time, not packed."""
    assert list(caffe.fields(memoryview(b"\x08\x96\x01"))) == [(1, 150)]
    loose = b"".join(varint(5 << 3 | 5) + struct.pack("<f", v) for v in (1.0, -2.0))
    assert caffe._array(memoryview(field(7, field(1, varint(2))) + loose)).tolist() == [1.0, -2.0]


@pytest.mark.parametrize("spoil", [lambda c: b"", lambda c: c[:-5], lambda c: c[: len(c) // 2], lambda c: b"\x0b" + c,
                                   lambda c: c.replace(b"conv3_2", b"conv9_9"), lambda c: b"\xff" * 40])  # fmt: skip
def test_another_file_is_one_sentence(spoil, tmp_path):
    (tmp_path / "m.caffemodel").write_bytes(spoil(model(False)[0]))
    with pytest.raises(InputError, match="not a Caffe model of VGG-16"):
        caffe.convert(tmp_path / "m.caffemodel")
    with pytest.raises(InputError, match="cannot be read"):
        caffe.convert(tmp_path / "absent.caffemodel")
