"""
A sweep: many lesions for the price of few
==========================================

Three kinds of damage, five doses each, four draws of each dose: sixty lesions of the built-in network. `sweep`
runs what is healthy once, and only what comes after the damage for each lesion; its answers are those of plain
hooks.
"""

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import cosine_similarity

from facelesion import Ablate, Dropout, Noise, calibrate, get, sweep
from facelesion.data import FaceSpace
from facelesion.report import look
from facelesion.sweep import make_plan

subject = get("builtin")
faces = FaceSpace.load().draw(people=12, pictures=1, seed=1)
images = subject.preprocess(faces.images)

SITE = "conv5_1"
kinds = {
    "ablation": ([0.1, 0.2, 0.4, 0.6, 0.8], lambda dose, seed: Ablate(SITE, fraction=dose, seed=seed)),
    "noise": ([0.5, 1, 2, 4, 8], lambda dose, seed: Noise(SITE, std=dose, relative=True, seed=seed)),
    "dropout": ([0.1, 0.2, 0.4, 0.6, 0.8], lambda dose, seed: Dropout(SITE, p=dose, seed=seed)),
}
lesions = {
    (kind, dose, seed): make(dose, seed)
    for kind, (doses, make) in kinds.items()
    for dose in doses
    for seed in range(4)
}
named = {" ".join(map(str, key)): lesion for key, lesion in lesions.items()} | {"healthy": None}
calibration = calibrate(subject.module, images, SITE)  # noise is relative to what is usual for each unit

print(make_plan(subject.module, named, images).explain().splitlines()[-1])
with torch.inference_mode():
    outputs = sweep(subject.module, named, images, calibration=calibration)
    identity = {name: subject.identity(output) for name, output in outputs.items()}

# %%
# How much is the damaged network's idea of a face still like its own in health?

figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
for panel, (kind, (doses, _)) in zip(axes, kinds.items()):
    colour, marker = look(kind)
    for dose in doses:
        alike = torch.stack(
            [cosine_similarity(identity[f"{kind} {dose} {seed}"], identity["healthy"]).mean() for seed in range(4)]
        )
        panel.plot([dose] * 4, alike, marker, color=colour, alpha=0.5)
    panel.set(title=kind, xlabel="dose")
    panel.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("likeness to health (cosine)")
plt.show()
