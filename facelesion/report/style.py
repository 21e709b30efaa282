"""One look for all figures: a lesion has the same colour and marker everywhere."""

from __future__ import annotations

import base64
import io
import re
import textwrap
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, QUIET, FAINT, PAPER = "#1d2430", "#5b6472", "#d9dde3", "#ffffff"

WIDTH = 9.6  # inches, the report's text width

# After Okabe & Ito 2008 and Tol 2021: colours that people with any common colour vision tell apart.
_KNOWN = {
    "ablation": ("#d55e00", "o"),
    "noise": ("#0072b2", "s"),
    "dropout": ("#009e73", "^"),
    "combined": ("#882255", "D"),
    "pruning": ("#b07d00", "v"),
    "none": (INK, "o"),
}
_SPARE = (("#56b4e9", "P"), ("#8c6d46", "X"), ("#7a6ff0", "<"), ("#999933", ">"), ("#5b6472", "d"))


def look(lesion: str, among: Sequence[str] = ()) -> tuple[str, str]:
    """Colour and marker of a lesion; unknown names take spare ones by their place `among` all of a study.

    Example:
        >>> look("ablation")
        ('#d55e00', 'o')
    """
    if lesion in _KNOWN:
        return _KNOWN[lesion]
    others = [name for name in among if name not in _KNOWN]
    place = others.index(lesion) if lesion in others else 0
    turn, place = divmod(place, len(_SPARE))  # with more names than colours, no two have both alike
    return _SPARE[place][0], _SPARE[(place + turn) % len(_SPARE)][1]


def legible(name: str, longest: int = 40) -> str:
    """A name as a figure can hold it: on one line, no longer than `longest`, its middle left out if need be.

    Example:
        >>> legible("two\\nlines"), legible("a very long name of a lesion", 15)
        ('two lines', 'a very … lesion')
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in name)
    shown = " ".join(shown.encode("utf-8", "replace").decode().split()) or "–"
    if len(shown) <= longest:
        return shown
    head = longest // 2
    return f"{shown[:head]}…{shown[len(shown) - (longest - head - 1) :]}"


def wrapped(text: str, width: int) -> str:
    """A text as a figure can hold it, on as many lines as it takes.

    Example:
        >>> wrapped("right names, mean over those shown", 20)
        'right names, mean\\nover those shown'
    """
    return "\n".join(textwrap.wrap(legible(text, 4 * width), width))


def blank(width: float, height: float) -> Any:
    """An empty figure of so many inches, that belongs to no window and no global state.

    Example:
        >>> figure = blank(4, 3)
        >>> figure.get_size_inches().tolist()
        [4.0, 3.0]
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def file_name(text: str) -> str:
    """A name for a file and an address on the page, whatever the text: letters, digits, - and _ alone.

    Example:
        >>> file_name("heat_map_identification"), file_name("../heat map")
        ('heat_map_identification', 'heat_map_6a15f507')
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:60]
    return (
        plain
        if plain and plain == text
        else f"{plain}_{zlib.crc32(text.encode('utf-8', 'replace')):08x}".lstrip("_")
    )


@contextmanager
def figure_style() -> Iterator[None]:
    """Matplotlib's settings for the figures of a report, without touching anybody else's."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "font.family": ["DejaVu Sans"],
        "font.size": 9.5,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9.5,
        "axes.edgecolor": QUIET,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.6,
        "text.color": INK,
        "xtick.color": QUIET,
        "ytick.color": QUIET,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
        "svg.fonttype": "path",  # looks the same whatever fonts the reader has
        "svg.hashsalt": "facelesion",  # the same figure gives the same bytes
        "image.cmap": "cividis",
        # A name is a name: dollar signs and backslashes in it are no mathematics.
        "text.parse_math": False,
        "text.usetex": False,
        "axes.formatter.use_mathtext": False,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ ")  # a sign that no font has is drawn as a box
        yield


DOTS = 180  # per inch, of what is embedded as PNG
#: Kinds of picture that a page can hold, by the ending of their files.
PICTURES = {"svg": "image/svg+xml", "png": "image/png"}


def data_address(data: bytes, kind: str = "png") -> str:
    """A picture's bytes as an address within a page.

    Example:
        >>> data_address(b"abc")
        'data:image/png;base64,YWJj'
    """
    return f"data:{PICTURES[kind]};base64,{base64.b64encode(data).decode()}"


def png(pixels: Any, compression: int = 6) -> bytes:
    """Pixels, uint8 (H, W, 3) or (H, W), as PNG; at `compression` 1 quickly, at 9 as small as can be."""
    from PIL import Image

    memory = io.BytesIO()
    Image.fromarray(pixels).save(memory, "PNG", compress_level=compression)
    return memory.getvalue()


def embed(figure: Figure, kind: Literal["svg", "png"] = "svg") -> tuple[str, int]:
    """The figure as a data URI and its width on the page, in CSS pixels (96 to the inch).

    It is cut to what is drawn on it, so that nothing can lie outside.
    """
    memory = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {}
    with figure_style():
        figure.savefig(memory, format=kind, dpi=DOTS, bbox_inches="tight", pad_inches=0.08, metadata=metadata)
    data = memory.getvalue()
    if kind == "png":  # the width stands in the header
        width = int.from_bytes(data[16:20], "big") * 96 / DOTS
    else:
        found = re.search(rb'<svg [^>]*?width="([0-9.]+)pt"', data)
        width = float(found[1]) * 96 / 72 if found else 900
    return data_address(data, kind), round(width)
