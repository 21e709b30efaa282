"""The page on looking: its Python runs, its tables of columns are the code's, and its studies can be read."""

from __future__ import annotations

import re
from pathlib import Path

from facelesion.lesions import lesion_of_words
from facelesion.looking.maps import EVIDENCE_COLUMNS
from facelesion.study.attention import ATTENTION_COLUMNS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "looking.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(block, "docs/looking.md", "exec"), {})


def test_the_page_names_every_column_with_its_meaning():
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|$", PAGE, re.M))
    for columns in (EVIDENCE_COLUMNS, ATTENTION_COLUMNS):
        for name, meaning in columns.items():
            assert f"| `{name}` | {meaning} |" in PAGE, name
    assert set(EVIDENCE_COLUMNS) | set(ATTENTION_COLUMNS) <= set(told)


def test_every_lesion_that_the_page_says_in_words_is_one():
    written = re.search(r"studies write it:\n\n(.*?)\n\n", PAGE, re.S)
    assert written is not None
    said = [words for line in written[1].splitlines() for words in re.split(r"\s{4,}", line) if words.strip()]
    assert len(said) == 11 and all(lesion_of_words(words) for words in said)


def test_the_study_of_the_page_can_be_read():
    from facelesion.study.design import study_of
    from facelesion.yaml_files import parse_yaml

    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    assert study_of(parse_yaml(text, "docs/looking.md")).tasks == ("identification", "attention")
