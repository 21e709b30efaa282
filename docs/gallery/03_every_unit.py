"""
Every single unit
=================

Which units would be missed? `unit_sweep` removes every unit of a site by itself. What removing one unit does to
the next layer is that unit's own contribution, so all of them together cost about one layer.
"""

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import cosine_similarity

from facelesion import Ablate, get, lesioned, unit_sweep
from facelesion.data import FaceSpace

subject = get("builtin")
faces = FaceSpace.load().draw(people=12, pictures=2, seed=1)
images = subject.preprocess(faces.images)
with torch.inference_mode():
    healthy = subject.identity(subject.module(images))
    (without,) = unit_sweep(subject.module, "conv5_1", images).values()  # (units, pictures, representation)
    missed = torch.stack([1 - cosine_similarity(subject.identity(each), healthy).mean() for each in without])

# %%
# One of them by hand, to see that this is what a lesion gives.

unit = int(missed.argmax())
with torch.inference_mode(), lesioned(subject.module, Ablate("conv5_1", units=[unit])):
    by_hand = subject.module(images)
print("unit", unit, "| largest difference to the lesion by hand:", float((by_hand - without[unit]).abs().max()))

# %%
# A few units matter much, most hardly: no single unit is a person.

figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
axes.bar(range(len(missed)), missed.sort(descending=True).values, width=1, color="#d55e00")
axes.set(xlabel="units of conv5_1, the most missed first", ylabel="identity lost\n(1 − cosine)")
axes.spines[["top", "right"]].set_visible(False)
axes.margins(x=0.01)
plt.show()
