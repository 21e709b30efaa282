"""What can be trained: one list. A recipe is a dataclass of settings, and what trains by them.

    RECIPES["mine"] = Recipe("what is trained, in a line", lambda: (MineConfig, train_mine), table="found.csv")

The settings have a `run` (`facelesion.training.run.RunConfig`: where the run is kept) and a `recipe`, its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facelesion.errors import Error

Parts = tuple[Callable[..., Any], Callable[[Any], Path]]


@dataclass(frozen=True)
class Recipe:
    """A kind of training.

    Attributes:
        words: what is trained, in a line, for `facelesion train --help`.
        parts: gives the dataclass of its settings, and the function that trains by them and tells what it made. Called
            once the recipe is asked for: what it needs is heavy.
        table: the file in the run's folder, CSV or JSON, that says what came out; a run ends with it.
        page: the page that the recipe writes itself; `training.html` is written of the others.

    Example:
        >>> RECIPES["recovery"].words
        'injuries one after the other, with retraining after each (configs/train/recovery.yaml)'
        >>> Settings, train = RECIPES["recovery"].parts()
        >>> Settings(epochs=3).epochs
        3
    """

    words: str
    parts: Callable[[], Parts]
    table: str = ""
    page: str = ""


def _distil() -> Parts:
    from facelesion.training.distil import DistilConfig, distil

    return DistilConfig, distil


def _participant() -> Parts:
    from facelesion.training.participant import ParticipantConfig, participant

    return ParticipantConfig, participant


def _classify() -> Parts:
    from facelesion.training.classify import ClassifyConfig, classify

    return ClassifyConfig, classify


def _recovery() -> Parts:
    from facelesion.training.recovery import RecoveryConfig, recovery

    return RecoveryConfig, recovery


def _manipulation() -> Parts:
    from facelesion.training.manipulation import ManipulationConfig, manipulate

    return ManipulationConfig, manipulate


def _notebook() -> Parts:
    from facelesion.training.notebook import NotebookConfig, notebook

    return NotebookConfig, notebook


#: Every recipe by its name. One more is one line. See docs/extending.md.
RECIPES: dict[str, Recipe] = {
    "distil": Recipe(
        "a small VGG16 learns identity from MobileFaceNet (configs/train/builtin.yaml)", _distil, "reached.json"
    ),
    "participant": Recipe(
        "the same that knows individual things too, one per seed (configs/train/participant.yaml)", _participant,
        "reached.json",
    ),
    "classify": Recipe(
        'a network and a readout learn "face or not" or who it is, healthy or damaged (configs/notebook/*.yaml)',
        _classify,
        "tests.csv",
    ),
    "recovery": Recipe(
        "injuries one after the other, with retraining after each (configs/train/recovery.yaml)",
        _recovery,
        "recovery.csv",
    ),
    "manipulation": Recipe(
        "units of each feature excited, inhibited and held, with controls (configs/notebook/manipulation.yaml)",
        _manipulation,
        "layers.csv",
    ),
    "notebook": Recipe(
        "the whole Keras notebook, as it was or as it should have been (configs/notebook/as_it_was.yaml, right.yaml)",
        _notebook,
        "notebook.csv",
        "notebook.html",
    ),
}


def recipe_called(name: str) -> Recipe:
    """A recipe by its name.

    Raises:
        Error: there is none.
    """
    if name not in RECIPES:
        *most, last = RECIPES
        raise Error(f"no recipe is called {name!r}: take {', '.join(most)} or {last}")
    return RECIPES[name]
