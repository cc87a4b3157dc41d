"""A linear reader finds what is linearly there, and nothing else."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pyramid.data import Photos, from_bytes, luminance
from pyramid.errors import InputError
from pyramid.measure import readout


def photos(count: int, seed: int) -> Photos:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=random)
    return Photos(images, torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.bool), ("a",))


def everything(images):
    """Each level a cell's own pixels, turned by a fixed mixing: all is there."""
    levels = {}
    for name, side in (("conv1", 8), ("conv2", 4), ("conv3", 2)):
        cells = F.pixel_unshuffle(images, 16 // side)
        mixing = torch.randn(cells.shape[1], cells.shape[1], generator=torch.Generator().manual_seed(side))
        levels[name] = torch.einsum("oc,bchw->bohw", mixing + 3 * torch.eye(len(mixing)), cells)
    return levels


def grey(images):
    return everything(luminance(images).expand_as(images))


def nothing(images):
    return {name: torch.zeros(len(images), 2, side, side) for name, side in (("conv1", 8), ("conv2", 4), ("conv3", 2))}


def test_what_is_there_is_found():
    result = readout.measure(everything, photos(1200, 0), photos(8, 1), 1200)
    assert result["rows"]["conv1"]["psnr"] > 40 and result["rows"]["conv1"]["chroma"] < 1e-3


def test_what_is_not_there_is_the_mean():
    """Of bytes drawn evenly the mean is all one knows: their variance in [-1, 1] is 1/3, so 10 log10(4 * 3) dB."""
    result = readout.measure(nothing, photos(200, 0), photos(40, 1), 200)
    for row in result["rows"].values():
        assert row["psnr"] == pytest.approx(10 * math.log10(12), abs=0.1)
        assert row["chroma"] == pytest.approx(1, abs=0.02)


def test_from_grey_features_comes_only_the_colour_that_goes_with_the_grey():
    """Of independent channels x with luma L = w x, colour x_i - L has the covariance (w_i - |w|^2) with L, in their
    variance; a reader finds the sum of its squares over |w|^2, of the energy sum_i (1 - 2 w_i + |w|^2).
    """
    w = np.array([0.299, 0.587, 0.114])
    length = (w**2).sum()
    found = ((w - length) ** 2).sum() / length / (1 - 2 * w + length).sum()
    row = readout.measure(grey, photos(600, 0), photos(20, 1), 600)["rows"]["conv1"]
    assert row["chroma"] == pytest.approx(1 - found, abs=0.02)


def test_a_reader_is_the_least_squares_of_numpy():
    """From the features of a 3x3 neighbourhood, put together here by hand, for one level."""
    pixels = photos(60, 2).images

    def encode(images):
        means = F.avg_pool2d(images, 2)
        return {"conv1": means, "conv2": F.avg_pool2d(means, 2), "conv3": F.avg_pool2d(means, 4)}

    images = from_bytes(pixels)
    features = np.pad(encode(images)["conv2"].numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    x, y = [], []
    for b in range(60):
        for i in range(4):
            for j in range(4):
                x.append([*features[b, :, i : i + 3, j : j + 3].reshape(-1), 1.0])
                y.append(images[b, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].reshape(-1).numpy())
    expected = np.linalg.lstsq(np.array(x), np.array(y), rcond=None)[0]
    np.testing.assert_allclose(readout.fit(encode, pixels)["conv2"].numpy(), expected, atol=5e-3)


def test_fewer_photographs_than_asked_for_are_refused():
    with pytest.raises(InputError, match="lower --images"):
        readout.measure(nothing, photos(10, 0), photos(4, 1), 20)
