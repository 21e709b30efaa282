"""A study of a network of your own: torchvision's ResNet-18 with an embedding of yours, beside the built-in network.

    python examples/own_network.py

It ends with the path of the report, `runs/own-network/report.html`. The network here has random weights; load yours
where it says so. What it needs to take part is a `Subject`: a module from pictures to a representation (N, D), how
pictures are prepared for it, and what reads identity from the representation.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torchvision.models import resnet18

from facelesion import Study, Subject, run_study
from facelesion.data import FaceSpacePictures
from facelesion.models import Preprocessing


def own_subject() -> Subject:
    """ResNet-18 up to its pooled features, and a linear embedding of 64 numbers on them."""
    torch.manual_seed(0)
    network = resnet18()  # load your weights here: network.load_state_dict(torch.load("mine.pt"))
    network.fc = nn.Identity()  # type: ignore[assignment]
    readout = nn.Linear(512, 64)
    return Subject("mine", network.eval(), 112, Preprocessing(112), readout.eval(), weights="resnet18-seed0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--people", type=int, default=40, help="people to identify, and half as many new ones")
    parser.add_argument("--output", default="runs", help="the folder of run folders")
    given = parser.parse_args()
    sites = {"mine": "layer3.*, layer4.*", "builtin": "conv4_3, conv5_*"}
    study = Study(
        name="own-network",
        participants=["mine", "builtin"],
        pictures=FaceSpacePictures(enrolled_people=given.people, new_people=max(3, given.people // 2)),
        lesions={"ablation": [{"kind": "Ablate", "site": sites, "fraction": [0.1, 0.2, 0.4]}]},
        stimuli=["intact", "mask eyes"],
        draws=3,
        output=given.output,
    )
    print(run_study(study, participants={"mine": own_subject()}))


if __name__ == "__main__":
    main()
