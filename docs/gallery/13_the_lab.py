"""
The lab, from Python
====================

The command ``facelesion lab`` opens a page with sliders. The page holds no science: what it shows is what one
function answers to one value, and both are there without a browser.
"""

import matplotlib.pyplot as plt

from facelesion.lab import Damage, Picture, State, answer
from facelesion.lab.code import as_python

doses = [0.0, 0.25, 0.5, 0.75]
states = [
    State(
        picture=Picture(person=11), damage=(Damage(site="conv4_3", dose=dose, seed=1),), site="conv4_3",
        map_of="identity",
    )
    for dose in doses
]
found = [answer(state) for state in states]

figure, axes = plt.subplots(1, len(doses) + 1, figsize=(9, 2.3), layout="constrained")
axes[0].imshow(found[0].picture.images[0].permute(1, 2, 0))
axes[0].set_title("shown: person-2-11", fontsize=8)
top = max(float(each.damaged.heat.max()) for each in found)
for panel, dose, each in zip(axes[1:], doses, found):
    panel.imshow(each.damaged.heat.detach(), cmap="magma", vmin=0, vmax=top)
    named, likeness = each.damaged.people[0]
    panel.set_title(f"{dose:.0%} of conv4_3 removed\n{named}, likeness {likeness:.2f}", fontsize=8)
for panel in axes:
    panel.set_axis_off()
plt.show()

# %%
# The maps show where the evidence lies for whoever is named in health. Under every page stands the program that gives
# its numbers; here is how it begins.

print("\n".join(as_python(states[2]).splitlines()[:14]))
