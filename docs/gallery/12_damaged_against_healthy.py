"""
Representational similarity, damaged against healthy
====================================================

How alike is what a damaged network makes of faces to what it made of them in health? Representational
similarity analysis (Kriegeskorte, Mur & Bandettini 2008) compares the distances between pictures. The matrices
here come from rsatoolbox, the field's own package; `likeness_to_health` is our number, with an interval over
people.
"""

import matplotlib.pyplot as plt
import numpy as np
import rsatoolbox
import torch

from facelesion import Ablate, get, sweep
from facelesion.analysis import likeness_to_health
from facelesion.data import FaceSpace

subject = get("builtin")
faces = FaceSpace.load().draw(people=10, pictures=4, seed=2)
images = subject.preprocess(faces.images)
doses = [0.2, 0.4, 0.6, 0.8]
lesions = {"healthy": None} | {f"{dose:.0%}": Ablate("conv5_*", fraction=dose, seed=0) for dose in doses}
with torch.inference_mode():
    identity = {name: subject.identity(each) for name, each in sweep(subject.module, lesions, images).items()}

# %%
# A matrix for every network: ten people, four pictures each, in order; each on its own scale, from 0 to its largest
# distance. That scale itself shrinks: the more is removed, the more all faces are one face.

data = [rsatoolbox.data.Dataset(each.double().numpy(), {"network": name}) for name, each in identity.items()]
rdms = rsatoolbox.rdm.calc_rdm(data, method="correlation")
figure, axes = plt.subplots(1, len(lesions), figsize=(10, 2.5), layout="constrained")
for panel, name, matrix in zip(axes, lesions, rdms.get_matrices()):
    panel.imshow(matrix, cmap="magma", vmin=0, vmax=matrix.max())
    told = name if name == "healthy" else f"{name} of conv5 removed"
    panel.set(title=f"{told}\nlargest 1 − r: {matrix.max():.2g}", xticks=[], yticks=[])
    panel.title.set_fontsize(8)
plt.show()

# %%
# Theirs is one rank correlation over all pairs, ours the mean over pictures of each picture's own: near each
# other, and not the same number.

for name in list(lesions)[1:]:
    theirs = rsatoolbox.rdm.compare(rdms[0], rdms[list(lesions).index(name)], method="spearman").item()
    ours = likeness_to_health(identity["healthy"], identity[name], faces.labels)
    interval = f"[{ours['rdm_low']:.2f}, {ours['rdm_high']:.2f}]"
    print(f"{name}: rsatoolbox {theirs:.2f}; facelesion {ours['rdm']:.2f} {interval}, CKA {ours['cka']:.2f}")
assert np.isfinite(rdms.dissimilarities).all()
