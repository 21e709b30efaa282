"""How well do the backends agree, and do the boxes of one hold the landmarks of another? (The tables of docs/faces.md.)

python scripts/compare_landmarks.py landmarks.npz     # made by scripts/measure_landmarks.py

Distances are in per cent of the distance between the eyes' middles. A face is "another" where the eyes of two backends
are more than half that distance apart: they picked different people in the photograph.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from facelesion.faces import Boxes, boxes, complete, eye_centres, region, region_mask

FEATURES = ("eyebrows", "eyes", "nose", "mouth", "face")
BOXED = (
    "left_eyebrow",
    "right_eyebrow",
    "eyebrows",
    "left_eye",
    "right_eye",
    "eyes",
    "nose",
    "mouth",
)
ANOTHER = 0.5
# Boxes of the brows to compare with the default: factors of width and height, and what is added below, in distances
# between the eyes.
LARGER = (
    ((1.2, 1.5), 0.0),
    ((1.35, 1.5), 0.0),
    ((1.35, 1.6), 0.0),
    ((1.6, 1.8), 0.0),
    ((1.2, 1.5), 0.06),
)


@dataclass(frozen=True)
class SameFaces:
    """The faces that two backends both found.

    Attributes:
        mesh: (N, 478, 2), MediaPipe's.
        other: (N, 68 or 5, 2), the other backend's.
        training: (N,) bool, which show View 1's training people.
        missed: photographs in which only MediaPipe found a face.
        another: photographs in which the two picked different faces.
    """

    mesh: torch.Tensor
    other: torch.Tensor
    training: torch.Tensor
    missed: int
    another: int


def same_faces(kept: Path, backend: str) -> SameFaces:
    """Read what `scripts/measure_landmarks.py` kept."""
    with np.load(kept) as file:
        mesh, other, training = (torch.from_numpy(file[key]) for key in ("mediapipe", backend, "training"))
    here = ~(mesh.isnan().any((1, 2)) | other.isnan().any((1, 2)))
    missed = int((other.isnan().any((1, 2)) & ~mesh.isnan().any((1, 2))).sum())
    mesh, other, training = mesh[here], other[here], training[here]
    same = eyes_apart(mesh, other) <= ANOTHER
    return SameFaces(mesh[same], other[same], training[same], missed, int((~same).sum()))


def eyes_apart(mesh: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Mean distance (N,) between the eyes' middles of two schemes, in distances between the eyes."""
    ours, theirs = torch.stack(eye_centres(mesh), 1), torch.stack(eye_centres(other), 1)
    return (ours - theirs).norm(dim=-1).mean(1) / (ours[:, 1] - ours[:, 0]).norm(dim=-1)


def holds(mesh: torch.Tensor, points: torch.Tensor, name: str) -> torch.Tensor:
    """Which of dlib's landmarks (N, 68, 2) of a region lie in MediaPipe's box: bool (N, K)."""
    return boxes(mesh, name).contains(points[:, list(region(name).points68)])


def brows(mesh: torch.Tensor, name: str, scale: tuple[float, float], below: float) -> Boxes:
    """A brow's box by these factors, with `below` distances between the eyes added below it."""
    box = boxes(mesh, name, scale)
    eyes = torch.stack(eye_centres(mesh), 1)
    more = below * (eyes[:, 1] - eyes[:, 0]).norm(dim=-1, keepdim=True)
    return Boxes(box.centre + box.down * more / 2, box.along, box.size + more * more.new_tensor([0.0, 1.0]))


def covered(box: Boxes, mesh: torch.Tensor, eyes: str, side: int = 250) -> float:
    """Mean share of the opening of these eyes that a box covers."""
    shares = []
    for rows in torch.arange(len(mesh)).split(200):
        part = Boxes(box.centre[rows], box.along[rows], box.size[rows])
        opening = region_mask(mesh[rows], eyes, side, side, "polygon")
        hidden = part.mask(side, side) & opening
        shares.append(hidden.sum((1, 2, 3)) / opening.sum((1, 2, 3)).clamp_min(1))
    return float(torch.cat(shares).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the landmarks of backends.")
    parser.add_argument("kept", type=Path, help="landmarks.npz of scripts/measure_landmarks.py")
    kept = parser.parse_args().kept

    with np.load(kept) as file:
        others = [name for name in ("dlib", "mtcnn") if name in file.files]
    for backend in others:
        both = same_faces(kept, backend)
        for people, rows in (("all", torch.ones_like(both.training)), ("test people", ~both.training)):
            mesh, other = both.mesh[rows], both.other[rows]
            eyes = torch.stack(eye_centres(mesh), 1)
            across = (eyes[:, 1] - eyes[:, 0]).norm(dim=-1)
            apart = (complete(other) - mesh).norm(dim=-1) / across[:, None] * 100
            line = (
                f"{backend}, {people}: {len(mesh)} faces, {both.missed} not found, {both.another} another; "
            )
            line += f"eyes' middles {100 * eyes_apart(mesh, other).mean():.1f}"
            for name in FEATURES:
                each = apart[:, list(region(name).points)].mean(1)
                line += f"; {name} {each.mean():.1f} ({each.quantile(0.95):.1f})"
            print(line)

    both = same_faces(kept, "dlib")
    for people, rows in (("all", torch.ones_like(both.training)), ("test people", ~both.training)):
        print(f"MediaPipe's boxes hold dlib's landmarks, {people}: {int(rows.sum())} faces")
        for name in BOXED:
            inside = holds(both.mesh[rows], both.other[rows], name)
            whole, points = inside.all(1).float().mean(), inside.float().mean()
            print(f"  {name:14} every landmark in {whole:6.1%} of faces, {points:6.1%} of landmarks")

    print(
        "larger boxes of eyebrows: faces held, of training and of test people; share of the eyes' opening covered"
    )
    for name, eyes in (("left_eyebrow", "left_eye"), ("right_eyebrow", "right_eye"), ("eyebrows", "eyes")):
        for scale, below in LARGER:
            box = brows(both.mesh, name, scale, below)
            inside = box.contains(both.other[:, list(region(name).points68)]).all(1).float()
            train, test = inside[both.training].mean(), inside[~both.training].mean()
            few = slice(None, None, 8)  # enough for a mean
            price = covered(Boxes(box.centre[few], box.along[few], box.size[few]), both.mesh[few], eyes)
            print(
                f"  {name:14} {scale} and {below} below: {train:6.1%} {test:6.1%}, {price:5.1%} of the opening"
            )


if __name__ == "__main__":
    main()
