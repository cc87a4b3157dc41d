"""What every figure shares: its two colours, and its way into a notebook."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, ACCENT = "#222222", "#c2410c"


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, format="png", bbox_inches="tight")
    return stream.getvalue()


def show(figure: Figure):
    """A figure as a notebook's output."""
    from IPython.display import Image as Output

    return Output(data=png(figure))
