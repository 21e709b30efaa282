"""
A published study
=================

Dobs, Martinez, Kell & Kanwisher (2022) removed the units that a network's faces need most, and those that its
objects need most, and each loss took its own task. ``configs/dissociation.yaml`` is that question put to our
networks, beside control sets of other units. Here it is cut down to one network, a few people and twenty
control sets, to be run in seconds.
"""

import tempfile

import matplotlib.pyplot as plt

from facelesion import run_study
from facelesion.report import look, read_run, write_report
from facelesion.study import read_study

study = read_study(
    "../../configs/dissociation.yaml",
    {
        "participants": "[builtin]",
        "tasks": "[identification, objects]",
        "contrasts": (
            "[{name: double dissociation, lesions: [face units, object units], tasks: [identification, objects], "
            "primary: true}]"
        ),
        "controls": "{random: 10, matched: 10}",
        "pictures.training_people": "20",
        "pictures.enrolled_people": "16",
        "pictures.new_people": "3",
        "pictures.object_pictures": "2",
        "pictures.object_training_pictures": "8",
        "pictures.other_pictures": "0",
        "output": tempfile.mkdtemp(),
    },
)
report = run_study(study)

# %%
# Right answers, intact, without the chosen units (large), and without each control set (small).

run = read_run(report.parent)
right = run.table[run.table["main"]]
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
for panel, task in zip(axes, study.tasks):
    here, sets = right[right["task"] == task], run.sets[run.sets["task"] == task]
    panel.axhline(here.loc[here["lesion"] == "none", "value"].mean(), color="black", linewidth=0.8)
    for place, lesion in enumerate(study.lesions):
        chosen, others = here[here["lesion"] == lesion]["value"], sets[sets["lesion"] == lesion]["value"]
        colour, _ = look(lesion, list(study.lesions))
        spread = [place + 0.5 * (number / len(others) - 0.5) for number in range(len(others))]
        panel.plot(spread, others, ".", color=colour, alpha=0.5)
        panel.plot([place] * len(chosen), chosen, "D", color=colour, markersize=9)
    panel.set(title=task, xticks=[0, 1], xticklabels=list(study.lesions), xlim=(-0.5, 1.5))
    panel.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("right answers\n(line: intact)")
plt.show()

# %%
# The contrast was named before anything was run, and is measured on trials, with an interval over people. So
# few people and one network settle nothing: the page on the dissociation has the whole study's figures.

contrasts = (report.parent / "contrasts.csv").read_text(encoding="utf-8").splitlines()
print(*(line[:110] for line in contrasts[:3]), sep="\n")
print(write_report(report.parent).name)  # the page, from the tables alone: written again whenever it is wanted
