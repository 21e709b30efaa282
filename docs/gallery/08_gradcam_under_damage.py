"""
Grad-CAM under damage, beside Captum
====================================

Where does the evidence for a face's identity lie, and where when units are gone? Our `grad_cam` makes the maps
of all layers in one pass. A lesion is a context, so another library's view works in it as well: Captum's
`LayerGradCam` sees the same damage, and gives the same map.
"""

import matplotlib.pyplot as plt
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch.nn.functional import normalize

from facelesion import Ablate, get, lesioned
from facelesion.analysis import grad_cam, likeness_score
from facelesion.data import FaceSpace

subject = get("builtin")
faces = FaceSpace.load().draw(people=2, pictures=1, seed=5)
images = subject.preprocess(faces.images)
with torch.no_grad():
    people = normalize(subject.identity(subject.module(images)))  # how the network knows each of them in health
likeness = likeness_score(people, torch.arange(len(people)), subject.identity)
lesion = Ablate("conv5_1", fraction=0.5, seed=1)

SITE = "conv4_3"
ours = grad_cam(subject.module, images, [SITE], likeness, damage=lambda: lesioned(subject.module, lesion))[SITE]
healthy = grad_cam(subject.module, images, [SITE], likeness)[SITE]

# %%
# The same by Captum, inside the same lesion. Each map is divided by its own largest value.

layer = subject.module.get_submodule(subject.module.site_aliases[SITE])
with lesioned(subject.module, lesion):
    view = LayerGradCam(lambda given: likeness(subject.module(given)), layer)
    theirs = view.attribute(images, relu_attributions=True)
theirs = LayerAttribution.interpolate(theirs.detach(), images.shape[-2:], "bilinear")[:, 0]
theirs = theirs / theirs.amax((1, 2), keepdim=True)
print("largest difference between the two:", float((ours - theirs).abs().max()))

figure, axes = plt.subplots(2, 4, figsize=(8, 4.2), layout="constrained")
for row in range(2):
    picture = faces.images[row].permute(1, 2, 0)
    maps = {"": None, "healthy": healthy[row], f"{lesion}\nfacelesion": ours[row], "the same\nCaptum": theirs[row]}
    for panel, (title, heat) in zip(axes[row], maps.items()):
        panel.imshow(picture)
        if heat is not None:
            panel.imshow(heat, cmap="inferno", alpha=0.6)
        panel.set_axis_off()
        panel.set_title(title if row == 0 else "", fontsize=8)
plt.show()
