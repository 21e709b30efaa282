"""The plain engine: this process, one cell after the other. What every other engine must agree with."""

from __future__ import annotations

from dataclasses import dataclass

from facelesion.engines.contract import Desk, Job, Worker


@dataclass(frozen=True)
class Here:
    """Work in this process.

    Example:
        >>> Here()
        Here()
    """

    def run(self, job: Job) -> Worker | None:
        """Do what is missing; whoever did it, if anything was."""
        cells, _ = job.missing()
        if not cells:
            return None
        worker = job.work.begin(Desk(job.inputs.__getitem__, job.parts, alone=True, progress=job.progress))
        for cell in cells:
            worker.do(cell)
        return worker
