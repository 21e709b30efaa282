"""Figures: what a network is shown, and where its evidence for an answer lies, in health and in damage."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from facelesion.analysis.gradcam import resized
from facelesion.data.imagesets import eight_bits
from facelesion.faces.regions import FEATURES, boxes
from facelesion.faces.stimuli import Stimulus
from facelesion.looking.maps import DAMAGED, HEALTHY, INPUT, Maps
from facelesion.looking.photographs import Photographed, Shot
from facelesion.report.style import INK, QUIET, figure_style, legible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scale = Literal["healthy", "own"]
Picture = npt.NDArray[Any]
DOTS = 150  # per inch
_TILE, _LABEL, _GAP = 0.86, 1.5, 0.1  # inches
_NARROWEST = 5.0  # inches, of a sheet whose scales can still be read
_EVIDENCE, _DIFFERENCE = "inferno", "RdBu_r"
_COLOURS = {"eyebrows": "#009e73", "eyes": "#56b4e9", "nose": "#e69f00", "mouth": "#d55e00"}


def evidence_sheet(
    maps: Maps, face: int, sites: Sequence[str], stimuli: Sequence[int] | None = None, scale: Scale = "healthy"
) -> Figure:
    """One face's maps: a row of pictures, then for each site its map and the map over the picture.

    With a lesion each site has three rows: healthy, damaged, and damaged less healthy. All colours of a site are on one
    scale: 1 is the largest value of the healthy network's map of the unmasked face there (of maps that are as fine as
    the picture, what 99 % of its places lie below), and what exceeds it has the colour of 1.

    Args:
        maps: of some faces.
        face: which of them.
        sites: names of the rows' sites.
        stimuli: which of the stimuli; all when left out.
        scale: `own` divides each map by its own largest value instead: it shows where, not how much.
    """
    from matplotlib.figure import Figure

    shown = list(range(len(maps.stimuli)) if stimuli is None else stimuli)
    states = [*maps.networks, "difference"] if DAMAGED in maps.networks else [HEALTHY]
    lines = len(sites) * len(states)
    width = max(_NARROWEST, _LABEL + len(shown) * (2 * _TILE + _GAP))
    title = f"{legible(maps.faces[face], 60)}: {_METHODS[maps.method]} for {maps.of}"
    above = [*_lines(title, width - 0.3, 10, 0.85), *_lines(_damage_line(maps), width - 0.3, 8.5)]
    bold = len(_lines(title, width - 0.3, 10, 0.85))
    upper = 0.31 + 0.22 * len(above)
    head, foot = upper + 2 * _TILE + 0.34, 0.85
    blocks = len(sites) * 0.12
    height = head + lines * _TILE + blocks + foot
    with figure_style():
        figure = Figure(figsize=(width, height), dpi=DOTS)
        place = _Places(figure, width, height)
        for number, words in enumerate(above):
            style = {"weight": "bold"} if number < bold else {"color": QUIET, "size": 8.5}
            place.text(0.1, 0.24 + 0.22 * number, words, **style)
        for column, s in enumerate(shown):
            left = _LABEL + column * (2 * _TILE + _GAP)
            axes = place.axes(left + _TILE * 0.08, upper, 1.84 * _TILE, 1.84 * _TILE)
            axes.imshow(maps.pictures[face, s], interpolation="bilinear")
            title = "normal" if maps.stimuli[s] == "intact" else legible(maps.stimuli[s], 26)
            axes.set_title(title, loc="center", fontsize=9, pad=3)
            score = " → ".join(f"{value:.3g}" for value in maps.scores[face, s])
            place.text(left + _TILE, upper + 1.84 * _TILE + 0.15, score, size=8, color=QUIET, ha="center")
        place.text(_LABEL - 0.1, upper + 1.84 * _TILE + 0.15, "score", size=8, color=QUIET, ha="right")
        top = head
        for name in sites:
            k = [site.name for site in maps.sites].index(name)
            _site_block(place, maps, face, k, shown, states, top, scale)
            top += len(states) * _TILE + 0.12
        _scales(place, top + 0.16, width, len(states) > 1, _UNITS[scale, maps.method in _FINE])
    return figure


_METHODS = {
    "gradcam": "Grad-CAM", "guided-gradcam": "guided Grad-CAM", "integrated-gradients": "integrated gradients",
    "occlusion": "occlusion",
}  # fmt: skip


_FINE = ("guided-gradcam", "integrated-gradients")  # maps of single pixels, of which a few are very large
_UNITS = {
    ("healthy", False): "evidence; 1: largest of the site's healthy, normal map",
    ("healthy", True): "evidence; 1: above 99 % of the site's healthy, normal map",
    ("own", False): "evidence; 1: largest of each map",
    ("own", True): "evidence; 1: above 99 % of each map",
}


class _Places:
    """Axes and words at inches from the upper left corner."""

    def __init__(self, figure: Figure, width: float, height: float) -> None:
        self.figure, self.width, self.height = figure, width, height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        axes = self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes

    def text(self, left: float, top: float, words: str, **style: Any) -> None:
        self.figure.text(left / self.width, 1 - top / self.height, words, va="center", **{"color": INK, **style})


def in_units(maps: Maps, face: int, site: str, scale: Scale = "healthy") -> npt.NDArray[np.float32]:
    """One face's maps at a site (stimuli, networks, h, w) in units of what is 1 on the sheet's colour scale.

    Where the healthy map of the unmasked face is empty, 1 is the largest value of all the face's maps there.
    """
    heat = maps.maps[site][face]
    share = 0.99 if maps.method in _FINE else 1.0
    if scale == "own":
        top = np.quantile(heat, share, axis=(2, 3), keepdims=True)
        top = np.where(top > 0, top, heat.max((2, 3), keepdims=True))
    else:
        found = (float(np.quantile(heat[0, 0], share)), float(heat[0, 0].max()), float(heat.max()))
        top = np.array(next((value for value in found if value > 0), 1.0))
    return np.divide(heat, top, out=np.zeros_like(heat), where=top > 0)


def _site_block(
    place: _Places, maps: Maps, face: int, k: int, shown: Sequence[int], states: Sequence[str], top: float, scale: Scale
) -> None:
    site = maps.sites[k]
    side = maps.pictures.shape[2:4]
    heat = in_units(maps, face, site.name, scale)
    large = resized(torch.from_numpy(heat).flatten(0, 1), *side).unflatten(0, heat.shape[:2]).numpy()
    middle = top + len(states) * _TILE / 2
    stage = "" if site.name == INPUT else f"{site.stage}\n"
    place.text(0.1, middle, f"{stage}{legible(site.name, 14)}", weight="bold", size=9.5)
    place.text(0.1, middle + 0.32, f"{site.height} × {site.width}", color=QUIET, size=8)
    for line, state in enumerate(states):
        y = top + line * _TILE
        if len(states) > 1:
            place.text(_LABEL - 0.1, y + _TILE / 2, state, size=8.5, ha="right", color=QUIET)
        for column, s in enumerate(shown):
            left = _LABEL + column * (2 * _TILE + _GAP)
            picture = maps.pictures[face, s].mean(-1, keepdims=True).repeat(3, -1) / 255
            tile = 0.97 * _TILE
            for half in range(2):
                axes = place.axes(left + half * _TILE, y, tile, tile)
                if half:
                    axes.imshow(picture, interpolation="bilinear")
                if state == "difference":
                    values = large[s, 1] - large[s, 0]
                    alpha = np.clip(np.abs(values) * 1.5, 0, 0.85) if half else None
                    axes.imshow(values, cmap=_DIFFERENCE, vmin=-1, vmax=1, alpha=alpha, interpolation="bilinear")
                    continue
                values = large[s, maps.networks.index(state)]
                alpha = np.clip(0.15 + 0.65 * values, 0, 0.8) if half else None
                axes.imshow(values, cmap=_EVIDENCE, vmin=0, vmax=1, alpha=alpha, interpolation="bilinear")
                if not values.any() and not half:
                    axes.text(
                        0.5, 0.5, "no positive\nevidence", transform=axes.transAxes, ha="center", va="center",
                        fontsize=6.5, color="#ffffff",
                    )  # fmt: skip


def _damage_line(maps: Maps) -> str:
    """What the rows show."""
    if DAMAGED not in maps.networks:
        return "healthy network; left the map, right the map over the picture"
    return f"healthy and under: {legible(maps.damage, 200)}; left the map, right the map over the picture"


def _lines(words: str, inches: float, size: float, share: float = 1.0) -> list[str]:
    """Words in lines of no more than so many inches; bold ones take more room than `share` 1 says."""
    return textwrap.wrap(words, max(20, int(share * 125 * inches / size)))


def _scales(place: _Places, top: float, width: float, difference: bool, unit: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    kinds = [(_EVIDENCE, 0, 1, unit, "max")]
    if difference:
        kinds.append((_DIFFERENCE, -1, 1, "damaged less healthy, same unit", "both"))
    length = min(3.2, (width - 0.4) / len(kinds) - 0.3)
    for number, (name, low, high, words, extend) in enumerate(kinds):
        step = length + (1.4 if width > 8 else 0.3)
        left = 0.2 + number * step
        axes = place.axes(left, top, length, 0.1)
        bar = place.figure.colorbar(
            ScalarMappable(Normalize(low, high), name), cax=axes, orientation="horizontal", extend=extend
        )
        bar.ax.tick_params(labelsize=7.5, length=2)
        bar.set_ticks([low, (low + high) / 2, high])
        room = (step if difference else width) - 0.25
        for line, said in enumerate(_lines(words, room, 7.5)):
            place.text(left, top + 0.42 + 0.15 * line, said, size=7.5, color=QUIET)


def stimuli_sheet(given: Photographed, stimuli: Sequence[Stimulus], pictures: Sequence[Picture]) -> Figure:
    """Every face in a row: its photograph with landmarks and regions, then what each stimulus makes of it.

    Args:
        given: the faces.
        stimuli: columns.
        pictures: for each stimulus uint8 (faces, H, W, 3), as `shown` gives them.
    """
    from matplotlib.figure import Figure

    count, tile = len(given.faces), 1.5
    width, height = 0.2 + (1.1 * tile + 0.12) + len(stimuli) * (tile + 0.06), 0.62 + count * (tile + 0.24) + 0.2
    with figure_style():
        figure = Figure(figsize=(width, height), dpi=DOTS)
        place = _Places(figure, width, height)
        x = 0.1
        for name, colour in _COLOURS.items():
            place.text(x, height - 0.13, name, size=8, color=colour, weight="bold")
            x += 0.15 + 0.075 * len(name)
        for row in range(count):
            top = 0.5 + row * (tile + 0.24)
            _landmarks(place.axes(0.1, top, 1.1 * tile, tile), given.shots[row])
            place.text(0.1, top + tile + 0.09, legible(given.faces.names[row], 60), size=7.5, color=QUIET)
            for column, (stimulus, made) in enumerate(zip(stimuli, pictures, strict=True)):
                axes = place.axes(0.22 + 1.1 * tile + column * (tile + 0.06), top, tile, tile)
                axes.imshow(made[row], interpolation="bilinear")
                if row == 0:
                    axes.set_title(_wrapped(str(stimulus)), loc="center", fontsize=8.5, pad=3)
            if row == 0:
                place.text(0.1, 0.42, "landmarks, regions", size=8.5, weight="bold")
    return figure


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(legible(name, 44), 22))


def _landmarks(axes: Axes, shot: Shot) -> None:
    """A photograph around its face, with the landmarks and the boxes of its features."""
    low, high = shot.landmarks.min(0), shot.landmarks.max(0)
    reach = 0.3 * float((high - low).max())
    height, width = shot.picture.shape[:2]
    axes.imshow(shot.picture, interpolation="bilinear")
    axes.scatter(shot.landmarks[:, 0], shot.landmarks[:, 1], s=0.35, color="#ffffff", linewidths=0)
    for name in FEATURES:
        corners = boxes(torch.from_numpy(np.asarray(shot.landmarks))[None], name).corners[0].numpy()
        closed = np.vstack([corners, corners[:1]])
        axes.plot(closed[:, 0], closed[:, 1], color=_COLOURS[name], linewidth=1.1)
    axes.set_xlim(max(-0.5, low[0] - reach), min(width - 0.5, high[0] + reach))
    axes.set_ylim(min(height - 0.5, high[1] + reach), max(-0.5, low[1] - reach))
    axes.set_aspect("equal", anchor="W")


def shown(given: Photographed, stimuli: Sequence[Stimulus]) -> list[npt.NDArray[np.uint8]]:
    """What each stimulus makes of the faces: uint8 (faces, H, W, 3), RGB. A second face is the next one's."""
    faces = given.faces
    images = faces.images.float() / 255
    others = (images.roll(-1, 0), faces.landmarks.roll(-1, 0)) if len(faces) > 1 else None
    made = (stimulus(images, faces.landmarks, ids=faces.ids, others=others) for stimulus in stimuli)
    return [eight_bits(each).permute(0, 2, 3, 1).numpy() for each in made]


def encoded(figure: Figure, ending: str) -> bytes:
    """A figure as a file's bytes: the ending says png, svg, pdf or jpg."""
    memory = io.BytesIO()
    plain = ending.lstrip(".").lower()
    about = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(plain)
    with figure_style():
        figure.savefig(memory, format=plain, dpi=DOTS, metadata=about)
    return memory.getvalue()
