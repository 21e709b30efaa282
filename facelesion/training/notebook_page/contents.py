"""What stands in each part of the page: its figures and tables, and what the whole comes to in a few sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facelesion.report.drawings import Drawing
from facelesion.report.html import Picture
from facelesion.report.style import data_address, file_name
from facelesion.training.notebook_facts import (
    DAMAGED,
    FEATURES,
    HEALTHY,
    INTACT,
    MANIPULATED,
    STIMULI,
    TRAINED,
)
from facelesion.training.notebook_page import drawings, tables
from facelesion.training.notebook_page.printed import PARAMETERS
from facelesion.training.notebook_page.tables import Results, Table, percent
from facelesion.training.notebook_page.words import PARTS, Part

if TYPE_CHECKING:
    import pandas as pd

_SHEET_DOTS, _FIGURE_DOTS = 150, 180  # per inch, of pictures that lie in folders


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the notebook on the page.

    Attributes:
        part: its words.
        pictures: its figures.
        tables: its tables.
        above: number of the part where its figure stands, if that is another one.
        remarks: what has to be said of this run.
    """

    part: Part
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    above: int | None = None
    remarks: tuple[str, ...] = ()


def sections(
    results: Results, settings: Mapping[str, Any], note: Mapping[str, Any], place: Path, folders: Mapping[str, Path]
) -> list[Section]:
    """All parts in the notebook's order.

    Args:
        results: of the runs.
        settings: of the run.
        note: what the looks noted.
        place: where they lie.
        folders: `own`, and where there are such runs `mistakes` and `manipulation`.
    """
    found = results.looks
    matrices = tables.detection_matrices(results)
    made: dict[int, Section] = {}

    def add(number: int, pictures: Sequence[Picture] = (), these: Sequence[Table] = (), above: int | None = None,
            remarks: Sequence[str] = ()) -> None:  # fmt: skip
        made[number] = Section(PARTS[number - 1], tuple(pictures), tuple(these), above, tuple(remarks))

    add(1, these=[_pictures_table(results, settings)])
    add(2, [_sheet(place / "masks.png", "Landmarks, regions, masks",
                   "Faces of the test with the points that were found and the boxes of the four regions, then as "
                   "they are "
                   "shown: normal and with each feature masked.")])  # fmt: skip
    add(3, above=2)
    add(4, above=2)
    add(5, [_sheet(place / "blurs.png", "Each feature blurred", "The same boxes, blurred.")])
    add(6, [
        _sheet(place / "alone.png", "One feature alone, the rest blurred",
               "As the notebook has it, and as responsible units are found (part 19)."),
        _sheet(place / "alone_covered.png", "One feature alone, the rest covered",
               "Everything else has the picture’s mean colour."),
    ])  # fmt: skip
    copies = found["copies"]
    add(7, these=[tables.plain(
        "07_data_sets", "Labels and pictures", "As the notebook would have made its copies of these pictures, and as "
        "they "
        "are here. Another face’s picture: masked copies that show the photograph before.",
        copies.assign(which=_which(copies)),
        {"which": "", "pictures": "pictures", "faces": "labelled face", "no_face": "labelled no face",
         "people": "people",
         "stale": "another face’s picture"},
    )])  # fmt: skip
    tested = copies[copies["part"] == "test"]
    add(8, these=[tables.plain(
        "08_split", "How much of the test was trained on",
        "Tested pictures that (under any mask) trained the tested networks, and tested people of whom a picture did.",
        tested.assign(which=_which(tested)),
        {"which": "", "trained_on": "pictures trained on", "people_trained_on": "people trained on"},
    )], remarks=_of_identification(results))  # fmt: skip
    layers = found["layers"]
    add(9, these=[tables.plain(
        "09_layers", "Layers", "In the order in which they run; conv1_1 to conv5_3 are the outputs after the "
        "activation.",
        layers, {"layer": "layer", "kind": "kind", "output": "output", "parameters": "parameters"},
    )], remarks=[f"{int(layers['parameters'].sum()):,} parameters without a readout; the notebook’s network has "
                 f"{PARAMETERS:,}, 513 of them its sigmoid unit."])  # fmt: skip
    add(10, _curves(folders), [_training_table(settings)])
    add(11, _matrices(results, matrices), [tables.metrics(results, matrices)])
    add(12, _maps(place, note), [_evidence(found["evidence"])])
    add(13, _dots(results), [tables.accuracies(
        results, [HEALTHY], "13_baseline", "The undamaged network", _ACCURACY)])  # fmt: skip
    add(14, these=[_lessons(found["lessons"])])
    for number, words in ((15, "ablation"), (16, "noise"), (17, "dropout"), (18, "")):
        names = [name for name in results.approaches() if _part_of(name) == number]
        title = ", ".join(names) or words
        name = f"{number}_{file_name((title if len(names) == 1 else words or 'others').replace(' ', '_'))}"
        caption = "In per cent right; rows as in part 13."
        these = [tables.accuracies(results, names, name, title.capitalize(), caption)] if names else []
        add(number, these=these, remarks=() if names else ("This run has no such damage.",))
    add(19, [_sheet(
        place / "shared.png", "Units shared between features",
        "How many of the units named for two features are the same (Jaccard): by the notebook’s rule, and corrected "
        "for a "
        "unit’s overall activity.",
    )], [tables.units(found["units"])])  # fmt: skip
    add(20, _manipulated(results, matrices, folders), _layer_tables(results), remarks=_control_remarks(results))
    return [made[part.number] for part in PARTS]


_ACCURACY = (
    "In per cent right. Printed: mean of the runs below it. Its procedure again: the same, untrained readouts and "
    "lesions "
    "that do not act, on these pictures. Then what is measured, with its 95 % interval over people and draws."
)


def _part_of(approach: str) -> int:
    for number, word in ((15, "ablation"), (16, "noise"), (17, "dropout")):
        if approach.startswith(word):
            return number
    return 18


def _sheet(path: Path, title: str, shows: str, cannot: str = "", dots: int = _SHEET_DOTS) -> Picture:
    """A PNG of a run's folder as a figure of the page."""
    data = path.read_bytes()
    width = int.from_bytes(data[16:20], "big")
    return Picture(file_name(path.stem), title, shows, cannot, data_address(data), round(width * 96 / dots))


def _which(copies: pd.DataFrame) -> list[str]:
    return [
        f"{'in the notebook: ' + row.copy if row.kind == 'as it was' else 'here: ' + row.task + ', ' + row.part}"
        for row in copies.rename(columns={"copy": "copy_"}).rename(columns={"copy_": "copy"}).itertuples(name="Row")
    ]


def _pictures_table(results: Results, settings: Mapping[str, Any]) -> Table:
    data = settings["data"]
    own = results.right if results.right is not None else results.repeated
    source = "Labeled Faces in the Wild" if data["source"] == "lfw" else "the built-in face space"
    lines = {
        "source": source,
        "people": f"{data['people']}, {data['pictures']} pictures each at the most",
        "hash of what is tested": ", ".join(dict.fromkeys(map(str, own["data"]))),
        "tested people whom the network saw": ", ".join(dict.fromkeys(map(str, own["people_seen"]))),
        "network, hash of its weights": f"{settings['network']}, {settings['started_from']}",
        "seed": str(settings["seed"]),
    }
    import pandas

    frame = pandas.DataFrame({"what": list(lines), "value": list(lines.values())})
    return tables.plain("01_pictures", "These pictures", "", frame, {"what": "", "value": "here"})


def _training_table(settings: Mapping[str, Any]) -> Table:
    """How networks are trained: the notebook's settings beside the run's."""
    import pandas

    mistakes, masked = bool(settings["mistakes"]), settings["data"]["keep"] or "all"
    lines = [
        ("undamaged: what learns", "everything", "everything" if mistakes else "the readout, on healthy features"),
        ("undamaged: epochs, batch, rate", "10, 20, 0.001",
         f"{settings['epochs']}, 20, {settings['learning_rate'] if mistakes else 0.01:g}"),
        ("damaged: epochs, batch, rate", "5, 32, 0.001",
         f"{settings['damaged_epochs']}, 32, {settings['learning_rate']:g}"),
        ("damaged: pictures at the most", "9,527 of masked eyes",
         f"{masked} of {'masked eyes' if mistakes else 'all masks'}"),
        ("kept", "lowest validation loss", "lowest validation loss"),
        ("labelled “face”", "99.3 %", "99.3 %" if mistakes else "half (detection)"),
    ]  # fmt: skip
    frame = pandas.DataFrame(lines, columns=["what", "notebook", "here"])
    return tables.plain(
        "10_training", "Settings", "Adam in both.", frame, {"what": "", "notebook": "the notebook", "here": "here"}
    )


def _of_identification(results: Results) -> tuple[str, ...]:
    if "identification" not in results.tasks():
        return ()
    return (
        "People to be identified are known by some pictures and asked about with others: that is the question. Their "
        "pictures train a readout of the healthy network, and no layer of any network.",
    )


def _lessons(lessons: pd.DataFrame) -> Table:
    named = lessons.assign(
        which=[
            f"{'in the notebook' if row.kind == 'as it was' else 'here: ' + row.task}, {row.part}, {row.stimulus}"
            for row in lessons.itertuples()
        ]
    )
    return tables.plain(
        "14_deficit_data", "What damaged networks learn from", "", named, {"which": "", "pictures": "pictures"}
    )


def _curves(folders: Mapping[str, Path]) -> list[Picture]:
    made = []
    for kind in ("own", "mistakes"):
        if kind not in folders:
            continue
        logs = drawings.logs_of(folders[kind])
        for task in sorted({task for task, _ in logs}):
            chosen = {approach: log for (asked, approach), log in logs.items() if asked == task}
            was = kind == "mistakes" or any((folders[kind]).glob("train-*"))
            title = "Training as the notebook did it" if was else f"Training: {task}"
            shows = (
                "Nearly every label says “face”, and so does every network."
                if was
                else "Undamaged: the readout alone, on healthy features. Damaged: the layers, with the damage in place."
            )
            if task == "detection":
                shows += " Crosses: what the notebook printed."
            figure = drawings.curves_figure(chosen, printed=task == "detection")
            made.append(Picture.of(f"curves_{kind}_{task}", Drawing(title, figure, shows)))
    return made


def _matrices(results: Results, matrices: Mapping[str, Mapping[tables.Key, tables.Counts]]) -> list[Picture]:
    rows = [HEALTHY, *results.approaches()]
    heads = ("normal", *FEATURES)
    told = {
        "printed": ("Printed", "The notebook’s matrices, of its last run each; its test sets hold 14 to 20 pictures "
        "labelled "
                    "“no face” among 2,647. –: none was plotted."),
        "repeated": ("Its procedure again", "The last run of each, on these pictures. –: the notebook did not run it."),
        "damaged": ("Damaged", "Half of the pictures show a face. All draws of the damage together."),
        "trained": ("Trained with the damage", "The same after training with the damage in place."),
    }  # fmt: skip
    made = []
    for kind, (title, shows) in told.items():
        present = [row for row in rows if any((row, stimulus) in matrices[kind] for stimulus in STIMULI)]
        if kind in ("printed", "repeated"):
            present = [row for row in rows if row in present or row.startswith("ablation")]
        if present and matrices[kind]:
            figure = drawings.matrices_figure(matrices[kind], present, STIMULI, heads)
            made.append(Picture.of(f"matrices_{kind}", Drawing(f"Face or not: {title.lower()}", figure, shows)))
    if results.answers is not None:
        named = results.answers[results.answers["task"] == "identification"]
        named = named[named["how"].isin([HEALTHY, DAMAGED, TRAINED])]
        if len(named):
            figure = drawings.who_for_whom_figure(named, results.approaches())
            shows = (
                "A row of each square is a person who was shown, a column a name that was given; the diagonal is "
                "right. A "
                "stripe is one name for everybody. All draws together."
            )
            drawing = Drawing("Who was taken for whom", figure, shows, kind="png")
            made.append(Picture.of("who_for_whom", drawing))
    return made


def _maps(place: Path, note: Mapping[str, Any]) -> list[Picture]:
    readout = "the run’s undamaged network" if note["own_readout"] else "a readout fitted on built-in faces"
    return [
        _sheet(place / "gradcam_detection.png", "Grad-CAM: is it a face?",
               f"{note['faces'][0]}, the notebook’s twelve layers, for the log odds of a face of {readout}. All "
               "colours of "
               "a layer are on one scale."),
        _sheet(place / "gradcam_identity.png", "Grad-CAM: whose face is it?",
               f"The same face, for its own embedding, in health and under {note['damage']}: the last early, middle "
               "and late "
               "layer." if note["damage"] != "none" else "The same face, for its own embedding: the last early, "
               "middle and "
               "late layer.",
               "A map says where the slope of the answer lies, not what the network would do without that part."),
        _sheet(place / "sanity.png", "The check that maps must pass",
               f"Weights are drawn anew from the top down (Adebayo et al. 2018); {note['checked']} faces. A map that "
               "shows "
               "what a network learned must change. Guided Grad-CAM often hardly does: it is here to be compared "
               "with."),
    ]  # fmt: skip


def _evidence(evidence: pd.DataFrame) -> Table:
    """The share of the late maps on each part of the face, mean over the faces shown."""
    late = evidence[evidence["stage"] == "late"]
    last = late["site"].iloc[-1]
    late = late[(late["site"] == last) & (late["network"] == "healthy")]
    parts = list(dict.fromkeys(late["part"]))
    lines, first = [], late["stimulus"].iloc[0]
    size = late[(late["stimulus"] == first)].groupby("part")["area"].mean()
    lines.append(tables.Line("share of the picture", tuple(tables.Cell(percent(size[part])) for part in parts)))
    for (of, stimulus), rows in late.groupby(["of", "stimulus"], sort=False):
        share = rows.groupby("part")["share"].mean()
        lines.append(
            tables.Line(
                f"{of.partition(' (')[0]}, {'normal' if stimulus == first else stimulus}",
                tuple(tables.Cell(percent(share[part])) for part in parts),
                stimulus == first,
            )
        )
    return Table(
        "12_evidence", f"Where the evidence lies at {last}",
        f"Share of the map on each part, in per cent, mean over {late['face'].nunique()} faces, undamaged; in the "
        "first line "
        "each part’s share of the picture. All layers and networks are in the CSV file.",
        ("", *(part.replace("_", " ") for part in parts)), tuple(lines), evidence,
    )  # fmt: skip


def _dots(results: Results) -> list[Picture]:
    made = []
    if results.right is not None:
        drawing = Drawing(
            "Every test, with lesions that act", drawings.dots_figure(results.right),
            "A dot is a draw of the damage, a square a training with it. Dotted: chance.",
        )  # fmt: skip
        made.append(Picture.of("dots", drawing))
    plain = results.repeated[~results.repeated["approach"].str.contains(": units of ")]
    drawing = Drawing(
        "Every test, as the notebook did it", drawings.dots_figure(plain),
        "A dot is an untrained readout’s answers; crosses are the means that the notebook printed. What is seen is "
        "which "
        "random readout says “face” more often than not.",
    )  # fmt: skip
    return [*made, Picture.of("dots_as_it_was", drawing)]


def _layer_tables(results: Results) -> list[Table]:
    made = tables.manipulated(results)
    found = [] if made is None else [made]
    if results.moved is not None:
        found.append(_matched(results.moved))
    return found


def _matched(layers: pd.DataFrame) -> Table:
    """The recipe manipulation's table: moved further, with sets as active as controls."""
    lines = []
    for (site, task, dose), part in layers.groupby(["site", "task", "dose"], sort=False):
        by = part.set_index("feature")
        cells = tuple(
            tables.Cell(
                percent(by.loc[feature, "right"]),
                f"{percent(by.loc[feature, 'low'])} to {percent(by.loc[feature, 'high'])}; sets as active "
                f"{percent(by.loc[feature, 'matched'])}, p {by.loc[feature, 'p_matched']:.2g}",
            )
            for feature in FEATURES
        )
        word = {"detection": "face or not", "identification": "who is it"}[str(task)]
        name = f"{site}: {word}, {dose:+g} SD".replace("-", "−")
        lines.append(tables.Line(name, cells, dose == layers["dose"].min()))
    return Table(
        "20_layers_matched_controls", "The same as an experiment, beside sets as active",
        "In per cent right; below it the 95 % interval over people, the mean of sets of units that are as many and "
        "as active, "
        "and how often one of these costs as much.",
        ("% right", *FEATURES), tuple(lines), layers,
    )  # fmt: skip


def _manipulated(
    results: Results, matrices: Mapping[str, Mapping[tables.Key, tables.Counts]], folders: Mapping[str, Path]
) -> list[Picture]:
    made = []
    if results.right is not None and (results.right["how"] == MANIPULATED).any():
        drawing = Drawing(
            "Units excited and inhibited", drawings.moved_figure(results.right),
            "Each feature’s units (diamonds) beside as many others (grey), which are matched in number alone.",
        )  # fmt: skip
        made.append(Picture.of("manipulated", drawing))
    for kind, title in (("printed", "printed"), ("repeated", "its procedure again")):
        by_site = {
            (site, feature): counts
            for (name, _), counts in matrices[kind].items()
            for site, _, feature in [name.partition(": units of ")]
            if feature in FEATURES
        }
        if by_site:
            sites = list(dict.fromkeys(site for site, _ in by_site))
            drawing = Drawing(
                f"Manipulated units, face or not: {title}", drawings.matrices_figure(by_site, sites, FEATURES),
                "The last run of each; no unit was moved.",
            )  # fmt: skip
            made.append(Picture.of(f"matrices_units_{kind}", drawing))
    place = folders.get("manipulation")
    if place is not None:
        made.append(_sheet(
            place / "manipulation.png", "Units moved over a range of doses",
            "Each feature’s units shifted by so many of their own standard deviations, or held; bands: 95 % of sets "
            "as active.",
            dots=_FIGURE_DOTS,
        ))  # fmt: skip
        if (place / "interaction.png").is_file():
            made.append(_sheet(
                place / "interaction.png", "Does it matter which feature is masked?",
                "Change in per cent right when the units of one feature are moved and one is masked; above each "
                "square the "
                "crossed interaction and its p among random sets.", dots=_FIGURE_DOTS,
            ))  # fmt: skip
    return made


def _control_remarks(results: Results) -> tuple[str, ...]:
    worse, total, controls = tables.below_all_controls(results)
    if not total:
        return ()
    return (
        f"In {worse} of {total} comparisons the units of a feature cost more than each of their {controls} controls; "
        "by chance "
        f"that happens in one of {controls + 1}, here {total / (controls + 1):.1f} times. The controls are matched "
        "in number "
        "alone, and responsible units are by their choice the most active ones: the recipe manipulation has controls "
        "that "
        "are as active.",
    )


def in_short(results: Results) -> list[str]:
    """What it comes to, in sentences made from the numbers."""
    table = results.repeated
    lowest, highest = percent(table["accuracy"].min()), percent(table["accuracy"].max())
    words = [
        f"<b>As it was.</b> The notebook’s own procedure on these pictures gives single runs from {lowest} to "
        f"{highest} %, under "
        "every “lesion” and under none: what varies is a readout that nobody trained."
    ]
    if results.summary is None:
        return words
    told = results.summary[results.summary["stimulus"] == INTACT].set_index(["task", "approach", "how"])
    for task, word in (("identification", "who it is"), ("detection", "whether it is a face")):
        if task not in results.tasks():
            continue
        healthy = told.loc[(task, HEALTHY, HEALTHY)]
        parts = [
            f"{name} {percent(told.loc[(task, name, DAMAGED), 'accuracy'])}"
            + (
                f" (trained with it {percent(told.loc[(task, name, TRAINED), 'accuracy'])})"
                if (task, name, TRAINED) in told.index
                else ""
            )
            for name in results.approaches()
            if (task, name, DAMAGED) in told.index
        ]
        words.append(
            f"<b>Asked {word}</b>, with a readout that was fixed before any damage, the undamaged network is right in "
            f"{percent(healthy['accuracy'])} % (chance {percent(float(healthy['chance']))} %)"
            + (f"; damaged: {', '.join(parts)} %." if parts else ".")
        )
    units = results.looks["shared"]
    rule, corrected = (
        units[units["by"] == way].groupby("site")["jaccard"].mean() for way in ("responsible", "corrected")
    )
    words.append(
        "<b>Responsible units.</b> Of the units that the notebook’s rule names for two features, "
        + ", ".join(f"{100 * value:.0f} % are the same at {site}" for site, value in rule.items())
        + "; corrected for activity, "
        + ", ".join(f"{100 * value:.0f} %" for value in corrected.fillna(0)) + ". The rule finds busy units."
    )  # fmt: skip
    return words
