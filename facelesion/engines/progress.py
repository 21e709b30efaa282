"""How far a job is, over all machines: cells done, images × lesions a second, time left, workers alive."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Any, TextIO

from facelesion.engines.contract import Job

_EVERY = 10.0  # seconds between two lines where no bar can be drawn
_LOOK_BACK = 300.0  # seconds that the rate is measured over


class Progress:
    """One bar on a terminal, and a line now and then elsewhere.

    Args:
        job: what is done; its `progress` says whether to tell anything.
        missing: the cells that are still to be done.
    """

    def __init__(self, job: Job, missing: list[Any], stream: TextIO | None = None) -> None:
        self.job, self.stream = job, stream or sys.stderr
        self.total, self.done = len(job.cells), len(job.cells) - len(missing)
        self.left = sum(map(job.work.amount, missing))
        self.workers = 0
        self._seen = deque([(time.monotonic(), 0)])
        self._amount, self._last = 0, time.monotonic()
        self._bar: Any = None
        if job.progress and self.stream.isatty():
            from tqdm import tqdm

            form = "{n_fmt}/{total_fmt} cells |{bar}| {postfix}"
            self._bar = tqdm(total=self.total, initial=self.done, file=self.stream, bar_format=form, leave=True)

    def finished(self, cell: Any) -> None:
        """A cell is done."""
        amount = self.job.work.amount(cell)
        self.done, self.left, self._amount = self.done + 1, self.left - amount, self._amount + amount
        self._seen.append((time.monotonic(), self._amount))
        while len(self._seen) > 2 and self._seen[-1][0] - self._seen[1][0] > _LOOK_BACK:
            self._seen.popleft()
        if self._bar is not None:
            self._bar.update(1)
        self.tell(final=self.done == self.total)

    def tell(self, workers: int | None = None, final: bool = False) -> None:
        """Show how things stand, if it is time to."""
        self.workers = self.workers if workers is None else workers
        if not self.job.progress:
            return
        if self._bar is not None:
            self._bar.set_postfix_str(self.sentence())
        elif final or time.monotonic() - self._last > _EVERY:
            self._last = time.monotonic()
            print(f"  {self.done} of {self.total} cells, {self.sentence()}", file=self.stream, flush=True)

    def say(self, line: str) -> None:
        """Tell something that happened."""
        if not self.job.progress:
            return
        if self._bar is not None:
            self._bar.write(line, file=self.stream)
        else:
            print(line, file=self.stream, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()

    def sentence(self) -> str:
        """Rate, time left, workers."""
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        rate = (after - before) / (end - start) if end > start else 0.0
        alive = f"{self.workers} worker{'' if self.workers == 1 else 's'}"
        if not rate:
            return f"time left not known yet, {alive}"
        return f"{rate:,.0f} images × lesions a second, {_told(self.left / rate)} left, {alive}"


def _told(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
