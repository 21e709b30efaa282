"""Draw the pictures of docs/gallery.md on built-in faces, and write the page.

    python scripts/gallery.py [--out docs]

Everything is made from the built-in network and the face space, so that the page can be made again anywhere.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from facelesion.analysis.attribution import guided_grad_cam
from facelesion.analysis.gradcam import grad_cam, resized
from facelesion.analysis.mapped_sites import map_sites, stages_of
from facelesion.analysis.randomised import randomised_from_the_top, rank_likeness
from facelesion.data.facespace import FaceSpace
from facelesion.faces.stimuli import Stimulus
from facelesion.files import write_bytes
from facelesion.lesions import lesion_of_words
from facelesion.looking import maps_of, photographed, target_of
from facelesion.looking.reference import Reference
from facelesion.looking.sheets import encoded, evidence_sheet, shown, stimuli_sheet
from facelesion.models import get
from facelesion.models.frame import frame_of
from facelesion.report.style import INK, QUIET, figure_style

FACES = ["facespace:1", "facespace:5"]
STIMULI = ["intact", "mask eyebrows", "mask eyes", "mask nose", "mask mouth"]
MORE = ["intact", "mask eyes", "control eyes", "blur mouth", "isolate eyes", "invert", "phase scramble"]
LESION = "ablate 30% of conv5_3"
WIDEST = 1200  # pixels


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("docs"))
    out = options.parse_args().out
    numbers = {**sheets(out / "pictures"), **sanity(out / "pictures")}
    write_bytes(out / "gallery.md", page(numbers).encode())


def small(figure: Figure, path: Path) -> None:
    """A figure as a small JPEG, no wider than the page."""
    picture = Image.open(io.BytesIO(encoded(figure, "png"))).convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    memory = io.BytesIO()
    picture.save(memory, "JPEG", quality=88, optimize=True)
    write_bytes(path, memory.getvalue())
    print(path, len(memory.getvalue()) // 1024, "kB")


def sheets(folder: Path) -> dict[str, str]:
    """The sheets of stimuli, of maps of one face in health and in damage, and of two targets."""
    big = photographed(FACES, 224)
    read = [Stimulus.from_dict(each) for each in MORE]
    small(stimuli_sheet(big, read, shown(big, read)), folder / "stimuli.jpg")
    subject = get("builtin")
    given = photographed(FACES, subject.size)
    reference, frame = Reference(subject), frame_of(subject.preprocess, subject.size, subject.size)
    sites = map_sites(subject.module, subject.preprocess(torch.zeros(1, 3, subject.size, subject.size)))
    chosen = [site.name for site in stages_of(sites).values()]
    stimuli = [Stimulus.from_dict(each) for each in STIMULI]
    for of, name, lesion in (
        ("identity", "gradcam", LESION), ("detection", "gradcam_detection", None),
    ):  # fmt: skip
        target = target_of(of, subject, given.faces, reference.represent, materials=reference.materials)
        damage = None if lesion is None else lesion_of_words(lesion)
        maps = maps_of(subject, given.faces, target, sites, frame, stimuli=stimuli, lesion=damage)
        small(evidence_sheet(maps, 0, chosen), folder / f"{name}.jpg")
    return {"lesion": LESION}


def sanity(folder: Path) -> dict[str, str]:
    """Maps as ever more layers, from the top, are drawn anew (Adebayo et al. 2018)."""
    subject = get("builtin")
    faces = FaceSpace.load().draw(24, 1, seed=11)
    images, rows = subject.preprocess(faces.images), torch.arange(24)
    with torch.no_grad():
        own = torch.nn.functional.normalize(subject.identity(subject.module(images)), dim=1)

    def scores(rows: torch.Tensor):  # type: ignore[no-untyped-def]
        return lambda x: (subject.identity(x) * own[rows]).sum(1)

    def maps(module: torch.nn.Module) -> dict[str, torch.Tensor]:
        found = grad_cam(module, images, ["conv4_3", "conv5_3"], scores(rows), resize=False)
        guided = guided_grad_cam(module, images, ["conv5_3"], scores)["conv5_3"]
        return {f"Grad-CAM, {site}": each for site, each in found.items()} | {"guided Grad-CAM, conv5_3": guided}

    names = {path: alias for alias, path in subject.module.site_aliases.items()}
    learned = maps(subject.module)
    shown_at = {"trained": learned}
    curves: dict[str, list[float]] = {name: [1.0] for name in learned}
    layers = ["trained"]
    for path, module in randomised_from_the_top(subject.module, images[:1], seed=1):
        found = maps(module)
        layer = names.get(f"features.{int(path.rpartition('.')[2]) + 1}", path)
        layers.append(layer)
        for name, each in found.items():
            curves[name].append(float(rank_likeness(learned[name], each).nanmean()))
        if layer in ("conv5_3", "conv5_1", "conv4_1", "conv2_1", "conv1_1"):
            shown_at[f"down to {layer}"] = found
    small(sanity_figure(faces.images[0].permute(1, 2, 0).numpy(), shown_at, layers, curves), folder / "sanity.jpg")
    return {
        f"{name} {when}": f"{curve[place]:.2f}"
        for name, curve in curves.items() for when, place in (("first", 1), ("last", -1))
    }  # fmt: skip


def sanity_figure(
    face: np.ndarray, shown_at: dict[str, dict[str, torch.Tensor]], layers: list[str], curves: dict[str, list[float]]
) -> Figure:
    """The first face's maps at some steps, and how alike all faces' maps still are at each."""
    with figure_style():
        figure = Figure(figsize=(9.6, 6.6), dpi=120)
        lines = len(curves)
        grid = figure.add_gridspec(
            lines + 1, len(shown_at), height_ratios=[1] * lines + [1.7], hspace=0.12, wspace=0.06,
            left=0.14, right=0.98, top=0.94, bottom=0.13,
        )  # fmt: skip
        grey = face.mean(-1, keepdims=True).repeat(3, -1) / 255
        for line, name in enumerate(curves):
            for column, (step, maps) in enumerate(shown_at.items()):
                axes = figure.add_subplot(grid[line, column])
                heat = resized(maps[name][:1], *face.shape[:2])[0].numpy()
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
        for (name, curve), colour, marker in zip(curves.items(), ("#0072b2", "#d55e00", "#009e73"), "os^", strict=True):
            axes.plot(range(len(curve)), curve, color=colour, marker=marker, label=name)
        axes.axhline(0, color=QUIET, linewidth=0.8)
        axes.set_xticks(range(len(layers)), layers, rotation=40, ha="right", fontsize=8)
        axes.set_ylabel("rank correlation\nwith the trained map", color=INK, fontsize=8.5)
        axes.set_xlabel("last layer whose weights were drawn anew (all above it too)", fontsize=8.5)
        axes.legend(fontsize=8, loc="upper right")
    return figure


def page(numbers: dict[str, str]) -> str:
    """The page, with the numbers that this run gave."""
    first, last = (numbers[f"Grad-CAM, conv5_3 {when}"] for when in ("first", "last"))
    guided = (numbers[f"guided Grad-CAM, conv5_3 {when}"] for when in ("first", "last"))
    return PAGE.format(first=first, last=last, guided_first=next(guided), guided_last=next(guided), **numbers)


PAGE = """# Gallery

Pictures of the built-in network on built-in faces, made by `python scripts/gallery.py`. [looking.md](looking.md) says
what each shows and how to make them of your own photographs.

## What a network is shown

![Two built-in faces with landmarks and regions, and seven stimuli of each](pictures/stimuli.jpg)

`facelesion stimuli facespace:1 facespace:5 --stimuli intact "mask eyes" "control eyes" "blur mouth" "isolate eyes" ...`

## Where the evidence lies, healthy and damaged

![Grad-CAM of a face at three layers under five stimuli, healthy, damaged, difference](pictures/gradcam.jpg)

`facelesion gradcam facespace:1 --lesion "{lesion}"`: the evidence for the face's own embedding. All colours of a
layer are on one scale.

## Where the evidence for a face lies

![The same for the answer face or no face, healthy network](pictures/gradcam_detection.jpg)

`facelesion gradcam facespace:1 --of detection`

## The check that maps must pass

![Maps as ever more layers have weights that nobody trained](pictures/sanity.jpg)

Weights are drawn anew from the top down (Adebayo et al. 2018), for 24 built-in faces. A map that shows what a network
learned must change. Grad-CAM's does at once: the rank correlation with the trained network's map falls to {first} when
the last convolution alone is drawn anew, and is {last} when all are. Guided Grad-CAM's stays at {guided_first}, and at
{guided_last} when nothing that was trained is left: much of it is edges of the picture. So it is here for comparison,
and no measure is taken from it.
"""


if __name__ == "__main__":
    main()
