"""What every figure shares: its colours, and its way into a file and into a notebook."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pyramid.figures.describe import describe

INK, ACCENT = "#222222", "#c2410c"
# Okabe & Ito 2008: told apart by all; lines differ in style as well (dotted is a mark)
LINES = [
    {"color": "#0072b2", "ls": "-"},
    {"color": "#d55e00", "ls": "--"},
    {"color": "#009e73", "ls": "-."},
    {"color": "#000000", "ls": (0, (1, 1))},
    {"color": "#cc79a7", "ls": (0, (5, 1, 1, 1, 1, 1))},
]
QUALITY = 90  # of JPEG in a notebook


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, format="png", bbox_inches="tight")
    return stream.getvalue()


class Shown:
    """A figure in a notebook: the picture, small enough for a page that is read online, and what it shows in words.

    Photographs are JPEG; graphs, of few colours, PNG with a palette.
    """

    def __init__(self, figure: Figure, numbers: bool = True):
        self.text = describe(figure, numbers)
        picture = Image.open(io.BytesIO(png(figure))).convert("RGB")
        stream = io.BytesIO()
        if any(np.ndim(image.get_array()) == 3 for axes in figure.axes for image in axes.images):
            self.kind = "image/jpeg"
            picture.save(stream, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
        else:
            self.kind = "image/png"
            picture.quantize(256, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
        self.data = stream.getvalue()

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        return {self.kind: self.data, "text/plain": self.text}, {self.kind: {"alt": self.text}}


def show(figure: Figure, numbers: bool = True) -> Shown:
    """A figure as a notebook's output.

    numbers: whether its description gives any; False where they are another machine's, as after live training.
    """
    return Shown(figure, numbers)
