"""Where work is done: here, in several processes, on Ray, under SLURM. The same cells, the same parts, the same folder.

Work is a list of cells. A cell is a small value, named by all that decides its result; doing it twice is harmless; it
leaves a part of that name, written whole, and a part that is there is done. An engine hands out what is missing. It
may die at any time, as may whoever works for it: the folder is the truth, and nothing else has to be remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facelesion.lazy import lazily

if TYPE_CHECKING:
    from facelesion.engines.contract import Cell, Desk, Engine, Job, Work, Worker
    from facelesion.engines.here import Here
    from facelesion.engines.on_ray import Ray
    from facelesion.engines.parts import Parts
    from facelesion.engines.processes import Processes
    from facelesion.engines.under_slurm import Slurm

__all__ = ["Cell", "Desk", "Engine", "Here", "Job", "Parts", "Processes", "Ray", "Slurm", "Work", "Worker"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "contract": ("Cell", "Desk", "Engine", "Job", "Work", "Worker"),
        "here": ("Here",),
        "on_ray": ("Ray",),
        "parts": ("Parts",),
        "processes": ("Processes",),
        "under_slurm": ("Slurm",),
    },
)  # fmt: skip
