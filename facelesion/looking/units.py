"""`facelesion units`: which units of a network answer to what, as tables, profiles and a contact sheet per unit."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch

from facelesion.analysis.activations import Activations, picture_activations
from facelesion.analysis.necessity import COUNTS, RANKED, REMOVED, necessity_and_sufficiency
from facelesion.analysis.ranked import agreement_of_rankings, rank, top_units
from facelesion.analysis.receptive import WHOLE, ReceptiveField, receptive_fields
from facelesion.analysis.ways import LOSSES, WAYS, FromFile, Greedy, Responsible, Way
from facelesion.errors import Error
from facelesion.extras import need
from facelesion.files import write_bytes, write_whole
from facelesion.lesions.functional import how_many
from facelesion.looking.questions import Question
from facelesion.looking.unit_pictures import FACESPACE, Asked, UnitPictures
from facelesion.models import Subject, get
from facelesion.outputs import writable_folder
from facelesion.ranges import Label, OnlyWhen, PathText, Range, Seed, Size
from facelesion.settings import check

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

By = Literal["responsible", "corrected", "selectivity", "causal", "greedy", "first_order", "activation", "file"]


@dataclass(frozen=True)
class UnitsConfig:
    """Find the units that answer to features or domains; write a table, profiles and a contact sheet per unit.

    Attributes:
        pictures: `facespace`, a folder of people with their photographs, a table of them, or a folder that
            `facelesion prepare` wrote.
        sites: where, as patterns.
        by: ways of ranking: `responsible` (the notebook's rule), `corrected` (the same, by how much more than on
            average), `selectivity`, `causal`, `greedy`, `first_order`, `activation`, `file`.
        of: what units are ranked for: `features` (each feature of a face alone) or `domains` (faces, objects,
            textures). By a loss the question is: which of two faces that differ in the feature alone; who is it, what
            kind of thing is it, is it a face.
        participant: a network's name, or a file of weights.
        out: the folder to write.
        ranking: the file of a ranking, for `by: file`.
        risk: for `greedy`: the largest probability that trying every unit on every picture would have ranked otherwise;
            0 tries them all.
        people: how many people at the most.
        each: pictures of each, at the most.
        fill: what a feature alone is surrounded by: blur (the notebook's) or a covering.
        sheets: contact sheets, for the first so many units of every ranking.
        necessity: remove the first 1 to 100 units, and keep them alone, beside control sets, and ask other people's
            pictures.
        draws: control sets of either kind, for that.
        landmarker: the model file of what finds landmarks in photographs, such as face_landmarker.task.
        seed: another seed, other people and draws.

    Example:
        $ facelesion units --by selectivity --of domains --sites conv5_1 --out units
    """

    pictures: PathText = FACESPACE
    sites: Label = "conv3_2, conv4_2, conv5_3"
    by: Annotated[tuple[By, ...], Size(1, 8, twice=False)] = ("responsible",)
    of: Literal["features", "domains"] = "features"
    participant: PathText = "builtin"
    out: PathText = "units"
    ranking: PathText | None = None
    risk: Annotated[float, Range(0, 0.49)] = 0.0
    people: Annotated[int, Range(8, 5000)] = 60
    each: Annotated[int, Range(2, 100)] = 4
    fill: Annotated[Literal["blur", "black", "mean", "noise"], OnlyWhen("of", "features")] = "blur"
    sheets: Annotated[int, Range(0, 100)] = 3
    necessity: bool = False
    draws: Annotated[int, Range(1, 1000), OnlyWhen("necessity")] = 100
    landmarker: PathText | None = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        check(self)
        if ("file" in self.by) != (self.ranking is not None):
            raise Error("ranking and by: file belong together: give both or neither")
        if self.risk and "greedy" not in self.by:
            raise Error("risk is for by: greedy, and does nothing here: leave it out")

    @property
    def asked(self) -> Asked:
        """Which pictures."""
        return Asked(self.pictures, self.of, self.people, self.each, self.fill, self.landmarker, self.seed)

    def way(self, name: str) -> Way:
        """A way of ranking by its name in `by`."""
        if name == "corrected":
            return Responsible(corrected=True)
        if name == "greedy":
            return Greedy(risk=self.risk)
        if name == "file":
            return FromFile(str(self.ranking))
        return WAYS[name]()


def find_units(config: UnitsConfig) -> Path:
    """Rank, look, and write everything.

    Returns:
        The table, `units.csv`.

    Raises:
        Error: no such network, site, pictures or file.
    """
    import pandas

    from facelesion.looking.unit_figures import draw_agreement, draw_shared

    need("matplotlib")  # for the sheets at the end
    out = writable_folder(config.out, "out")
    subject = get(config.participant, seed=config.seed)
    fields = _fields(subject, config.sites)
    ways = {name: config.way(name) for name in config.by}
    asks = any(way.needs == LOSSES for way in ways.values())
    # What cannot be asked is told before the pictures are made.
    questions = config.asked.questions(subject) if asks else {}
    tested = config.asked.questions(subject, test=True) if config.necessity else {}
    given = {name: _given(config, subject, way) for name, way in ways.items() if isinstance(way, FromFile)}
    pictures = config.asked.gather(subject)
    shown = {name: subject.preprocess(images) for name, images in pictures.groups.items()}
    origin = {
        "weights": subject.weights, "participant": subject.name, "source": pictures.source,
        "people_seen": pictures.seen, "seed": config.seed,
    }  # fmt: skip
    tables = [
        given[name] if name in given else _ranked(config, subject, name, way, shown, pictures, questions)
        for name, way in ways.items()
    ]
    table = pandas.concat(tables, ignore_index=True).assign(**origin)
    found = {name: picture_activations(subject.module, list(fields), images) for name, images in shown.items()}
    by_site = {site: {group: found[group][site] for group in shown} for site in fields}
    shared = shared_units(table)
    agreement = agreement_of_rankings(table)
    _write_table(out / "units", table)
    _write_table(out / "profiles", _profiles(by_site, pictures, config.seed))
    _write_table(out / "shared", shared)
    _write_table(out / "agreement", agreement)
    if len(shared):
        _write_figure(out / "shared", draw_shared(shared))
    if len(agreement):
        _write_figure(out / "agreement", draw_agreement(agreement))
    _sheets(config, subject, table, by_site, pictures, shown, fields, out / "sheets")
    if config.necessity:
        _necessity(config, subject, table, tested, out)
    settings = asdict(config) | {"rows": len(table), "rankings": sorted(set(table["ranking"])), **origin}
    write_bytes(out / "settings.json", json.dumps(settings, indent=1, sort_keys=True).encode())
    for line in told(table, shared):
        print(line)
    return out / "units.csv"


def shared_units(table: pd.DataFrame) -> pd.DataFrame:
    """How many units a way names for two groups at once.

    Where a way has a rule of its own (three quarters of the largest, a test) its units are compared, else the first
    tenth.

    Args:
        table: as `rank` makes it, with the column `way`.

    Returns:
        One row per site, way and pair of groups: `site`, `by`, `first`, `second`, `of_first`, `of_second` (how many
        units each has), `both`, `jaccard` (those of both as a share of those of either; empty where there are none),
        and `correlation` of the two rankings (Spearman).
    """
    import pandas

    from facelesion.sweep import agreement

    rows = []
    for (site, way), part in table.groupby(["site", "way"], sort=False):
        named: dict[str, set[int]] = {}
        places: dict[str, torch.Tensor] = {}
        for group, ranking in part.groupby("of", sort=False):
            rule = ranking["chosen"].notna().any() and way != "greedy"
            # A file may rank fewer than a tenth.
            tenth = min(max(1, how_many(0.1, len(ranking))), int(ranking["rank"].notna().sum()))
            units = top_units(ranking, str(site)) if rule else top_units(ranking, str(site), tenth)
            named[str(group)] = set(units)
            ordered = ranking.sort_values("unit")["rank"].fillna(len(ranking)).astype(float)
            places[str(group)] = torch.tensor(ordered.to_numpy())
        for first, second in itertools.combinations(named, 2):
            one, two = named[first], named[second]
            either = len(one | two)
            rows.append(
                {
                    "site": site, "by": way, "first": first, "second": second, "of_first": len(one),
                    "of_second": len(two), "both": len(one & two),
                    "jaccard": len(one & two) / either if either else float("nan"),
                    "correlation": agreement(places[first], places[second]),
                }
            )  # fmt: skip
    columns = ["site", "by", "first", "second", "of_first", "of_second", "both", "jaccard", "correlation"]
    return pandas.DataFrame(rows, columns=columns)


def told(table: pd.DataFrame, shared: pd.DataFrame) -> list[str]:
    """What was found, a line per site and way."""
    lines = []
    for (site, way), part in table.groupby(["site", "way"], sort=False):
        reliability = part.groupby("of", sort=False)["reliability"].first()
        pairs = shared[(shared["site"] == site) & (shared["by"] == way)]
        total = part["unit"].nunique()
        words = f"{site} by {way}: {total} units; reliability {reliability.min():.2f} to {reliability.max():.2f}"
        if reliability.isna().all():
            words = f"{site} by {way}: {total} units"
        alike = pairs["jaccard"].mean()
        if len(pairs) and not alike == alike:
            words += "; the way's own rule names no unit for any group"
        elif len(pairs):
            words += f"; of the units named for two of {part['of'].nunique()} groups {alike:.0%} are the same"
        lines.append(words)
    return lines


def _given(config: UnitsConfig, subject: Subject, way: FromFile) -> pd.DataFrame:
    """The ranking that a file holds: of no group, since who made it knows for what."""
    blank = subject.preprocess(torch.zeros(1, 3, subject.size, subject.size))
    return rank(subject.module, config.sites, {"file": blank}, way).assign(way="file")


def _ranked(
    config: UnitsConfig,
    subject: Subject,
    name: str,
    way: Way,
    shown: Mapping[str, torch.Tensor],
    pictures: UnitPictures,
    questions: Mapping[str, Question],
) -> pd.DataFrame:
    """One way's rankings for every group."""
    if way.needs == LOSSES:
        table = rank(
            subject.module,
            config.sites,
            {group: subject.preprocess(each.images) for group, each in questions.items()},
            way,
            people={group: each.people for group, each in questions.items()},
            loss={group: each.loss for group, each in questions.items()},
            seed=config.seed,
        )
    else:
        table = rank(subject.module, config.sites, shown, way, people=pictures.people, seed=config.seed)
    return table.assign(way=name)


def _fields(subject: Subject, sites: str) -> dict[str, ReceptiveField]:
    """Receptive fields of the sites; the whole picture where the network's geometry cannot be followed."""
    from facelesion.analysis.activations import sites_called

    names = list(sites_called(subject.module, sites))
    try:
        return receptive_fields(subject.module, names)
    except Error:
        return dict.fromkeys(names, WHOLE)


def _profiles(by_site: Mapping[str, Mapping[str, Activations]], pictures: UnitPictures, seed: int) -> pd.DataFrame:
    import pandas

    from facelesion.looking.unit_sheets import profiles

    tables = []
    for site, found in by_site.items():
        table = profiles(found, pictures.people, seed)
        table.insert(0, "site", site)
        tables.append(table)
    return pandas.concat(tables, ignore_index=True)


def _sheets(
    config: UnitsConfig,
    subject: Subject,
    table: pd.DataFrame,
    by_site: Mapping[str, Mapping[str, Activations]],
    pictures: UnitPictures,
    shown: Mapping[str, torch.Tensor],
    fields: Mapping[str, ReceptiveField],
    folder: Path,
) -> None:
    """A contact sheet for the first units of every ranking; a unit that leads several gets one."""
    from facelesion.looking.unit_sheets import as_shown, draw_contact_sheet, examples, profiles

    ranked = table[table["rank"].notna() & (table["rank"] <= config.sheets)]
    for (site, unit), rows in ranked.groupby(["site", "unit"], sort=False):
        found = by_site[site]
        size = tuple(next(iter(shown.values())).shape[-2:])
        most, least = examples(found, pictures.people, int(unit), fields[site], (size[0], size[1]))
        pixels = {
            (each.group, each.row): as_shown(subject, shown[each.group][each.row][None])[0] for each in (*most, *least)
        }
        profile = profiles({group: _one(each, int(unit)) for group, each in found.items()}, pictures.people)
        led = [f"rank {row.rank} for {row.of} by {row.way}" for row in rows.itertuples()]
        more = f", {len(led) - 2} more" if len(led) > 2 else ""
        title = f"{subject.name}, {site}, unit {unit}   ({', '.join(led[:2])}{more})"
        figure = draw_contact_sheet(title, most, least, pixels, profile, fields[site])
        _write_figure(folder / f"{_plain(str(site))}_unit_{unit}", figure, formats=("png",))


def _one(found: Activations, unit: int) -> Activations:
    chosen = slice(unit, unit + 1)
    return Activations(found.mean[:, chosen], found.largest[:, chosen], found.place[:, chosen])


def _necessity(
    config: UnitsConfig, subject: Subject, table: pd.DataFrame, tested: Mapping[str, Question], out: Path
) -> None:
    """What the first units of every ranking are good for, asked about people on whom none was found."""
    import pandas

    from facelesion.looking.unit_figures import draw_necessity

    tables = []
    asked = [
        (site, way, group, question, part)
        for (site, way, of), part in table.groupby(["site", "way", "of"], sort=False)
        for group, question in tested.items()
        if group == of or way == "file"
    ]
    for site, way, group, question, part in asked:
        ranked = part[part["rank"].notna()].sort_values("rank")
        found = necessity_and_sufficiency(
            subject.module, str(site), ranked["unit"].tolist(), subject.preprocess(question.images), question.right,
            people=question.people, counts=COUNTS, draws=config.draws, seed=config.seed,
        )  # fmt: skip
        title = f"{site}: units for {group} by {way}. {question.words}"
        name = f"necessity_{_plain(str(site))}_{way}_{_plain(str(group))}"
        _write_figure(out / name, draw_necessity(found, question.chance, title))
        tables.append(found.assign(way=way, of=group, question=question.name))
        first = found[(found["set"] == RANKED) & (found["kind"] == REMOVED)]
        whole = float(found["score"].iloc[0])
        worst = first.sort_values("count").iloc[-1]
        lost = f"{worst['score']:.0%} without the first {worst['count']:g} units"
        print(f"{site}, {group} by {way}: {whole:.0%} right; {lost}")
    if tables:
        _write_table(out / "necessity", pandas.concat(tables, ignore_index=True))


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_bytes(path.with_suffix(".csv"), table.to_csv(index=False).encode())
    write_whole(path.with_suffix(".parquet"), lambda file: table.to_parquet(file, index=False))


def _write_figure(path: Path, figure: Figure, formats: Sequence[str] = ("png", "svg")) -> None:
    from facelesion.looking.sheets import encoded

    for kind in formats:
        write_bytes(path.parent / f"{path.name}.{kind}", encoded(figure, kind))


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)


def units_command(argv: Sequence[str]) -> None:
    """`facelesion units`, from the words of the command line."""
    from facelesion.arguments import read_arguments

    print(find_units(UnitsConfig(**read_arguments(UnitsConfig, argv, "facelesion units [PICTURES]"))))
