"""
Your own network
================

What takes part in a study is a `Subject`: a module from pictures to a representation, how pictures are prepared
for it, and what reads identity. Here it is torchvision's ResNet-18 with random weights beside the built-in
network.
"""

import tempfile

import matplotlib.pyplot as plt
import torch
from torch import nn
from torchvision.models import resnet18

from facelesion import Study, Subject, run_study
from facelesion.data import FaceSpacePictures
from facelesion.models import Preprocessing
from facelesion.report import look, read_run

torch.manual_seed(0)
network = resnet18()  # load your weights here: network.load_state_dict(torch.load("mine.pt"))
network.fc = nn.Identity()
mine = Subject("mine", network.eval(), 112, Preprocessing(112), nn.Linear(512, 64).eval(), weights="resnet18-seed0")

# %%
# Sites are given by participant, as the two networks have other layers.

sites = {"mine": "layer3.*, layer4.*", "builtin": "conv4_3, conv5_*"}
study = Study(
    name="own-network",
    participants=["mine", "builtin"],
    pictures=FaceSpacePictures(
        training_people=10, enrolled_people=10, new_people=3, object_pictures=1, object_training_pictures=4,
        other_pictures=0,
    ),
    lesions={"ablation": [{"kind": "Ablate", "site": sites, "fraction": [0.1, 0.2, 0.4, 0.6]}]},
    tasks=["identification"],
    draws=3,
    output=tempfile.mkdtemp(),
)  # fmt: skip
table = read_run(run_study(study, participants={"mine": mine}).parent).table

# %%
# An untrained network tells faces of this kind apart to some degree, since their pixels differ; how damage
# takes that from it is its control for what damage takes from a network that has learned them.

right = table[(table["metric"] == "forced_choice") & (table["stimulus"] == "intact")]
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, line in (("builtin", "-"), ("mine", "--")):
    curve = right[right["participant"] == name].groupby("dose")["value"].mean()
    axes.plot(curve.index, curve, line, color=look("ablation")[0], marker="o", label=name)
axes.axhline(0.5, color="#5b6472", linewidth=0.8, linestyle=":")
axes.set(xlabel="share of units removed", ylabel="right choices\nbetween two people", ylim=(0.4, 1.02))
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
plt.show()
