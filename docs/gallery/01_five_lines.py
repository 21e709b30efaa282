"""
Damage in five lines
====================

A lesion is a value, and the network is any PyTorch module: here torchvision's ResNet-18 with random weights.
Inside the block the network is damaged; after it, it answers as before, bit for bit.
"""

import matplotlib.pyplot as plt
import torch
from torchvision.models import resnet18

from facelesion import Ablate, Noise, lesioned

torch.manual_seed(0)
model, images = resnet18().eval(), torch.rand(8, 3, 112, 112)
with torch.inference_mode():
    healthy = model(images)
    lesion = Ablate("layer4.*.conv2", fraction=0.2, seed=3) + Noise("layer3.0", std=0.5)
    with lesioned(model, lesion):
        damaged = model(images)
    print(lesion)
    print("damaged differs:", not torch.equal(damaged, healthy), "| healed:", torch.equal(model(images), healthy))

# %%
# Doses nest: with one seed, the units of a tenth are among those of two tenths. So a curve over doses is one
# drawing of damage that grows, and eight lesions cost one forward pass: rows of a batch may have a lesion each.

doses = [step / 10 for step in range(1, 9)]
lesions = [None, *(Ablate("layer4.*.conv2", fraction=dose, seed=3) for dose in doses)]
with torch.inference_mode(), lesioned(model, lesions):
    answers = model(images.repeat(len(lesions), 1, 1, 1)).reshape(len(lesions), len(images), -1)
moved = (answers - answers[0]).norm(dim=-1) / answers[0].norm(dim=-1)

figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
axes.plot([0, *doses], moved, color="#d55e00", alpha=0.3, linewidth=1)
axes.plot([0, *doses], moved.mean(1), color="#d55e00", marker="o")
axes.set(xlabel="share of layer4's units removed", ylabel="change of the answer,\nas a share of it")
axes.spines[["top", "right"]].set_visible(False)
plt.show()
