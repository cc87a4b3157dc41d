"""Marking a region or a sketch by hand: marks as plain data, and two ways to make them, a brush and sliders.

The brush, for mouse and finger, paints on a canvas of `ipycanvas`, which keeps a picture beneath the marks and works
with ipywidgets 7.7 and 8. The sliders set boxes and lines from the keyboard alone, and are all there is where
ipycanvas is not installed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import ipywidgets
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from pyramid.masks import Box

try:
    import ipycanvas
except ImportError:
    ipycanvas = None

SIDE = 320  # pixels of the canvas on the screen
FINER = 4  # strokes are drawn so many times finer than asked, then averaged
RED, INK = (230, 40, 90), (20, 20, 30)


@dataclass
class Stroke:
    """A movement of the brush. points: (x, y) in [0, 1]; radius: share of the side; erase: takes away."""

    radius: float
    erase: bool = False
    points: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class Rectangle:
    """A filled box. corners: in shares of the side, a box of no width or height covers nothing; erase: takes away."""

    corners: Box
    erase: bool = False


Mark = Stroke | Rectangle


def rasterise(marks: list[Mark], size: int) -> Tensor:
    """What marks cover: (size, size) in [0, 1], later marks over earlier ones."""
    side = size * FINER
    image = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(image)
    for mark in marks:
        colour = 0 if mark.erase else 255
        if isinstance(mark, Stroke):
            _draw_stroke(draw, mark, colour, side)
        else:
            left, top, right, bottom = (round(corner * side) for corner in mark.corners)
            if left < right and top < bottom:
                draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)  # Pillow fills the last pixel too
    small = image.resize((size, size), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, dtype=np.float32) / 255)


def _draw_stroke(draw: ImageDraw.ImageDraw, stroke: Stroke, colour: int, side: int) -> None:
    r = stroke.radius * side
    points = [(x * side, y * side) for x, y in stroke.points]
    if len(points) > 1:
        draw.line(points, fill=colour, width=max(round(2 * r), 1), joint="curve")
    for x, y in points:
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


class Marking:
    """What both ways share: the marks, the brush's size, erase, undo, clear. Calls `changed` after each change."""

    def __init__(
        self,
        changed: Callable[[], None],
        colour: tuple[int, int, int] = RED,
        opacity: float = 0.55,
        radius: float = 0.09,
    ):
        self.changed, self.colour, self.opacity = changed, colour, opacity
        self.marks: list[Mark] = []
        self.radius = ipywidgets.FloatSlider(value=radius, min=0.01, max=0.2, step=0.01, description="brush")
        self.eraser = ipywidgets.ToggleButton(value=False, description="erase")
        undo, clear = ipywidgets.Button(description="undo"), ipywidgets.Button(description="clear")
        undo.on_click(lambda _: self.undo())
        clear.on_click(lambda _: self.clear())
        self.tools = [self.eraser, undo, clear]

    def region(self, size: int) -> Tensor:
        """What is marked: (size, size) in [0, 1]."""
        return rasterise(self.marks, size)

    def undo(self) -> None:
        """Take the last mark away."""
        del self.marks[-1:]
        self.redraw()

    def clear(self) -> None:
        """Take all marks away."""
        self.marks.clear()
        self.redraw()

    def redraw(self) -> None:
        """Show the marks as they are now, and tell of the change."""
        self.lay(self.tint())
        self.changed()

    def tint(self) -> np.ndarray:
        """The marks as (SIDE, SIDE, 4) with an alpha channel, of one thickness of paint however often they cross."""
        pixels = np.empty((SIDE, SIDE, 4), np.uint8)
        pixels[..., :3], pixels[..., 3] = self.colour, (self.region(SIDE) * 255 * self.opacity).to(torch.uint8).numpy()
        return pixels

    def lay(self, pixels: np.ndarray) -> None:
        """Lay a `tint` over the picture."""
        raise NotImplementedError


class Brush(Marking):
    """A canvas to paint on with the mouse or a finger."""

    def __init__(self, changed: Callable[[], None], **style):
        super().__init__(changed, **style)
        self.drawing = False
        self.canvas = ipycanvas.MultiCanvas(2, width=SIDE, height=SIDE)  # picture, strokes
        self.canvas.layout.width = f"{SIDE}px"
        self.canvas.on_mouse_down(lambda x, y: self.down(x / SIDE, y / SIDE))
        self.canvas.on_mouse_move(lambda x, y: self.move(x / SIDE, y / SIDE))
        self.canvas.on_mouse_up(lambda x, y: self.up())
        self.canvas.on_mouse_out(lambda x, y: self.up())
        self.canvas.on_touch_start(lambda fingers: self.touch(self.down, fingers))
        self.canvas.on_touch_move(lambda fingers: self.touch(self.move, fingers))
        self.canvas.on_touch_end(lambda fingers: self.up())
        self.canvas.on_touch_cancel(lambda fingers: self.up())
        self.widget = ipywidgets.VBox([self.canvas, self.radius, ipywidgets.HBox(self.tools)])

    def show(self, picture: Image.Image) -> None:
        """Lay a picture beneath the marks."""
        pixels = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        self.canvas[0].put_image_data(np.ascontiguousarray(pixels))

    def lay(self, pixels: np.ndarray) -> None:
        """Lay a `tint` over the picture."""
        with ipycanvas.hold_canvas():
            self.canvas[1].clear()
            self.canvas[1].global_composite_operation = "source-over"
            self.canvas[1].put_image_data(pixels)

    def touch(self, act: Callable[[float, float], None], fingers: list[tuple[float, float]]) -> None:
        """What one finger does; a second one ends the stroke of the first."""
        if len(fingers) == 1:
            act(fingers[0][0] / SIDE, fingers[0][1] / SIDE)
        else:
            self.up()

    def down(self, x: float, y: float) -> None:
        """Begin a stroke at (x, y), in shares of the side."""
        self.drawing = True
        self.marks.append(Stroke(self.radius.value, self.eraser.value, [(x, y)]))

    def move(self, x: float, y: float) -> None:
        """Go on with the stroke, if one has begun."""
        if not self.drawing:
            return
        stroke = self.marks[-1]
        (x0, y0), layer = stroke.points[-1], self.canvas[1]
        stroke.points.append((x, y))
        layer.global_composite_operation = "destination-out" if stroke.erase else "source-over"
        layer.stroke_style, layer.line_width, layer.line_cap = self._style(), 2 * stroke.radius * SIDE, "round"
        layer.stroke_line(x0 * SIDE, y0 * SIDE, x * SIDE, y * SIDE)

    def up(self) -> None:
        """End the stroke, and say that something has changed."""
        if self.drawing:
            self.drawing = False
            self.redraw()

    def _style(self) -> str:
        return f"rgba({self.colour[0]}, {self.colour[1]}, {self.colour[2]}, {self.opacity})"


class Sliders(Marking):
    """A box or a line set with sliders, so from the keyboard alone; "add" keeps it and goes on with the next one."""

    def __init__(self, changed: Callable[[], None], **style):
        super().__init__(changed, **style)
        self.shape = ipywidgets.Dropdown(options=("box", "line"), description="shape")
        self.sides = [
            ipywidgets.FloatSlider(value=value, min=0, max=1, step=0.02, description=name)
            for name, value in (("left", 0.3), ("top", 0.3), ("right", 0.7), ("bottom", 0.7))
        ]
        self.picture = ipywidgets.Image(format="png", width=SIDE)
        self.beneath = Image.new("RGB", (SIDE, SIDE), "white")
        add = ipywidgets.Button(description="add")
        add.on_click(lambda _: self.add())
        for control in (self.shape, *self.sides, self.radius, self.eraser):
            control.observe(lambda _: self.redraw(), names="value")
        controls = [self.shape, *self.sides, self.radius, ipywidgets.HBox([add, *self.tools])]
        self.widget = ipywidgets.VBox([self.picture, *controls])

    def mark(self) -> Mark:
        """What the sliders say now: a box, or a line from (left, top) to (right, bottom) as wide as the brush."""
        left, top, right, bottom = (slider.value for slider in self.sides)
        if self.shape.value == "box":
            return Rectangle((left, top, right, bottom), self.eraser.value)
        return Stroke(self.radius.value, self.eraser.value, [(left, top), (right, bottom)])

    def region(self, size: int) -> Tensor:
        """What is marked, what the sliders say now on top: (size, size) in [0, 1]."""
        return rasterise([*self.marks, self.mark()], size)

    def add(self) -> None:
        """Keep what the sliders say now."""
        self.marks.append(self.mark())
        self.redraw()

    def show(self, picture: Image.Image) -> None:
        """Lay a picture beneath the marks."""
        self.beneath = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        self.lay(self.tint())

    def lay(self, pixels: np.ndarray) -> None:
        """Lay a `tint` over the picture."""
        over = Image.alpha_composite(self.beneath.convert("RGBA"), Image.fromarray(pixels))
        self.picture.value = over.convert("RGB")._repr_png_()


class BrushOrSliders:
    """Both, and the choice between them; each keeps its own marks, and those of the one chosen count."""

    def __init__(self, changed: Callable[[], None], **style):
        self.changed = changed
        self.ways = {"brush": Brush(changed, **style), "sliders": Sliders(changed, **style)}
        self.choice = ipywidgets.ToggleButtons(options=tuple(self.ways), description="mark with")
        self.choice.observe(lambda _: self.choose(), names="value")
        self.widget = ipywidgets.VBox([self.choice, *(way.widget for way in self.ways.values())])
        self._display()

    def show(self, picture: Image.Image) -> None:
        """Lay a picture beneath the marks of both."""
        for way in self.ways.values():
            way.show(picture)

    def region(self, size: int) -> Tensor:
        """What is marked in the way that is chosen: (size, size) in [0, 1]."""
        return self.ways[self.choice.value].region(size)

    def choose(self) -> None:
        """Show the controls of the way that is chosen, and tell of the change."""
        self._display()
        self.changed()

    def _display(self) -> None:
        for name, way in self.ways.items():
            way.widget.layout.display = None if name == self.choice.value else "none"


def painter(changed: Callable[[], None], **style) -> BrushOrSliders | Sliders:
    """Brush and sliders to choose from, or sliders alone where there is no canvas."""
    return (Sliders if ipycanvas is None else BrushOrSliders)(changed, **style)
