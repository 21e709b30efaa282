"""The report stands alone, shows every part of the study, and hides nothing that failed."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from facelesion.errors import Error
from facelesion.report import (
    LeftOut,
    examples,
    figures,
    run_folder,
    style,
    write_manifest,
    write_report,
    write_table,
)


class Page(HTMLParser):
    """What a browser would fetch, the text it would show, and the tags left open."""

    EMPTY = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources, self.links, self.words, self.open, self.headings = [], [], [], [], []
        self.ids, self.alts = [], []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.sources += [found[name] for name in ("src", "srcset", "data") if name in found]
        if tag == "a":
            self.links.append(found["href"])
        if tag == "img":
            self.alts.append(found.get("alt", ""))
        if "id" in found:
            self.ids.append(found["id"])
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory, table, arrays, manifest):
    """One report of the whole made-up study, for all tests that only read it."""
    folder = tmp_path_factory.mktemp("runs") / "default"
    run_folder.write_config(folder, {"name": "default", "note": "<script>alert(1)</script>"})
    run_folder.write_table(folder, table)
    run_folder.write_manifest(folder, manifest)
    run_folder.write_stimuli(folder, *arrays["stimuli"])
    run_folder.write_confusions(folder, arrays["confusions"])
    run_folder.write_gradcam(folder, arrays["gradcam"])
    return write_report(folder)


@pytest.fixture(scope="module")
def page(written):
    return Page(written.read_text(encoding="utf-8"))


def test_the_page_is_well_formed_and_its_links_lead_somewhere(page, written):
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.links
    for link in page.links:
        assert link[1:] in page.ids if link[0] == "#" else (written.parent / link).is_file(), link


def test_nothing_is_fetched(written, page):
    assert page.sources and all(source.startswith("data:image/") for source in page.sources)
    text = re.sub(r'data:image/[^"]+', "", written.read_text(encoding="utf-8"))
    assert not re.search(r"https?://|@import|url\(|<script|<link", text)


def test_embedded_figures_fetch_nothing_either(page):
    for source in page.sources:
        head, data = source.split(",", 1)
        if "svg" in head:
            svg = base64.b64decode(data).decode()
            outside = re.findall(r'(?:href|src)="(?!#|data:)([^"]+)"', svg)
            assert outside == []


def test_every_figure_is_there_with_words_for_those_who_cannot_see_it(written, page):
    wanted = {"dose_response", "kept", "heat_map_identification", "heat_map_verification", "stimuli", "gradcam",
              "confusion_identification", "confusion_detection"}  # fmt: skip
    found = {path.stem for path in (written.parent / "figures").iterdir() if path.suffix != ".csv"}
    assert found == wanted
    assert len(page.sources) == len(wanted) and all(len(alt) > 40 for alt in page.alts)


def test_it_names_model_weights_data_lesions_seeds_and_how_to_run_it_again(page, manifest):
    for needed in ("vgg_small", "3f2a9c01b7de", "a1b2c3d4e5f6", "conv4_3, conv5_1, conv5_2", "0.25, 0.5, 1, 2, 4",
                   manifest.command, "Seed: study", "torch 2.15.0"):  # fmt: skip
        assert needed in page.text, needed


def test_it_lists_what_was_left_out_and_what_it_cannot_show(page):
    assert "no face found" in page.text and "Ann_Example_0002.jpg" in page.text
    for limit in ("no anatomical region", "proves no module", "not participants"):
        assert limit in page.text
    assert page.text.count("Not shown:") >= 5


def test_what_a_user_wrote_is_shown_and_not_run(written):
    text = written.read_text(encoding="utf-8")
    assert "<script>" not in text and "&lt;script&gt;" in text


def test_it_is_written_the_same_way_twice(written):
    before = written.read_bytes()
    assert write_report(written.parent).read_bytes() == before


def test_the_table_alone_is_enough(tmp_path, table, manifest):
    run_folder.write_config(tmp_path, {})
    few = table[(table["stimulus"] == "intact") & (table["task"] == "detection")]
    write_table(tmp_path, few)
    write_manifest(tmp_path, run_folder.Manifest(study="one task"))
    found = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert len(found.sources) == 1 and "None. Every picture" in found.text


def test_one_draw_has_no_interval_and_an_intact_network_alone_is_still_a_report(tmp_path, table):
    run_folder.write_config(tmp_path, {})
    write_manifest(tmp_path, run_folder.Manifest(study="single"))
    small = table[(table["stimulus"] == "intact") & (table["draw"] == 0)]
    write_table(tmp_path, small)
    assert "one draw" in Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    write_table(tmp_path, small[small["lesion"] == "none"])
    assert "The intact network reaches" in Page(write_report(tmp_path).read_text(encoding="utf-8")).text


@pytest.fixture
def three(table):
    """Three networks: two alike and one at chance in identification."""
    part = table[(table["stimulus"] == "intact") & (table["draw"] < 2)]
    untrained = part.assign(participant="untrained", weights="untrained-seed0")
    guesses = (untrained["task"] == "identification") & (untrained["lesion"] == "none")
    untrained.loc[guesses, "value"] = 0.03
    return pd.concat([part, part.assign(participant="second", weights="other"), untrained])


def test_several_networks_stand_side_by_side_before_each_has_its_part(tmp_path, three):
    run_folder.write_config(tmp_path, {})
    write_manifest(tmp_path, run_folder.Manifest(study="three"))
    write_table(tmp_path, three)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert page.text.count("In short") == 3 and "untrained-seed0" in page.text
    assert len(list((tmp_path / "figures").glob("*.svg"))) == 2 + 3 * 2
    assert (tmp_path / "figures" / "01_side_by_side.svg").is_file()
    assert page.open == [] and all(link[1:] in page.ids for link in page.links if link[0] == "#")
    beside, apart = page.text.index("Networks side by side"), page.text.index("Each network by itself")
    assert page.text.index("A column is a network") < beside < apart
    said = page.text[beside:apart]
    assert "94.0 % 94.0 % 3.0 %" in said.replace("\u00a0", " ")  # intact, in identification
    assert "0.970 0.970 0.970" in said and "0.4" not in said.split("dropout")[1].split("combined")[0]


def test_one_network_alone_is_not_put_beside_itself(page):
    assert "Networks side by side" not in page.text and "Each network by itself" not in page.text


def test_figures_of_an_earlier_report_go(tmp_path, table):
    run_folder.write_config(tmp_path, {})
    write_manifest(tmp_path, run_folder.Manifest(study="old"))
    write_table(tmp_path, table[(table["stimulus"] == "intact") & (table["task"] == "detection")])
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "gradcam.png").write_bytes(b"old")
    (tmp_path / "figures" / "notes.txt").write_text("mine")
    write_report(tmp_path)
    left = {path.name for path in (tmp_path / "figures").iterdir()}
    assert left == {"dose_response.svg", "dose_response.csv", "notes.txt"}


def test_thousands_of_pictures_left_out_do_not_bury_the_report(tmp_path, table):
    run_folder.write_config(tmp_path, {})
    left_out = tuple(LeftOut(f"picture {i}", "no face found") for i in range(3000))
    write_manifest(tmp_path, run_folder.Manifest(study="many", left_out=left_out))
    write_table(tmp_path, table[(table["stimulus"] == "intact") & (table["task"] == "detection")])
    found = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "3000 · no face found" in found and "and 2500 more" in found


def test_an_unfinished_run_gives_one_line(tmp_path):
    with pytest.raises(Error, match="config.yaml"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


class TestSideBySide:
    def test_a_column_is_a_network_and_a_row_a_task_on_one_scale(self, three):
        tables = dict(tuple(three.groupby("participant", sort=False)))
        figure = figures.side_by_side_figure(tables)
        assert len(figure.axes) == 3 * 4
        assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == ["vgg_small", "second", "untrained"]
        for row in range(4):
            limits = {axes.get_ylim() for axes in figure.axes[3 * row : 3 * row + 3]}
            assert len(limits) == 1
        drawn = {line.get_label(): line for line in figure.axes[3].get_lines()}
        mean = three[(three.participant == "vgg_small") & (three.task == "identification")]
        mean = 100 * mean[mean.lesion == "noise"].groupby("step")["value"].mean()
        assert drawn["noise"].get_ydata() == pytest.approx(mean.to_numpy())
        assert len(figure.legends[0].get_texts()) == 4

    def test_a_task_that_a_network_was_not_asked_is_said_to_be_so(self, three):
        few = three[(three.participant != "second") | (three.task != "objects")]
        figure = figures.side_by_side_figure(dict(tuple(few.groupby("participant", sort=False))))
        said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
        assert [place for place, texts in enumerate(said) if "not asked" in texts] == [3 * 3 + 1]

    def test_many_networks_go_into_several_figures(self, three):
        from facelesion.report.drawings import Results, side_by_side

        one = three[(three.participant == "second") & (three.task == "objects")]
        tables = {f"network {number}": one for number in range(7)}
        found = side_by_side(Results(None, one, tables, dict.fromkeys(tables)))
        assert [len(each.figure.axes) for each in found] == [4, 3]
        assert [each.title[-8:] for each in found] == ["(1 of 2)", "(2 of 2)"]


class TestFigures:
    def test_a_lesion_has_its_colour_in_every_figure_and_no_two_share_one(self, table):
        lesions = ["ablation", "noise", "dropout", "combined", "pruning", "new", "newer"]
        colours = [style.look(name, lesions)[0] for name in lesions]
        assert len(set(colours)) == len(colours)
        lines = figures.dose_response_figure(table).axes[0].get_lines()
        drawn = {line.get_label(): line.get_color() for line in lines}
        kept = {line.get_label(): line.get_color() for line in figures.kept_figure(table).axes[0].get_lines()}
        for name in ("ablation", "noise", "dropout", "combined"):
            assert drawn[name] == kept[name] == style.look(name)[0]

    def test_colours_can_be_told_apart_without_red_or_green_cones(self):
        # Viénot, Brettel & Mollon 1999: linear RGB as dichromats see it.
        seen = {
            "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
            "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
        }
        names = ("ablation", "noise", "dropout", "combined")
        for matrix in seen.values():
            colours = []
            for name in names:
                rgb = np.array([int(style.look(name)[0][i : i + 2], 16) / 255 for i in (1, 3, 5)])
                colours.append(np.clip(np.array(matrix) @ rgb**2.2, 0, 1) ** (1 / 2.2))
            gaps = [np.linalg.norm(a - b) for i, a in enumerate(colours) for b in colours[:i]]
            assert min(gaps) > 0.12

    def test_dose_response_shows_the_means_of_the_table(self, table):
        figure = figures.dose_response_figure(table)
        assert [axes.get_title(loc="left") for axes in figure.axes] == [
            "detection", "identification", "verification", "objects"
        ]  # fmt: skip
        line = next(line for line in figure.axes[1].get_lines() if line.get_label() == "noise")
        part = table.query("task == 'identification' and lesion == 'noise' and stimulus == 'intact'")
        assert line.get_ydata() == pytest.approx(100 * part.groupby("dose")["value"].mean().to_numpy())

    def test_the_heat_map_prints_a_number_in_every_cell(self, table):
        axes = figures.heat_map_figure(table, "identification").axes[0]
        printed = [text.get_text() for text in axes.texts if re.fullmatch(r"−?\d+", text.get_text())]
        assert len(printed) == 13 * 21
        assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["intact", "mask eyebrows"]

    def test_there_is_no_figure_of_tasks_coming_apart_with_one_task(self, table):
        assert figures.kept_figure(table[table["task"] == "identification"]) is None

    def test_training_curves_skip_empty_cells_and_unknown_logs(self):
        log = pd.DataFrame(
            {"epoch": [0, 0, 1, 1], "train_loss": [2.0, None, 1.0, None], "val_loss": [None, 3.0, None, 2.0]}
        )
        (axes,) = examples.training_figure(log).axes
        assert {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()} == {
            "training": [2.0, 1.0], "validation": [3.0, 2.0]
        }  # fmt: skip
        assert examples.training_figure(pd.DataFrame({"step": [1]})) is None

    def test_a_figure_is_as_wide_on_the_page_as_it_was_drawn(self, table):
        for kind in ("svg", "png"):
            _, width = style.embed(figures.dose_response_figure(table[table["draw"] < 2]), kind)
            assert 800 < width < 1000

    def test_drawing_leaves_other_peoples_settings_alone(self, table):
        import matplotlib as mpl

        before = dict(mpl.rcParams)
        style.embed(figures.heat_map_figure(table, "detection"))
        assert dict(mpl.rcParams) == before
