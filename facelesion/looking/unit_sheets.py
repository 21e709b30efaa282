"""A contact sheet per unit: the pictures and patches that drive it most and least, and what it does on average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from facelesion.analysis.activations import Activations, by_person
from facelesion.analysis.receptive import ReceptiveField
from facelesion.models import Subject
from facelesion.report.style import FAINT, INK, QUIET, figure_style, look

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = 6
_BOX = "#d55e00"


def profiles(
    activations: Mapping[str, Activations], people: Mapping[str, Sequence[str]], seed: int = 0
) -> pd.DataFrame:
    """What every unit of a site does for every group of pictures: its activation profile.

    Args:
        activations: of one site, by group.
        people: who is on each picture, by group.
        seed: of the intervals.

    Returns:
        One row per unit and group: `unit`, `group`, `mean` (over people), `low`, `high` (95 %, bootstrap over people),
        `people`.
    """
    import pandas

    tables = []
    for group, found in activations.items():
        values = by_person(found.mean, people[group])[1].numpy()
        again = np.random.default_rng((seed, 3)).multinomial(
            len(values), np.full(len(values), 1 / len(values)), size=1000
        )
        low, high = np.quantile(again @ values / len(values), [0.025, 0.975], axis=0)
        tables.append(
            pandas.DataFrame(
                {
                    "unit": np.arange(values.shape[1]), "group": group, "mean": values.mean(0), "low": low,
                    "high": high, "people": len(values),
                }
            )
        )  # fmt: skip
    return pandas.concat(tables, ignore_index=True).sort_values(["unit"], kind="stable", ignore_index=True)


@dataclass(frozen=True)
class Example:
    """One picture in a contact sheet.

    Attributes:
        group, row: which picture.
        value: the unit's largest answer to it.
        window: rows and columns that the unit sees there, of the picture as the network is given it.
    """

    group: str
    row: int
    value: float
    window: tuple[tuple[int, int], tuple[int, int]]


def examples(
    activations: Mapping[str, Activations],
    people: Mapping[str, Sequence[str]],
    unit: int,
    field: ReceptiveField,
    size: tuple[int, int],
    count: int = SHOWN,
) -> tuple[list[Example], list[Example]]:
    """The pictures whose largest answer is largest, and those whose largest answer is smallest; nobody twice in either.

    Args:
        activations: of one site, by group.
        people: who is on each picture, by group.
        unit: which.
        field: the site's receptive field.
        size: height and width of the pictures that the network is given.
        count: of each kind.
    """
    ranked = sorted(
        (-float(found.largest[row, unit]), place, row, group)
        for place, (group, found) in enumerate(activations.items())
        for row in range(len(found.largest))
    )

    def taken(order: Sequence[tuple[float, int, int, str]]) -> list[Example]:
        seen: set[str] = set()
        chosen: list[Example] = []
        for value, _, row, group in order:
            who = people[group][row]
            if who in seen or len(chosen) == count:
                continue
            seen.add(who)
            place = activations[group].place[row, unit].tolist()
            chosen.append(Example(group, row, -value, field.window(place, size)))
        return chosen

    return taken(ranked), taken(ranked[::-1])


def as_shown(subject: Subject, images: torch.Tensor) -> npt.NDArray[np.float32]:
    """Pictures as the network is given them (N, 3, H, W) as pictures for people (N, H, W, 3), RGB in [0, 1].

    The network's mean and deviation are taken back where its preprocessing says them; else each picture is stretched
    between its darkest and lightest value.
    """
    values = images.detach().cpu().float()
    mean, std = getattr(subject.preprocess, "mean", None), getattr(subject.preprocess, "std", None)
    if getattr(subject.preprocess, "colour_order", "RGB") == "BGR":
        values = values.flip(1)
    if mean is not None and std is not None:
        values = values * values.new_tensor(std)[:, None, None] + values.new_tensor(mean)[:, None, None]
    else:
        low, high = values.amin((1, 2, 3), keepdim=True), values.amax((1, 2, 3), keepdim=True)
        values = (values - low) / (high - low).clamp_min(1e-6)
    return np.asarray(values.clamp(0, 1).permute(0, 2, 3, 1).numpy(), np.float32)


def draw_contact_sheet(
    title: str,
    most: Sequence[Example],
    least: Sequence[Example],
    picture: Mapping[tuple[str, int], npt.NDArray[np.float32]],
    profile: pd.DataFrame,
    field: ReceptiveField,
) -> Figure:
    """Draw a unit's contact sheet: on the left its profile, on the right pictures and what the unit sees of them.

    Args:
        title: site, unit and ranking, in words.
        most, least: as `examples` gives them.
        picture: group and row to pixels (H, W, 3).
        profile: one unit's rows of `profiles`.
        field: the site's receptive field.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    columns = max(len(most), len(least))
    height, width = next(iter(picture.values())).shape[:2]
    # A unit that sees the whole picture has no patch of its own.
    patched = any(example.window != ((0, height), (0, width)) for example in (*most, *least))
    tall, wide = (5.4, 3.2 + 1.05 * columns) if patched else (3.4, 3.2 + 1.05 * columns)
    with figure_style():
        figure = Figure(figsize=(wide, tall))
        figure.text(0.012, 1 - 0.14 / tall, title, ha="left", va="top", fontsize=11, fontweight="bold", color=INK)
        left, top_of_all = 2.9 / wide, 1 - 0.78 / tall
        bottom_of_profile = 0.62 / tall
        _draw_profile(
            figure.add_axes((0.075, bottom_of_profile, left - 0.115, top_of_all - bottom_of_profile)), profile
        )
        ratios = (1, 1, 0.34, 1, 1) if patched else (1, 0.2, 1)
        grid = figure.add_gridspec(
            len(ratios), columns, left=left + 0.02, right=0.99, top=top_of_all, bottom=0.02, hspace=0.12, wspace=0.06,
            height_ratios=ratios,
        )  # fmt: skip
        second = ratios.index(min(ratios)) + 1
        for first, words, chosen in ((0, "drive it most", most), (second, "drive it least", least)):
            for column, example in enumerate(chosen):
                pixels = picture[example.group, example.row]
                (top, bottom), (start, end) = example.window
                above = figure.add_subplot(grid[first, column])
                below = figure.add_subplot(grid[first + 1, column]) if patched else None
                above.imshow(pixels, interpolation="nearest")
                above.add_patch(
                    Rectangle(
                        (start - 0.5, top - 0.5), end - start, bottom - top, fill=False, edgecolor=_BOX, linewidth=1.4,
                        clip_on=False,
                    )
                )  # fmt: skip
                above.set_title(
                    f"{example.group}  {example.value:.2g}", fontsize=7, fontweight="normal", loc="center", pad=2,
                    color=QUIET,
                )  # fmt: skip
                if below is not None:
                    below.imshow(pixels[top:bottom, start:end], interpolation="nearest")
                for axis in (above, *([] if below is None else [below])):
                    axis.set_xticks([])
                    axis.set_yticks([])
                    axis.set_anchor("N")
                    for spine in axis.spines.values():
                        spine.set_visible(axis is below)
                        spine.set_color(_BOX)
                if not column:
                    above.set_ylabel(words, fontsize=8.5, color=INK)
                    if below is not None:
                        below.set_ylabel("what it sees", fontsize=8.5, color=INK)
        told = _field_words(field, (height, width), patched)
        figure.text(0.012, 1 - 0.40 / tall, told, fontsize=8, color=QUIET, va="top")
    return figure


def _field_words(field: ReceptiveField, shape: Sequence[int], patched: bool) -> str:
    numbers = "numbers: its largest answer"
    height, width = field.size
    if height == float("inf"):
        return f"a unit of this site may see the whole picture; {numbers}"
    told = f"receptive field {height:g} × {width:g} of {shape[0]} × {shape[1]} pixels"
    if not patched:
        return f"{told}: it sees the whole picture, wherever its place; {numbers}"
    return f"{told}; frame: what it sees at the place of its largest answer; {numbers}"


def _draw_profile(axis: Any, profile: pd.DataFrame) -> None:
    """Mean activation by group with its interval over people."""
    groups = list(profile["group"])
    places = np.arange(len(groups))[::-1]
    colour = look("noise")[0]
    axis.hlines(places, profile["low"], profile["high"], color=colour, linewidth=2)
    axis.plot(profile["mean"], places, "o", color=colour, markersize=5)
    axis.set_yticks(places, groups)
    axis.set_ylim(-0.6, len(groups) - 0.4)
    axis.set_xlim(left=min(0.0, float(profile["low"].min())))
    axis.grid(axis="x", color=FAINT)
    axis.set_xlabel("mean activation, 95 % over people", fontsize=8)
    axis.tick_params(labelsize=8)
