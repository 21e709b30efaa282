"""A run folder that was edited, or comes from elsewhere, gives a report or one line that names the file and the key."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import yaml

from facelesion.errors import Error
from facelesion.report import Manifest, figures, run_folder, style, tables, write_report
from facelesion.report.checks import kind_of

OTHERS = {
    "null": None,
    "list": [1, "two"],
    "number": 3.5,
    "infinite": float("inf"),
    "enormous": 10**400,
    "text": "a text",
    "true": True,
    "nested": {"a": {"b": [None]}},
    "half a letter": "\ud800",
    "nothing": {},
}
KEYS = (
    "study",
    "command",
    "created",
    "seconds",
    "versions",
    "hashes",
    "seeds",
    "left_out",
    "device",
    "question",
    "tasks",
)


@pytest.fixture
def small(tmp_path, table, manifest):
    """A run folder of one task, quick to report on."""
    run_folder.write_config(tmp_path, {"seed": 0})
    few = table[
        (table["stimulus"] == "intact") & (table["task"] == "detection") & (table["lesion"] != "noise")
    ]
    run_folder.write_table(tmp_path, few)
    run_folder.write_manifest(tmp_path, manifest)
    return tmp_path


def one_line(folder, name, *words):
    with pytest.raises(Error) as caught:
        write_report(folder)
    said = str(caught.value)
    assert "\n" not in said and name in said
    for word in words:
        assert word in said, said
    assert not (folder / "report.html").exists()


def read_or_refused(folder, name, *words):
    """What is read makes a report in the end; what is not is refused by its name. Nothing else comes out."""
    try:
        run_folder.read_run(folder)
    except Error as error:
        assert "\n" not in str(error) and name in str(error)
        for word in words:
            assert word in str(error), str(error)
        return False
    return True


FITTING = {
    "text": ("study", "command", "created", "device", "question"),
    "nothing": ("seconds", "versions", "hashes", "seeds", "tasks"),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("what", OTHERS)
def test_a_manifest_s_key_of_another_kind_is_named(small, key, what):
    stored = json.loads((small / "manifest.json").read_text())
    (small / "manifest.json").write_text(json.dumps(stored | {key: OTHERS[what]}))
    fits = key in FITTING.get(what, ())
    assert read_or_refused(small, "manifest.json", key) == fits
    if fits:
        assert write_report(small).exists()


@pytest.mark.parametrize("key", ("seconds", "versions", "hashes", "seeds", "tasks"))
@pytest.mark.parametrize("what", OTHERS)
def test_a_value_inside_a_manifest_s_table_is_named_too(small, key, what):
    stored = json.loads((small / "manifest.json").read_text())
    (small / "manifest.json").write_text(json.dumps(stored | {key: {"inner": OTHERS[what]}}))
    fits = what == ("number" if key in ("seconds", "seeds") else "text")
    assert read_or_refused(small, "manifest.json", f"{key}.inner") == fits
    if fits:
        assert write_report(small).exists()


@pytest.mark.parametrize(
    "items", [[None], ["a"], [["a", "b"]], [{}], [{"name": "a"}], [{"name": 1, "reason": "b"}],
              [{"name": "a", "reason": None}], {"name": "a", "reason": "b"}]
)  # fmt: skip
def test_pictures_left_out_must_have_a_name_and_a_reason(small, items):
    stored = json.loads((small / "manifest.json").read_text())
    (small / "manifest.json").write_text(json.dumps(stored | {"left_out": items}))
    one_line(small, "manifest.json", "left_out")


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"', "{}", "[" * 100_000])
def test_a_manifest_that_is_none_is_refused(small, content):
    (small / "manifest.json").write_text(content)
    one_line(small, "manifest.json")


def test_a_manifest_without_its_optional_keys_and_with_unknown_ones_is_read(small):
    (small / "manifest.json").write_text(json.dumps({"study": "short", "colour": ["red"]}))
    assert write_report(small).exists()


@pytest.mark.parametrize("key", ("question", "created", "seconds"))
def test_a_manifest_of_another_kind_is_not_written_either(key):
    with pytest.raises(Error, match=key):
        Manifest(study="a", **{key: None})


@pytest.mark.parametrize("config", ["[]", "3", "text", "- a\n- b", "? [1, 2]\n: 3"])
def test_settings_of_another_kind_are_named(small, config):
    (small / "config.yaml").write_text(config)
    one_line(small, "config.yaml")


@pytest.mark.parametrize("config", ["", "{}", "lesions: {other: null}", "a: &x [1]\nb: *x", "&x {a: *x}",
                                    'a: "\\ud800"', "draws: .nan", "2020-01-01: 1"])  # fmt: skip
def test_settings_that_are_only_shown_may_be_anything(small, config):
    (small / "config.yaml").write_text(config)
    assert write_report(small).exists()


CELLS = {"null": None, "list": [1], "number": 2.5, "infinite": np.inf, "text": "t", "empty": "", "nested": {"a": [1]},
         "true": True}  # fmt: skip


@pytest.mark.parametrize("column", tuple(tables.TABLE_COLUMNS))
@pytest.mark.parametrize("what", CELLS)
def test_a_column_of_another_kind_is_named_with_its_row(small, table, column, what):
    few = table[(table["stimulus"] == "intact") & (table["task"] == "detection")].copy()
    cells = [CELLS[what]] * len(few)
    few[column] = pd.Series(cells, index=few.index, dtype=object)
    try:
        few.to_parquet(small / "table.parquet")
    except (TypeError, ValueError):
        pytest.skip("pyarrow writes no such column")
    if read_or_refused(small, "table.parquet"):
        assert write_report(small).exists()
    elif what in ("null", "list", "nested", "infinite"):
        with pytest.raises(Error, match=rf"column {column}\b|twice"):
            write_report(small)


@pytest.mark.parametrize(
    ("column", "cell"),
    [("lesion", None), ("task", 3), ("value", "high"), ("draw", 0.5), ("dose", [0.1]), ("n", True),
     ("seed", 10**30), ("metric", " ")],
)  # fmt: skip
def test_one_cell_of_another_kind_is_enough(table, column, cell):
    few = table.head(40).copy()
    few[column] = few[column].astype(object)
    few.at[7, column] = cell
    with pytest.raises(Error, match=f"column {column}"):
        run_folder.check_table(few)


def test_columns_as_other_programs_write_them_are_read(table):
    few = table.head(40)
    other = few.astype(
        {"task": "category", "draw": "Int64", "n": "int16", "value": "Float64", "seed": "uint8"}
    )
    other["dose"] = few["dose"].astype("float32").astype(float)
    found = run_folder.check_table(other)
    assert found["draw"].dtype == np.int64 and found["value"].dtype == np.float64
    assert found["task"].tolist() == few["task"].tolist()


def test_chance_may_be_missing_and_the_new_columns_are_checked(small, table):
    few = table[(table["stimulus"] == "intact")].assign(
        chance=np.nan, main=True, ceiling=1.0, better="higher"
    )
    run_folder.write_table(small, few)
    assert write_report(small).exists()
    for column, cell in (("main", "yes"), ("ceiling", "high"), ("better", "up"), ("better", None)):
        with pytest.raises(Error, match=f"column {column}"):
            run_folder.check_table(few.assign(**{column: cell}))


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("stimuli.npz", {}),
        ("stimuli.npz", {"names": np.array([1, 2]), "images": np.zeros((2, 4, 4, 3), np.uint8)}),
        ("stimuli.npz", {"names": np.array(["a"]), "images": np.zeros((1, 4, 4), np.uint8)}),
        ("stimuli.npz", {"names": np.array([], dtype=str), "images": np.zeros((0, 4, 4, 3), np.uint8)}),
        ("confusion.npz", {"names": np.array(["a"]), "tasks": np.array(["t"])}),
        ("confusion.npz", {"names": np.array(["a"]), "tasks": np.array(["t", "u"])}),
        ("confusion.npz", {"names": np.array(["a"]), "tasks": np.array(["t"]), "labels_0": np.array(["x"]),
                           "matrix_0": np.array([["y"]])}),
        ("confusion.npz", {"names": np.array(["a"]), "tasks": np.array(["t"]), "labels_0": np.array(["x"]),
                           "matrix_0": np.array([[-1]])}),
        ("gradcam.npz", {"names": np.array(["a"]), "layers": np.array(["l"]), "score": np.array("s"),
                         "heat": np.full((1, 1, 4, 4), np.nan), "image": np.zeros((4, 4, 3), np.uint8)}),
        ("gradcam.npz", {"names": np.array(["a"]), "layers": np.array(["l"]), "score": np.array([1.0]),
                         "heat": np.zeros((1, 1, 4, 4)), "image": np.zeros((4, 4, 3), np.uint8)}),
        ("gradcam.npz", {"names": np.array(["a"]), "layers": np.array(["l"]), "score": np.array("s"),
                         "heat": np.array("warm"), "image": np.zeros((4, 4, 3), np.uint8)}),
    ],
)  # fmt: skip
def test_arrays_that_are_missing_or_of_another_kind_are_named(small, name, arrays):
    np.savez(small / name, **arrays)
    one_line(small, name)


@pytest.mark.parametrize(
    "log", ["epoch,train_loss\n0,high\n", "epoch,val_loss\nfirst,0.1\n", "epoch,train_loss\n0,[1]\n"]
)
def test_a_training_log_of_words_is_named(small, log):
    (small / "training.csv").write_text(log)
    one_line(small, "training.csv")


NAMES = {
    "mathematics": r"$\foo$",
    "one dollar": "5 $",
    "braces": r"$x_{$",
    "two lines": "first\nsecond\r\tthird",
    "very long": "very " * 400,
    "one long word": "x" * 3000,
    "nul": "a\x00b",
    "a line in front": "_hidden",
    "right to left": "\u202eabc",
    "a path": "../../outside",
    "a percent": "%s {0} %(x)s",
    "markup": "<b>&amp;</b>",
    "no letters": " \u200b ",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_names_in_every_figure(tmp_path, table, arrays, manifest, name):
    word = NAMES[name]
    folder = tmp_path / "runs" / "x"
    few = table[(table["draw"] < 2) & table["lesion"].isin(["none", "ablation", "noise"])]
    few = few[few["task"].isin(["identification", "verification"])]
    few = few[few["stimulus"].isin(["intact", "mask eyes"])]
    few = few.replace({"lesion": {"ablation": word}, "task": {"identification": word + "!"}})
    few = few.replace({"stimulus": {"mask eyes": word}, "metric": {"accuracy": word}})
    run_folder.write_config(folder, {"name": word})
    run_folder.write_table(folder, few)
    run_folder.write_manifest(folder, Manifest(study=word + "!", question=word, hashes={word: word}))
    run_folder.write_stimuli(folder, [word, "other"], arrays["stimuli"][1][:2])
    run_folder.write_confusions(
        folder, [run_folder.Confusion(word + "!", word, np.eye(2, dtype=int), (word, "b"))]
    )
    maps = arrays["gradcam"]
    run_folder.write_gradcam(
        folder, run_folder.GradCamMaps((word,), (word,), maps.heat[:1, :1], maps.image, score=word)
    )
    (folder / "training.csv").write_text(
        pd.DataFrame({"epoch": [0], f"train_{word}": [1.0]}).to_csv(index=False)
    )
    page = write_report(folder).read_text(encoding="utf-8")
    assert "<b>&amp;</b>" not in page.replace("<b>&amp;amp;", "")
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all(folder in path.parents for path in written)
    assert all(len(path.name) < 120 and path.name.isprintable() for path in written)
    for path in (folder / "figures").glob("*.svg"):
        assert float(path.read_text().split('width="', 1)[1].split("pt", 1)[0]) < 1600


def test_a_legend_leaves_no_name_out(table):
    figure = figures.kept_figure(table.replace({"lesion": {"ablation": "_hidden"}}))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "_hidden",
        "noise",
        "dropout",
        "combined",
    ]


def test_dollars_stay_dollars_also_with_settings_of_the_user_s(table):
    import matplotlib as mpl

    with mpl.rc_context({"axes.formatter.use_mathtext": True}):
        figure = figures.dose_response_figure(table.replace({"task": {"detection": r"$\alpha$"}}))
        assert figure.axes[0].get_title(loc="left") == r"$\alpha$"
        style.embed(figure)


def test_files_are_named_safely_and_apart():
    names = ["heat_map_a/b", "heat_map_a:b", "heat_map_a_b", "..", "", "\x00", "x" * 500, "é"]
    safe = [style.file_name(name) for name in names]
    assert len(set(safe)) == len(names)
    assert all(name and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for name in safe)


@pytest.mark.parametrize(("value", "word"), list(zip([None, [1], {}, "a", True, 2, (1,), 10**400, {1}],
    ["null", "a list", "a table of keys", "text", "true or false", "the number 2", "a list", "very large", "a list"],
    strict=True)))  # fmt: skip
def test_kinds_are_named_as_one_who_edits_a_file_would(value, word):
    assert word in kind_of(value)


def trial_rows(**changes) -> pd.DataFrame:
    rows = [
        dict(participant="vgg_small", lesion=lesion, dose=dose, draw=draw, control="", stimulus="intact",
             task="detection", trial=trial,
             section="", item="i", person=f"p{trial // 2}", other="", target="a", answer="a", value=0.1,
             right=bool(trial % 3), forced_choice=float(trial % 3 > 0))
        for lesion, dose, draw in [("none", 0.0, 0), *itertools.product(["ablation"], [0.1, 0.2], [0, 1])]
        for trial in range(8)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**changes)


def test_answers_are_read_back_and_used(small):
    run_folder.write_trials(small, trial_rows())
    assert run_folder.read_run(small).trials["right"].dtype == bool
    page = write_report(small).read_text(encoding="utf-8")
    assert "No claim is made" not in page and "Every dose on one scale" in page


@pytest.mark.parametrize("column", tuple(tables.TRIAL_COLUMNS))
@pytest.mark.parametrize("what", CELLS)
def test_trials_of_another_kind_are_named(small, column, what):
    rows = trial_rows()
    rows[column] = pd.Series([CELLS[what]] * len(rows), dtype=object)
    try:
        rows.to_parquet(small / "trials.parquet")
    except (TypeError, ValueError):
        pytest.skip("pyarrow writes no such column")
    try:
        write_report(small)
    except Error as error:
        assert "trials.parquet" in str(error) and "\n" not in str(error)


def test_trials_that_do_not_belong_together_are_refused_with_their_file(small):
    rows = trial_rows()
    rows.iloc[:-1].to_parquet(small / "trials.parquet")  # one answer is missing
    one_line(small, "trials.parquet", "each of the 8 trials")
    pd.concat([rows, rows.tail(1)]).to_parquet(small / "trials.parquet")
    one_line(small, "trials.parquet", "twice")
    changed = rows.copy()
    changed.loc[changed["lesion"] == "ablation", "person"] = "somebody"
    changed.to_parquet(small / "trials.parquet")
    one_line(small, "trials.parquet", "same person")


def test_answers_of_other_networks_alone_claim_nothing(small):
    run_folder.write_trials(small, trial_rows(participant="another"))
    assert "No claim is made" in write_report(small).read_text(encoding="utf-8")


def test_answers_of_two_networks_of_one_name_are_not_mixed(small):
    table = run_folder.read_run(small).table
    run_folder.write_table(small, pd.concat([table, table.assign(weights="other")]))
    run_folder.write_trials(small, trial_rows())
    assert write_report(small).read_text(encoding="utf-8").count("No claim is made") == 2
    weights = table["weights"].iloc[0]
    run_folder.write_trials(small, trial_rows(weights=weights))
    assert write_report(small).read_text(encoding="utf-8").count("No claim is made") == 1


def test_a_difference_of_shares_stays_within_a_hundred_points():
    from facelesion.analysis import Estimate
    from facelesion.report.findings import points

    assert points(Estimate(0.9, 0.2, 5)) == "+90.0 [38.6, 100.0]"
    assert points(Estimate(-0.00001, 0.00001, 50)) == "0.0 [0.0, 0.0]"
    assert points(Estimate(0.2, float("nan"), float("nan"))) == "+20.0 (one draw)"


def test_settings_written_by_the_library_are_read_back(small):
    assert yaml.safe_load((small / "config.yaml").read_text())["seed"] == 0
