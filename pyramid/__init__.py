"""Semantic Pyramid for Image Generation (Shocher et al., CVPR 2020), an open reproduction.

import pyramid
model = pyramid.load("photos64")
photo = pyramid.open_image("street.jpg", model.image_size)
images = model.generate(model.features(photo), pyramid.masks.level("conv4"), samples=4)

What lies flat in this folder is the paper: levels, classifier, masks, generator, discriminator, losses, model, editing,
and the presets, data and files they need. What lies in rooms is apparatus: scenes, figures, training, measure,
panels, cli. The paper imports none of the rooms.
"""

from pyramid import masks
from pyramid.data import open_image, sample_photographs, to_picture
from pyramid.errors import InputError
from pyramid.levels import LEVELS
from pyramid.model import SemanticPyramid, load

__all__ = ["LEVELS", "InputError", "SemanticPyramid", "load", "masks", "open_image", "sample_photographs", "to_picture"]
