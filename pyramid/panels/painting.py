"""Painting a region or a sketch by hand: strokes as plain data, and a canvas that gathers them.

The canvas is `ipycanvas`, which keeps a picture beneath the strokes and works with ipywidgets 7.7 and 8;
where it is not installed, a rectangle of four sliders takes its place.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import ipywidgets
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from pyramid import masks

try:
    import ipycanvas
except ImportError:
    ipycanvas = None

SIDE = 320  # pixels of the canvas on the screen
FINER = 4  # strokes are drawn so many times finer than asked, then averaged
RED, INK = (230, 40, 90), (20, 20, 30)


@dataclass
class Stroke:
    """One movement of the brush. points: (x, y) in [0, 1]; radius: share of the side; erase: takes away."""

    radius: float
    erase: bool = False
    points: list[tuple[float, float]] = field(default_factory=list)


def rasterise(strokes: list[Stroke], size: int) -> Tensor:
    """What strokes cover: (size, size) in [0, 1], later strokes over earlier ones."""
    side = size * FINER
    image = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(image)
    for stroke in strokes:
        colour, r = 0 if stroke.erase else 255, stroke.radius * side
        points = [(x * side, y * side) for x, y in stroke.points]
        if len(points) > 1:
            draw.line(points, fill=colour, width=max(round(2 * r), 1), joint="curve")
        for x, y in points:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    small = image.resize((size, size), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, dtype=np.float32) / 255)


class Painter:
    """A canvas to paint on with a brush: size, erase, undo, clear. Calls `changed` when a stroke has ended."""

    def __init__(
        self,
        changed: Callable[[], None],
        colour: tuple[int, int, int] = RED,
        opacity: float = 0.55,
        radius: float = 0.09,
    ):
        self.changed, self.colour, self.opacity = changed, colour, opacity
        self.strokes: list[Stroke] = []
        self.drawing = False
        self.canvas = ipycanvas.MultiCanvas(2, width=SIDE, height=SIDE)  # picture, strokes
        self.canvas.layout.width = f"{SIDE}px"
        self.radius = ipywidgets.FloatSlider(value=radius, min=0.01, max=0.2, step=0.01, description="brush")
        self.eraser = ipywidgets.ToggleButton(value=False, description="erase")
        undo, clear = ipywidgets.Button(description="undo"), ipywidgets.Button(description="clear")
        undo.on_click(lambda _: self.undo())
        clear.on_click(lambda _: self.clear())
        self.canvas.on_mouse_down(lambda x, y: self.down(x / SIDE, y / SIDE))
        self.canvas.on_mouse_move(lambda x, y: self.move(x / SIDE, y / SIDE))
        self.canvas.on_mouse_up(lambda x, y: self.up())
        self.canvas.on_mouse_out(lambda x, y: self.up())
        self.widget = ipywidgets.VBox([self.canvas, self.radius, ipywidgets.HBox([self.eraser, undo, clear])])

    def show(self, picture: Image.Image) -> None:
        """Lay a picture beneath the strokes."""
        pixels = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        self.canvas[0].put_image_data(np.ascontiguousarray(pixels))

    def region(self, size: int) -> Tensor:
        """What has been painted: (size, size) in [0, 1]."""
        return rasterise(self.strokes, size)

    def down(self, x: float, y: float) -> None:
        """Begin a stroke at (x, y), in shares of the side."""
        self.drawing = True
        self.strokes.append(Stroke(self.radius.value, self.eraser.value, [(x, y)]))

    def move(self, x: float, y: float) -> None:
        """Go on with the stroke, if one has begun."""
        if not self.drawing:
            return
        stroke = self.strokes[-1]
        (x0, y0), layer = stroke.points[-1], self.canvas[1]
        stroke.points.append((x, y))
        layer.global_composite_operation = "destination-out" if stroke.erase else "source-over"
        layer.stroke_style, layer.line_width, layer.line_cap = self._style(), 2 * stroke.radius * SIDE, "round"
        layer.stroke_line(x0 * SIDE, y0 * SIDE, x * SIDE, y * SIDE)

    def up(self) -> None:
        """End the stroke, and say that something has changed."""
        if self.drawing:
            self.drawing = False
            self._redraw()

    def undo(self) -> None:
        """Take the last stroke away."""
        del self.strokes[-1:]
        self._redraw()

    def clear(self) -> None:
        """Take all strokes away."""
        self.strokes.clear()
        self._redraw()

    def _style(self) -> str:
        return f"rgba({self.colour[0]}, {self.colour[1]}, {self.colour[2]}, {self.opacity})"

    def _redraw(self) -> None:
        """The strokes drawn anew, of one thickness of paint however often they cross."""
        covered = (self.region(SIDE) * 255 * self.opacity).to(torch.uint8).numpy()
        pixels = np.empty((SIDE, SIDE, 4), np.uint8)
        pixels[..., :3], pixels[..., 3] = self.colour, covered
        with ipycanvas.hold_canvas():
            self.canvas[1].clear()
            self.canvas[1].global_composite_operation = "source-over"
            self.canvas[1].put_image_data(pixels)
        self.changed()


class BoxSliders:
    """The same with four sliders, where there is no canvas: a rectangle."""

    def __init__(self, changed: Callable[[], None], **_):
        self.left, self.top, self.right, self.bottom = (
            ipywidgets.FloatSlider(value=value, min=0, max=1, step=0.02, description=name)
            for name, value in (("left", 0.3), ("top", 0.3), ("right", 0.7), ("bottom", 0.7))
        )
        self.picture = ipywidgets.Image(format="png", width=SIDE)
        for slider in (self.left, self.top, self.right, self.bottom):
            slider.observe(lambda _: changed(), names="value")
        self.widget = ipywidgets.VBox([self.picture, self.left, self.top, self.right, self.bottom])

    def show(self, picture: Image.Image) -> None:
        """Show the picture above the sliders."""
        self.picture.value = picture.convert("RGB").resize((SIDE, SIDE))._repr_png_()

    def region(self, size: int) -> Tensor:
        """The rectangle: (size, size), 1 inside."""
        corners = (self.left.value, self.top.value, self.right.value, self.bottom.value)
        return masks.box(corners, size)[0, 0]


def painter(changed: Callable[[], None], **style) -> Painter | BoxSliders:
    """A canvas to paint on, or four sliders where there is none."""
    return (BoxSliders if ipycanvas is None else Painter)(changed, **style)
