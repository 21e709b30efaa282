"""The same lesions in networks that are no VGG: ResNet-18 and ViT from torchvision, and MobileFaceNet on real faces.

    python examples/other_models.py --lfw lfw-deepfunneled --protocols folder --weights mobilefacenet.pt \
        --landmarker face_landmarker.task --out other_models.png

Two panels are verification by a trained recogniser (same person or two people, pairs of LFW's test part) against the
dose of three kinds of damage. Threshold and calibration come from the healthy network and pairs of the training part,
and stay as they are under damage; the area under the ROC curve asks for no threshold. The last panel needs no weights:
how much of an untrained network's answer to those faces is left.

Whom MobileFaceNet was trained on its file does not say: people of LFW may be among them. So its healthy score is no
measure of it, and what is compared is damaged with healthy, on the same pairs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from facelesion.lesions import Ablate, Dropout, Lesion, Noise, Prune, calibrate, lesioned

Dose = Callable[[float], Lesion]

# For each network: where its representation is, and what the dose means.
MOBILEFACENET: dict[str, Dose] = {
    "ablate a share of units (last five blocks)": lambda dose: Ablate("features.1?", fraction=dose),
    "noise, in unit deviations (last five blocks)": lambda dose: Noise(
        "features.1?", std=dose, relative=True
    ),
    "cut a share of synapses (last five blocks)": lambda dose: Prune("features.1?.conv.2", fraction=dose),
}
RESNET: dict[str, Dose] = {
    "ResNet-18: ablate layer3.*": lambda dose: Ablate("layer3.*", fraction=dose),
    "ResNet-18: dropout layer3.*": lambda dose: Dropout("layer3.*", p=dose),
}
VIT: dict[str, Dose] = {
    "ViT: ablate units of every MLP": lambda dose: Ablate("encoder.layers.*.mlp.1", fraction=dose),
    "ViT: ablate attention heads": lambda dose: Ablate(
        "encoder.layers.*.self_attention.heads", fraction=dose
    ),
}
DOSES = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8)


@torch.no_grad()
def answers(
    model: nn.Module, images: Tensor, usual: Tensor, lesions: list[Lesion | None], batch: int = 16
) -> list[Tensor]:
    """What the network says under each lesion: all of them share each forward, row by row.

    `usual` are the images by which the units' usual activations are known.
    """
    calibration = calibrate(model, usual.split(batch), [each for each in lesions if each is not None])
    found: list[list[Tensor]] = [[] for _ in lesions]
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        numbers = range(start, start + len(part))
        with lesioned(model, lesions, calibration=calibration, ids=numbers):
            rows = model(part.repeat(len(lesions), 1, 1, 1)).chunk(len(lesions))
        for kept, each in zip(found, rows, strict=True):
            kept.append(each)
    return [torch.cat(rows) for rows in found]


def curves(
    model: nn.Module,
    images: Tensor,
    usual: Tensor,
    kinds: dict[str, Dose],
    score: Callable[[Tensor, Tensor], Tensor],
) -> dict[str, Tensor]:
    """Scores (doses, cases) for each kind: `score(damaged, healthy)` has one value for each case."""
    doses = [(name, dose) for name in kinds for dose in DOSES[1:]]
    healthy, *damaged = answers(model, images, usual, [None, *(kinds[name](dose) for name, dose in doses)])
    made = {name: [score(healthy, healthy)] for name in kinds}
    for (name, _), rows in zip(doses, damaged, strict=True):
        made[name].append(score(rows, healthy))
    return {name: torch.stack(scores) for name, scores in made.items()}


def lfw_pairs(args: argparse.Namespace, part: Literal["train", "test"], count: int) -> tuple[Tensor, Tensor]:
    """Aligned faces of LFW's pairs (2, P, 3, 112, 112) as MobileFaceNet wants them, and which are one person (P,)."""
    from facelesion.data import open_lfw, read_image
    from facelesion.faces import align, choose, landmark_backend

    lfw = open_lfw(args.lfw, args.protocols)
    asked = lfw.pairs(part)  # those of one person come first
    asked = asked[: count // 2] + asked[-(count // 2) :]
    backend = landmark_backend("mediapipe", args.landmarker)
    crops: dict[str, Tensor | None] = {}
    for name in sorted({name for pair in asked for name in (pair.first, pair.second)}):
        photograph = read_image(lfw.root / name)
        face = choose(backend.find(photograph), *photograph.shape[:2])
        crops[name] = None
        if face is not None:
            crops[name] = torch.from_numpy(align(photograph, face.mesh)[0]).permute(2, 0, 1) / 255
    sides: list[tuple[Tensor, Tensor]] = []
    same = []
    for pair in asked:
        first, second = crops[pair.first], crops[pair.second]
        if first is not None and second is not None:
            sides.append((first, second))
            same.append(pair.same)
    print(f"{part}: {len(sides)} of {len(asked)} pairs, {sum(same)} of them one person")
    faces = torch.stack([torch.stack(side) for side in zip(*sides, strict=True)])
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (faces - mean) / deviation, torch.tensor(same)


def cosines(rows: Tensor) -> Tensor:
    """How alike the two of each pair are: (2·P, D) to (P,)."""
    return cosine_similarity(*rows.unflatten(0, (2, -1)))


def interval(values: Tensor) -> list[Tensor]:
    """Mean over the cases (doses, cases), and half the width of its 95 % interval."""
    return [values.mean(1), 1.96 * values.std(1) / values.shape[1] ** 0.5]


def area_of_pairs(same: Tensor, different: Tensor) -> Tensor:
    """How often a pair of one person looks more alike than a pair of two: (doses, S), (doses, D) to (doses,)."""
    gaps = same[:, :, None] - different[:, None]
    return ((gaps > 0).float() + 0.5 * (gaps == 0).float()).mean((1, 2))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lfw", type=Path, required=True, help="LFW unpacked")
    parser.add_argument("--protocols", type=Path, required=True, help="folder of pairsDevTest.txt")
    parser.add_argument("--weights", type=Path, required=True, help="MobileFaceNet's state dict")
    parser.add_argument("--landmarker", type=Path, default=None, help="MediaPipe's face_landmarker.task")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("other_models.png"))
    args = parser.parse_args()

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from torchvision.models import VisionTransformer, resnet18

    from facelesion.models import MobileFaceNet

    known, known_same = lfw_pairs(args, "train", args.pairs // 2)
    tested, same = lfw_pairs(args, "test", args.pairs)
    usual, images = known.flatten(0, 1), tested.flatten(0, 1)

    recogniser = MobileFaceNet()
    recogniser.load_state_dict(torch.load(args.weights, map_location="cpu", weights_only=True))
    recogniser.eval()

    with torch.no_grad():
        alike = cosines(torch.cat([recogniser(part) for part in usual.split(64)]))
    threshold = max(alike, key=lambda limit: float(((alike >= limit) == known_same).float().mean()))

    def likeness(rows: Tensor, healthy: Tensor) -> Tensor:
        centre = healthy.mean(0)
        return cosine_similarity(rows - centre, healthy - centre)

    verified = curves(recogniser, images, usual[:64], MOBILEFACENET, lambda rows, healthy: cosines(rows))
    torch.manual_seed(0)
    some = images[:32]
    resnet = resnet18(weights=None).eval()
    vit = VisionTransformer(112, 16, num_layers=4, num_heads=12, hidden_dim=192, mlp_dim=768).eval()
    vit.heads = nn.Identity()
    left = curves(resnet, some, usual[:32], RESNET, likeness) | curves(vit, some, usual[:32], VIT, likeness)

    accuracy = {name: interval(((values >= threshold) == same).float()) for name, values in verified.items()}
    area = {name: [area_of_pairs(values[:, same], values[:, ~same])] for name, values in verified.items()}
    panels = (
        (accuracy, f"MobileFaceNet, {len(same)} LFW pairs", "share told rightly, threshold fixed", 0.5),
        (area, f"MobileFaceNet, {len(same)} LFW pairs", "area under the ROC curve", 0.5),
        (
            {name: interval(values) for name, values in left.items()},
            "Untrained networks, 32 faces",
            "likeness to the healthy answer (cosine)",
            0.0,
        ),
    )
    figure, axes = pyplot.subplots(1, 3, figsize=(15, 4.2), constrained_layout=True)
    for axis, (made, title, label, chance) in zip(axes, panels, strict=True):
        for (name, values), marker in zip(made.items(), "osD^", strict=False):
            axis.errorbar(DOSES, *values, marker=marker, capsize=3, label=name)
            said = ", ".join(f"{dose:g}: {value:.3f}" for dose, value in zip(DOSES, values[0], strict=True))
            print(f"{label}, {name}: {said}")
        axis.axhline(chance, color="grey", linestyle=":", linewidth=1)
        axis.set(title=title, xlabel="dose", ylabel=label)
        axis.set_ylim(min(chance - 0.03, axis.get_ylim()[0] - 0.12))  # room for the legend below the curves
        axis.legend(fontsize=8, loc="lower left", frameon=False)
    figure.savefig(args.out, dpi=150)
    print(args.out)


if __name__ == "__main__":
    main()
