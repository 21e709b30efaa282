"""Pictures of the page as PNG: faces, maps over them, a site's units, and the whole result."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from facelesion.data.imagesets import ImageSet
from facelesion.lab.answers import Answer, large, truth
from facelesion.lab.known import enrolled_picture
from facelesion.lab.pictures import ENROLLED, PEOPLE_SEED, name_of
from facelesion.report.style import INK, QUIET, blank, data_address, legible, png

#: How much a PNG is made smaller: little, for it goes no further than the next window.
QUICK = 1
Pixels = npt.NDArray[np.uint8]
_CELL = 28  # most pixels of a unit's map
_PORTRAIT = 88


def address(pixels: Pixels) -> str:
    """Pixels as the address of a picture within a page."""
    return _address(pixels.tobytes(), pixels.shape)


@lru_cache(maxsize=64)
def _address(content: bytes, shape: tuple[int, ...]) -> str:
    """Kept, for most pictures of an answer are those of the answer before."""
    return data_address(png(np.frombuffer(content, np.uint8).reshape(shape), QUICK))


def pixels_of(pictures: ImageSet) -> Pixels:
    """The first picture of a set (H, W, 3)."""
    return np.ascontiguousarray(pictures.images[0].permute(1, 2, 0).numpy())


def portraits() -> Pixels:
    """The enrolled people, one below the other."""
    from PIL import Image

    faces = [Image.fromarray(pixels_of(enrolled_picture(f"person-{PEOPLE_SEED}-{n}"))) for n in range(ENROLLED)]
    return np.concatenate([np.asarray(each.resize((_PORTRAIT, _PORTRAIT), Image.Resampling.LANCZOS)) for each in faces])


def over(picture: Pixels, heat: torch.Tensor, top: float, signed: bool = False) -> Pixels:
    """A map (h, w) over a picture; `top` is the value of the brightest colour."""
    side = picture.shape[0]
    share = (large(heat, side) / top).clamp(-1, 1).numpy() if top > 0 else np.zeros((side, side), np.float32)
    grey = np.repeat(picture.mean(2, keepdims=True), 3, 2)
    colours = _colours("RdBu_r" if signed else "inferno")
    place = ((share + 1) / 2 if signed else share.clip(0)) * 255
    strength = np.abs(share)[..., None] ** 0.5 * 0.85
    mixed = grey * (1 - strength) + colours[place.round().astype(int)] * strength
    return mixed.round().clip(0, 255).astype(np.uint8)


def maps(found: Answer) -> dict[str, Pixels]:
    """Grad-CAM over the picture: healthy, damaged, and the difference, all on the healthy map's scale."""
    picture = pixels_of(found.picture)
    healthy, damaged = found.healthy.heat, found.damaged.heat
    top = float(healthy.max())
    return {
        "healthy": over(picture, healthy, top), "damaged": over(picture, damaged, top),
        "difference": over(picture, damaged - healthy, top or float(damaged.max()), signed=True),
    }  # fmt: skip


def sheet(found: Answer) -> tuple[Pixels, Pixels, int]:
    """Every unit's map, healthy and damaged: one column of cells each, and how many pixels a cell has.

    A unit's two maps are on one scale, that of its largest value.
    """
    healthy, damaged = (_small(seen.units) for seen in (found.healthy, found.damaged))
    top = torch.maximum(healthy.amax((1, 2)), damaged.amax((1, 2))).clamp_min(1e-12)[:, None, None]
    colours = _colours("inferno").astype(np.uint8)
    columns = [
        colours[((each.clamp_min(0) / top).clamp(0, 1) * 255).round().long().flatten(0, 1).numpy()]
        for each in (healthy, damaged)
    ]
    return columns[0], columns[1], healthy.shape[-1]


def _small(units: torch.Tensor) -> torch.Tensor:
    """Units' maps as small squares (C, s, s)."""
    side = min(_CELL, max(units.shape[1:]))
    if units.shape[1:] == (side, side):
        return units
    return torch.nn.functional.adaptive_max_pool2d(units, side)


@lru_cache(maxsize=4)
def _colours(name: str) -> npt.NDArray[np.float64]:
    from matplotlib import colormaps

    return colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255


def result(found: Answer) -> bytes:
    """What the page shows of a state, as one PNG: pictures, answers, maps, and the lesion in words."""
    figure = blank(9.6, 6.2)
    title = "intact network" if found.lesion is None else str(found.lesion)
    figure.text(0.03, 0.955, "What is left?", fontsize=15, weight="bold", color=INK)
    figure.text(0.03, 0.915, f"{found.state.network}: {legible(title, 120)}", fontsize=9, color=QUIET)
    figure.text(0.03, 0.885, f"shown: {found.state.shown_as}", fontsize=9, color=QUIET)
    drawn = maps(found)
    tiles = [("shown", pixels_of(found.picture)), *((f"map, {name}", each) for name, each in drawn.items())]
    for number, (name, each) in enumerate(tiles):
        _tile(figure, [0.03 + 0.245 * number, 0.53, 0.2, 0.31], each, name)
    who, _ = truth(found.state)
    for row, (name, seen) in enumerate((("healthy", found.healthy), ("damaged", found.damaged))):
        bottom = 0.29 - 0.25 * row
        sees = "a face" if seen.evidence > 0 else "no face"
        same = "the same person" if seen.alike > found.same_above else "two people"
        lines = [
            f"{name}: {sees} (evidence {seen.evidence:+.2f})", f"second picture: {same} ({seen.alike:.2f})",
            f"thing: {seen.kinds[0][0]} ({seen.kinds[0][1]:.0%})",
        ]  # fmt: skip
        figure.text(0.03, bottom + 0.16, "\n".join(lines), fontsize=9, color=INK, va="top", linespacing=1.6)
        for number, (label, cosine) in enumerate(seen.people):
            mark = " ✓" if label == who else ""
            place = [0.4 + 0.118 * number, bottom + 0.02, 0.1, 0.155]
            _tile(figure, place, pixels_of(enrolled_picture(label)), f"{name_of(label)} {cosine:.2f}{mark}")
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=160, facecolor="white")
    return memory.getvalue()


def _tile(figure: Any, place: list[float], pixels: Pixels, title: str) -> None:
    axes = figure.add_axes(place)
    axes.imshow(pixels)
    axes.set_axis_off()
    axes.set_title(title, fontsize=8, pad=3)
