"""
Injury and recovery
===================

What can be learned again? The recipe `recovery` injures the network, retrains it with the damage in place, and
does the same to a sham twin that is never damaged: what the twin gains is practice, not recovery. Here it is
cut down to a few people and epochs, to be run in seconds; ``configs/train/recovery.yaml`` has figures that mean
something.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from facelesion.arguments import read_arguments
from facelesion.training import RECIPES

Settings, train = RECIPES["recovery"].parts()
folder = Path(tempfile.mkdtemp()) / "recovery"
injury = "[[{kind: Ablate, site: conv4_3, fraction: 0.3}, {kind: Ablate, site: conv5_2, fraction: 0.3}]]"
words = f"--data.people 24 --data.pictures 8 --readout_epochs 20 --epochs 4 --run.progress false --run.folder {folder}"
train(Settings(**read_arguments(Settings, ["--injuries", injury, *words.split()], "recovery")))

# %%
# Every epoch is tested with the damage in place and with it taken away, on pictures that nothing was learned
# from.

course = pd.read_csv(folder / "recovery.csv")
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for (state, rows), colour in zip(course[course["injury"] > 0].groupby("state"), ("#d55e00", "#0072b2", "#5b6472")):
    axes.errorbar(
        rows["epoch"], rows["accuracy"], (rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]),
        color=colour, marker="o", capsize=2, label=state,
    )  # fmt: skip
healthy = course.loc[course["injury"] == 0, "accuracy"].iloc[0]
axes.axhline(healthy, color="black", linewidth=0.8, label="healthy, before")
axes.set(xlabel="epochs of retraining after the injury", ylabel="right names", ylim=(0, 1.05), xticks=range(5))
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, fontsize=8, loc="lower right")
plt.show()
