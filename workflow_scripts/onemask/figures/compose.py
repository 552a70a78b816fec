"""From a draw function and its tables to a figure, and from a figure to a file of the same bytes every time."""

import importlib.metadata
import platform
import zlib
from collections.abc import Callable
from pathlib import Path

import matplotlib.ft2font
import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from onemask.figures import style
from onemask.io.errors import OnemaskError, reason
from onemask.io.files import replacing

TITLE = 0.2  # height of a model's title, inches
METADATA = {".pdf": {"CreationDate": None}, ".png": {"Software": None}}
DPI = 200
Rc = dict[str, object] | None
LIBRARIES = ("matplotlib", "seaborn", "numpy", "pandas", "pyarrow", "contourpy", "fonttools", "kiwisolver", "pillow")


def _styled(rc: Rc):
    try:
        matplotlib.RcParams(rc or {})
    except (KeyError, ValueError) as error:
        raise OnemaskError("matplotlib's rcParams", reason(error), "Correct `rc` of the figure in the run's config.") from error
    return matplotlib.style.context(["default", style.RC, rc or {}])


def compose(
    draw: Callable[..., None],
    tables: dict[str, dict[str, object]],
    size: tuple[float, float],
    rc: Rc = None,
) -> Figure:
    """One row of the figure a model: `draw(subfigure, **tables[model])`, titled when there are several.

    size: width and height in inches for one model; rc: matplotlib's rcParams over our style's. OnemaskError for unknown ones.
    """
    several = len(tables) > 1
    width, height = size
    with _styled(rc):
        figure = Figure((width, (height + TITLE * several) * len(tables)), layout="constrained")
        FigureCanvasAgg(figure)
        subfigures = figure.subfigures(len(tables), 1, squeeze=False)[:, 0]
        for subfigure, (model, arguments) in zip(subfigures, tables.items(), strict=True):
            draw(subfigure, **arguments)
            if several:
                subfigure.suptitle(model)
    return figure


def save(figure: Figure, path: str | Path, rc: Rc = None) -> None:
    """Write a figure as PDF or PNG, atomically; equal figures give equal bytes. OnemaskError for another suffix."""
    suffix = Path(path).suffix
    if suffix not in METADATA:
        raise OnemaskError("a figure's path ending in .pdf or .png", str(path), "Rename it.")
    with _styled(rc), replacing(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], dpi=DPI, metadata=METADATA[suffix])


def versions() -> dict[str, str]:
    """Versions of all that decides a figure's bytes, besides its tables and our code."""
    found = {"python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION}
    found["freetype"] = matplotlib.ft2font.__freetype_version__
    return found | {name: importlib.metadata.version(name) for name in LIBRARIES}
