"""
Your own photographs
====================

From a folder of photographs to a study of them. Here the "photographs" are faces of the built-in face space on
a grey wall, written into a temporary folder as if somebody had taken them; point `album` at a folder of yours.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from facelesion import Ablate, Study, run_study
from facelesion.data import FaceSpace, PeoplePictures, load_prepared, prepare
from facelesion.report import read_run

folder = Path(tempfile.mkdtemp())
album = folder / "album"
faces = FaceSpace.load().draw(people=10, pictures=5, seed=3)
for name, person, picture in zip(faces.names, faces.labels, faces.images):
    photograph = np.full((260, 260, 3), 128, np.uint8)
    photograph[60:200, 60:200] = np.asarray(Image.fromarray(picture.permute(1, 2, 0).numpy()).resize((140, 140)))
    path = album / person / f"{Path(name).name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph).save(path)

# %%
# A folder of people: a folder for each, with their photographs in it. Faces are found once, and kept beside.
# `mtcnn` finds five points and needs no model file; MediaPipe's 478 are better where you have them.

print(prepare(album, folder / "prepared", landmarks="mtcnn", workers=1, progress=False))
prepared = load_prepared(folder / "prepared")

figure, axes = plt.subplots(2, 6, figsize=(8, 2.9), layout="constrained")
for number, panel in enumerate(axes.flat):
    row, column = divmod(number, 6)
    name = prepared.names[number]
    if row:
        panel.imshow(prepared.images[column].permute(1, 2, 0))
        panel.plot(*prepared.landmarks[column].T, ".", color="yellow", markersize=0.6)
    else:
        panel.imshow(Image.open(album / prepared.labels[number] / f"{Path(name).stem}.png"))
    panel.set_axis_off()
plt.show()

# %%
# Who trains the readouts, who is enrolled and who is new is drawn by name. Ten people are far too few for a
# result; they are enough to see that everything works.

study = Study(
    name="album",
    pictures=PeoplePictures(
        root=str(folder / "prepared"), training_people=3, enrolled_people=4, enrolment_pictures=3, probe_pictures=2,
        object_pictures=1, object_training_pictures=4, other_pictures=0,
    ),
    lesions={"ablation": [Ablate("conv5_*", fraction=share) for share in (0.2, 0.5, 0.8)]},
    stimuli=["intact", "mask eyes"],
    tasks=["identification"],
    draws=3,
    output=str(folder / "runs"),
)  # fmt: skip
report = run_study(study)
table = read_run(report.parent).table
right = table[table["metric"] == "forced_choice"]
print(right.pivot_table(values="value", index=["lesion", "dose"], columns="stimulus").round(2))

# %%
# `report.html` has the figures, and `pictures.csv` says who had which role.

print(pd.read_csv(report.parent / "pictures.csv").groupby("role").size().to_dict())
