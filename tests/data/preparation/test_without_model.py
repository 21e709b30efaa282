"""Photographs that are all prepared need no model file the second time."""

from __future__ import annotations

from pathlib import Path

import pytest
from painted import Painted, content, paint, run

from facelesion.errors import Error
from facelesion.faces import landmarks


class TestWithoutTheModel:
    @pytest.fixture
    def done(self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        run(root, tmp_path / "out")

        def gone(model: object = None) -> None:
            raise Error("face_landmarker.task: no such file")

        monkeypatch.setitem(landmarks.BACKENDS, "painted", gone)
        return tmp_path / "out"

    def test_nothing_is_looked_at_and_nothing_changes(self, root: Path, done: Path) -> None:
        before, calls = content(done), Painted.calls
        again = run(root, done)
        assert (again.faces, again.several, again.done) == (9, 1, 0)
        assert [(left.name, left.reason) for left in again.left_out] == [("person 3/3.png", "no face found")]
        assert content(done) == before and Painted.calls == calls

    def test_a_source_of_pictures_reads_them(
        self, root: Path, done: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from facelesion.data.photographs import Photographs

        monkeypatch.setattr("facelesion.data.photographs.prepared_place", lambda *_: done)
        photographs = Photographs()
        object.__setattr__(photographs, "landmarks", "painted")
        faces, left_out = photographs.faces(root, 112)
        assert len(faces) == 9 and len(left_out) == 1

    @pytest.mark.parametrize("change", ["one more", "one less", "another picture", "another person", "no picture"])
    def test_anything_new_asks_for_it(self, root: Path, done: Path, change: str) -> None:
        first = root / "person 0" / "0.png"
        if change == "one more":
            paint(root / "person 0" / "new.png", 99)
        elif change == "one less":
            first.unlink()
        elif change == "another picture":
            paint(first, 99)
        elif change == "another person":
            first.rename(root / "person 1" / "0.png")
        else:
            (root / "person 0" / "notes.gif.jpg").write_text("no picture")
        with pytest.raises(Error, match="no such file"):
            run(root, done)

    def test_other_options_ask_for_it(self, root: Path, done: Path) -> None:
        for options in ({"size": 64}, {"margin": 4}, {"model": "other.task"}):
            with pytest.raises(Error, match="no such file"):
                run(root, done, **options)

    def test_people_by_another_table_ask_for_it(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(model: object = None) -> None:
            raise Error("no model")

        table, out = tmp_path / "people.csv", tmp_path / "table"
        names = sorted(str(path.relative_to(tmp_path)) for path in root.rglob("*.png"))
        table.write_text("path,person\n" + "".join(f"{name},Ada\n" for name in names))
        run(table, out)
        monkeypatch.setitem(landmarks.BACKENDS, "painted", gone)
        assert run(table, out).faces == 9
        table.write_text("path,person\n" + "".join(f"{name},Bo\n" for name in names))
        with pytest.raises(Error, match="no model"):
            run(table, out)
