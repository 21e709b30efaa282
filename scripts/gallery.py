"""Draw the pictures of docs/gallery.md on built-in faces, and write the page.

    python scripts/gallery.py [--out docs]

Everything is made from the built-in network and the face space, so that the page can be made again anywhere.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image

from facelesion.analysis.mapped_sites import map_sites, stages_of
from facelesion.data.facespace import FaceSpace
from facelesion.faces.stimuli import Stimulus
from facelesion.files import write_bytes
from facelesion.lesions import lesion_of_words
from facelesion.looking import maps_of, photographed, target_of
from facelesion.looking.reference import Reference
from facelesion.looking.sanity import sanity, sanity_figure
from facelesion.looking.sheets import encoded, evidence_sheet, shown, stimuli_sheet
from facelesion.models import get
from facelesion.models.frame import frame_of

FACES = ["facespace:1", "facespace:5"]
STIMULI = ["intact", "mask eyebrows", "mask eyes", "mask nose", "mask mouth"]
MORE = ["intact", "mask eyes", "control eyes", "blur mouth", "isolate eyes", "invert", "phase scramble"]
LESION = "ablate 30% of conv5_3"
WIDEST = 1200  # pixels


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("docs"))
    out = options.parse_args().out
    numbers = {**sheets(out / "pictures"), **check(out / "pictures")}
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


def check(folder: Path) -> dict[str, str]:
    """Maps as ever more layers, from the top, are drawn anew (Adebayo et al. 2018)."""
    found = sanity(get("builtin"), FaceSpace.load().draw(24, 1, seed=11))
    small(sanity_figure(found), folder / "sanity.jpg")
    return {
        f"{name} {when}": f"{curve[place]:.2f}"
        for name, curve in found.likeness.items() for when, place in (("first", 1), ("last", -1))
    }  # fmt: skip


def page(numbers: dict[str, str]) -> str:
    """The page, with the numbers that this run gave."""
    first, last = (numbers[f"Grad-CAM, conv5_3 {when}"] for when in ("first", "last"))
    guided = (numbers[f"guided Grad-CAM, conv5_3 {when}"] for when in ("first", "last"))
    return PAGE.format(first=first, last=last, guided_first=next(guided), guided_last=next(guided), **numbers)


PAGE = """# Evidence in pictures

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
