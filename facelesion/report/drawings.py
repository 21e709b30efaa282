"""Which figures a report has, with the words that stand below them: two lists, to which a line adds another.

    def by_change(results):
        ...
        return Drawing("Performance by change", figure, shows="...", cannot="...")

    FIGURES["by_change"] = by_change

What a figure cannot show stands below it: a reader takes more from a picture than from a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from facelesion.analysis.case_tables import others_called as others
from facelesion.analysis.claims import Profile
from facelesion.analysis.curve_tables import Fits
from facelesion.analysis.single_cases import LEAST_CONTROLS
from facelesion.report import against, apart, examples, figures, group, numbers, responses, summary
from facelesion.report.run_folder import Run

if TYPE_CHECKING:
    import pandas as pd

_ABREAST = 5  # participants side by side in one figure


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure and its words.

    Attributes:
        title: what it is about.
        figure: Matplotlib's.
        shows: what is to be seen.
        cannot: what it does not show; may be empty.
        kind: `svg` for drawings, `png` for pictures.
        wide: too detailed to shrink: on a narrow screen it scrolls.
        name: of its file; by default its name in the list.
        numbers: what is drawn, as a tidy table: written beside the figure as CSV.

    Example:
        >>> from facelesion.report import FIGURES, STUDY_FIGURES, Results, blank
        >>> def trials_figure(results: Results) -> Drawing:
        ...     figure = blank(4, 3)
        ...     figure.subplots().hist(results.run.trials["value"])
        ...     return Drawing("Decisions", figure, shows="how sure every answer was", cannot="whether it was right")
        >>> callable(FIGURES["kept"]), len(STUDY_FIGURES) > 0
        (True, True)
    """

    title: str
    figure: Any
    shows: str
    cannot: str = ""
    kind: Literal["svg", "png"] = "svg"
    wide: bool = True
    name: str = ""
    numbers: pd.DataFrame | None = None


@dataclass(frozen=True, eq=False)
class Results:
    """What a figure is drawn from.

    Attributes:
        run: the whole run: settings, manifest, example pictures.
        table: rows of the result table: one participant's, or in `STUDY_FIGURES` all.
        profiles: scores by person of each participant in the table, by name; None where answers were not kept.
        tables: the rows of each participant in the table, by name.
        groups: participants that were trained alike, by the name of their group.
        fits: the psychometric curves of each participant, by name; only of those whose answers were kept.
        scales: scores on the common scale of each participant, by name; only of those whose answers were kept.
    """

    run: Run
    table: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    profiles: Mapping[str, Profile | None]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fits: Mapping[str, Fits] = field(default_factory=dict)
    scales: Mapping[str, Profile] = field(default_factory=dict)

    @property
    def profile(self) -> Profile | None:
        """Scores by person of the first participant."""
        return next(iter(self.profiles.values()))


Drawn = Drawing | Iterable[Drawing] | None


def drawn(makers: Mapping[str, Callable[[Results], Drawn]], results: Results) -> list[tuple[str, Drawing]]:
    """All drawings of a list with the names of their files, without those for which there is nothing to draw."""
    found = []
    for name, make in makers.items():
        made = make(results)
        several = [made] if isinstance(made, Drawing) else list(made or ())
        found += [(each.name or name, each) for each in several]
    return found


def side_by_side(results: Results) -> list[Drawing]:
    """Participants beside one another, up to five in a figure; none for one alone."""
    names = list(results.tables)
    if len(names) < 2:
        return []
    groups = -(-len(names) // _ABREAST)
    each = -(-len(names) // groups)
    found = []
    for place in range(groups):
        tables = {name: results.tables[name] for name in names[place * each : (place + 1) * each]}
        shown = numbers.response(tables, results.profiles)
        found.append(
            Drawing(
                "Participants side by side" + (f" ({place + 1} of {groups})" if groups > 1 else ""),
                figures.side_by_side_figure(tables, results.profiles),
                shows="A column is a network, a row a task in its own measure. Mean over draws of the lesion, with its "
                f"95 % interval over {_over(shown)} as a band. Dotted: that network intact. Dashed: chance. Steps are "
                "the study’s doses in its order. Pictures are unchanged.",
                cannot="Bands say what other people and draws would give in the same network; how far networks differ "
                "is seen between columns alone, and a few networks are few. Equal steps of different lesions are not "
                "equal damage, or are in one task only, where doses were sought for it.",
                name="side_by_side" if groups == 1 else f"side_by_side_{place + 1}",
                numbers=shown,
            )
        )
    return found


def against_controls(results: Results) -> list[Drawing]:
    """Every series of chosen units beside its control sets, where there are such."""
    controls = results.run.controls
    if controls is None:
        return []
    return [
        Drawing(
            f"{lesion}: chosen units against other units",
            against.against_figure(controls, str(lesion)),
            shows="A column is a network, a row a task, in right choices between two where the task has a place on "
            "that scale, else in its own measure. The line is the damage of the chosen units; the grey band "
            "holds 95 % of the matched control sets, as many other units of the same sites that were as active; "
            "dashed lines those at random. Dotted: the intact network. A filled marker lies beyond all kinds of "
            "control after adjustment for all that was compared. Pictures are unchanged.",
            cannot="That units were chosen well for this network and these pictures does not make them a module. "
            "Bands are over sets of units, not over people or networks.",
            name=f"controls_{number}",
            numbers=against.shown(controls, str(lesion)),
        )
        for number, lesion in enumerate(dict.fromkeys(controls["lesion"]), start=1)
    ]


def dose_response(results: Results) -> Drawing:
    """Performance by dose of one participant."""
    shown = numbers.response(results.tables, results.profiles)
    return Drawing(
        "Performance by dose",
        figures.dose_response_figure(results.table, profile=results.profile),
        numbers=shown,
        shows=f"Mean over draws of the lesion, with its 95 % interval over {_over(shown)} as a band. Dotted: the "
        "intact network. Dashed: chance. Steps are the study’s doses in its order; the doses themselves "
        "stand below, in each kind's own unit. Images are unchanged.",
        cannot="Equal steps are not equal damage, so lines may be compared in shape but not step by step. The band "
        + (
            "does not say what other networks would give."
            if results.profile
            else "says how much depends on which units or noise were drawn; it does not say what other images, people "
            "or networks would give."
        ),
    )


def kept(results: Results) -> Drawing | None:
    """What is left of one task against what is left of another."""
    figure = figures.kept_figure(results.table)
    if figure is None:
        return None
    return Drawing(
        "What is left of the tasks",
        figure,
        numbers=numbers.kept(results.table),
        shows="Share of the performance above chance that is left: the task of which least is left against "
        "each other. Faint points are single draws, lines run through the means from the intact network "
        "(100, 100) to the last dose. On the dashed line both tasks lose alike. No interval is drawn: the spread "
        "of the points is that over draws.",
        cannot="A line off the diagonal is no proof of separate machinery: tasks differ in difficulty and in "
        "the number of answers, and a harder task falls first under any damage (Plaut 1995). No claim is made "
        "of it.",
    )


def heat_maps(results: Results) -> list[Drawing]:
    """Stimulus × lesion, a map for every task that was asked under two stimuli or more."""
    table, found = results.table, list[Drawing]()
    for task in summary.tasks_of(table):
        if table.loc[table["task"] == task, "stimulus"].nunique() < 2:
            continue
        measure = summary.measure_of(table, task)
        unit = "percentage points" if measure.share else "hundredths"
        reference = summary.show(summary.intact_value(table, task, measure.name), measure)
        found.append(
            Drawing(
                f"{task[:1].upper()}{task[1:]}: stimulus × lesion",
                figures.heat_map_figure(table, task),
                shows=f"Change in {unit} against the intact network on unchanged images ({reference}; {measure.words})"
                "; mean over draws."
                + (
                    ""
                    if found
                    else " The first column is what the change of the image costs by itself; subtract it from another "
                    "to get what the lesion adds."
                ),
                cannot=""
                if found
                else "Near chance nothing is left to lose, so rows that start low cannot fall far: an equal number "
                "is not an equal effect. No interval is drawn: those in the file of its numbers are over draws alone.",
                name=f"heat_map_{task}",
                numbers=numbers.heat(table, task),
            )
        )
    return found


def confusions(results: Results) -> list[Drawing]:
    """What was answered to what was shown."""
    found = []
    for task in dict.fromkeys(confusion.task for confusion in results.run.confusions):
        group = [confusion for confusion in results.run.confusions if confusion.task == task]
        found.append(
            Drawing(
                f"Confusions in {task}",
                examples.confusion_figure(group),
                shows=f"{_first(results)}Rows are what was shown, columns what was answered, in percent of what was "
                "shown. The colour scale is stretched at its low end so that single errors can be seen. A dark column "
                "is one answer given to nearly everything.",
                cannot="One lesion and one draw, on unchanged images: an example, not an average.",
                name=f"confusion_{task}",
                numbers=numbers.confusion(group),
            )
        )
    return found


def stimuli(results: Results) -> Drawing | None:
    """One face under every stimulus."""
    if results.run.stimuli is None:
        return None
    return Drawing(
        "What the network is shown",
        examples.stimuli_figure(results.run.stimuli),
        shows="One face under every stimulus of the study.",
        cannot="Masks of different features cover different areas; without masks of equal area elsewhere on "
        "the face, area and feature cannot be told apart.",
        kind="png",
        wide=False,
    )


def gradcam(results: Results) -> Drawing | None:
    """Where the evidence comes from."""
    maps = results.run.gradcam
    if maps is None:
        return None
    return Drawing(
        "Where the evidence comes from",
        examples.gradcam_figure(maps),
        shows=f"{_first(results)}Grad-CAM (Selvaraju et al. 2017) of {maps.score} for one face, from early to late "
        "layers, intact and damaged. Bright: positions whose activation raises the score.",
        cannot="Each map is scaled by its own largest value: it shows where, not how much. One face is one "
        "example, and a map is not an explanation of an answer.",
        kind="png",
    )


def training(results: Results) -> Drawing | None:
    """How the network under study was trained."""
    log = results.run.training
    figure = None if log is None else examples.training_figure(log)
    if figure is None:
        return None
    return Drawing(
        "How the network was trained",
        figure,
        shows="Mean over each epoch, on training images and on images kept out.",
        cannot="This was before any damage; it says nothing of the lesions.",
        numbers=log,
    )


def same_group(results: Results) -> list[Drawing]:
    """The subject of every group beside those that were trained alike."""
    found = []
    for number, (name, members) in enumerate(results.groups.items(), start=1):
        if len(members) < 2:
            continue
        shown = group.numbers(results.tables, members)
        enough = len(members) > LEAST_CONTROLS
        found.append(
            Drawing(
                f"{members[0]} among {others(name)}",
                group.group_figure(shown),
                shows=f"Coloured: {members[0]}; grey: each of the {len(members) - 1} others; black: their "
                      "mean. A column "
                "is a lesion, a row a task; each network’s mean over draws. "
                + (
                    "The band is over networks: where 95 of 100 further ones trained alike would lie under the same "
                    "damage (Crawford & Howell 1998, of log odds). "
                    if enough
                    else f"No band over networks is drawn: it takes {LEAST_CONTROLS} others. "
                )
                + "Dashed: chance. Doses are rounded. Pictures are unchanged.",
                cannot="Lines have no interval over people or draws here; those stand in the figure of "
                       "the networks side "
                "by side. Networks alike are one recipe and one teacher.",
                name="group" if len(results.groups) == 1 else f"group_{number}",
                numbers=shown,
            )
        )
    return found


def apart_of_sets(results: Results) -> list[Drawing]:
    """What chosen units leave of two tasks, over the cloud of what as many other units leave of both."""
    found = []
    for number, tasks in enumerate(apart.pairs(results.run), start=1):
        shown = apart.numbers(results.tables, results.profiles, results.run.sets, tasks)
        if shown.empty:
            continue
        found.append(
            Drawing(
                f"{tasks[0]} against {tasks[1]}: chosen units among equivalent lesions",
                apart.apart_figure(shown, tasks),
                shows=f"A column is a network. What is left of {tasks[0]} and of {tasks[1]}: markers with "
                      "crosses are the "
                f"chosen units at their last dose, with 95 % intervals over {_over(shown)}; each small "
                "point is one set "
                "of as many other units of the same sites, as active (filled) or at random (open), in its lesion’s "
                "colour. Black: the intact network. A chosen lesion far outside its own cloud, towards one axis, takes "
                "one task more than equivalent lesions do. A network without small points had no control sets. "
                "Pictures are unchanged.",
                cannot="The axes are each task’s own measure, so distances along them are not alike, and a harder task "
                "falls first (Plaut 1995). What is claimed is the contrast and its p against these very sets.",
                name=f"apart_{number}",
                numbers=shown,
            )
        )
    return found


def curves(results: Results) -> Drawing | None:
    """Psychometric curves of one participant."""
    (name,) = list(results.tables)[:1]
    fits, scale = results.fits.get(name), results.scales.get(name)
    if fits is None or scale is None or not fits.fitted:
        return None
    shown = responses.numbers(fits, scale)
    return Drawing(
        "Dose and response",
        responses.curves_figure(shown),
        shows="Right choices between two, fitted from the intact network’s level to chance, both fixed "
              "(logistic over the "
        "logarithm of the dose; Wichmann & Hill 2001). Points: what was measured, with its 95 % interval over "
        f"{_over(shown[shown['what'] == 'observed'])}. Below: the dose that takes half of what there was above chance, "
        "with its 95 % interval over people × draws, where it lies within the doses.",
        cannot="That half of one task is lost at a lower dose may be the task’s difficulty and no special damage. "
        "Doses of different lesions have units of their own.",
        numbers=shown,
    )


def _over(shown: pd.DataFrame) -> str:
    """What the intervals in a figure's numbers are over, in words.

    Example:
        >>> import pandas as pd
        >>> _over(pd.DataFrame({"over": ["people", "people × draws", ""]}))
        'people × draws (people alone where there is no draw)'
    """
    kinds = [each for each in dict.fromkeys(shown["over"]) if isinstance(each, str) and each]
    if set(kinds) == {"people", "people × draws"}:
        return "people × draws (people alone where there is no draw)"
    return " or ".join(kinds) or "nothing (each was drawn once)"


def _first(results: Results) -> str:
    """Whose examples these are, where there are several participants."""
    names: Sequence[str] = list(results.tables)
    return f"Of {names[0]}, the study’s first participant. " if len(names) > 1 else ""


#: Drawn for every participant from its rows. One more is one function and one line. See docs/extending.md.
FIGURES: dict[str, Callable[[Results], Drawn]] = {
    "dose_response": dose_response,
    "curves": curves,
    "kept": kept,
    "heat_map": heat_maps,
}
#: Drawn once, from all participants: at the head of the results, ...
STUDY_FIGURES: dict[str, Callable[[Results], Drawn]] = {
    "side_by_side": side_by_side,
    "against_controls": against_controls,
    "apart": apart_of_sets,
    "group": same_group,
}
#: ... and among the examples.
EXAMPLE_FIGURES: dict[str, Callable[[Results], Drawn]] = {
    "confusion": confusions,
    "stimuli": stimuli,
    "gradcam": gradcam,
    "training": training,
}
