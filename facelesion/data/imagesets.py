"""Images in memory with what is known of them: the values that flow from `data` to every later stage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch

from facelesion.errors import Error


@dataclass(frozen=True)
class ImageSet:
    """Labelled pictures of one size.

    Attributes:
        images: uint8 tensor (N, 3, H, W), RGB.
        labels: what each picture shows (a category; for faces the person), one string per picture.
        names: a unique name per picture (a file's path below its root, or how it was made).
        ids: int64 tensor (N,), the pictures' numbers, by which random stimuli and lesions draw. They are made from the
            names and stay with the pictures, so that a picture gets the same noise in any part, order and batch.

    Raises:
        Error: images of another type or shape, or not one label, name and number for each.

    Example:
        >>> pictures = ImageSet(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), ("cup", "car"), ("a", "b"))
        >>> len(pictures), pictures.size, pictures[[1]].labels
        (2, 8, ('car',))
    """

    images: torch.Tensor
    labels: tuple[str, ...]
    names: tuple[str, ...]
    ids: torch.Tensor = field(kw_only=True, default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __post_init__(self) -> None:
        if not len(self.ids):
            object.__setattr__(self, "ids", numbers_of(self.names))
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise Error(
                f"images must be uint8 of shape (N, 3, H, W), not {self.images.dtype} {tuple(self.images.shape)}"
            )
        if not len(self.images) == len(self.labels) == len(self.names):
            raise Error(
                f"{len(self.images)} images, {len(self.labels)} labels and {len(self.names)} names do not match"
            )
        if self.ids.dtype != torch.int64 or self.ids.shape != (len(self.names),):
            raise Error(
                f"ids must be int64 of shape ({len(self.names)},), not {self.ids.dtype} {tuple(self.ids.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Height of the pictures in pixels (they are square)."""
        return self.images.shape[-2]

    def __getitem__(self, index: Sequence[int] | torch.Tensor | slice) -> Self:
        """The pictures at these positions, in this order, as a new set."""
        if isinstance(index, Sequence) and not len(index):
            index = torch.empty(0, dtype=torch.int64)  # of no type by itself
        rows = torch.arange(len(self))[index if isinstance(index, slice) else torch.as_tensor(index)]
        return replace(self, **self._at(rows))

    def _at(self, rows: torch.Tensor) -> dict[str, Any]:
        """What belongs to the pictures at these positions."""
        chosen = rows.tolist()
        return {
            "images": self.images[rows],
            "labels": tuple(self.labels[i] for i in chosen),
            "names": tuple(self.names[i] for i in chosen),
            "ids": self.ids[rows],
        }

    @property
    def digest(self) -> str:
        """SHA-256 (12 hex digits) over pixels, labels and names: what a result says it was measured on."""
        sha = hashlib.sha256(self.images.contiguous().numpy().tobytes())
        sha.update("\0".join(self.labels + self.names).encode(errors="surrogateescape"))
        return sha.hexdigest()[:12]


@dataclass(frozen=True)
class FaceSet(ImageSet):
    """Aligned pictures of faces, with landmarks; `labels` are the people.

    Attributes:
        landmarks: float32 tensor (N, 478, 2): MediaPipe's face mesh points in pixels of the picture, x to the
            right and y down, pixel centres at whole numbers.

    Raises:
        Error: as for `ImageSet`, or landmarks that are not (N, points, 2).

    Example:
        >>> from facelesion.data import FaceSpace
        >>> faces = FaceSpace.load().draw(people=2, pictures=3, seed=1)
        >>> tuple(faces.images.shape), tuple(faces.landmarks.shape), faces.labels[:4]
        ((6, 3, 112, 112), (6, 478, 2), ('person-1-0', 'person-1-0', 'person-1-0', 'person-1-1'))
        >>> len(faces[:2]), faces.digest == FaceSpace.load().draw(people=2, pictures=3, seed=1).digest
        (2, True)
    """

    landmarks: torch.Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.landmarks.ndim != 3 or self.landmarks.shape[::2] != (len(self), 2):
            raise Error(f"landmarks must be (N, points, 2), not {tuple(self.landmarks.shape)}")

    def _at(self, rows: torch.Tensor) -> dict[str, Any]:
        return {**super()._at(rows), "landmarks": self.landmarks[rows]}

    def shown(self, stimulus: Callable[..., torch.Tensor], batch_size: int = 256) -> Self:
        """The same pictures under a stimulus, which draws by the pictures' own numbers.

        Args:
            stimulus: such as `Mask("eyes")`: called with float pictures in [0, 1], landmarks and `ids`.
            batch_size: pictures that are made at a time; it changes none of them.

        Returns:
            A new set with the same labels, names, numbers and landmarks.
        """
        images = torch.empty_like(self.images, memory_format=torch.contiguous_format)
        for rows in torch.arange(len(self)).split(batch_size):
            seen = stimulus(self.images[rows].float() / 255, self.landmarks[rows], ids=self.ids[rows])
            images[rows] = eight_bits(seen)
        return replace(self, images=images)


def eight_bits(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures in [0, 1] as uint8: rounded, and what lies beyond brought to the nearest there is.

    Example:
        >>> eight_bits(torch.tensor([-0.2, 0.4, 1.2])).tolist()
        [0, 102, 255]
    """
    return (pictures * 255).round().clamp(0, 255).to(torch.uint8)


def numbers_of(names: Sequence[str]) -> torch.Tensor:
    """A number (N,) for each name, int64 from 0 on, that depends on the name alone.

    Example:
        >>> bool((numbers_of(["a", "b"])[1:] == numbers_of(["b"])).all())
        True
    """
    digests = (hashlib.sha256(name.encode(errors="surrogateescape")).digest() for name in names)
    return torch.tensor([int.from_bytes(each[:8], "big") >> 1 for each in digests], dtype=torch.int64)
