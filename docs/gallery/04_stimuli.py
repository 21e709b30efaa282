"""
What a network is shown
=======================

A stimulus is a value too: what is done to a picture before the network sees it. It takes pictures and
landmarks, in a batch, on any device. These faces are of the built-in face space: they are nobody's.
"""

import matplotlib.pyplot as plt
import torch

from facelesion.data import FaceSpace
from facelesion.faces import Blur, ControlMask, Invert, Isolate, Mask, Stimulus, TileScramble, boxes

faces = FaceSpace.load().draw(people=3, pictures=1, seed=5)
pictures = faces.images.float() / 255
shown: list[Stimulus] = [
    Mask("eyes"), ControlMask("eyes"), Mask("mouth", fill="noise"), Blur("eyebrows"), Isolate("nose"), TileScramble(4),
    Mask("eyes") + Invert(),
]  # fmt: skip

figure, axes = plt.subplots(3, len(shown) + 1, figsize=(10, 4.2), layout="constrained")
for row, (picture, landmarks) in enumerate(zip(pictures, faces.landmarks)):
    axes[row, 0].imshow(picture.permute(1, 2, 0))
    for region in ("eyebrows", "eyes", "nose", "mouth"):
        (corners,) = boxes(landmarks[None], region).corners
        axes[row, 0].fill(*corners.T, fill=False, edgecolor="yellow", linewidth=1)
for column, stimulus in enumerate(shown, start=1):
    given = stimulus(pictures, faces.landmarks, ids=torch.arange(3))
    for row in range(3):
        axes[row, column].imshow(given[row].permute(1, 2, 0))
    axes[0, column].set_title(str(stimulus).replace(" + ", "\n+ "), fontsize=8)
for panel in axes.flat:
    panel.set_axis_off()
plt.show()

# %%
# They are written to YAML as they are printed, and read back.

print(Stimulus.from_dict("mask eyes + invert") == shown[-1], shown[2].to_dict())
