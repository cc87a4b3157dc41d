"""Pictures: grids of images and matplotlib figures."""

import numpy as np
from PIL import Image
from torch import Tensor


def save_grid(pixels: Tensor, gap: int = 2) -> Image.Image:
    """uint8 (rows, columns, 3, H, W) -> one picture with a white gap between images."""
    rows, columns, _, height, width = pixels.shape
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for r in range(rows):
        for c in range(columns):
            top, left = r * (height + gap), c * (width + gap)
            sheet[top : top + height, left : left + width] = pixels[r, c].permute(1, 2, 0).numpy()
    return Image.fromarray(sheet)
