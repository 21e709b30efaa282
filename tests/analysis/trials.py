"""Made-up answers, trial by trial, with people and draws that differ as real ones do."""

import functools

import numpy as np
import pandas as pd

DOSES = (0.1, 0.3)


def made_up(
    seed: int,
    loss: dict[tuple[str, str], float],
    *,
    people: int = 16,
    pictures: int = 3,
    draws: int = 4,
    tasks: tuple[str, ...] = ("who", "what"),
    damages: tuple[str, ...] = ("ablation", "noise", "dropout"),
    healthy: float = 1.4,
    same_people: bool = False,
    strength: dict[str, tuple[float, ...]] | None = None,
) -> pd.DataFrame:
    """Trials of tasks with several answers to choose from.

    `loss` is what a (damage, task) takes from the sensitivity at the largest dose; people differ in how well they are
    known and in how much damage takes of them, and draws in how much they take. `strength` says by kind which share
    of the loss each dose brings; else it grows with the dose.
    """
    random = np.random.default_rng(seed)
    frame = _skeleton(people, pictures, draws, tasks, damages, same_people)
    cells = [("none", 0, 0.0)] + [
        (name, draw, dose) for name in damages for draw in range(draws) for dose in DOSES
    ]
    who = 1 if same_people else len(tasks)
    ease = np.broadcast_to(random.normal(0, 0.6, (who, people)), (len(tasks), people))
    frail = np.broadcast_to(np.exp(random.normal(0, 0.4, (who, people))), (len(tasks), people))
    # A draw takes more or less, of all tasks and at all doses; and of one task more than of another.
    hit = {
        (name, draw): np.exp(random.normal(0, 0.35) + random.normal(0, 0.25, len(tasks)))
        for name in ("none", *damages)
        for draw in range(draws)
    }

    def share(name: str, dose: float) -> float:
        return (
            (strength or {}).get(name, [step / DOSES[-1] for step in DOSES])[DOSES.index(dose)]
            if dose
            else 0.0
        )

    taken = np.array(
        [
            [
                loss.get((name, task), 0.0) * hit[name, draw][place] * share(name, dose)
                for place, task in enumerate(tasks)
            ]
            for name, draw, dose in cells
        ]
    )
    level = healthy + ease[None] - taken[:, :, None] * frail[None]
    margin = (level[..., None] + random.normal(0, 1, (*level.shape, pictures))).ravel()
    return frame.assign(value=margin, right=margin > 0)


@functools.cache
def _skeleton(people, pictures, draws, tasks, damages, same_people) -> pd.DataFrame:
    """Everything but the answers: cell by cell, task by task, person by person."""
    cells = [("none", 0, 0.0)] + [
        (name, draw, dose) for name in damages for draw in range(draws) for dose in DOSES
    ]
    rows = [
        (name, draw, dose, task, f"{'' if same_people else task} {person}".strip())
        for name, draw, dose in cells
        for task in tasks
        for person in range(people)
        for _ in range(pictures)
    ]
    frame = pd.DataFrame(rows, columns=["lesion", "draw", "dose", "task", "person"])
    frame["trial"] = np.tile(np.arange(people * pictures), len(cells) * len(tasks))
    frame["target"] = frame["person"]
    return frame.assign(participant="net", stimulus="intact", item="p", other="", answer="")


def swap_tasks(trials: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Task labels permuted within each lesion: the answers of two tasks change places, or not."""
    return _exchange(trials, ["lesion", "dose", "draw"], "task", random)


def swap_lesions(trials: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Lesion labels permuted: which kind of damage a set of answers belongs to, drawn anew within dose and draw."""
    intact = trials[trials["lesion"] == "none"]
    return pd.concat(
        [intact, _exchange(trials[trials["lesion"] != "none"], ["dose", "draw"], "lesion", random)]
    )


def shuffle_all(trials: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """What is left of any task under any damage, dose and draw belongs to any other."""
    intact, rest = trials[trials["lesion"] == "none"], trials[trials["lesion"] != "none"]
    cells = rest.groupby(["lesion", "dose", "draw", "task"], sort=False).ngroup().to_numpy()
    order = np.lexsort((rest["trial"].to_numpy(), cells))
    blocks = rest["right"].to_numpy()[order].reshape(cells.max() + 1, -1)
    out = rest.iloc[order].copy()
    out["right"] = random.permutation(blocks).ravel()
    return pd.concat([intact, out])


def split_people(trials: pd.DataFrame, task: str, random: np.random.Generator) -> pd.DataFrame:
    """One task's people in two random halves, as if they were two tasks."""
    part = trials[trials["task"] == task].copy()
    people = part["person"].unique()
    half = set(random.permutation(people)[: len(people) // 2])
    part["task"] = np.where(part["person"].isin(half), "first half", "second half")
    return part


def _exchange(
    trials: pd.DataFrame, within: list[str], label: str, random: np.random.Generator
) -> pd.DataFrame:
    """Permute the answers over the values of `label`, anew in every block of the same `within`."""
    others = [name for name in ("lesion", "dose", "draw", "task") if name not in within and name != label]
    out = trials.sort_values([*within, label, *others, "trial"], kind="stable").reset_index(drop=True)
    right = out["right"].to_numpy().copy()
    kinds = out[label].to_numpy()
    for rows in out.groupby(within, sort=False).indices.values():
        blocks = right[rows].reshape(len(np.unique(kinds[rows])), -1)
        right[rows] = random.permutation(blocks).ravel()
    out["right"] = right
    return out
