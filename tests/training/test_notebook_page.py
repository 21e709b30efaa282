"""The notebook's page: every part in its order, each number on it that of the run, beside what was printed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas
import pytest
import torch

from facelesion.cli import run as facelesion
from facelesion.models import get
from facelesion.training import notebook_facts as facts
from facelesion.training.files import read_table
from facelesion.training.notebook_page import printed, tables, words, write_notebook
from facelesion.training.notebook_page.drawings import curves_figure
from facelesion.training.notebook_page.looks import face_answer


class TestPrinted:
    def test_runs_have_the_mean_that_was_printed(self) -> None:
        for approach, means in facts.PRINTED.items():
            for stimulus, mean in zip(facts.STIMULI, means, strict=False):
                if mean is not None:
                    # Single runs are printed to a hundredth of a per cent.
                    assert printed.TESTS[approach, stimulus].mean == pytest.approx(mean, abs=0.0101), approach
        assert printed.TESTS["ablation 1", "mask mouth"].runs == (51.15, 73.59, 93.39)

    @pytest.mark.parametrize(
        ("approach", "stimulus", "precision", "recall", "f1"),
        [
            ("no lesion", "intact", 0.9950400610454025, 0.9905051272312951, 0.9927674153026266),
            ("ablation 1", "mask eyebrows", 0.9759036144578314, 0.030775075987841946, 0.059668508287292824),
            ("noise", "intact", 0, 0.0, 0),
            ("noise", "mask nose", 1.0, 0.07823775161412837, 0.14512152166255723),
            ("dropout", "mask mouth", 0.9938650306748467, 0.18500190331176247, 0.3119383825417202),
            ("all three", "mask eyebrows", 0.9951876804619827, 0.39285714285714285, 0.5633342413511305),
            ("conv4_2: units of mouth", "intact", 0.9945841392649903, 0.9764527155336119, 0.9854350325795324),
        ],
    )
    def test_matrices_give_the_scores_that_were_printed(
        self, approach: str, stimulus: str, precision: float, recall: float, f1: float
    ) -> None:
        one = printed.TESTS[approach, stimulus]
        assert (one.precision, one.recall) == pytest.approx((precision, recall), abs=1e-15)
        assert one.f1 == pytest.approx(f1, abs=1e-12)
        assert one.counts is not None and tables.scores_of(one.counts) == pytest.approx((precision, recall, f1))

    def test_matrices_are_of_the_last_run_but_for_four_that_the_notebook_mixed_up(self) -> None:
        drawn = {key: one for key, one in printed.TESTS.items() if one.counts is not None}
        assert {sum(one.counts) for one in drawn.values()} == {printed.PICTURES}
        assert {key for key, one in drawn.items() if not one.own_matrix} == {
            ("ablation 1", "mask eyes"), ("noise", "mask nose"), ("noise", "mask mouth"),
            ("conv5_3: units of eyebrows", "intact"),
        }  # fmt: skip

    def test_the_network_has_as_many_parameters_as_the_notebook_s(self) -> None:
        from facelesion.models import VGGFace

        assert sum(each.numel() for each in VGGFace(1, outputs=1).parameters()) == printed.PARAMETERS


@pytest.mark.slow
class TestPage:
    def test_every_part_stands_in_the_notebook_s_order_and_every_fault_is_named(self, right: Path) -> None:
        page = (right / "notebook.html").read_text(encoding="utf-8")
        assert re.findall(r'<h2><span class="no">(\d+)</span>', page) == [str(number) for number in range(1, 21)]
        assert [part.number for part in words.PARTS] == list(range(1, 21)) and len(words.FAULTS) == 15
        for fault in words.FAULTS:
            assert fault.what in page and fault.here in page

    def test_it_needs_nothing_beside_it(self, right: Path, as_it_was: Path) -> None:
        for folder in (right, as_it_was):
            page = (folder / "notebook.html").read_text(encoding="utf-8")
            sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
            assert sources and all(source.startswith(("data:image/", "#")) for source in sources)
            assert "<script" not in page and "@import" not in page and "url(" not in page.split("</style>")[0]

    def test_parts_have_the_figures_and_tables_they_are_about(self, right: Path) -> None:
        page = (right / "notebook.html").read_text(encoding="utf-8")
        sections = re.findall(r'<section id="part-\d+">(.*?)</section>', page, re.S)
        figures = [section.count("<figure") for section in sections]
        of_tables = [section.count("<table") for section in sections]
        # Masks; blurs; alone twice; curves of two tasks; four kinds of matrices and who for whom; two sheets and the
        # check; dots of both; shared units; dots and two kinds of matrices of manipulated units.
        assert figures == [0, 1, 0, 0, 1, 2, 0, 0, 0, 2, 5, 3, 2, 0, 0, 0, 0, 0, 1, 3]
        assert of_tables == [1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]

    def test_its_tables_hold_the_run_s_numbers(self, right: Path) -> None:
        summary = read_table(right / "summary.csv").set_index(["task", "approach", "how", "stimulus"])
        seen = 0
        for path in sorted((right / "notebook").glob("1[35678]_*.csv")):
            table = pandas.read_csv(path)
            here = table[table["source"] == "here"]
            for row in here.to_dict("records"):
                one = summary.loc[row["task"], row["approach"], row["how"], row["stimulus"]]
                assert row["accuracy"] == one["accuracy"] and (row["low"], row["high"]) == (one["low"], one["high"])
            seen += len(here)
        assert seen == 2 * 5 * (1 + 2 * 5), "two tasks, five stimuli: undamaged, and five damages before and after"

    def test_the_printed_numbers_stand_beside_them(self, right: Path) -> None:
        page = (right / "notebook.html").read_text(encoding="utf-8")
        for (approach, _), one in printed.TESTS.items():
            if approach in ("no lesion", "noise", "all three", "conv5_3: units of eyes"):
                assert f"{one.mean:.2f}" in page

    def test_matrices_count_the_answers(self, right: Path) -> None:
        answers = pandas.read_parquet(right / "answers.parquet")
        table = pandas.read_csv(right / "notebook" / "11_metrics.csv")
        row = table[(table["source"] == "damaged") & (table["approach"] == "noise")].iloc[0]
        part = answers[
            (answers["task"] == "detection") & (answers["approach"] == "noise") & (answers["how"] == "damaged")
        ]
        part = part[part["stimulus"] == row["stimulus"]]
        face, called = part["target"] == 1, part["answer"] == 1
        assert row["true_positive"] == (face & called).sum() and row["false_positive"] == (~face & called).sum()
        assert row["true_negative"] == (~face & ~called).sum() and row["false_negative"] == (face & ~called).sum()

    def test_nothing_tested_here_was_trained_on_and_in_the_notebook_much_was(self, right: Path) -> None:
        copies = pandas.read_csv(right / "looks" / "copies.csv")
        tested = copies[copies["part"] == "test"]
        here, was = tested[tested["kind"] == "here"], tested[tested["kind"] == "as it was"]
        assert (here["trained_on"] == 0).all() and (was["trained_on"] > 0.3).all() and len(was) == 5
        assert here.set_index("task")["people_trained_on"].to_dict() == {"identification": 1, "detection": 0}

    def test_units_are_those_that_the_run_moved(self, right: Path) -> None:
        found = pandas.read_csv(right / "looks" / "units.csv")
        table = read_table(right / "notebook.csv")
        for row in found[found["by"] == "responsible"].itertuples():
            name = f"{row.site}: units of {row.feature} excited"
            moved = table[(table["approach"] == name) & (table["how"] == facts.MANIPULATED)]["lesion"].iloc[0]
            units = str(row.units).replace(" ", ",")
            assert f"units {units} of" in moved or f"units {units}" in moved.replace(", ", ",")

    def test_the_notebook_s_own_procedure_is_that_of_the_recipe_with_mistakes(
        self, right: Path, as_it_was: Path
    ) -> None:
        columns = ["approach", "stimulus", "run", "accuracy", "true_positive", "false_positive"]
        again, own = (
            read_table(path)[columns] for path in (right / "looks" / "as_it_was.csv", as_it_was / "notebook.csv")
        )
        own = own[~own["approach"].str.contains("conv3_2|conv4_2")]
        pandas.testing.assert_frame_equal(again.reset_index(drop=True), own.reset_index(drop=True))

    def test_the_map_s_answer_is_the_readout_s_log_odds(self, right: Path) -> None:
        healthy = get(str(right / "detection-no-lesion" / "weights.safetensors"))
        features = torch.rand(3, healthy.extra["head.weight"].shape[1])
        wanted = features @ healthy.extra["head.weight"][0] + healthy.extra["head.bias"][0]
        assert torch.allclose(face_answer(healthy).scores(torch.arange(3))(features), wanted)

    def test_it_is_written_again_without_network_and_pictures(self, right: Path, tmp_path: Path) -> None:
        copy = tmp_path / "run"
        shutil.copytree(right, copy)
        note = json.loads((copy / "settings.json").read_text(encoding="utf-8"))
        (copy / "settings.json").write_text(json.dumps(note | {"network": str(tmp_path / "gone.safetensors")}))
        (copy / "notebook.html").unlink()
        assert facelesion(["notebook", str(copy)]) == 0
        assert (copy / "notebook.html").stat().st_size > 1_000_000
        assert facelesion(["notebook", str(copy), "--again"]) == 2

    def test_both_runs_make_one_page(self, right: Path, as_it_was: Path, tmp_path: Path) -> None:
        copy = tmp_path / "run"
        shutil.copytree(right, copy)
        page = write_notebook([copy, as_it_was]).read_text(encoding="utf-8")
        assert "Training as the notebook did it" in page and "Training: detection" in page

    def test_units_moved_as_an_experiment_stand_beside_sets_as_active(
        self, right: Path, as_it_was: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        copy, moved = tmp_path / "run", tmp_path / "manipulation"
        shutil.copytree(right, copy)
        moved.mkdir()
        rows = [
            {"task": "identification", "site": "conv5_3", "feature": feature, "dose": dose, "right": 0.4321, "low": 0.3,
             "high": 0.5, "matched": 0.6, "p_matched": 0.048}
            for feature in facts.FEATURES for dose in (-4.0, 4.0)
        ]  # fmt: skip
        pandas.DataFrame(rows).to_csv(moved / "layers.csv", index=False)
        pandas.DataFrame(rows).to_csv(moved / "manipulation.csv", index=False)
        shutil.copy(right / "notebook.png", moved / "manipulation.png")
        page = write_notebook([copy, moved]).read_text(encoding="utf-8")
        assert "conv5_3: who is it, −4 SD" in page and "43.2" in page and "sets as active 60.0, p 0.048" in page
        assert "Units moved over a range of doses" in page and "Does it matter which feature" not in page
        assert len(pandas.read_csv(copy / "notebook" / "20_layers_matched_controls.csv")) == 8
        shutil.copytree(moved, tmp_path / "more")
        several = [copy, moved, tmp_path / "more"]
        for given, says in (([moved], "a run of the recipe notebook first"), (several, "second run")):
            assert facelesion(["notebook", *map(str, given)]) == 2
            assert says in capsys.readouterr().err

    def test_with_mistakes_it_says_so_and_shows_no_other_numbers(self, as_it_was: Path) -> None:
        page = (as_it_was / "notebook.html").read_text(encoding="utf-8")
        assert "part by part, as it was" in page and "who is it" not in page
        assert re.findall(r'<h2><span class="no">(\d+)</span>', page) == [str(number) for number in range(1, 21)]

    def test_a_mistake_is_one_line(
        self, right: Path, as_it_was: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        unfinished, other = tmp_path / "unfinished", tmp_path / "other"
        for folder, settings in ((unfinished, {"recipe": "notebook"}), (other, {"recipe": "classify"})):
            folder.mkdir()
            (folder / "settings.json").write_text(json.dumps(settings))
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "settings.json").write_text("{")
        for given, says in (
            ([tmp_path / "nowhere"], "no such folder"), ([tmp_path], "no settings.json"),
            ([unfinished], "not finished"),
            ([other], "classify"), ([tmp_path / "broken"], "not whole"), ([right, right], "twice"),
            ([], "runs"),
        ):  # fmt: skip
            capsys.readouterr()
            assert facelesion(["notebook", *map(str, given)]) == 2
            told = capsys.readouterr().err
            assert says in told and told.count("\n") == 1, told


def test_scores_without_any_face_called_are_zero() -> None:
    assert tables.scores_of((14, 0, 2633, 0)) == (0.0, 0.0, 0.0)
    answers = pandas.DataFrame({"target": [0, 0, 1, 1, 1], "answer": [0, 1, 0, 1, 1]})
    assert tables.counts_of(answers) == (1, 1, 1, 2)


def test_a_single_epoch_is_no_fraction_of_one() -> None:
    log = pandas.DataFrame({"epoch": [0], **{f"{kind}_{value}": [0.5] for kind in ("train", "val") for value in
                                             ("accuracy", "loss")}})  # fmt: skip
    figure = curves_figure({"no lesion": log, "dropout": log}, printed=False)
    figure.draw_without_rendering()
    assert all([label.get_text() for label in axis.get_xticklabels()] == ["1"] for axis in figure.axes)
