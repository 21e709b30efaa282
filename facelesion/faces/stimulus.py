"""What every stimulus is: a value that is called with pictures and landmarks, joined with `+`, written and read.

The kinds are in `facelesion.faces.stimuli`, which says what they share.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from facelesion.errors import Error
from facelesion.faces import regions as _regions

REFERENCE_SIZE = 224

_BEYOND = 0.25  # of full brightness: what resampling may leave outside
_MOST_PARTS, _DEEPEST = 100, 10

#: Every stimulus by the name of its kind. A new one enters itself. See docs/extending.md.
KINDS: dict[str, type[Stimulus]] = {}


@dataclass(frozen=True)
class Batch:
    """What flows from one stimulus to the next."""

    images: Tensor
    landmarks: Tensor
    ids: Tensor
    others: tuple[Tensor, Tensor] | None

    @property
    def size(self) -> tuple[int, int]:
        return self.images.shape[-2], self.images.shape[-1]

    @property
    def per_pixel(self) -> float:
        """Pixels of these pictures in one pixel of a 224-pixel picture."""
        return min(self.size) / REFERENCE_SIZE


@dataclass(frozen=True)
class Stimulus:
    """The base of all stimuli; see the module for what they share.

    Raises:
        Error: a setting that a stimulus cannot have, such as an unknown region; told when it is made.
    """

    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if cls.kind:
            KINDS[cls.kind] = cls

    def __call__(
        self,
        images: Tensor,
        landmarks: Tensor,
        *,
        ids: Tensor | None = None,
        others: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Make the stimuli.

        Args:
            images: float (N, 3, H, W), RGB in [0, 1].
            landmarks: (N, 478, 2), (N, 68, 2) or (N, 5, 2), pixels of `images`.
            ids: int (N,), the pictures' numbers, on which random stimuli depend; 0 ... N - 1 when left out.
            others: images and landmarks of N second faces, for stimuli made of two.

        Returns:
            New pictures (N, 3, H, W) of the same type on the same device; `images` is left as it was.

        Raises:
            Error: shapes or types that do not fit, values outside the range; a second face is needed and not given. To
                look at values would wait for a GPU: there, pictures with values outside it become not-a-number.
        """
        _check(images, landmarks, ids)
        if others is not None:
            _check(*others, ids=None)
            if others[0].shape != images.shape:
                raise Error(
                    f"the second faces are {tuple(others[0].shape)}, the first {tuple(images.shape)}: make them alike"
                )
        if ids is None:
            ids = torch.arange(len(images), device=images.device)
        if others is not None:
            others = in_range(others[0]), others[1]
        images = in_range(images)
        batch = Batch(images, landmarks.to(images.device, torch.float32), ids.to(images.device), others)
        return self._apply(batch).images

    def moved(self, landmarks: Tensor, height: int, width: int) -> Tensor:
        """Where landmarks (N, points, 2) of pictures of this size lie once the stimulus is made of them.

        Example:
            >>> from facelesion.faces import Invert, Mask
            >>> (Mask("eyes") + Invert()).moved(torch.tensor([[[0.0, 10.0]]]), 112, 112).tolist()
            [[[111.0, 101.0]]]
        """
        return landmarks

    def _apply(self, batch: Batch) -> Batch:
        return replace(batch, images=self._pictures(batch))

    def _pictures(self, batch: Batch) -> Tensor:
        raise NotImplementedError

    def __add__(self, other: Stimulus) -> Stimulus:
        if not isinstance(other, Stimulus):
            return NotImplemented
        parts = [part for part in (*_parts(self), *_parts(other)) if part != Intact()]
        return Chain(tuple(parts)) if len(parts) > 1 else (parts or [Intact()])[0]

    def __str__(self) -> str:
        name = f"{self.kind} {getattr(self, 'region', '')}".strip()
        changed = [
            f"{field.name}={_plain(getattr(self, field.name))}"
            for field in fields(self)
            if field.name != "region" and getattr(self, field.name) != field.default
        ]
        return f"{name} ({', '.join(changed)})" if changed else name

    def to_dict(self) -> dict[str, Any]:
        """The stimulus as plain values for YAML or JSON; `from_dict` reads it back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"kind": self.kind} | {
            key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any] | str) -> Stimulus:
        """Read a stimulus from `to_dict`'s values, or from a short name such as "mask eyes + invert".

        Raises:
            Error: no such stimulus, a setting that it has not, or one that is missing or wrong.

        Example:
            >>> from facelesion.faces import Invert, Mask, Stimulus
            >>> str(Stimulus.from_dict({"kind": "mask", "region": "eyes", "fill": "noise"}))
            'mask eyes (fill=noise)'
            >>> Stimulus.from_dict("mask eyes + invert") == Mask("eyes") + Invert()
            True
        """
        return _read(values, [])


@dataclass(frozen=True)
class Chain(Stimulus):
    """Several stimuli one after the other; written `a + b`.

    Example:
        >>> from facelesion.faces import Invert, Mask
        >>> chain = Mask("eyes") + Invert()
        >>> isinstance(chain, Chain), [str(part) for part in chain.parts]
        (True, ['mask eyes', 'invert'])
    """

    parts: tuple[Stimulus, ...]
    kind: ClassVar[str] = "chain"

    def __post_init__(self) -> None:
        parts = self.parts
        if not (isinstance(parts, tuple) and parts and all(isinstance(part, Stimulus) for part in parts)):
            raise Error(f"{self.kind}: parts {reprlib.repr(parts)} must be a tuple of one or more stimuli")
        if len(parts) > _MOST_PARTS:
            raise Error(f"{self.kind}: {len(parts)} parts, more than {_MOST_PARTS}: leave some out")

    def moved(self, landmarks: Tensor, height: int, width: int) -> Tensor:
        for part in self.parts:
            landmarks = part.moved(landmarks, height, width)
        return landmarks

    def _apply(self, batch: Batch) -> Batch:
        for part in self.parts:
            batch = part._apply(batch)
        return batch

    def __str__(self) -> str:
        return " + ".join(str(part) for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "parts": [part.to_dict() for part in self.parts]}


@dataclass(frozen=True)
class Intact(Stimulus):
    """The picture as it is.

    Example:
        >>> from facelesion.faces import mean_face
        >>> picture = torch.rand(1, 3, 8, 8)
        >>> torch.equal(Intact()(picture, mean_face()[None]), picture)
        True
    """

    kind: ClassVar[str] = "intact"

    def _pictures(self, batch: Batch) -> Tensor:
        return batch.images.clone()


def is_number(value: object, least: float, most: float) -> bool:
    """Whether it is a number of this range; nan, truth values and text are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def check_seed(stimulus: Stimulus) -> None:
    seed = getattr(stimulus, "seed", 0)
    if not (isinstance(seed, int) and is_number(seed, 0, 2**63 - 1)):
        raise Error(
            f"{stimulus.kind}: seed {reprlib.repr(seed)} must be a whole number from 0 to {2**63 - 1}"
        )


def _parts(stimulus: Stimulus) -> tuple[Stimulus, ...]:
    return stimulus.parts if isinstance(stimulus, Chain) else (stimulus,)


def _check(images: Tensor, landmarks: Tensor, ids: Tensor | None) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise Error(f"images of shape {tuple(images.shape)}: they must be (N, 3, H, W), RGB")
    if not images.is_floating_point():
        raise Error(f"images are {images.dtype}: a stimulus takes floats in [0, 1], so divide by 255")
    if images.numel() and images.device.type == "cpu":
        low, high = (float(value) for value in images.detach().aminmax())
        if not (-_BEYOND <= low and high <= 1 + _BEYOND):  # so written that nan is outside
            raise Error(
                f"images have values of {low:g} to {high:g}: a stimulus takes floats in [0, 1], so divide by 255"
            )
    _regions.check_landmarks(landmarks)
    if len(landmarks) != len(images):
        raise Error(f"{len(images)} images and {len(landmarks)} sets of landmarks do not match")
    if ids is not None and ids.shape != (len(images),):
        raise Error(f"ids of shape {tuple(ids.shape)} for {len(images)} images: give one number each")


def in_range(images: Tensor) -> Tensor:
    """The pictures; off the processor, where nobody has looked at the values, nothing where one of them is outside."""
    if images.device.type == "cpu" or not images.numel():
        return images
    low, high = images.detach().aminmax()
    return torch.where((low >= -_BEYOND) & (high <= 1 + _BEYOND), images, torch.nan)


def _kind(name: str) -> type[Stimulus]:
    if name not in KINDS:
        near = difflib.get_close_matches(name[:100], KINDS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise Error(f"no stimulus {reprlib.repr(name)}: {hint}there are {', '.join(KINDS)}")
    return KINDS[name]


def _read(values: object, read: list[object], depth: int = 0) -> Stimulus:
    """A stimulus from plain values, and in a chain from those of its parts; `read` counts all of them."""
    read.append(values)
    if depth > _DEEPEST or len(read) > _MOST_PARTS:  # a list may hold itself, or another many times over
        raise Error(
            f"a stimulus of more than {_MOST_PARTS} parts, or chains more than {_DEEPEST} deep: leave some out"
        )
    if isinstance(values, str):
        return _parse(values)
    if not isinstance(values, Mapping) or "kind" not in values:
        raise Error(f"a stimulus needs a 'kind': {reprlib.repr(values)} has none")
    if not isinstance(values["kind"], str):
        raise Error(
            f"a stimulus's 'kind' is a name, not {reprlib.repr(values['kind'])}: there are {', '.join(KINDS)}"
        )
    cls = _kind(values["kind"])
    known = {field.name: field for field in fields(cls)}
    wrong = [key for key in values if key != "kind" and key not in known]
    if wrong:
        near = difflib.get_close_matches(str(wrong[0])[:100], known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise Error(
            f"stimulus {cls.kind!r} has no {reprlib.repr(wrong[0])}: {hint}it takes {', '.join(known) or 'nothing'}"
        )
    given = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
        if key != "kind"
    }
    if cls is Chain and "parts" in given:
        if not isinstance(given["parts"], tuple):
            raise Error(
                f"stimulus {cls.kind!r}: parts {reprlib.repr(given['parts'])} must be a list of stimuli"
            )
        given["parts"] = tuple(_read(part, read, depth + 1) for part in given["parts"])
    return _made(cls, given)


def _made(cls: type[Stimulus], given: Mapping[str, Any]) -> Stimulus:
    """A stimulus of this kind, if nothing is missing."""
    for field in fields(cls):
        if field.name not in given and field.default is field.default_factory is MISSING:
            raise Error(f"stimulus {cls.kind!r} needs {field.name!r}, and it is not given")
    return cls(**given)


def _of_region(cls: type[Stimulus]) -> bool:
    """Whether a short name says a region after the kind: "mask eyes"."""
    return [field.name for field in fields(cls)][:1] == ["region"]


def _parse(text: str) -> Stimulus:
    """Short names joined by "+": "mask eyes + invert"."""
    total: Stimulus = Intact()
    written = text.split("+")
    if len(written) > _MOST_PARTS:
        raise Error(f"a stimulus of {len(written)} parts, more than {_MOST_PARTS}: leave some out")
    for part in written:
        words = part.strip()
        if words in KINDS and not (_of_region(KINDS[words]) or KINDS[words] is Chain):
            total = total + _made(KINDS[words], {})
            continue
        first, _, rest = words.partition(" ")
        cls = _kind(first if rest and first in KINDS else words)
        if not rest or cls is Chain:
            raise Error(
                f"stimulus {words!r} needs parts: write them with '+' between"
                if cls is Chain
                else f"stimulus {words!r} needs a region, such as '{words} eyes'"
            )
        if not _of_region(cls):
            raise Error(f"stimulus {first!r} takes no region: leave {reprlib.repr(rest.strip())} out")
        total = total + _made(cls, {"region": rest.strip()})
    return total


def _plain(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
