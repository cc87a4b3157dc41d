"""VGG-16 as Places365 left it: from a Caffe model to torchvision's names and this project's input.

Learning Deep Features for Scene Recognition (Zhou et al. 2018) released `vgg16_places365.caffemodel`. The file is a
protocol buffer; of its many fields four are needed, so they are read here, by the wire format, without Caffe:

    NetParameter    layers = 2 (V1LayerParameter: name 4, blobs 6), layer = 100 (LayerParameter: name 1, blobs 7)
    BlobProto       num, channels, height, width = 1 … 4, data = 5 (packed floats), shape = 7 (BlobShape: dim 1)
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from pyramid.classifier import IMAGENET_MEAN, IMAGENET_STD
from pyramid.errors import InputError
from pyramid.levels import CONVOLUTIONS

CAFFE_MEAN = (123.0, 117.0, 104.0)  # RGB, of images in 0 … 255


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field of a message: an integer, or the bytes of whatever has a length.

    Raises ValueError where the message is cut short, KeyError at a wire type that protocol buffers of today have not.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
        else:
            length, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            if at + length > len(message):
                raise ValueError("cut short")
            value, at = message[at : at + length], at + length
        yield key >> 3, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, the least first, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("cut short")
        byte = message[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def blobs(model: memoryview) -> dict[str, list[np.ndarray]]:
    """The arrays of every layer that has some: name -> weight and bias."""
    table: dict[str, list[np.ndarray]] = {}
    for number, layer in fields(model):
        if number in (2, 100):
            name_field, blob_field = (4, 6) if number == 2 else (1, 7)
            parts = list(fields(layer))
            found = [_array(value) for field, value in parts if field == blob_field]
            if found:
                table[next(bytes(value).decode() for field, value in parts if field == name_field)] = found
    return table


def _array(blob: memoryview) -> np.ndarray:
    data, shape, legacy = [], [], {}
    for number, value in fields(blob):
        if number == 5:
            data.append(np.frombuffer(value, "<f4"))  # packed, or a float at a time
        elif number == 7:
            shape = _dimensions(value)
        elif number <= 4:
            legacy[number] = value
    flat = np.concatenate(data)
    return flat.reshape(shape or [legacy[i] for i in sorted(legacy)])


def _dimensions(shape: memoryview) -> list[int]:
    found = []
    for _, value in fields(shape):
        at = 0
        while isinstance(value, memoryview) and at < len(value):  # packed
            dimension, at = _varint(value, at)
            found.append(dimension)
        if isinstance(value, int):
            found.append(value)
    return found


def convert(path: Path) -> bytes:
    """A Caffe VGG-16's convolutions as the content of a safetensors file, torchvision's names, `Classifier`'s input.

    Caffe's takes BGR in 0 … 255 less CAFFE_MEAN; ours RGB less ImageNet's mean over its standard deviation. The
    first layer's weights take up the difference, so that normalisation stays in its one place; only what lies in the
    padding, 0 to both, is another colour, by less than one step of 255. Raises InputError for any other file.
    """
    try:
        table = blobs(memoryview(path.read_bytes()))
        names = [f"conv{s}_{i}" for s, n in enumerate(CONVOLUTIONS.values(), 1) for i in range(1, n + 1)]
        pools = {f"conv{s}_{n}" for s, n in enumerate(CONVOLUTIONS.values(), 1)}
        state, index = {}, 0
        for name in names:
            weight, bias = (torch.from_numpy(array.copy()) for array in table[name])
            if not state:
                weight, bias = _for_our_input(weight, bias.reshape(-1))
            state |= {f"features.{index}.weight": weight, f"features.{index}.bias": bias.reshape(-1)}
            index += 2 + (name in pools)  # the convolution, its ReLU, a pool
        return save({name: value.half() for name, value in state.items()})
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a VGG-16's .caffemodel.") from None
    except (ValueError, KeyError, StopIteration, struct.error, RuntimeError, TypeError):
        raise InputError(
            f"{path} is not a Caffe model of VGG-16 (vgg16_places365.caffemodel); fetch it again."
        ) from None


def _for_our_input(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """conv1_1 of BGR in 0 … 255 less a mean, for normalised RGB. weight: (64, 3, 3, 3); bias: (64,)."""
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    rgb = weight.flip(1)  # (64, 3, 3, 3)
    offset = (255 * mean - torch.tensor(CAFFE_MEAN)).view(1, 3, 1, 1)
    return rgb * (255 * std).view(1, 3, 1, 1), bias + (rgb * offset).sum((1, 2, 3))
