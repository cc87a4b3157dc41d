"""Semantic Pyramid for Image Generation (Shocher et al., CVPR 2020), an open reproduction.

import pyramid
model = pyramid.load("photos64")
photo = pyramid.open_image("street.jpg", model.image_size)
images = model.generate(model.features(photo), pyramid.masks.level("conv4"), samples=4)
"""

from pyramid import masks
from pyramid.data import open_image, sample_photographs, to_picture
from pyramid.errors import InputError
from pyramid.levels import LEVELS
from pyramid.model import SemanticPyramid, load

__all__ = ["LEVELS", "InputError", "SemanticPyramid", "load", "masks", "open_image", "sample_photographs", "to_picture"]
