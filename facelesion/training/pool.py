"""Views of photographs and the teacher's answers, made once and kept for every seed that learns from a part of them.

Twelve networks that learn from other people each need not pay twelve times for the same turned and blended pictures,
nor ask the teacher twelve times. The pool holds views of all who may train; a network takes those that show its own
people alone. Pictures stay on disk (memory-mapped): networks that train at once share one copy of them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from facelesion.data.imagesets import ImageSet
from facelesion.errors import Error, one_line
from facelesion.files import digest_of, write_bytes
from facelesion.locks import locked
from facelesion.models.subject import Preprocessing
from facelesion.training.views import Shares, count_views, draw_views, teach
from facelesion.weights import store

_NOTE = "pool.json"


@dataclass(frozen=True)
class Pool:
    """Views of photographs of many people.

    Attributes:
        images: uint8 (M, 3, S, S), RGB, on disk.
        shown: (M, 2) whom each view shows, as positions in `people`: one person twice, or two.
        people: names, sorted.
        plain: how many of the first views are the photographs as they are.
        folder: where it is kept.
    """

    images: torch.Tensor
    shown: torch.Tensor
    people: tuple[str, ...]
    plain: int
    folder: Path

    def rows_of(self, people: Collection[str]) -> torch.Tensor:
        """Rows of the views that show these people and nobody else."""
        chosen = set(people)
        inside = torch.tensor([name in chosen for name in self.people])
        return torch.nonzero(inside[self.shown].all(1))[:, 0]

    def labels(self, rows: torch.Tensor) -> tuple[str, ...]:
        """Who is on views that show one person each.

        Raises:
            Error: a view shows two.
        """
        shown = self.shown[rows]
        if not bool((shown[:, 0] == shown[:, 1]).all()):
            raise Error(
                "a view of two people is a picture of nobody: take views of one person each"
            )
        return tuple(self.people[who] for who in shown[:, 0].tolist())

    def taught(self, teacher: nn.Module, weights: str, progress: bool) -> torch.Tensor:
        """The teacher's answers to all views, float32 (M, E), unit length; asked once and kept.

        Args:
            teacher: the network.
            weights: hash of its weights: another teacher's answers are kept apart.
            progress: show a progress bar.
        """
        path = self.folder / f"targets-{weights}.safetensors"
        # Looked for again once nobody else is at it. What is there is only read: its folder may be another's.
        if not path.is_file():
            with _alone(self.folder):
                if not path.is_file():
                    self._teach(teacher, path, weights, progress)
        return store.read_weights(path)[0]["targets"]

    def _teach(self, teacher: nn.Module, path: Path, weights: str, progress: bool) -> None:
        with tqdm(total=len(self.images), desc="teacher", unit=" views", disable=not progress) as bar:
            views = teach(teacher, Preprocessing(self.images.shape[-1]), self.images, progress=bar.update)
        store.save_weights(path, {"targets": views.targets}, {"teacher": weights})


def open_pool(faces: ImageSet, shares: Shares, seed: int, folder: str | Path, progress: bool = False) -> Pool:
    """The pool of these photographs: made, or found as an earlier start left it.

    Args:
        faces: aligned photographs, labels are the people.
        shares: how many views of each kind.
        seed: of what is turned, blended and composed.
        folder: of all pools; this one has a folder of its own there, named after everything that decides it.
        progress: show a progress bar.

    Raises:
        Error: the folder cannot be written, or `shares` leave out the photographs as they are.
    """
    if shares.plain < 1:
        said = f"shares.plain is {shares.plain:g}: it must be 1 or more"
        raise Error(f"{said}: validation asks about plain views")
    about = {"format": 1, "photographs": faces.digest, "shares": asdict(shares), "seed": seed}
    own = Path(folder) / f"views-{digest_of([json.dumps(about, sort_keys=True)])}"
    if not (own / _NOTE).is_file():
        with _alone(own):
            if not (own / _NOTE).is_file():
                _make(own, faces, shares, seed, progress)
                write_bytes(own / _NOTE, f"{json.dumps(about, indent=1)}\n".encode())
    try:
        shown, images = np.load(own / "shown.npy", allow_pickle=False), _mapped(own / "images.npy")
    except (OSError, ValueError, EOFError) as error:
        raise Error(f"{own}: {one_line(error)}: delete the folder, and it is made again") from None
    people = tuple(sorted(set(faces.labels)))
    return Pool(
        images,
        torch.from_numpy(shown).long(),
        people,
        len(faces) * int(shares.plain),
        own,
    )


def _make(own: Path, faces: ImageSet, shares: Shares, seed: int, progress: bool) -> None:
    """Write pictures and whom they show; each file appears whole."""
    people = sorted(set(faces.labels))
    number = {name: place for place, name in enumerate(people)}
    who = np.array([number[label] for label in faces.labels], np.int32)
    total, size = count_views(len(faces), shares), faces.size
    unfinished = own / ".images.part"
    images = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (total, 3, size, size))
    shown = np.empty((total, 2), np.int32)
    done = 0
    with tqdm(total=total, desc="views", unit=" views", disable=not progress) as bar:
        for made, of in draw_views(faces.images, shares, seed):
            images[done : done + len(made)] = made.numpy()
            shown[done : done + len(made)] = who[of.numpy()]
            done += len(made)
            bar.update(len(made))
    images.flush()
    del images
    os.replace(unfinished, own / "images.npy")
    np.save(own / ".shown.part.npy", shown)
    os.replace(own / ".shown.part.npy", own / "shown.npy")


def _mapped(path: Path) -> torch.Tensor:
    # Copy on write: the file stays as it is whatever is done to the tensor.
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else makes the same meanwhile."""
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(folder / ".lock", said=f"{folder}: another process is making it, waiting"))
        except OSError as error:
            raise Error(f"{folder} cannot be written ({error.strerror}): name another folder") from None
        yield


def drawn_part(names: Sequence[str], share: float, seed: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A random part of the names, and those left out, in the order in which they were drawn.

    Args:
        names: in any order.
        share: how many of them are in the part, as a share.
        seed: one number or several; the same names and seed give the same part.

    Example:
        >>> inside, out = drawn_part("abcde", 0.6, seed=1)
        >>> len(inside), len(out), sorted(inside + out)
        (3, 2, ['a', 'b', 'c', 'd', 'e'])
    """
    order = np.random.default_rng(seed).permutation(sorted(names)).tolist()
    kept = round(len(order) * share)
    return tuple(order[:kept]), tuple(order[kept:])
