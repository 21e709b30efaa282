"""Preparing photographs: nothing is mislabelled or lost, and a killed run gives the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from painted import Painted, content, paint, run
from PIL import Image

from facelesion.data.preparation import COLUMNS, load_prepared, prepare
from facelesion.errors import Error
from facelesion.faces import landmarks
from facelesion.locks import locked


def test_every_face_is_kept_with_its_person_and_every_other_photograph_is_listed(
    root: Path, tmp_path: Path
) -> None:
    done = run(root, tmp_path / "out")
    assert (done.faces, done.several, done.done) == (9, 1, 10)
    assert [(left.name, left.reason) for left in done.left_out] == [("person 3/3.png", "no face found")]
    faces = load_prepared(tmp_path / "out")
    assert faces.names == tuple(sorted(faces.names)) and len(faces) == 9
    assert all(name.startswith(label + "/") for name, label in zip(faces.names, faces.labels, strict=True))
    assert faces.images.shape == (9, 3, 112, 112) and faces.landmarks.shape == (9, 478, 2)


def test_crops_and_landmarks_are_those_of_the_alignment(root: Path, tmp_path: Path) -> None:
    from facelesion.data.images import read_image
    from facelesion.faces.alignment import align

    run(root, tmp_path / "out", size=64, margin=8)
    faces = load_prepared(tmp_path / "out")
    for i, name in enumerate(faces.names):
        photograph = read_image(root / name)
        face = landmarks.choose(Painted().find(photograph), *photograph.shape[:2])
        assert face is not None
        crop, mesh = align(photograph, face.mesh, 64, 8)
        assert np.array_equal(faces.images[i].permute(1, 2, 0).numpy(), crop)
        assert np.array_equal(faces.landmarks[i].numpy(), mesh)


def test_the_table_says_what_its_description_says(root: Path, tmp_path: Path) -> None:
    import pandas as pd

    run(root, tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "faces.parquet")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert list(table.columns) == list(COLUMNS) == list(manifest["columns"])
    assert manifest["faces"] == 9 and manifest["people"] == 4 and manifest["left_out"] == 1
    assert (
        table["faces"].tolist().count(3) == 1
        and (table["width"] == 80).all()
        and (table["height"] == 90).all()
    )
    assert table["size"].between(10, 80).all() and (table["roll"].abs() < 1).all()
    assert (table["sharpness"] > 0).all() and table["inside"].between(0.5, 1).all()
    point = np.array([40.0, 45.0, 1.0])
    matrix = np.stack(table["matrix"]).reshape(-1, 2, 3)
    assert ((matrix @ point > 0) & (matrix @ point < 112)).all()


def test_the_crops_stay_on_disk_and_cannot_be_changed_by_accident(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path / "out")
    before = content(tmp_path / "out")
    faces = load_prepared(tmp_path / "out")
    faces.images[0] = 0
    del faces
    assert content(tmp_path / "out") == before
    assert load_prepared(tmp_path / "out").images[0].any()


def test_a_second_run_does_nothing_and_a_changed_photograph_is_done_again(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(root, out)
    first = content(out)
    Painted.calls, made = 0, (out / "crops.npy").stat().st_ino
    again = run(root, out)
    assert again.done == 0 and Painted.calls == 0 and content(out) == first
    assert (again.faces, again.several, (out / "crops.npy").stat().st_ino) == (9, 1, made)
    paint(root / "person 1" / "5.png", seed=99)
    paint(root / "person 3" / "3.png", seed=3, faces=1)
    paint(root / "new person" / "0.png", seed=100)
    (root / "person 0" / "0.png").unlink()
    again = run(root, out)
    assert again.done == Painted.calls == 3 and again.faces == 10 and not again.left_out
    fresh = run(root, tmp_path / "fresh")
    assert fresh.faces == 10 and content(out) == content(tmp_path / "fresh")


def test_a_run_that_ends_anywhere_goes_on_to_the_same_bytes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root, tmp_path / "whole")
    expected = content(tmp_path / "whole")
    paint(root / "person 2" / "2.png", seed=50)
    changed = tmp_path / "changed"
    run(root, changed)
    expected_changed = content(changed)
    paint(root / "person 2" / "2.png", seed=2)

    replace, left = os.replace, -1

    def ending(source: object, target: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        replace(source, target)  # type: ignore[arg-type]

    def ended_by(step: int, out: Path) -> bool:
        nonlocal left
        left = step
        try:
            run(root, out)
        except KeyboardInterrupt:
            return True
        finally:
            left = -1
        return False

    monkeypatch.setattr(os, "replace", ending)
    endings, step, again = 0, 0, True
    while again:
        step += 1
        out = tmp_path / f"out {step}"
        again = ended_by(step, out)
        endings += again
        assert run(root, out).faces == 9 and content(out) == expected
        # The same when there is an earlier result to be replaced.
        paint(root / "person 2" / "2.png", seed=50)
        endings += ended_by(step, out)
        assert run(root, out).faces == 9 and content(out) == expected_changed
        paint(root / "person 2" / "2.png", seed=2)
    # The options, four chunks, two tables and four files moved into place are so many places to end at.
    assert endings > 14


def test_damaged_and_hostile_files_are_listed_and_the_rest_is_done(root: Path, tmp_path: Path) -> None:
    odd = root / "Zoë 雪"
    paint(odd / "good 😀.png", 5)
    whole = (root / "person 0" / "0.png").read_bytes()
    (odd / "cut.png").write_bytes(whole[: len(whole) // 2])
    (odd / "empty.jpg").touch()
    (odd / "text.jpg").write_text("I am no picture")
    (odd / "folder.jpg").mkdir()
    paint(odd / "tiny.png", 1, side=80)
    Image.new("RGB", (1, 1)).save(odd / "tiny.png")
    secret = tmp_path / "secret.png"
    paint(secret, 8)
    (odd / "link.png").symlink_to(secret)
    (odd / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    done = run(root, tmp_path / "out")
    left = {item.name.removeprefix("Zoë 雪/"): item.reason for item in done.left_out}
    assert done.faces == 10
    assert set(left) - {"person 3/3.png"} == {
        "cut.png", "empty.jpg", "text.jpg", "folder.jpg", "tiny.png", "link.png", "dangling.png"
    }  # fmt: skip
    assert "folder" in left["folder.jpg"] and "empty" in left["empty.jpg"] and "cut short" in left["cut.png"]
    assert "link" in left["link.png"] and "1 x 1" in left["tiny.png"]
    assert not any(str(root) in reason or "\n" in reason for reason in left.values())
    assert "good 😀.png" in "".join(load_prepared(tmp_path / "out").names)
    assert "8 photographs left out" in str(done)
    with pytest.raises(Error, match="8 of 18 photographs were left out"):
        run(root, tmp_path / "out", strict=True)
    assert content(tmp_path / "out")


def test_a_name_cannot_write_to_the_terminal(root: Path, tmp_path: Path) -> None:
    (root / "person 0" / "\x1b[2Jx.jpg").touch()
    assert "\x1b" not in str(run(root, tmp_path / "out"))


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
def test_a_name_that_is_no_unicode_is_left_out(root: Path, tmp_path: Path) -> None:
    paint(root / "person 0" / "x.png", 5)
    os.rename(os.fsencode(root / "person 0" / "x.png"), os.fsencode(root / "person 0") + b"/\xff.png")
    for _ in range(2):
        done = run(root, tmp_path / "out")
        assert done.faces == 9 and any("not valid Unicode" in left.reason for left in done.left_out)
        str(done).encode()


def test_a_table_of_photographs_names_the_people(root: Path, tmp_path: Path) -> None:
    (root / "list.csv").write_text("path,person\nperson 0/0.png,Ada\nperson 1/1.png,Bo\n")
    done = prepare(root / "list.csv", tmp_path / "out", landmarks="painted", workers=1, progress=False)
    assert done.faces == 2 and load_prepared(tmp_path / "out").labels == ("Ada", "Bo")
    (root / "list.csv").write_text("path,person\nperson 0/0.png,Ada\nperson 1/1.png,Ada\n")
    prepare(root / "list.csv", tmp_path / "out", landmarks="painted", workers=1, progress=False)
    assert load_prepared(tmp_path / "out").labels == ("Ada", "Ada")


def test_folders_that_are_something_elses_are_left_alone(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(Error, match="holds something else"):
        run(root, other)
    with pytest.raises(Error, match="thesis.txt is no folder"):
        run(root, other / "thesis.txt")
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


def test_who_prepares_a_folder_is_waited_for_and_leaves_nothing(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, done = tmp_path / "out", []
    with locked(out / ".lock"):
        second = threading.Thread(target=lambda: done.append(run(root, out)))
        second.start()
        deadline = time.monotonic() + 30
        while not (said := capfd.readouterr().err) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert said == f"{out}: another process is preparing it, waiting\n" and not done
    second.join(60)
    assert done[0].faces == 9
    assert sorted(path.name for path in out.iterdir()) == [
        "crops.npy", "faces.parquet", "left_out.csv", "manifest.json",
    ]  # fmt: skip


def test_the_lock_of_a_run_that_was_killed_is_not_something_else(root: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").touch()
    assert run(root, tmp_path / "out").faces == 9 and not (tmp_path / "out" / ".lock").exists()


def test_other_options_need_another_folder(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path / "out")
    with pytest.raises(Error, match="prepared with size 112, not 64"):
        run(root, tmp_path / "out", size=64)
    assert len(load_prepared(tmp_path / "out")) == 9


def test_no_face_at_all_and_wrong_options_are_one_clear_line(tmp_path: Path) -> None:
    paint(tmp_path / "root" / "a" / "b.png", 1, faces=0)
    with pytest.raises(Error, match="no face in any of 1 photographs"):
        run(tmp_path / "root", tmp_path / "out")
    with pytest.raises(Error, match="no such folder"):
        run(tmp_path / "none", tmp_path / "out2")
    with pytest.raises(Error, match="at least one"):
        prepare(tmp_path / "root", tmp_path / "out2", landmarks="painted", workers=0)
    with pytest.raises(Error, match="size is 16 or more"):
        run(tmp_path / "root", tmp_path / "out2", size=3)
    assert not (tmp_path / "out2").exists()


def test_an_unfinished_or_damaged_result_is_not_read(root: Path, tmp_path: Path) -> None:
    with pytest.raises(Error, match="no finished result"):
        load_prepared(tmp_path)
    run(root, tmp_path / "out")
    shorter = tmp_path / "shorter"
    shutil.copytree(tmp_path / "out", shorter)
    np.save(shorter / "crops.npy", np.zeros((3, 3, 112, 112), np.uint8))
    with pytest.raises(Error, match="do not fit together"):
        load_prepared(shorter)
    (shorter / "crops.npy").write_bytes(b"no array")
    with pytest.raises(Error, match="prepare` again"):
        load_prepared(shorter)


def test_what_cannot_be_taken_from_the_folder_is_listed_and_strict_says_so(
    root: Path, tmp_path: Path
) -> None:
    (root / "person 3" / "3.png").unlink()
    paint(root / "person 0" / "jfif.png", 20)
    (root / "person 0" / "jfif.png").rename(root / "person 0" / "0.jfif")
    (root / "person 0" / "Thumbs.db").touch()
    (root / "person 0" / "notes.txt").touch()
    assert run(root, tmp_path / "out", strict=True).faces == 10
    (root / "person 0" / "1.HEIC").touch()
    paint(root / "person 0" / "2013" / "2.png", 21)
    paint(root / "loose.png", 22)
    done = run(root, tmp_path / "out")
    left = {item.name: item.reason for item in done.left_out}
    assert left.keys() == {"person 0/1.HEIC", "person 0/2013/2.png", "loose.png"} and done.faces == 10
    assert (
        "3 photographs left out" in str(done)
        and json.loads((tmp_path / "out" / "manifest.json").read_text())["left_out"] == 3
    )
    before = content(tmp_path / "out")
    assert run(root, tmp_path / "out").done == 0 and content(tmp_path / "out") == before
    with pytest.raises(Error, match="3 of 13 photographs were left out"):
        run(root, tmp_path / "out", strict=True)
    (root / "person 0" / "1.HEIC").unlink()
    assert len(run(root, tmp_path / "out").left_out) == 2, "what is gone is not listed any more"


def test_links_that_lead_in_a_circle_are_left_out(root: Path, tmp_path: Path) -> None:
    (root / "person 0" / "itself.png").symlink_to("itself.png")
    (root / "person 0" / "one.png").symlink_to("other.png")
    (root / "person 0" / "other.png").symlink_to("one.png")
    (root / "person 0" / "up").symlink_to(root)
    done = run(root, tmp_path / "out")
    assert done.faces == 9 and len(done.left_out) == 5
    assert sum("Too many levels of symbolic links" in left.reason for left in done.left_out) == 3


def test_a_tiff_with_an_orientation_is_prepared_as_its_upright_twin(root: Path, tmp_path: Path) -> None:
    upright = np.asarray(Image.open(root / "person 0" / "0.png"))
    lying = Image.fromarray(np.rot90(upright))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(root / "person 0" / "0 again.tiff", exif=exif)
    run(root, tmp_path / "out")
    faces = load_prepared(tmp_path / "out")
    images = dict(zip(faces.names, faces.images, strict=True))
    assert torch.equal(images["person 0/0 again.tiff"], images["person 0/0.png"])


def test_a_bar_is_for_a_terminal_and_a_log_file_stays_quiet(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(root, tmp_path / "out", landmarks="painted", workers=1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    prepare(root, tmp_path / "seen", landmarks="painted", workers=1)
    assert "faces" in capsys.readouterr().err
    prepare(root, tmp_path / "unwanted", landmarks="painted", workers=1, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "name", ["a" * 300, "ë" * 200, "below/" + "a" * 300, "", "a file/out", "/proc/out", "/proc"]
)
def test_places_that_cannot_be_written_are_told_in_one_line(root: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(Error) as caught:
        run(root, tmp_path / name if name else "")  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    with pytest.raises(Error, match="no such folder"):
        run(tmp_path / ("a" * 300), tmp_path / "out")


@pytest.mark.parametrize(
    "options",
    [{"size": 10**9}, {"size": 112.5}, {"size": True}, {"size": None}, {"margin": -1}, {"margin": 10**9},
     {"workers": 10**9}, {"workers": 1.5}, {"workers": -1}],
)  # fmt: skip
def test_sizes_and_workers_beyond_any_machine_are_refused(
    root: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    with pytest.raises(Error):
        prepare(root, tmp_path / "out", landmarks="painted", progress=False, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_parquet_row_without_a_person_is_nobody(root: Path, tmp_path: Path) -> None:
    import pandas as pd

    rows = pd.DataFrame({"path": ["person 0/0.png", "person 1/1.png"], "person": ["Ada", None]})
    rows.to_parquet(root / "list.parquet")
    with pytest.raises(Error, match="row 2 names no person"):
        run(root / "list.parquet", tmp_path / "out")


def test_a_result_that_was_edited_is_neither_read_nor_gone_on_from(root: Path, tmp_path: Path) -> None:
    import pandas as pd

    out = tmp_path / "out"
    run(root, out)
    whole = content(out)
    manifest = json.loads(whole["manifest.json"])
    table = pd.read_parquet(out / "faces.parquet")
    edits: list[tuple[str, bytes]] = [
        ("faces.parquet", table.drop(columns="person").to_parquet()),
        ("faces.parquet", table.assign(person="somebody else").to_parquet()),
        ("faces.parquet", b"no table"),
        ("left_out.csv", b"name,reason\n"),
        ("left_out.csv", b""),
        ("manifest.json", b"[" * 100_000),
        ("manifest.json", b"[]"),
        *[
            ("manifest.json", json.dumps(manifest | {key: value}).encode())
            for key, value in [("faces", None), ("faces", "9"), ("options", []), ("several_faces", [1]), ("sha256", 3),
                               ("sha256", {}), ("format", "1"), ("format", None)]
        ],
    ]  # fmt: skip
    for name, changed in edits:
        (out / name).write_bytes(changed)
        for work in (lambda: load_prepared(out), lambda: run(root, out)):
            with pytest.raises(Error) as told:
                work()
            assert str(out) in str(told.value) and "\n" not in str(told.value)
        (out / name).write_bytes(whole[name])
    (out / "left_out.csv").unlink()
    with pytest.raises(Error, match="missing or was changed"):
        run(root, out)
    (out / "left_out.csv").write_bytes(whole["left_out.csv"])
    for crops in (
        np.zeros((9, 3, 112, 112)),
        np.zeros((9, 112, 112, 3), np.uint8),
        np.zeros(9, np.uint8),
        np.uint8(3),
    ):
        np.save(out / "crops.npy", crops)
        with pytest.raises(Error):
            load_prepared(out)


@pytest.mark.parametrize("options", ["", "[1", "3", "null", "[]", "[" * 100_000, "[1, 2]"])
def test_an_unfinished_run_whose_options_were_edited_is_not_gone_on_from(
    root: Path, tmp_path: Path, options: str
) -> None:
    journal = tmp_path / "out" / ".journal"
    journal.mkdir(parents=True)
    (journal / "options.json").write_text(options)
    with pytest.raises(Error):
        run(root, tmp_path / "out")


@pytest.mark.parametrize("damaged", [b"", b"half"])
def test_a_part_that_cannot_be_read_is_done_again(
    damaged: bytes, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root, tmp_path / "whole")
    replace = os.replace

    def ended(source: object, target: object) -> None:
        if Path(str(target)).name == "faces.parquet":
            raise KeyboardInterrupt
        replace(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", ended)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(root, out)
    monkeypatch.undo()
    monkeypatch.setitem(landmarks.BACKENDS, "painted", Painted)
    part = sorted((out / ".journal").glob("*.npz"))[0]
    part.write_bytes(damaged)
    assert run(root, out).faces == 9 and content(out) == content(tmp_path / "whole")
