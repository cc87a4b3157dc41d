"""Masks as pictures."""

import numpy as np
import torch

from pyramid import figures
from pyramid.levels import LEVELS


def test_white_passes_and_black_blocks():
    """The grey of every cell, as drawn, is the amount that passes; the top row of the mask is at the top."""
    masks = {name: torch.full((1, 1, 2, 2), i / 10) for i, name in enumerate(LEVELS[:5])}
    masks["conv5"] = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]])
    masks |= {"fc7": torch.tensor([[1.0]]), "fc8": torch.tensor([[0.0]])}
    figure = figures.plot_masks(masks)
    assert [axes.get_title().splitlines()[0] for axes in figure.axes] == list(LEVELS)
    for axes, mask in zip(figure.axes, masks.values(), strict=True):
        (picture,) = axes.images
        drawn = picture.to_rgba(picture.get_array())[..., :3]  # (h, w, RGB)
        np.testing.assert_allclose(drawn, mask.view(*drawn.shape[:2], 1).expand(-1, -1, 3), atol=1 / 255)
        assert picture.origin == "upper"
