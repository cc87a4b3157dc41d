"""The built-in world: landscapes of eight labels, each with its hour, its map of materials, and its drawings.
Here live canvas, layers, builders and people, the scene that they make at any size, the datasets of such scenes, and
folders of photographs as datasets beside them, in memory or on a disk, Places365 and its fetching among them.
Not here: one photograph made safe (`pyramid.data`), and what is measured on scenes (`pyramid.measure`)."""

from pyramid.scenes.builders import LABELS
from pyramid.scenes.canvas import MATERIALS, TIMES
from pyramid.scenes.datasets import PEOPLED, RANGES, load_photos, load_scenes
from pyramid.scenes.folders import load_folder
from pyramid.scenes.scene import STYLES, Plan, Scene, paint, plan, render, without_figures

__all__ = [
    "LABELS",
    "MATERIALS",
    "PEOPLED",
    "RANGES",
    "STYLES",
    "TIMES",
    "Plan",
    "Scene",
    "load_folder",
    "load_photos",
    "load_scenes",
    "paint",
    "plan",
    "render",
    "without_figures",
]
