"""The check that maps must pass: with weights that nobody trained they change (Adebayo et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from facelesion.analysis.attribution import Scores, guided_grad_cam
from facelesion.analysis.gradcam import grad_cam, resized
from facelesion.analysis.randomised import randomised_from_the_top, rank_likeness
from facelesion.data.imagesets import FaceSet
from facelesion.lesions import aliases
from facelesion.models import Subject
from facelesion.report.style import INK, QUIET, figure_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#882255", "#b07d00", "#56b4e9")
TRAINED = "trained"
GUIDED = "guided Grad-CAM"


@dataclass(frozen=True, eq=False)
class Sanity:
    """What maps become as ever more layers, the last first, have weights that nobody trained.

    Attributes:
        face: uint8 (H, W, 3), the first of the faces.
        layers: `trained`, then the layer whose weights were drawn last, at every step.
        likeness: by kind of map, at every step the rank correlation with the trained network's, mean over faces.
        maps: the first face's maps (h, w) by step and kind, at some of the steps.
    """

    face: npt.NDArray[np.uint8]
    layers: tuple[str, ...]
    likeness: Mapping[str, tuple[float, ...]]
    maps: Mapping[str, Mapping[str, npt.NDArray[np.float32]]]


def sanity(
    subject: Subject, faces: FaceSet, sites: Sequence[str] = ("conv4_3", "conv5_3"), seed: int = 1
) -> Sanity:
    """Draw a network's weights anew from the top down, and look at its maps of each face's own embedding at each step.

    Args:
        subject: the network.
        faces: whose maps; 8 or more, for a steady mean.
        sites: of Grad-CAM; guided Grad-CAM is shown at the last of them.
        seed: of the weights.

    Raises:
        Error: a site that there is not, or has no map.
    """
    images, rows = subject.preprocess(faces.images), torch.arange(len(faces))
    with torch.no_grad():
        own = torch.nn.functional.normalize(subject.identity(subject.module(images)), dim=1)

    def scores(rows: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda answer: (subject.identity(answer) * own[rows]).sum(1)

    learned = _maps(subject.module, images, sites, scores, rows)
    names = _layers(subject)
    first = {TRAINED: {name: each[0].numpy() for name, each in learned.items()}}
    likeness = {name: [1.0] for name in learned}
    layers = [TRAINED]
    for path, module in randomised_from_the_top(subject.module, images[:1], seed=seed):
        found = _maps(module, images, sites, scores, rows)
        layers.append(names.get(path, path))
        for name, each in found.items():
            likeness[name].append(float(rank_likeness(learned[name], each).nanmean()))
        first[f"down to {layers[-1]}"] = {name: each[0].numpy() for name, each in found.items()}
    steps = list(first)
    shown = [0, *np.linspace(1, len(steps) - 1, min(5, len(steps) - 1)).round().astype(int)]
    return Sanity(
        faces.images[0].permute(1, 2, 0).numpy(), tuple(layers),
        {name: tuple(each) for name, each in likeness.items()},
        {steps[place]: first[steps[place]] for place in shown},
    )  # fmt: skip


def _maps(
    module: torch.nn.Module, images: torch.Tensor, sites: Sequence[str], scores: Scores, rows: torch.Tensor
) -> dict[str, torch.Tensor]:
    """By kind: Grad-CAM at each site, guided Grad-CAM at the last."""
    found = {f"Grad-CAM, {site}": each for site, each in grad_cam(
        module, images, list(sites), scores(rows), resize=False
    ).items()}  # fmt: skip
    return found | {f"{GUIDED}, {sites[-1]}": guided_grad_cam(module, images, [sites[-1]], scores)[sites[-1]]}


def _layers(subject: Subject) -> dict[str, str]:
    """What layers with weights are called: by the name of the activation that comes next, where there is one."""
    names = {path: alias for alias, path in aliases(subject.module).items()}
    order = [path for path, _ in subject.module.named_modules()]
    return {
        path: names[after]
        for path, after in zip(order, order[1:], strict=False)
        if after in names and path not in names
    }


def sanity_figure(found: Sanity) -> Figure:
    """The first face's maps at some steps, and how alike all faces' maps still are at each."""
    from matplotlib.figure import Figure

    face, curves = found.face, found.likeness
    with figure_style():
        figure = Figure(figsize=(9.6, 6.6), dpi=120)
        lines = len(curves)
        grid = figure.add_gridspec(
            lines + 1, len(found.maps), height_ratios=[1] * lines + [1.7], hspace=0.12, wspace=0.06,
            left=0.14, right=0.98, top=0.94, bottom=0.13,
        )  # fmt: skip
        grey = face.mean(-1, keepdims=True).repeat(3, -1) / 255
        for line, name in enumerate(curves):
            for column, (step, maps) in enumerate(found.maps.items()):
                axes = figure.add_subplot(grid[line, column])
                heat = resized(torch.from_numpy(maps[name])[None], *face.shape[:2])[0].numpy()
                top = np.quantile(heat, 0.995) or 1.0
                heat = np.clip(heat / top, 0, 1)
                axes.imshow(grey)
                axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=np.clip(0.2 + 0.65 * heat, 0, 0.85))
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_visible(False)
                if line == 0:
                    axes.set_title(step, loc="center", fontsize=9)
                if column == 0:
                    axes.set_ylabel(name.replace(", ", "\n"), rotation=0, ha="right", va="center", fontsize=9)
        axes = figure.add_subplot(grid[lines, :])
        for (name, curve), colour, marker in zip(curves.items(), _COLOURS, "os^vDP", strict=False):
            axes.plot(range(len(curve)), curve, color=colour, marker=marker, label=name)
        axes.axhline(0, color=QUIET, linewidth=0.8)
        axes.set_xticks(range(len(found.layers)), found.layers, rotation=40, ha="right", fontsize=8)
        axes.set_ylabel("rank correlation\nwith the trained map", color=INK, fontsize=8.5)
        axes.set_xlabel("last layer whose weights were drawn anew (all above it too)", fontsize=8.5)
        axes.legend(fontsize=8, loc="upper right")
    return figure
