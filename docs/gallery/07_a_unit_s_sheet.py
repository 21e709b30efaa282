"""
A unit's sheet
==============

What does a unit answer to? `facelesion units` ranks units by how selective they are and draws a sheet for the
first of every ranking: the pictures that drive the unit most and least, and what it sees of them.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from facelesion.cli import run

folder = Path(tempfile.mkdtemp()) / "units"
words = ["--sites", "conv4_3", "--by", "[selectivity]", "--of", "domains", "--people", "16", "--sheets", "1"]
assert run(["units", *words, "--out", str(folder)]) == 0

ranking = pd.read_csv(folder / "units.csv").query("of == 'faces'").sort_values("rank")
sheet = folder / "sheets" / f"conv4_3_unit_{ranking['unit'].iloc[0]}.png"
picture = plt.imread(sheet)
figure = plt.figure(figsize=(8, 8 * picture.shape[0] / picture.shape[1]))
axes = figure.add_axes((0, 0, 1, 1))
axes.imshow(picture)
axes.set_axis_off()
plt.show()

# %%
# The ranking itself is a table, with intervals over people.

columns = ["rank", "site", "unit", "score", "low", "high", "chosen"]
print(ranking[columns].head(5).round(2).to_string(index=False))
