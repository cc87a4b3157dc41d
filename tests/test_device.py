"""A model on a GPU, pictures on the CPU: no GPU is needed, tensors here have a device and a shape but no values."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from conftest import CLASSES
from pyramid import editing, masks
from pyramid.classifier import Classifier
from pyramid.generator import Generator
from pyramid.judge import Judge
from pyramid.model import SemanticPyramid
from pyramid.presets import PRESETS


def test_pictures_stay_on_the_cpu_beside_a_model_on_a_gpu():
    """Every use goes through, and its pictures can be laid beside photographs as the notebooks do it."""
    preset, region = PRESETS["tiny32"], torch.ones(1, 1, 32, 32)
    repainting = editing.repaint_masks({"conv3": region})  # looks at values, so it is made before they are gone
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            networks = Classifier(3, **preset.classifier), Judge(3, preset.judge_base), Generator(preset, 3)
        model = SemanticPyramid(preset, CLASSES, *(n.eval().requires_grad_(False) for n in networks), card={})
        photo = torch.zeros(1, 3, 32, 32)
        features = model.features(photo)
        assert model.device.type == "cuda" and {f.device.type for f in features.values()} == {"cuda"}
        mixed = editing.composed_features(features, model.features(photo), region.to(model.device), "conv3")
        made = [
            model.generate(features, masks.level("conv4"), samples=2),
            model.generate(mixed, repainting, torch.tensor([2])),
            editing.relabel(model, photo, "street"),
            editing.reimagine(model, photo),
        ]
        made.append(editing.feather(photo, made[1], region))
        assert {images.device.type for images in made} == {"cpu"}
        assert torch.cat([photo, *made]).shape == (7, 3, 32, 32)
        assert model.judge(made[0].to(model.device)).device.type == "cuda"
