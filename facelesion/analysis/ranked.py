"""`rank`: which units of some sites matter for what, as one tidy table; and how rankings agree.

Units must be ranked on other pictures than those that anything is tested on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from facelesion.analysis.activations import by_person, picture_activations, sites_called
from facelesion.analysis.picture_groups import Groups, again, half, network_hash
from facelesion.analysis.rankings import ranking_agreement
from facelesion.analysis.statistics import spearman_brown
from facelesion.analysis.ways import ACTIVATIONS, LOSSES, WAYS, Causal, FromFile, Greedy, Moments, Way
from facelesion.errors import Error
from facelesion.files import digest_of, nearest
from facelesion.lesions.functional import how_many
from facelesion.sweep.greedy import greedy_ranking
from facelesion.sweep.task import Loss

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "site": "where",
    "unit": "number of the unit at the site",
    "score": "what the ranking goes by, as `score_is` says; the larger, the earlier",
    "low": "lower end of the score's 95 % interval over people (bootstrap); empty where there is one person, or rounds",
    "high": "its upper end",
    "rank": "1 for the first; equal scores go by unit number; empty where the way ranks some units only",
    "chosen": "whether the unit passes the way's own criterion; empty where it has none",
    "p": "adjusted p of that criterion, where it is a test",
    "reliability": "of the site's whole ranking: rank correlation of rankings by halves of the people, at full length",
    "by": "the way of ranking",
    "of": "the group of pictures, or the question, that units are ranked for",
    "against": "the groups it is compared with",
    "score_is": "the score in words",
    "pictures": "how many were looked at",
    "people": "of how many people or things",
    "certificate": "of a greedy ranking: how sure it is to be that of exhaustive search, and how many losses it took",
    "settings": "the way's own settings, as JSON",
    "data": "hash of the pictures as the network saw them",
    "network": "hash of the network's parameters and buffers",
    "ranking": "hash of site, scores and settings: one ranking has one",
}


def rank(
    module: nn.Module,
    sites: str | Sequence[str],
    pictures: torch.Tensor | Mapping[str, torch.Tensor],
    by: str | Way,
    *,
    of: str | Sequence[str] | None = None,
    against: Sequence[str] | None = None,
    people: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    loss: Loss | Mapping[str, Loss] | None = None,
    resamples: int = 1000,
    splits: int = 100,
    seed: int = 0,
    batch_size: int = 32,
) -> pd.DataFrame:
    """Rank the units of some sites.

    Args:
        module: the network, healthy.
        sites: patterns, as lesions take them.
        pictures: preprocessed images (N, ...), or several groups of them by name (domains, features, questions).
        by: a way's name, with its usual settings, or the way itself: `responsible`, `selectivity`, `causal`, `greedy`,
            `first_order`, `activation`; `FromFile(path)` (`facelesion.analysis.ways`).
        of: the group to rank for, or several; every group in turn when left out.
        against: for selectivity: the groups to compare with; all others when left out.
        people: who or what is on each picture, by which pictures hang together; each picture by itself when left out.
        loss: for causal, greedy and first_order: from outputs (n, ...) and picture numbers (n,) of a group to a loss
            per picture (n,), higher is worse; several by group.
        resamples: of people, for intervals; 0 makes none.
        splits: into halves of the people, for reliability; 0 makes none.
        seed: of both.
        batch_size: pictures at a time.

    Returns:
        One row per site, unit and `of`, in the order of rank. The columns are `COLUMNS`.

    Raises:
        Error: no such way, group or site; pictures, people or losses that do not fit each other.
        SweepError: a loss that is none.

    Source: Prince, Alvarez & Konkle 2024 (selectivity), Dobs et al. 2022 (greedy), Molchanov et al. 2017 (first order).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
        >>> pictures = {"dark": torch.rand(8, 3, 6, 6) / 2, "light": torch.rand(8, 3, 6, 6)}
        >>> table = rank(network, "1", pictures, "selectivity")
        >>> table.groupby("of")["rank"].max().to_dict()
        {'dark': 4, 'light': 4}
    """
    import pandas

    way = _way(by)
    groups = Groups.of(pictures, people)
    wanted = [of] if isinstance(of, str) else list(groups.images) if of is None else list(of)
    for name in [*wanted, *(against or ())]:
        if name not in groups.images:
            raise Error(f"no group of pictures is called {name!r}: {nearest(name, groups.images)}")
    if resamples < 0 or splits < 0 or batch_size < 1:
        raise Error(
            f"resamples, splits and batch_size are {resamples}, {splits}, {batch_size}: at least 0, 0 and 1"
        )
    losses = _losses(way, loss, wanted)
    for name in wanted:
        way.fits(list(groups.images), name)
    places = list(sites_called(module, sites))
    facts = {"by": way.name, "settings": json.dumps(asdict(way), sort_keys=True), "network": network_hash(module)}
    measured: dict[str, dict[str, torch.Tensor]] = {}
    if way.needs == ACTIVATIONS:
        for name, images in groups.images.items():
            for site, found in picture_activations(module, places, images, batch_size=batch_size).items():
                measured.setdefault(site, {})[name] = by_person(found.mean, groups.people[name])[1]
    tables = []
    for name in wanted:
        others = [each for each in (against or groups.images) if each != name]
        told = facts | {
            "of": name, "against": ", ".join(others) if way.name == "selectivity" else "", "score_is": way.score_is,
            "pictures": len(groups.images[name]), "people": len(groups.names(name)), "data": groups.digest,
        }  # fmt: skip
        for site in places:
            if isinstance(way, FromFile):
                columns = _from_file(way, module, site, groups.images[name][:1])
            elif isinstance(way, Greedy):
                columns = _in_rounds(way, module, site, groups, name, losses[name], splits, seed, batch_size)
            else:
                values = measured.get(site)
                if values is None:
                    assert isinstance(way, Causal)
                    effects = way.effects(module, site, groups.images[name], losses[name], batch_size)
                    values = {name: by_person(effects, groups.people[name])[1]}
                columns = _by_people(way, values, groups, name, others, resamples, splits, seed)
            tables.append(_table(site, columns, told))
    return pandas.concat(tables, ignore_index=True)


def top_units(
    table: pd.DataFrame, site: str, count: int | None = None, *, fraction: float | None = None, of: str | None = None
) -> tuple[int, ...]:
    """The first units of a ranking, for a lesion: `Ablate(site, units=top_units(table, site, 20))`.

    Args:
        table: as `rank` makes it, of one way.
        site: by its name in the table.
        count, fraction: how many, or which share of the site's units; without either all that the way itself chose.
        of: whom they are ranked for; may be left out where the table has one.

    Raises:
        Error: no such site or `of`, several rankings, or fewer ranked units than are asked for.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
        >>> table = rank(network, "1", torch.rand(8, 3, 6, 6), "activation")
        >>> top_units(table, "1", 2) == tuple(table["unit"][:2])
        True
    """
    for column, value in (("site", site), ("of", of)):
        if value is not None:
            if value not in set(table[column]):
                raise Error(f"the ranking has no {column} {value!r}: {nearest(value, set(table[column]))}")
            table = table[table[column] == value]
    several = [column for column in ("by", "of") if table[column].nunique() > 1]
    if several or table["ranking"].nunique() > 1:
        raise Error(f"several rankings of {site}: say which {several[0] if several else 'one'} is meant")
    if count is None and fraction is None:
        chosen = table[table["chosen"].fillna(False).astype(bool)]
        if table["chosen"].isna().all():
            raise Error(f"a ranking by {table['by'].iloc[0]} chooses nobody: say a count or a fraction")
        return tuple(int(unit) for unit in chosen["unit"])
    if count is None:
        assert fraction is not None
        if not 0 < fraction <= 1:
            raise Error(f"fraction lies above 0 and up to 1, not at {fraction}")
        count = max(1, how_many(fraction, len(table)))
    ranked = table[table["rank"].notna()].sort_values("rank")
    if not 1 <= count <= len(ranked):
        raise Error(f"{count} units of {site} are asked for, and {len(ranked)} are ranked")
    return tuple(int(unit) for unit in ranked["unit"][:count])


def agreement_of_rankings(table: pd.DataFrame, top: float | int = 0.1) -> pd.DataFrame:
    """How every two rankings of a site agree: rank correlation, and overlap of the first units.

    A selective unit need not be a causal one (Morcos et al. 2018): report how rankings agree.

    Args:
        table: several tables of `rank`, one below the other.
        top: how many first units to compare, or a share of them.

    Returns:
        One row per site and pair of rankings: `site`, `first`, `second` (way and group), `correlation` (Spearman),
        `overlap` (share of the first `top` of one that are among those of the other), `expected` by chance, `p`, `top`.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
        >>> table = rank(network, "1", {"a": torch.rand(8, 3, 6, 6), "b": torch.rand(8, 3, 6, 6)}, "activation")
        >>> list(agreement_of_rankings(table)["first"])
        ['activation of a']
    """
    import pandas

    rows = []
    for site, part in table.groupby("site", sort=False):
        scores = {}
        for (by, of, settings), ranking in part.groupby(["by", "of", "settings"], sort=False):
            corrected = " (corrected)" if json.loads(settings).get("corrected") else ""
            ordered = ranking.sort_values("unit")
            # Units without a rank share the last place.
            places = ordered["rank"].fillna(len(ordered)).astype(float).to_numpy()
            scores[f"{by} of {of}{corrected}"] = torch.from_numpy(-places)
        names = list(scores)
        for number, first in enumerate(names):
            for second in names[number + 1 :]:
                found = ranking_agreement(scores[first], scores[second], top)
                rows.append({"site": site, "first": first, "second": second, **vars(found)})
    return pandas.DataFrame(
        rows, columns=["site", "first", "second", "correlation", "overlap", "expected", "p", "top"]
    )


Column = dict[str, Any]


def _by_people(
    way: Way,
    values: Mapping[str, torch.Tensor],
    groups: Groups,
    of: str,
    against: Sequence[str],
    resamples: int,
    splits: int,
    seed: int,
) -> Column:
    """Scores from values (P, C) by group, with what the people say of them."""
    used = list(values)

    def scored(weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return way.scores({name: Moments.of(values[name], weights[name]) for name in used}, of, against)

    ones = {name: torch.ones(1, len(values[name]), dtype=torch.float64) for name in used}
    fewest = min(len(values[name]) for name in {of, *(name for name in against if name in values)})
    columns: Column = {"score": scored(ones)[0].numpy()}
    if resamples and fewest > 1:
        drawn = scored(groups.weights(used, resamples, again(np.random.default_rng((seed, 1)))))
        columns["low"], columns["high"] = np.quantile(drawn.numpy(), [0.025, 0.975], axis=0)
    if splits and fewest > 3:
        one = groups.weights(used, splits, half(np.random.default_rng((seed, 2))))
        two = {name: 1 - weight for name, weight in one.items()}
        columns["reliability"] = _reliability(scored(one).numpy(), scored(two).numpy())
    tested = way.test(values, of, against)
    if tested is not None:
        columns["p"], columns["chosen"] = tested[0].numpy(), tested[1].numpy()
    return columns


def _reliability(one: np.ndarray, two: np.ndarray) -> float:
    """Spearman's correlation between scores (splits, C) by halves, its mean brought to full length."""
    from scipy import stats

    found = np.zeros(len(one))
    for number, (first, second) in enumerate(zip(one, two, strict=True)):
        if np.ptp(first) > 0 and np.ptp(second) > 0:  # a half in which all are equal agrees with nothing
            found[number] = stats.spearmanr(first, second).statistic
    return spearman_brown(float(np.clip(found.mean(), -1, 1)))


def _in_rounds(
    way: Greedy, module: nn.Module, site: str, groups: Groups, of: str, loss: Loss, splits: int, seed: int, size: int
) -> Column:
    """A greedy ranking, and two more by halves of the people for its reliability."""
    images, people = groups.images[of], groups.people[of]
    count = _units(module, site, images[:1])

    def ranked(rows: torch.Tensor) -> tuple[np.ndarray, np.ndarray, str]:
        """Place (C,) with the others last, score (C,) with the others empty, and the certificate."""

        def of_rows(outputs: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
            return loss(outputs, rows[numbers])

        found = greedy_ranking(
            module, site, images[rows], of_rows, fraction=way.fraction, step=way.step, risk=way.risk, seed=seed,
            batch_size=size,
        )  # fmt: skip
        place, score = np.full(count, float(count)), np.full(count, np.nan)
        place[list(found.units)] = np.arange(1, len(found.units) + 1)
        score[list(found.units)] = found.losses
        return place, score, str(found.certificate)

    place, without, certificate = ranked(torch.arange(len(images)))
    with torch.no_grad():
        healthy = torch.cat(
            [loss(module(images[rows].clone()), rows).double() for rows in torch.arange(len(images)).split(size)]
        )
    columns: Column = {
        "score": without - float(healthy.mean()),
        "rank": np.where(np.isnan(without), np.nan, place),
        "chosen": ~np.isnan(without),
        "certificate": certificate,
    }
    names = groups.names(of)
    if splits and len(names) > 3:
        first = set(np.random.default_rng((seed, 2)).permutation(names)[: len(names) // 2].tolist())
        halves = [[row for row, name in enumerate(people) if (name in first) is side] for side in (True, False)]
        one, two = (ranked(torch.tensor(rows))[0] for rows in halves)
        columns["reliability"] = _reliability(-one[None], -two[None])
    return columns


def _from_file(way: FromFile, module: nn.Module, site: str, image: torch.Tensor) -> Column:
    """The ranking of one site that stands in a file."""
    import pandas

    path = Path(way.path)
    if not path.is_file():
        raise Error(f"{path}: no such file of a ranking: give a CSV or parquet table of site and unit")
    try:
        table = pandas.read_parquet(path) if path.suffix == ".parquet" else pandas.read_csv(path, dtype={"site": str})
    except (ValueError, OSError) as error:
        raise Error(f"{path}: no table ({error}): give CSV or parquet with site and unit") from None
    missing = [column for column in ("site", "unit") if column not in table]
    if missing:
        raise Error(f"{path}: it has no column {missing[0]!r}: a ranking has site, unit and perhaps score")
    names = {site, *(name for name, place in sites_called(module, site).items()), *_paths(module, site)}
    rows = table[table["site"].isin(names)]
    if rows.empty:
        known = nearest(site, table["site"].astype(str).unique())
        raise Error(f"{path}: it ranks no unit of {site}: {known}")
    count = _units(module, site, image)
    units = pandas.to_numeric(rows["unit"], errors="coerce").to_numpy(float)
    wrong = next((unit for unit in units if not (unit == unit and unit % 1 == 0 and 0 <= unit < count)), None)
    if wrong is not None or len(set(units)) != len(units):
        what = "names a unit twice" if wrong is None else f"unit {wrong:g} is none of its {count}, numbered from 0"
        raise Error(f"{path}: {site}: {what}: mend that row")
    whole = units.astype(int)
    score, place = np.full(count, np.nan), np.full(count, np.nan)
    if "score" in rows:
        score[whole] = pandas.to_numeric(rows["score"], errors="coerce").to_numpy(float)
        if np.isnan(score[whole]).any():
            raise Error(f"{path}: {site}: a score is no number: mend that row")
        order = whole[np.lexsort((whole, -score[whole]))]
    else:
        order = whole
        score[whole] = -np.arange(1.0, len(whole) + 1)
    place[order] = np.arange(1, len(order) + 1)
    return {"score": score, "rank": place}


def _paths(module: nn.Module, site: str) -> set[str]:
    return {place.path for place in sites_called(module, site).values()}


def _units(module: nn.Module, site: str, image: torch.Tensor) -> int:
    return next(iter(picture_activations(module, [site], image).values())).mean.shape[1]


def _table(site: str, columns: Column, told: Mapping[str, Any]) -> pd.DataFrame:
    """One site's rows, in the order of rank."""
    import pandas

    score = np.asarray(columns["score"], float)
    if "rank" not in columns:
        place = np.empty(len(score))
        place[np.lexsort((np.arange(len(score)), -score))] = np.arange(1, len(score) + 1)
        columns = columns | {"rank": place}
    hashed = digest_of([site, score.astype("<f8").tobytes(), *(str(value) for value in told.values())])
    table = pandas.DataFrame(
        {"site": site, "unit": np.arange(len(score)), "low": np.nan, "high": np.nan, "p": np.nan, "reliability": np.nan,
         "certificate": ""}
        | columns
        | dict(told)
        | {"ranking": hashed}
    )
    table["rank"] = table["rank"].astype("Int64")
    table["chosen"] = table["chosen"].astype("boolean") if "chosen" in columns else pandas.array(
        [None] * len(table), dtype="boolean"
    )  # fmt: skip
    return table[list(COLUMNS)].sort_values(["rank", "unit"], na_position="last", kind="stable")


def _way(by: object) -> Way:
    if isinstance(by, Way):
        return by
    if not isinstance(by, str) or by not in WAYS:
        raise Error(f"units cannot be ranked by {by!r}: {nearest(str(by), WAYS)}")
    return WAYS[by]()


def _losses(way: Way, loss: Loss | Mapping[str, Loss] | None, wanted: Sequence[str]) -> dict[str, Loss]:
    """The loss of each group that is ranked for."""
    if way.needs != LOSSES:
        if loss is not None:
            raise Error(f"loss: a ranking by {way.name} asks no question: leave it out")
        return {}
    if loss is None:
        raise Error(f"a ranking by {way.name} needs a loss: from outputs and picture numbers to one each")
    given = dict(loss) if isinstance(loss, Mapping) else dict.fromkeys(wanted, loss)
    missing = [name for name in wanted if name not in given]
    if missing:
        raise Error(f"loss: there is none for {missing[0]!r}: {nearest(missing[0], given)}")
    return given
