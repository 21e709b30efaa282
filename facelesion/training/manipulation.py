"""The notebook's neuron manipulation as an experiment: units of each feature excited, inhibited and held.

The notebook adds 0.0 to one unit, asks a readout that was never trained, and has no control. Here units found for a
feature are moved over a range of their own standard deviations, beside as many units at random and as many as active;
and it is tested whether it matters *which* feature is masked when the units of one are moved.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch

from facelesion.analysis import matched_units, null_test, random_units, rank, top_units
from facelesion.analysis.activations import by_person, picture_activations, sites_called
from facelesion.analysis.ways import LOSSES, WAYS
from facelesion.data.objects import builtin_objects, nonfaces
from facelesion.errors import Error
from facelesion.faces.stimuli import Stimulus
from facelesion.lesions import Ablate, Calibration, Clamp, Lesion, Shift, calibrate
from facelesion.lesions.locate import Site
from facelesion.looking.questions import Question, detection, feature_decision, identification
from facelesion.looking.truth import features_alone
from facelesion.looking.unit_pictures import Asked
from facelesion.models import Subject, get
from facelesion.ranges import Label, PathText, Range, Seed, Size
from facelesion.settings import check
from facelesion.sweep import sweep
from facelesion.training.files import write_parquet, write_table
from facelesion.training.notebook_facts import FEATURES, INTACT, MASKED, PRINTED
from facelesion.training.run import claim_for_parts

if TYPE_CHECKING:
    import pandas as pd

HEALTHY, FOUND, RANDOM, MATCHED = "healthy", "found", "random", "matched"
SHIFTED, HELD = "shifted", "held"

Doses = Annotated[tuple[Annotated[float, Range(-1000, 1000)], ...], Size(0, 100, twice=False)]


@dataclass(frozen=True)
class Place:
    """Where a run is kept.

    Attributes:
        folder: where.
        progress: show how far it is.
    """

    folder: PathText = "runs/notebook-manipulation"
    progress: bool = True


@dataclass(frozen=True)
class ManipulationConfig:
    """Which units are moved, how far, and what is asked.

    Attributes:
        network: `builtin`, `untrained`, or a file of weights.
        sites: where, one by one; the notebook's are conv5_3, conv3_2 and conv4_2.
        by: how units are found: `responsible` (the notebook's rule, over many people), `selectivity`, `causal`,
            `first_order`.
        fraction: share of a site's units that is taken; 0 takes those that pass the way's own rule.
        shifts: what is added to each unit, in its own standard deviations: above 0 excites, below inhibits.
        floor: an inhibited unit does not fall below 0, where no unit behind a ReLU ever is.
        holds: where units are held, in their own standard deviations from their own mean.
        masked_shifts: the shifts under which features are masked as well, for the interaction.
        controls: control sets of either kind.
        people: how many people are to be identified.
        pictures: of each: three are remembered, the others asked about.
        variability: how much pictures of one person differ: by more than in studies, so that the unmoved network
            stands below 100 % and can rise as well as fall.
        finding_people: other people, on whose pictures the units are found.
        run: where the run is kept.
        seed: of everything drawn at random.
        recipe: names this kind of run.

    Example:
        $ python -m facelesion.train --config configs/notebook/manipulation.yaml --seed 1
    """

    network: PathText = "builtin"
    sites: Annotated[tuple[Label, ...], Size(1, 100, twice=False)] = ("conv5_3", "conv3_2", "conv4_2")
    by: Literal["responsible", "selectivity", "causal", "first_order"] = "responsible"
    fraction: Annotated[float, Range(0, 0.5)] = 0.0
    shifts: Doses = (-4.0, -2.0, -1.0, 1.0, 2.0, 4.0)
    floor: bool = True
    holds: Doses = (0.0, 2.0, 4.0)
    masked_shifts: Doses = (-4.0, 4.0)
    controls: Annotated[int, Range(2, 1000)] = 20
    people: Annotated[int, Range(2, 1000)] = 40
    pictures: Annotated[int, Range(4, 100)] = 5
    variability: Annotated[float, Range(0, 5)] = 1.0
    finding_people: Annotated[int, Range(8, 1000)] = 60
    run: Place = field(default_factory=Place)
    seed: Seed = 0
    recipe: Literal["manipulation"] = "manipulation"

    def __post_init__(self) -> None:
        check(self)
        for name in ("shifts", "masked_shifts"):
            if 0.0 in getattr(self, name):
                raise Error(f"{name} holds 0: that moves no unit; leave it out")
        if not self.shifts and not self.holds:
            raise Error("shifts and holds are empty: nothing would be manipulated")


def manipulate(config: ManipulationConfig) -> Path:
    """Find units, move them, ask; write the tables and figures. A run that was stopped goes on by the same command.

    Writes `manipulation.csv` (a row per set of units, dose, stimulus and task), `interaction.csv`, `layers.csv` (the
    notebook's layer × feature table), `units.csv` (the ranking) and figures.

    Returns:
        The figure of the curves.

    Raises:
        Error: no such network, units too many for controls, or a folder that holds another run.
    """
    import pandas

    from facelesion.training.manipulation_figures import draw_curves, draw_interaction, draw_layers

    subject = get(config.network, seed=config.seed)
    config, places = _one_by_one(subject, config)
    folder = claim_for_parts(config.run.folder, asdict(config) | {"started_from": subject.weights})
    rankings = units_of_features(subject, config)
    calibration, activation = _usual(subject, config)
    sets = {site: _sets(config, rankings, site, activation[site]) for site in places}
    asked = _questions(subject, config)
    parts = []
    for task, question in asked.items():
        for stimulus in (INTACT, *MASKED):
            for site in places:
                part = folder / "parts" / f"{task}-{stimulus.replace(' ', '-')}-{site}.parquet"
                if not part.is_file():
                    lesions = _lesions(config, site, sets[site], _moves(config, stimulus))
                    made = _answers(config, subject, question, stimulus, *lesions, calibration)
                    write_parquet(part, made.assign(task=task, stimulus=stimulus, site=site))
                parts.append(pandas.read_parquet(part))
    whole = pandas.concat(parts, ignore_index=True)
    kept: dict[tuple[str, ...], torch.Tensor] = {
        (row.task, row.stimulus, row.site, row.name): torch.from_numpy(np.array(row.by_person))
        for row in whole[whole["set"].isin([HEALTHY, FOUND])].itertuples(index=False, name="Row")
    }
    table = whole.drop(columns=["name", "by_person"]).assign(
        weights=subject.weights, seed=config.seed, by=config.by, data=rankings["data"].iloc[0]
    )
    interactions = interaction(table, kept, config)
    layers = layer_by_feature(table, config)
    write_table(folder / "units.csv", rankings)
    write_table(folder / "manipulation.csv", table)
    write_parquet(folder / "manipulation.parquet", table)
    write_table(folder / "interaction.csv", interactions)
    write_table(folder / "layers.csv", layers)
    draw_layers(layers, folder / "layers.png")
    if len(interactions):
        draw_interaction(table, interactions, folder / "interaction.png")
    return draw_curves(table, folder / "manipulation.png")


def _answers(
    config: ManipulationConfig,
    subject: Subject,
    question: Question,
    stimulus: str,
    lesions: Mapping[str, Lesion | None],
    told: Mapping[str, Mapping[str, Any]],
    calibration: Calibration,
) -> pd.DataFrame:
    """Right answers under a stimulus and every lesion, a row each; of the units under test by person as well."""
    import pandas

    images = question.images if stimulus == INTACT else question.under(Stimulus.from_dict(stimulus))
    answers = sweep(
        subject.module, lesions, subject.preprocess(images), calibration=calibration, batch_size=64,
        progress=config.run.progress, reduce=lambda _: _Right(question),
    )  # fmt: skip
    rows = []
    for name, right in answers.items():
        means, lesion = by_person(right, question.people)[1].numpy(), lesions[name]
        tested = told[name]["set"] in (HEALTHY, FOUND)
        low, high = _interval(means, config.seed) if tested else (float("nan"), float("nan"))
        rows.append(
            {
                **told[name], "name": name, "right": float(means.mean()), "low": low, "high": high,
                "chance": question.chance, "pictures": len(right), "people": len(means),
                "lesion": "none" if lesion is None else str(lesion)[:200],
                "lesion_hash": "none" if lesion is None else lesion.hash,
                "by_person": means.tolist() if tested else [],
            }
        )  # fmt: skip
    return pandas.DataFrame(rows)


def _one_by_one(subject: Subject, config: ManipulationConfig) -> tuple[ManipulationConfig, dict[str, Site]]:
    """The sites by their names in the ranking's table, each of which is one place."""
    places: dict[str, Site] = {}
    for site in config.sites:
        found = sites_called(subject.module, site)
        if len(found) != 1:
            raise Error(f"sites: {site} means {len(found)} sites: name them one by one")
        places |= found
    return replace(config, sites=tuple(places)), places


def units_of_features(subject: Subject, config: ManipulationConfig) -> pd.DataFrame:
    """The ranking of every site's units for each feature, on people whom nothing else is asked about."""
    import pandas

    way = WAYS[config.by]()
    if way.needs == LOSSES:
        questions = {
            name: feature_decision(subject, name, max(8, config.finding_people // 2), seed=_seed(config, 3))
            for name in FEATURES
        }
        shown = {name: subject.preprocess(each.images) for name, each in questions.items()}
        people: dict[str, Sequence[str]] = {name: each.people for name, each in questions.items()}
        loss = {name: each.loss for name, each in questions.items()}
        return pandas.concat(
            [rank(subject.module, site, shown, way, people=people, loss=loss) for site in config.sites]
        )
    faces = Asked(people=config.finding_people, pictures=2, seed=config.seed).faces(subject.size)
    shown = {name: subject.preprocess(images) for name, images in features_alone(faces).items()}
    who = dict.fromkeys(shown, faces.labels)
    return pandas.concat([rank(subject.module, site, shown, way, people=who) for site in config.sites])


def _seed(config: ManipulationConfig, role: int) -> int:
    """Seeds of the face space that no study, training or other test uses: other people for every role."""
    return 3_900_000 + 10 * config.seed + role


def _questions(subject: Subject, config: ManipulationConfig) -> dict[str, Question]:
    """Who is it, and is it a face; nobody in them was used to find units or learns a readout they are asked by."""
    from facelesion.data.facespace import FaceSpace

    space = FaceSpace.load()
    faces = space.draw(config.people, config.pictures, _seed(config, 0), config.variability)
    others = nonfaces(2 * config.people, seed=_seed(config, 1), size=faces.size, faces=faces)
    some = space.draw(2 * config.people, 1, _seed(config, 1), config.variability)
    return {"identification": identification(subject, faces), "detection": detection(subject, some, others)}


def _usual(subject: Subject, config: ManipulationConfig) -> tuple[Calibration, dict[str, torch.Tensor]]:
    """Mean and deviation of every unit over faces and objects alike, and its mean over faces alone."""
    faces = Asked(people=config.finding_people, pictures=2, seed=config.seed).faces(subject.size)
    things = builtin_objects(max(1, len(faces) // 16), seed=_seed(config, 2), size=faces.size)
    count = min(len(faces), len(things))
    shown = torch.cat([faces.images[:count], things.images[:count]])
    calibration = calibrate(subject.module, (subject.preprocess(part) for part in shown.split(32)), config.sites)
    found = {
        site: next(iter(picture_activations(subject.module, site, subject.preprocess(faces.images)).values()))
        for site in config.sites
    }
    return calibration, {site: each.mean.mean(0) for site, each in found.items()}


@dataclass(frozen=True)
class _Set:
    """Units that are moved together."""

    feature: str
    kind: str
    draw: int
    units: tuple[int, ...]
    mismatch: float = float("nan")


def _sets(config: ManipulationConfig, rankings: pd.DataFrame, site: str, activation: torch.Tensor) -> list[_Set]:
    """The units of each feature, and their controls: as many at random, and as many as active."""
    found = []
    for feature in FEATURES:
        units = top_units(rankings, site, fraction=config.fraction or None, of=feature)
        if not units:
            raise Error(f"{site}: no unit passes for {feature}: take a fraction of the units instead")
        found.append(_Set(feature, FOUND, 0, units))
        drawn = random_units(len(activation), len(units), config.controls, seed=config.seed, exclude=units)
        found += [_Set(feature, RANDOM, draw, tuple(row)) for draw, row in enumerate(drawn.tolist())]
        matched = matched_units(activation, units, config.controls, seed=config.seed, tolerance=None)
        # The most active units have few equals: a set that is drawn again is no further control.
        pairs = dict(zip(map(tuple, matched.units.tolist()), matched.mismatch.tolist(), strict=True)).items()
        found += [_Set(feature, MATCHED, draw, row, gap) for draw, (row, gap) in enumerate(pairs)]
    return found


Move = tuple[str, float]


def _moves(config: ManipulationConfig, stimulus: str) -> list[Move]:
    if stimulus != INTACT:
        return [(SHIFTED, by) for by in config.masked_shifts]
    shifts = [*config.shifts, *(by for by in config.masked_shifts if by not in config.shifts)]
    return [*((SHIFTED, by) for by in shifts), *((HELD, at) for at in config.holds)]


def _lesions(
    config: ManipulationConfig,
    site: str,
    sets: Sequence[_Set],
    moves: Sequence[Move],
) -> tuple[dict[str, Lesion | None], dict[str, dict[str, Any]]]:
    """Every set moved in every way, by name, and what each is."""
    lesions: dict[str, Lesion | None] = {HEALTHY: None}
    told: dict[str, dict[str, Any]] = {
        HEALTHY: {"feature": "", "set": HEALTHY, "draw": 0, "move": "", "dose": 0.0, "units": "", "count": 0}
    }
    for each in sets:
        for move, dose in moves:
            name = f"{each.feature} {each.kind} {each.draw} {move} {dose:g}"
            lesions[name] = moved(site, each.units, move, dose, config.floor)
            told[name] = {
                "feature": each.feature, "set": each.kind, "draw": each.draw, "move": move, "dose": dose,
                "units": " ".join(map(str, each.units)), "count": len(each.units), "mismatch": each.mismatch,
            }  # fmt: skip
    return lesions, told


def moved(site: str, units: Sequence[int], move: str, dose: float, floor: bool = True) -> Lesion:
    """Units shifted by, or held at, a dose in each one's own standard deviations: a lesion that needs a calibration.

    Args:
        site, units: which.
        move: `shifted` or `held`.
        dose: what is added; or how far from its own mean each unit is held.
        floor: inhibited units stay at 0 or above.

    Example:
        >>> print(moved("conv5_3", [2, 7], "held", 2.0))
        mean-ablate units 2,7 of conv5_3 + shift +2 relative at units 2,7 of conv5_3
    """
    chosen = tuple(units)
    parts: list[Lesion] = [Ablate(site, units=chosen, to="mean")] if move == HELD else []
    if move == SHIFTED or dose:
        parts.append(Shift(site, by=dose, units=chosen, relative=True))
    if floor and dose < 0:
        parts.append(Clamp(site, units=chosen, min=0.0))
    return functools.reduce(operator.add, parts)


class _Right:
    """Right answers of one lesion, as outputs come in."""

    def __init__(self, question: Question) -> None:
        self.question, self.values = question, torch.zeros(len(question.images), dtype=torch.float64)

    def update(self, outputs: torch.Tensor, rows: range) -> None:
        found = self.question.right(outputs, torch.arange(rows.start, rows.stop))
        self.values[rows.start : rows.stop] = found.double().cpu()

    def compute(self) -> torch.Tensor:
        return self.values


def _interval(means: np.ndarray, seed: int) -> tuple[float, float]:
    again = np.random.default_rng((seed, 5)).integers(len(means), size=(2000, len(means)))
    low, high = np.quantile(means[again].mean(1), [0.025, 0.975])
    return float(low), float(high)


def interaction(
    table: pd.DataFrame, kept: Mapping[tuple[str, ...], torch.Tensor], config: ManipulationConfig
) -> pd.DataFrame:
    """Does it matter which feature is masked when the units of one are moved? The crossed interaction, tested.

    E[f, g] is what moving the units of f costs under a mask of g. With the means of rows and columns taken out, its
    diagonal less the rest says whether units of a feature cost something else where that feature is hidden. The null:
    the same statistic of the control sets.

    Returns:
        One row per task, site and shift: `statistic` (in shares right), `low`, `high` (95 % over people), `p_random`,
        `p_matched` (two-sided), and `controls`, how many matched sets differ: of ten, p cannot fall below 2 in 11.
    """
    import pandas

    masked = table[table["stimulus"].isin(MASKED)]
    rows = []
    for (task, site, dose), part in masked[masked["set"] != HEALTHY].groupby(["task", "site", "dose"], sort=False):
        healthy = masked[(masked["task"] == task) & (masked["site"] == site) & (masked["set"] == HEALTHY)]
        intact = healthy.set_index("stimulus")["right"]
        found: dict[str, list[float]] = {}
        for (kind, _), draw in part.groupby(["set", "draw"], sort=False):
            if draw["feature"].nunique() < len(FEATURES):
                continue  # the units of one feature have fewer equals than those of another
            cells = draw.set_index(["feature", "stimulus"])["right"]
            effect = np.array([[cells[f, g] - intact[g] for g in MASKED] for f in FEATURES])
            found.setdefault(str(kind), []).append(crossed(effect))
        people = np.stack(
            [
                [
                    (kept[task, g, site, f"{f} {FOUND} 0 {SHIFTED} {dose:g}"] - kept[task, g, site, HEALTHY]).numpy()
                    for g in MASKED
                ]
                for f in FEATURES
            ]
        )
        again = np.random.default_rng((config.seed, 6)).integers(people.shape[2], size=(2000, people.shape[2]))
        drawn = [crossed(people[:, :, rows_].mean(2)) for rows_ in again]
        low, high = np.quantile(drawn, [0.025, 0.975])
        observed = found[FOUND][0]
        rows.append(
            {
                "task": task, "site": site, "dose": dose, "statistic": observed, "low": low, "high": high,
                **{
                    f"p_{kind}": null_test(observed, found[kind], "two-sided").p if found.get(kind) else float("nan")
                    for kind in (RANDOM, MATCHED)
                },
                "controls": len(found.get(MATCHED, ())),
            }
        )  # fmt: skip
    columns = ["task", "site", "dose", "statistic", "low", "high", "p_random", "p_matched", "controls"]
    return pandas.DataFrame(rows, columns=columns)


def crossed(effect: np.ndarray) -> float:
    """How far a matrix's diagonal lies above the rest, once means of rows and columns are taken out.

    Example:
        >>> crossed(np.array([[3.0, 2.0], [2.0, 3.0]])), crossed(np.array([[3.0, 2.0], [3.0, 2.0]]))
        (1.0, 0.0)
    """
    centred = effect - effect.mean(0) - effect.mean(1, keepdims=True) + effect.mean()
    diagonal = np.trace(centred) / len(centred)
    rest = (centred.sum() - np.trace(centred)) / (centred.size - len(centred))
    return float(diagonal - rest)


def layer_by_feature(table: pd.DataFrame, config: ManipulationConfig) -> pd.DataFrame:
    """The notebook's layer × feature table: intact faces, the units of each feature moved furthest up and down.

    Returns:
        One row per task, site, feature and shift: `healthy`, `right`, `low`, `high`, `random` and `matched` (means over
        control sets), `p_matched` (one-sided: worse than as many units as active), `count`, `units`, and `notebook`:
        what it printed there, as a share, which came from a readout that was never trained.
    """
    import pandas

    rows = []
    shown = table[(table["stimulus"] == INTACT)]
    for (task, site), part in shown.groupby(["task", "site"], sort=False):
        healthy = float(part[part["set"] == HEALTHY]["right"].iloc[0])
        for feature in FEATURES:
            for dose in sorted({min(config.shifts, default=0.0), max(config.shifts, default=0.0)}):
                here = part[(part["feature"] == feature) & (part["move"] == SHIFTED) & (part["dose"] == dose)]
                if here.empty:
                    continue
                one = here[here["set"] == FOUND].iloc[0]
                null = {kind: here[here["set"] == kind]["right"] for kind in (RANDOM, MATCHED)}
                printed = PRINTED.get(f"{site}: units of {feature}", (None,))[0]
                rows.append(
                    {
                        "task": task, "site": site, "feature": feature, "dose": dose, "healthy": healthy,
                        "right": one["right"], "low": one["low"], "high": one["high"],
                        "random": null[RANDOM].mean(), "matched": null[MATCHED].mean(),
                        "p_matched": null_test(float(one["right"]), null[MATCHED]).p, "count": one["count"],
                        "units": one["units"], "notebook": None if printed is None else printed / 100,
                    }
                )  # fmt: skip
    return pandas.DataFrame(rows)
