"""A study's two tables: every trial, and every condition's measures, computed from the trials.

`docs/table.md` describes them column by column. Both are written part by part, one part a cell.
"""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from facelesion.errors import Error
from facelesion.files import write_whole
from facelesion.report.columns import TABLE_COLUMNS, TRIAL_COLUMNS, VERSION
from facelesion.study.design import Planned
from facelesion.tasks import Answers, Task

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_LENGTH = struct.Struct("<Q")

def trials_of(
    participant: str, planned: Planned, stimulus: str, task: Task, answers: Answers
) -> pa.Table:
    """One condition's trials, as rows of `trials.parquet`.

    Raises:
        Error: an answer's value or forced choice is no finite number.
    """
    import pyarrow as pa

    for name, values in (("value", answers.value), ("forced_choice", answers.forced_choice)):
        bad = (~torch.isfinite(values)).nonzero().flatten().tolist()
        if bad:
            raise Error(
                f"task {task.name}: {name!r} of {len(bad)} of its {len(values)} answers is no finite number, first in "
                f"trial {bad[0]} ({task.trials.item[bad[0]]}): let `answer` give one for whatever representation"
            )

    count = len(task.trials)
    alternatives = list(task.alternatives)

    def constant(value: str) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value]))

    def strings(values: Sequence[str]) -> Any:
        return pa.array(list(values), pa.string()).dictionary_encode()

    named = {name: strings(getattr(task.trials, name)) for name in ("section", "item", "person", "other", "target")}
    answer = pa.DictionaryArray.from_arrays(
        pa.array(answers.answer.numpy().astype(np.int32)), pa.array(alternatives, pa.string())
    )
    columns = {
        "participant": constant(participant),
        "lesion": constant(planned.series),
        "dose": pa.array(np.full(count, planned.dose, np.float64)),
        "draw": pa.array(np.full(count, planned.draw, np.int32)),
        "control": constant(planned.control),
        "stimulus": constant(stimulus),
        "task": constant(task.name),
        "trial": pa.array(np.arange(count, dtype=np.int32)),
        **named,
        "answer": answer,
        "value": pa.array(answers.value.float().numpy()),
        "right": pa.array(answers.right.numpy()),
        "forced_choice": pa.array(answers.forced_choice.float().numpy()),
    }
    return pa.table({name: columns[name] for name in TRIAL_COLUMNS})


def rows_of(task: Task, answers: Answers, about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One condition's rows of `table.parquet`; `about` is what they have in common."""
    for measured in measures_of(task, answers):
        row = {**about, **measured}
        yield {name: row[name] for name in TABLE_COLUMNS}


def measures_of(task: Task, answers: Answers) -> Iterator[dict[str, Any]]:
    """What a task measures in its answers, in the table's words: a row for each measure, the main one first.

    Raises:
        Error: a measure that it names is not given, or is no finite number.
    """
    values = task.measure(answers)
    for number, measure in enumerate(task.measures):
        if measure.name not in values:
            raise Error(f"task {task.name} names the measure {measure.name!r} and does not give it")
        value = float(values[measure.name])
        if not math.isfinite(value):
            raise Error(
                f"task {task.name}: its measure {measure.name!r} is {value}, and must be a finite number: let "
                "`measure` give one for any answers there can be"
            )
        yield {
            "task": task.name,
            "metric": measure.name,
            "words": measure.words,
            "main": number == 0,
            "value": value,
            "n": len(task.trials),
            "chance": measure.chance,
            "ceiling": measure.ceiling,
            "better": measure.better,
            "share": measure.share,
        }


def change_columns(changes: Mapping[str, float]) -> dict[str, Any]:
    """The columns that say what a lesion did to its sites' activations."""
    plain = {site: round(float(value), 6) for site, value in changes.items()}
    mean = float(np.mean(list(changes.values()))) if changes else 0.0
    return {"change": mean, "changes": json.dumps(plain)}


def part_of(trials: Sequence[pa.Table], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """One cell's part of both tables: its trials and its rows, each as parquet, with the length of the first before."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as parquet

    whole = pa.concat_tables(trials).unify_dictionaries()
    first, second = io.BytesIO(), io.BytesIO()
    parquet.write_table(whole, first, compression="zstd", row_group_size=len(whole))
    pd.DataFrame(list(rows)).to_parquet(second, index=False)
    return _LENGTH.pack(len(first.getvalue())) + first.getvalue() + second.getvalue()


def _split(part: bytes) -> tuple[io.BytesIO, io.BytesIO]:
    """A part's trials and rows."""
    (length,) = _LENGTH.unpack_from(part)
    start = _LENGTH.size
    return io.BytesIO(part[start : start + length]), io.BytesIO(part[start + length :])


def gather_rows(parts: Iterable[bytes]) -> pd.DataFrame:
    """The table of measures from all parts, in their order."""
    import pandas as pd

    return pd.concat([pd.read_parquet(_split(part)[1]) for part in parts], ignore_index=True)


def gather_trials(parts: Iterable[bytes], target: Path) -> None:
    """Put all parts of the trials into one file, one part at a time, so that memory holds one alone."""
    import pyarrow.parquet as parquet

    def write(file: Any) -> None:
        writer: Any = None
        for each in parts:
            part = parquet.read_table(_split(each)[0])
            if writer is None:
                schema = part.schema.with_metadata({"facelesion": json.dumps({"version": VERSION})})
                writer = parquet.ParquetWriter(file, schema, compression="zstd")
            writer.write_table(part.cast(writer.schema), row_group_size=len(part))
        writer.close()

    write_whole(target, write)


def read_some(path: Path, columns: Sequence[str], of: Mapping[str, Iterable[str]]) -> pd.DataFrame:
    """Some trials of a file, read cell by cell, so that memory holds little besides them.

    Args:
        path: `trials.parquet`.
        columns: which of its columns; texts come as categories.
        of: by column, the texts that a trial must have one of.
    """
    import pandas as pd
    import pyarrow.parquet as parquet

    chosen = parquet.filters_to_expression([(name, "in", sorted(texts)) for name, texts in of.items()])
    with parquet.ParquetFile(path) as file:
        found = {name: _Column(file.metadata.num_rows) for name in columns}
        for number in range(file.num_row_groups):
            piece = file.read_row_group(number, columns=[*{*columns, *of}]).filter(chosen)
            for name, column in found.items():
                column.add(piece[name].combine_chunks())
    return pd.DataFrame({name: found.pop(name).whole() for name in columns}, copy=False)


class _Column:
    """A column that grows piece by piece in its place; of the room for all rows only what is filled takes memory."""

    def __init__(self, rows: int) -> None:
        self._rows, self._filled = rows, 0
        self._values: np.ndarray = np.empty(0)
        self._places: dict[str, int] | None = None

    def add(self, piece: Any) -> None:
        """The next values, plain ones or words with a dictionary of their own (pyarrow's arrays)."""
        if hasattr(piece, "dictionary"):
            places = self._places = self._places or {}
            values = piece.indices.to_numpy()
            values = np.array([places.setdefault(word, len(places)) for word in piece.dictionary.to_pylist()])[values]
            values = values.astype(np.int32)
        else:
            values = piece.to_numpy(zero_copy_only=False)
        if not len(self._values):
            self._values = np.empty(self._rows, values.dtype)
        self._values[self._filled : self._filled + len(values)] = values
        self._filled += len(values)

    def whole(self) -> Any:
        """All of it."""
        import pandas as pd

        values = self._values[: self._filled]
        return values if self._places is None else pd.Categorical.from_codes(values, categories=list(self._places))


def confusion_of(trials: pd.DataFrame) -> tuple[tuple[str, ...], torch.Tensor] | None:
    """Names and counts (K, K) of one condition's trials; None where all have one target."""
    names = tuple(sorted(set(trials["target"]) | set(trials["answer"])))
    if trials["target"].nunique() < 2:
        return None
    place = {name: number for number, name in enumerate(names)}
    shown = torch.tensor([place[name] for name in trials["target"]])
    answered = torch.tensor([place[name] for name in trials["answer"]])
    counts = torch.bincount(shown * len(names) + answered, minlength=len(names) ** 2)
    return names, counts.reshape(len(names), len(names))
