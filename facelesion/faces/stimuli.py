"""What is done to a picture of a face before the network sees it.

A stimulus is an immutable value. It is called with a batch of pictures and their landmarks and gives pictures of the
same shape, on their device; nothing is written to disk, and no loop runs over pictures. `a + b` does `a`, then `b`.

    stimulus = Mask("eyes") + Invert()
    pictures = stimulus(images, landmarks)

Pictures are float (N, 3, H, W), RGB in [0, 1]; landmarks are (N, 478, 2), (N, 68, 2) or (N, 5, 2) pixels of them.
Where the notebook speaks of pixels (the blur's width), it means pixels of a 224-pixel picture: they scale with the
pictures' shorter side. A stimulus looks at the landmarks only, never for a face: given borrowed landmarks it treats
any picture, so that a mask is no cue to what is behind it. Random stimuli draw by their seed and the picture's number
(`ids`), so that a picture gets the same noise in any batch.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from facelesion.errors import Error
from facelesion.faces import randomness
from facelesion.faces.blur import gaussian_blur
from facelesion.faces.painted import Painted
from facelesion.faces.sent import beside
from facelesion.faces.stimuli_of_regions import Blur, ControlMask, Isolate, Mask
from facelesion.faces.stimuli_of_two import Composite, PartSwap, similarity_matrix
from facelesion.faces.stimulus import (
    KINDS,
    REFERENCE_SIZE,
    Batch,
    Chain,
    Intact,
    Stimulus,
    check_seed,
    is_number,
)

__all__ = [
    "KINDS", "REFERENCE_SIZE", "Blur", "Chain", "Composite", "Contrast", "ControlMask", "GaussianNoise", "Greyscale",
    "Intact", "Invert", "Isolate", "Mask", "Painted", "PartSwap", "PhaseScramble", "Stimulus", "TileScramble",
    "gaussian_blur", "similarity_matrix",
]  # fmt: skip

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV
_MOST_TILES = 256


@dataclass(frozen=True)
class Invert(Stimulus):
    """The picture upside down: turned by half a turn in its plane (the face inversion effect, Yin 1969).

    Example:
        >>> from facelesion.faces import mean_face
        >>> picture = torch.rand(1, 3, 8, 8)
        >>> torch.equal(Invert()(picture, mean_face()[None]), picture.flip(2, 3))
        True
    """

    kind: ClassVar[str] = "invert"

    def moved(self, landmarks: Tensor, height: int, width: int) -> Tensor:
        return beside(landmarks, [width - 1, height - 1]) - landmarks

    def _apply(self, batch: Batch) -> Batch:
        return replace(batch, images=batch.images.flip(-2, -1), landmarks=self.moved(batch.landmarks, *batch.size))


@dataclass(frozen=True)
class PhaseScramble(Stimulus):
    """The picture's amplitude spectrum with random phases: its contrast at every scale, and no shape.

    One random phase field is added in all three channels, so that colours stay together; values beyond [0, 1] are
    clipped.

    Example:
        >>> from facelesion.faces import mean_face
        >>> picture = torch.rand(1, 3, 16, 16) / 4 + 0.4
        >>> scrambled = PhaseScramble(seed=1)(picture, mean_face()[None])
        >>> torch.allclose(torch.fft.fft2(scrambled).abs(), torch.fft.fft2(picture).abs(), atol=1e-3)
        True
    """

    seed: int = 0
    kind: ClassVar[str] = "phase scramble"

    def __post_init__(self) -> None:
        check_seed(self)

    def _pictures(self, batch: Batch) -> Tensor:
        height, width = batch.size
        noise = randomness.normal(self.seed, self.kind, batch.ids, height * width).unflatten(
            1, (1, height, width)
        )
        turn = torch.fft.rfft2(noise)
        turn = turn / turn.abs().clamp_min(1e-12)
        turn[..., 0, 0] = 1  # the mean stays
        scrambled = torch.fft.irfft2(torch.fft.rfft2(batch.images.float()) * turn, s=batch.size)
        return scrambled.clamp(0, 1).to(batch.images.dtype)


@dataclass(frozen=True)
class TileScramble(Stimulus):
    """The picture cut into `tiles` x `tiles` squares, which change places at random.

    Example:
        >>> from facelesion.faces import mean_face
        >>> picture = torch.rand(1, 3, 16, 16)
        >>> scrambled = TileScramble(4)(picture, mean_face()[None])
        >>> torch.equal(scrambled, picture), set(scrambled.flatten().tolist()) == set(picture.flatten().tolist())
        (False, True)
    """

    tiles: int = 8
    seed: int = 0
    kind: ClassVar[str] = "tile scramble"

    def __post_init__(self) -> None:
        if not (isinstance(self.tiles, int) and is_number(self.tiles, 2, _MOST_TILES)):
            raise Error(
                f"{self.kind}: tiles {reprlib.repr(self.tiles)} must be a whole number from 2 to {_MOST_TILES}"
            )
        check_seed(self)

    def _pictures(self, batch: Batch) -> Tensor:
        (height, width), k = batch.size, self.tiles
        if height % k or width % k:
            fit = [n for n in range(2, 33) if height % n == 0 and width % n == 0]
            raise Error(
                f"{self.kind}: {height} x {width} pixels cannot be cut into {k} x {k} equal tiles: "
                f"use {', '.join(map(str, fit)) or 'another size'}"
            )
        order = randomness.uniform(self.seed, self.kind, batch.ids, k * k).argsort(dim=1, stable=True)
        tiles = (
            batch.images.unflatten(3, (k, -1)).unflatten(2, (k, -1)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
        )
        tiles = tiles[torch.arange(len(tiles), device=tiles.device)[:, None], order]
        return tiles.unflatten(1, (k, k)).permute(0, 3, 1, 4, 2, 5).reshape(batch.images.shape)


@dataclass(frozen=True)
class Greyscale(Stimulus):
    """The picture without its colours (luma of ITU-R BT.601), as three equal channels.

    Example:
        >>> from facelesion.faces import mean_face
        >>> grey = Greyscale()(torch.rand(1, 3, 8, 8), mean_face()[None])
        >>> torch.equal(grey[:, 0], grey[:, 1])
        True
    """

    kind: ClassVar[str] = "greyscale"

    def _pictures(self, batch: Batch) -> Tensor:
        weights = beside(batch.images, _LUMA)[:, None, None]
        return (batch.images * weights).sum(1, keepdim=True).expand_as(batch.images).clone()


@dataclass(frozen=True)
class Contrast(Stimulus):
    """Contrast times `by` about the picture's own mean; values beyond [0, 1] are clipped.

    Example:
        >>> from facelesion.faces import mean_face
        >>> picture = torch.tensor([0.2, 0.6]).repeat(1, 3, 2, 1)
        >>> [round(value, 2) for value in Contrast(0.5)(picture, mean_face()[None])[0, 0, 0].tolist()]
        [0.3, 0.5]
    """

    by: float = 0.5
    kind: ClassVar[str] = "contrast"

    def __post_init__(self) -> None:
        if not is_number(self.by, 0, 1000):
            raise Error(f"{self.kind}: by {reprlib.repr(self.by)} must be a factor from 0 to 1000")

    def _pictures(self, batch: Batch) -> Tensor:
        mean = batch.images.mean((1, 2, 3), keepdim=True)
        return (mean + self.by * (batch.images - mean)).clamp(0, 1)


@dataclass(frozen=True)
class GaussianNoise(Stimulus):
    """Independent normal noise on every pixel and channel; values beyond [0, 1] are clipped.

    Args:
        std: standard deviation, in fractions of full brightness.
        seed: of the noise.

    Example:
        >>> from facelesion.faces import mean_face
        >>> grey = torch.full((1, 3, 112, 112), 0.5)
        >>> round(float(GaussianNoise(0.1)(grey, mean_face()[None]).std()), 2)
        0.1
    """

    std: float = 0.1
    seed: int = 0
    kind: ClassVar[str] = "noise"

    def __post_init__(self) -> None:
        if not is_number(self.std, 0, 1000):
            raise Error(f"{self.kind}: std {reprlib.repr(self.std)} must be a number from 0 to 1000")
        check_seed(self)

    def _pictures(self, batch: Batch) -> Tensor:
        noise = randomness.normal(self.seed, self.kind, batch.ids, batch.images[0].numel())
        return (batch.images + self.std * noise.view_as(batch.images).to(batch.images.dtype)).clamp(0, 1)
