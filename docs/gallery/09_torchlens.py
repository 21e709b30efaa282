"""
A damaged network under TorchLens
=================================

TorchLens records every operation of a forward pass. Inside a lesion it records the damaged pass: our lesion,
its view. Here it shows how far the damage of one layer spreads through those that come after it.
"""

import matplotlib.pyplot as plt
import torchlens

from facelesion import Ablate, get, lesioned
from facelesion.data import FaceSpace

subject = get("builtin")
images = subject.preprocess(FaceSpace.load().draw(people=4, pictures=1, seed=5).images)

sites = {name: path for name, path in subject.module.site_aliases.items() if name.startswith("conv")}


def seen():
    """What every convolution's site gave, as TorchLens recorded it; and the number of operations it recorded."""
    trace = torchlens.trace(subject.module, images)
    return {name: trace.modules[path].out.detach() for name, path in sites.items()}, len(trace.layers)


healthy, operations = seen()
with lesioned(subject.module, Ablate("conv3_2", fraction=0.3, seed=0)):
    damaged, more = seen()
print(operations, "operations in health,", more, "in damage: what the lesion itself computes is recorded too")

# %%
# Nothing before the damaged site changes; after it the damage is carried on.

moved = {name: float((damaged[name] - healthy[name]).norm() / healthy[name].norm()) for name in sites}
figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
axes.bar(range(len(moved)), moved.values(), color=["#d55e00" if name == "conv3_2" else "#5b6472" for name in moved])
axes.set_xticks(range(len(moved)), moved, rotation=45, ha="right")
axes.set_ylabel("change of the site's output,\nas a share of it")
axes.spines[["top", "right"]].set_visible(False)
plt.show()
