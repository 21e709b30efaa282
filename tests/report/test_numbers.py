"""Every figure's numbers lie beside it as CSV, and what is drawn is what they say."""

import csv
import re

import matplotlib.collections
import numpy as np
import pandas as pd
import pytest

from facelesion.report import FIGURES, STUDY_FIGURES, Results, read_run, sections, write_report
from facelesion.report.drawings import EXAMPLE_FIGURES, drawn
from facelesion.report.findings import evidence


@pytest.fixture(scope="module")
def results(study_run):
    run = read_run(study_run)
    tables = {str(name): part for name, part in run.table.groupby("participant", sort=False)}
    found = {name: evidence(table, run.trials) for name, table in tables.items()}
    fits = {name: sections.fits_of(name, tables[name], each.answers) for name, each in found.items()}
    return Results(
        run, run.table, tables, {name: each.own for name, each in found.items()}, run.manifest.groups, fits,
        {name: each.choice for name, each in found.items()},
    )  # fmt: skip


def alone(results, name="one"):
    table = results.tables[name]
    return Results(
        results.run,
        table,
        {name: table},
        {name: results.profiles[name]},
        results.groups,
        results.fits,
        results.scales,
    )


@pytest.fixture(scope="module")
def drawings(results):
    return dict(drawn(STUDY_FIGURES, results) + drawn(FIGURES, alone(results)))


def heights(figure, across: bool = False) -> np.ndarray:
    """The vertical places of all that is drawn as lines, markers and bands, and the values of all maps.

    With `across` the horizontal places of lines and markers too: both axes are measures.
    """
    found = []
    for axes in figure.axes:
        for line in axes.get_lines():
            data = np.asarray(line.get_ydata(), dtype=float)
            if line.get_transform().contains_branch_seperately(axes.transData)[1]:
                found += list(data)
                found += list(np.asarray(line.get_xdata(), dtype=float)) if across else []
        for band in axes.collections:
            if isinstance(band, matplotlib.collections.PolyCollection):
                found += [y for path in band.get_paths() for y in path.vertices[:, 1]]
        for image in axes.images:
            found += list(np.asarray(image.get_array(), dtype=float).ravel())
    return np.unique(np.array(found)[np.isfinite(found)])


def near(value: float, among: np.ndarray) -> bool:
    return bool(len(among)) and bool(np.min(np.abs(among - value)) < 1e-6 * max(1.0, abs(value)))


# What is drawn of each figure's table, and which columns may stand for what is drawn.
SHOWN = {
    "side_by_side": ["mean"], "controls_1": ["value", "intact", "low", "high"], "apart_1": ["first", "second"],
    "group": ["value"],
    "dose_response": ["mean"], "kept": ["kept"], "heat_map_who": ["change"], "heat_map_what": ["change"],
}  # fmt: skip


def test_every_figure_of_the_lists_is_drawn_here_and_has_its_numbers(drawings):
    assert set(drawings) == {*SHOWN, "curves"}
    assert (
        len(FIGURES) + len(STUDY_FIGURES) == 8
    )  # heat_map stands for two: a further figure needs its numbers here
    for name, drawing in drawings.items():
        assert drawing.numbers is not None and len(drawing.numbers), name


@pytest.mark.parametrize("name", SHOWN)
def test_what_the_numbers_say_is_drawn(drawings, name):
    seen = heights(drawings[name].figure, across=name in ("kept", "apart_1"))
    for column in SHOWN[name]:
        values = drawings[name].numbers[column].astype(float).dropna()
        assert len(values)
        for value in values:
            assert near(value, seen) or near(100 * value, seen), (column, value)


@pytest.mark.parametrize("name", SHOWN)
def test_nothing_else_is_drawn(drawings, name):
    told = drawings[name].numbers.select_dtypes("number").to_numpy(dtype=float).ravel()
    told = np.unique(np.concatenate([told[np.isfinite(told)], [0.0, 1.0]]))  # 0 and 1 are lines of the scale
    extent = (
        drawings[name].figure.axes[0].get_ylim() if name == "kept" else ()
    )  # the diagonal runs from end to end
    for height in heights(drawings[name].figure):
        assert near(height, told) or near(height / 100, told) or near(height, np.array(extent)), height


def test_curves_are_drawn_as_their_numbers_say(drawings):
    table, figure = drawings["curves"].numbers, drawings["curves"].figure
    seen = heights(figure)
    for row in table[table["what"] != "half"].itertuples():
        assert near(100 * row.left, seen)
    half = table[table["what"] == "half"]
    places = np.concatenate([line.get_xdata() for axes in figure.axes for line in axes.get_lines()]).astype(
        float
    )
    assert len(half) and all(near(value, places) for name in ("dose", "low", "high") for value in half[name])


def test_intervals_say_what_they_are_over(drawings, results):
    for name in ("side_by_side", "dose_response", "apart_1", "curves"):
        table = drawings[name].numbers
        with_interval = table["low" if "low" in table else "first_low"].notna()
        assert table.loc[with_interval, "over"].isin(["people", "people × draws", "draws"]).all()
        assert "over" in drawings[name].shows
    response = drawings["dose_response"].numbers
    assert set(response.loc[response["lesion"] == "face units", "over"]) == {"people"}  # drawn once
    assert set(response.loc[response["lesion"] == "noise", "over"]) == {"people × draws"}
    for name, drawing in drawings.items():
        assert "over" in drawing.shows + drawing.cannot, name


def test_the_files_lie_beside_the_figures_and_the_page_links_them(study_run, drawings):
    page = write_report(study_run)
    figures = study_run / "figures"
    linked = re.findall(r'href="(figures/[^"]+\.csv)"', page.read_text(encoding="utf-8"))
    assert linked and all((study_run / each).is_file() for each in linked)
    assert {path.stem for path in figures.glob("*.svg")} == {path.stem for path in figures.glob("*.csv")}
    (path,) = figures.glob("*_side_by_side.csv")
    with path.open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(drawings["side_by_side"].numbers)
    read = pd.read_csv(path)
    assert read["mean"].to_numpy() == pytest.approx(drawings["side_by_side"].numbers["mean"].to_numpy())


def test_examples_that_are_drawn_of_numbers_have_them_and_pictures_have_none(run):
    read = read_run(run)
    results = Results(read, read.table, {"vgg_small": read.table}, {"vgg_small": None})
    found = dict(drawn(EXAMPLE_FIGURES, results))
    confusion = found["confusion_identification"].numbers
    assert confusion["count"].sum() == sum(
        int(c.matrix.sum()) for c in read.confusions if c.task == "identification"
    )
    assert found["training"].numbers is not None
    assert found["stimuli"].numbers is None and found["gradcam"].numbers is None
