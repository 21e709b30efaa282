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

import difflib
import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from facelesion.errors import FacelesionError
from facelesion.faces import randomness
from facelesion.faces import regions as _regions

REFERENCE_SIZE = 224
BLUR_SIGMA = 8.0  # what OpenCV derives for the notebook's 51 x 51 kernel
ISOLATE_SIGMA = 3.5  # ... and for its 21 x 21 kernel
ISOLATE_SCALE = 1.5

_FILLS = ("black", "mean", "noise")
_SHAPES = ("box", "upright", "polygon")
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV
_WIDEST = 1000  # pixels of a 224-pixel picture: a blur beyond it is a flat colour already
_MOST_TILES = 256
_BEYOND = 0.25  # of full brightness: what resampling may leave outside
_MOST_PARTS, _DEEPEST = 100, 10
_KINDS: dict[str, type[Stimulus]] = {}


@dataclass(frozen=True)
class _Batch:
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
        FacelesionError: a setting that a stimulus cannot have, such as an unknown region; told when it is made.
    """

    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if cls.kind:
            _KINDS[cls.kind] = cls

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
            FacelesionError: shapes or types that do not fit; a second face is needed and not given.
        """
        _check(images, landmarks, ids)
        if others is not None:
            _check(*others, ids=None)
            if others[0].shape != images.shape:
                raise FacelesionError(
                    f"the second faces are {tuple(others[0].shape)}, the first {tuple(images.shape)}: make them alike"
                )
        if ids is None:
            ids = torch.arange(len(images), device=images.device)
        batch = _Batch(images, landmarks.to(images.device, torch.float32), ids.to(images.device), others)
        return self._apply(batch).images

    def _apply(self, batch: _Batch) -> _Batch:
        return replace(batch, images=self._pictures(batch))

    def _pictures(self, batch: _Batch) -> Tensor:
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
            FacelesionError: no such stimulus, a setting that it has not, or one that is missing or wrong.

        Example:
            >>> str(Stimulus.from_dict({"kind": "mask", "region": "eyes", "fill": "noise"}))
            'mask eyes (fill=noise)'
            >>> Stimulus.from_dict("mask eyes + invert") == Mask("eyes") + Invert()
            True
        """
        return _read(values, [])


@dataclass(frozen=True)
class Chain(Stimulus):
    """Several stimuli one after the other; written `a + b`."""

    parts: tuple[Stimulus, ...]
    kind: ClassVar[str] = "chain"

    def __post_init__(self) -> None:
        parts = self.parts
        if not (isinstance(parts, tuple) and parts and all(isinstance(part, Stimulus) for part in parts)):
            raise FacelesionError(
                f"{self.kind}: parts {reprlib.repr(parts)} must be a tuple of one or more stimuli"
            )
        if len(parts) > _MOST_PARTS:
            raise FacelesionError(f"{self.kind}: {len(parts)} parts, more than {_MOST_PARTS}: leave some out")

    def _apply(self, batch: _Batch) -> _Batch:
        for part in self.parts:
            batch = part._apply(batch)
        return batch

    def __str__(self) -> str:
        return " + ".join(str(part) for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "parts": [part.to_dict() for part in self.parts]}


@dataclass(frozen=True)
class Intact(Stimulus):
    """The picture as it is."""

    kind: ClassVar[str] = "intact"

    def _pictures(self, batch: _Batch) -> Tensor:
        return batch.images.clone()


@dataclass(frozen=True)
class _OfRegion(Stimulus):
    region: str
    fills: ClassVar[tuple[str, ...]] = _FILLS

    def __post_init__(self) -> None:
        if not isinstance(self.region, str):
            raise FacelesionError(f"{self.kind}: region {reprlib.repr(self.region)} must be a region's name")
        _regions.region(self.region)
        for name, choices in (("fill", self.fills), ("shape", _SHAPES)):
            value = getattr(self, name, None)
            if hasattr(self, name) and not (isinstance(value, str) and value in choices):
                raise FacelesionError(
                    f"{self.kind}: no {name} {reprlib.repr(value)}: choose {', '.join(choices)}"
                )
        scale = getattr(self, "scale", None)
        pair = isinstance(scale, tuple) and len(scale) == 2
        if scale is not None and not (pair and all(_number(s, 0, 100) and s > 0 for s in scale)):
            raise FacelesionError(
                f"{self.kind}: scale {reprlib.repr(scale)} must be two positive factors, (width, height), up to 100"
            )
        if not (_number(getattr(self, "sigma", 1.0), 0, _WIDEST) and getattr(self, "sigma", 1.0) > 0):
            raise FacelesionError(
                f"{self.kind}: sigma {reprlib.repr(self.sigma)} must be a positive number of pixels, up to {_WIDEST}"  # type: ignore[attr-defined]
            )
        _check_seed(self)

    def _mask(self, batch: _Batch) -> Tensor:
        shape, scale = getattr(self, "shape", "box"), getattr(self, "scale", None)
        return _regions.region_mask(batch.landmarks, self.region, *batch.size, shape, scale)


@dataclass(frozen=True)
class Mask(_OfRegion):
    """A feature covered.

    Args:
        region: a region's name, such as "eyes".
        fill: "black"; "mean", the picture's mean colour; "noise", normal pixel noise of the picture's mean and
            standard deviation, per channel.
        shape: "box", the notebook's rotated rectangle; "upright", the bounding box along the eye line; "polygon", the
            feature's outline.
        scale: factors (width, height) of the box; the region's own (the notebook's) when left out.
        seed: of the noise.

    Example:
        >>> face = torch.ones(1, 3, 112, 112)
        >>> masked = Mask("eyes")(face, _regions.mean_face()[None])
        >>> float(masked[0, 0, 51, 38]), float(masked[0, 0, 100, 56])
        (0.0, 1.0)
    """

    fill: str = "black"
    shape: str = "box"
    scale: tuple[float, float] | None = None
    seed: int = 0
    kind: ClassVar[str] = "mask"

    def _pictures(self, batch: _Batch) -> Tensor:
        return _covered(batch, self._mask(batch), self.fill, self.seed)


@dataclass(frozen=True)
class Blur(_OfRegion):
    """A feature blurred by a Gaussian.

    Args:
        region: a region's name.
        sigma: standard deviation in pixels of a 224-pixel picture; the notebook's 51 x 51 kernel has 8.
        shape, scale: as for `Mask`.
    """

    sigma: float = BLUR_SIGMA
    shape: str = "box"
    scale: tuple[float, float] | None = None
    kind: ClassVar[str] = "blur"

    def _pictures(self, batch: _Batch) -> Tensor:
        mask = self._mask(batch)
        rows, columns = _extent(mask)
        blurred = gaussian_blur(batch.images, self.sigma * batch.per_pixel, rows, columns)
        pictures = batch.images.clone()
        part = mask[..., rows, columns]
        pictures[..., rows, columns] = torch.where(part, blurred, pictures[..., rows, columns])
        return pictures


@dataclass(frozen=True)
class Isolate(_OfRegion):
    """One feature kept, everything else covered or blurred.

    Args:
        region: a region's name.
        fill: what everything else is covered with, as for `Mask`; or "blur", as the notebook has it, whose 3.5 pixels
            leave most of the face to be seen.
        sigma: of the blur, as for `Blur`; the notebook's 21 x 21 kernel has 3.5.
        shape: as for `Mask`; the notebook keeps the upright bounding box, here taken along the eye line.
        scale: factors of the box's width and height, 1.5 in the notebook.
        seed: of the noise that covers.
    """

    sigma: float = ISOLATE_SIGMA
    shape: str = "upright"
    scale: tuple[float, float] | None = (ISOLATE_SCALE, ISOLATE_SCALE)
    fill: str = "mean"
    seed: int = 0
    kind: ClassVar[str] = "isolate"
    fills: ClassVar[tuple[str, ...]] = ("blur", *_FILLS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fill != "blur" and self.sigma != ISOLATE_SIGMA:
            raise FacelesionError(
                f"{self.kind}: sigma {self.sigma} does nothing where the rest is covered: give fill: blur, or no sigma"
            )

    def _pictures(self, batch: _Batch) -> Tensor:
        if self.fill != "blur":
            return _covered(batch, ~self._mask(batch), self.fill, self.seed)
        blurred = gaussian_blur(batch.images, self.sigma * batch.per_pixel)
        return torch.where(self._mask(batch), batch.images, blurred)


@dataclass(frozen=True)
class ControlMask(_OfRegion):
    """A mask of the same shape and area as a feature's, laid where no feature is.

    It lies wholly inside the picture and touches the boxes of eyebrows, eyes, nose and mouth as little as can be (not
    at all, where there is room); of such places it takes one, drawn by seed, among those that cover most of the face.
    It may be turned by a quarter.

    Args:
        region, fill, shape, scale: as for `Mask`.
        seed: of the place, and of the noise.
    """

    fill: str = "black"
    shape: str = "box"
    scale: tuple[float, float] | None = None
    seed: int = 0
    kind: ClassVar[str] = "control"

    def _pictures(self, batch: _Batch) -> Tensor:
        mask = _elsewhere(batch, self._mask(batch)[:, 0], self.seed)[:, None]
        return _covered(batch, mask, self.fill, self.seed)


@dataclass(frozen=True)
class Invert(Stimulus):
    """The picture upside down: turned by half a turn in its plane (the face inversion effect, Yin 1969)."""

    kind: ClassVar[str] = "invert"

    def _apply(self, batch: _Batch) -> _Batch:
        height, width = batch.size
        corner = batch.landmarks.new_tensor([width - 1, height - 1])
        return replace(batch, images=batch.images.flip(-2, -1), landmarks=corner - batch.landmarks)


@dataclass(frozen=True)
class PhaseScramble(Stimulus):
    """The picture's amplitude spectrum with random phases: its contrast at every scale, and no shape.

    One random phase field is added in all three channels, so that colours stay together; values beyond [0, 1] are
    clipped.
    """

    seed: int = 0
    kind: ClassVar[str] = "phase scramble"

    def __post_init__(self) -> None:
        _check_seed(self)

    def _pictures(self, batch: _Batch) -> Tensor:
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
    """The picture cut into `tiles` x `tiles` squares, which change places at random."""

    tiles: int = 8
    seed: int = 0
    kind: ClassVar[str] = "tile scramble"

    def __post_init__(self) -> None:
        if not (isinstance(self.tiles, int) and _number(self.tiles, 2, _MOST_TILES)):
            raise FacelesionError(
                f"{self.kind}: tiles {reprlib.repr(self.tiles)} must be a whole number from 2 to {_MOST_TILES}"
            )
        _check_seed(self)

    def _pictures(self, batch: _Batch) -> Tensor:
        (height, width), k = batch.size, self.tiles
        if height % k or width % k:
            fit = [n for n in range(2, 33) if height % n == 0 and width % n == 0]
            raise FacelesionError(
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
    """The picture without its colours (luma of ITU-R BT.601), as three equal channels."""

    kind: ClassVar[str] = "greyscale"

    def _pictures(self, batch: _Batch) -> Tensor:
        weights = batch.images.new_tensor(_LUMA)[:, None, None]
        return (batch.images * weights).sum(1, keepdim=True).expand_as(batch.images).clone()


@dataclass(frozen=True)
class Contrast(Stimulus):
    """Contrast times `by` about the picture's own mean; values beyond [0, 1] are clipped."""

    by: float = 0.5
    kind: ClassVar[str] = "contrast"

    def __post_init__(self) -> None:
        if not _number(self.by, 0, 1000):
            raise FacelesionError(f"{self.kind}: by {reprlib.repr(self.by)} must be a factor from 0 to 1000")

    def _pictures(self, batch: _Batch) -> Tensor:
        mean = batch.images.mean((1, 2, 3), keepdim=True)
        return (mean + self.by * (batch.images - mean)).clamp(0, 1)


@dataclass(frozen=True)
class GaussianNoise(Stimulus):
    """Independent normal noise on every pixel and channel; values beyond [0, 1] are clipped.

    Args:
        std: standard deviation, in fractions of full brightness.
        seed: of the noise.
    """

    std: float = 0.1
    seed: int = 0
    kind: ClassVar[str] = "noise"

    def __post_init__(self) -> None:
        if not _number(self.std, 0, 1000):
            raise FacelesionError(
                f"{self.kind}: std {reprlib.repr(self.std)} must be a number from 0 to 1000"
            )
        _check_seed(self)

    def _pictures(self, batch: _Batch) -> Tensor:
        noise = randomness.normal(self.seed, self.kind, batch.ids, batch.images[0].numel())
        return (batch.images + self.std * noise.view_as(batch.images).to(batch.images.dtype)).clamp(0, 1)


@dataclass(frozen=True)
class Composite(Stimulus):
    """The upper half of one face with the lower half of another (Young, Hellawell and Hay 1987).

    The second face is first brought on to the first by a similarity of their five points. The cut runs along the eye
    line's direction, half-way between the eyes and the mouth.

    Args:
        misalign: shift of the lower half along the eye line, as a fraction of the face's width (0.5 is usual for
            misaligned composites); what it uncovers is black.
    """

    misalign: float = 0.0
    kind: ClassVar[str] = "composite"

    def __post_init__(self) -> None:
        if not _number(self.misalign, -10, 10):
            raise FacelesionError(
                f"{self.kind}: misalign {reprlib.repr(self.misalign)} must be a number of face widths from -10 to 10"
            )

    def _pictures(self, batch: _Batch) -> Tensor:
        images, landmarks = _others(self, batch)
        mine, theirs = _five(batch.landmarks), _five(landmarks)
        box = _regions.upright_boxes(batch.landmarks, "face")
        matrix = similarity_matrix(theirs, mine)
        matrix[:, :, 2] += self.misalign * box.size[:, :1] * box.along
        lower = _warp(images, matrix)
        middle = (mine[:, :2].mean(1) + mine[:, 3:].mean(1)) / 2
        height, width = batch.size
        y, x = (torch.arange(n, device=lower.device, dtype=torch.float32) for n in (height, width))
        down = box.down[:, :, None, None]
        below = down[:, 0] * (x - middle[:, 0, None, None]) + down[:, 1] * (
            y[:, None] - middle[:, 1, None, None]
        )
        return torch.where(below[:, None] > 0, lower, batch.images)


@dataclass(frozen=True)
class PartSwap(_OfRegion):
    """One feature exchanged for another face's (whole and part, Tanaka and Farah 1993).

    The second face is turned and scaled as a similarity of the five points says, and shifted so that the middles of
    the two features' boxes meet.

    Args:
        region, shape, scale: as for `Mask`, on the first face.
        feather: standard deviation, in pixels of a 224-pixel picture, by which the seam is softened; 0 for a hard one.
    """

    shape: str = "box"
    scale: tuple[float, float] | None = None
    feather: float = 0.0
    kind: ClassVar[str] = "swap"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _number(self.feather, 0, _WIDEST):
            raise FacelesionError(
                f"{self.kind}: feather {reprlib.repr(self.feather)} must be a number of pixels from 0 to {_WIDEST}"
            )

    def _pictures(self, batch: _Batch) -> Tensor:
        images, landmarks = _others(self, batch)
        matrix = similarity_matrix(_five(landmarks), _five(batch.landmarks))
        here = _regions.upright_boxes(batch.landmarks, self.region).centre
        there = _regions.upright_boxes(landmarks, self.region).centre
        matrix[:, :, 2] = here - (matrix[:, :, :2] @ there[..., None])[..., 0]
        part = _warp(images, matrix)
        mask = self._mask(batch)
        if not self.feather:
            return torch.where(mask, part, batch.images)
        return torch.lerp(
            batch.images, part, gaussian_blur(mask.to(part.dtype), self.feather * batch.per_pixel)
        )


def gaussian_blur(
    images: Tensor, sigma: float, rows: slice = slice(None), columns: slice = slice(None)
) -> Tensor:
    """Blur a batch, mirrored at the border without repeating the edge (OpenCV's default), by two matrix products.

    The kernel is as long as OpenCV's for the same sigma: 51 pixels for 8, 21 for 3.5.

    Args:
        images: float (N, C, H, W).
        sigma: standard deviation in pixels of these pictures.
        rows, columns: slices (start, stop) of the pixels that are wanted; all when left out.

    Returns:
        float (N, C, rows, columns).

    Example:
        >>> flat = gaussian_blur(torch.full((1, 3, 20, 20), 0.5), sigma=8.0)
        >>> bool(torch.allclose(flat, torch.tensor(0.5)))
        True
    """
    height, width = images.shape[-2:]
    radius = _radius(sigma)
    top, bottom, _ = rows.indices(height)
    left, right, _ = columns.indices(width)
    # Mirrored pixels lie nearer than the kernel reaches, so these are all that the wanted ones depend on.
    used_rows = _reach(top, bottom, radius, height)
    used_columns = _reach(left, right, radius, width)
    device = images.device
    down = _blur_matrix(height, sigma).to(device)[top:bottom, used_rows]
    across = _blur_matrix(width, sigma).to(device)[left:right, used_columns]
    with torch.autocast(device.type, enabled=False):
        blurred = down @ (images[..., used_rows, used_columns].float() @ across.mT)
    return blurred.to(images.dtype)


def similarity_matrix(source: Tensor, target: Tensor) -> Tensor:
    """The similarity transforms (N, 2, 3) that bring `source` (N, K, 2) nearest to `target`, as in `align`."""
    middle_s, middle_t = source.mean(1, keepdim=True), target.mean(1, keepdim=True)
    s, t = source - middle_s, target - middle_t
    square = s.square().sum((1, 2)).clamp_min(1e-12)
    real = (s * t).sum((1, 2)) / square
    imaginary = (s[..., 0] * t[..., 1] - s[..., 1] * t[..., 0]).sum(1) / square
    linear = torch.stack([torch.stack([real, -imaginary], -1), torch.stack([imaginary, real], -1)], 1)
    shift = middle_t.mT - linear @ middle_s.mT
    return torch.cat([linear, shift], dim=2)


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Pictures moved by (N, 2, 3) matrices in pixels, bilinear, black outside."""
    height, width = images.shape[-2:]
    linear, shift = matrix[:, :, :2], matrix[:, :, 2]
    back = torch.linalg.inv(linear)
    y, x = torch.meshgrid(
        *(torch.arange(n, device=images.device, dtype=torch.float32) for n in (height, width)), indexing="ij"
    )
    source = (torch.stack([x, y], -1).flatten(0, 1) - shift[:, None]) @ back.mT
    span = source.new_tensor([width - 1, height - 1]) / 2
    grid = (source / span - 1).unflatten(1, (height, width))
    return torch.nn.functional.grid_sample(images.float(), grid, align_corners=True).to(images.dtype)


def _covered(batch: _Batch, mask: Tensor, fill: str, seed: int) -> Tensor:
    """The pictures with the mask's pixels filled."""
    rows, columns = _extent(mask)
    pictures = batch.images.clone()
    filling = _fill(batch, fill, seed).expand_as(pictures)[..., rows, columns]
    part = mask[..., rows, columns]
    pictures[..., rows, columns] = torch.where(part, filling, pictures[..., rows, columns])
    return pictures


def _fill(batch: _Batch, fill: str, seed: int) -> Tensor:
    images = batch.images
    if fill == "black":
        return images.new_zeros(())
    std, mean = torch.std_mean(images, (2, 3), keepdim=True)
    if fill == "mean":
        return mean
    noise = randomness.normal(seed, "fill", batch.ids, images[0].numel()).view_as(images).to(images.dtype)
    return (mean + std * noise).clamp(0, 1)


def _elsewhere(batch: _Batch, mask: Tensor, seed: int) -> Tensor:
    """`mask` (N, H, W) moved, and perhaps turned, to where no feature is."""
    height, width = batch.size
    features = torch.zeros_like(mask)
    for name in _regions.FEATURES:
        features |= _regions.region_mask(batch.landmarks, name, height, width)[:, 0]
    face = _regions.region_mask(batch.landmarks, "face", height, width, "polygon")[:, 0]
    # A square canvas, so that a quarter turn fits whatever the picture's shape; shifts wrap around in it.
    side = max(height, width)
    canvas = mask.new_zeros(len(mask), side, side)
    canvas[:, :height, :width] = mask
    shapes = torch.stack([canvas, canvas.mT], dim=1)
    top, bottom = _ends(shapes.any(3))
    left, right = _ends(shapes.any(2))
    shift = torch.arange(side, device=mask.device)
    # Shifts that keep the mask inside the picture, negative ones counted from the end as the Fourier transform does.
    signed_y = (shift + top[..., None]) % side - top[..., None]
    signed_x = (shift + left[..., None]) % side - left[..., None]
    fits_y = (signed_y + top[..., None] >= 0) & (signed_y + bottom[..., None] < height)
    fits_x = (signed_x + left[..., None] >= 0) & (signed_x + right[..., None] < width)
    fits = fits_y[..., :, None] & fits_x[..., None, :]
    touched = torch.where(fits, _overlaps(features, shapes), torch.inf).flatten(1)
    covered = _overlaps(face, shapes).flatten(1)
    free = touched <= touched.amin(1, keepdim=True)
    covered = torch.where(free, covered, -1.0)
    free &= covered >= (0.9 * covered.amax(1, keepdim=True)).floor()
    draw = randomness.uniform(seed, "control", batch.ids, 1)
    rank = (draw * free.sum(1, keepdim=True)).floor()
    best = (free & (free.cumsum(1) > rank)).int().argmax(1)
    turned, place = best // side**2, best % side**2
    row = torch.arange(len(mask), device=mask.device)
    chosen = shapes[row, turned]
    from_y = (shift - (place // side)[:, None]) % side
    from_x = (shift - (place % side)[:, None]) % side
    return chosen[row[:, None, None], from_y[:, :, None], from_x[:, None, :]][:, :height, :width]


def _overlaps(picture: Tensor, shapes: Tensor) -> Tensor:
    """How many pixels of `picture` (N, H, W) each shape (N, K, S, S) covers at every shift: float (N, K, S, S)."""
    side = shapes.shape[-1]
    there = torch.fft.rfft2(picture[:, None].float(), s=(side, side))
    counts = torch.fft.irfft2(there * torch.fft.rfft2(shapes.float()).conj(), s=(side, side))
    return counts.round()  # whole pixels, so that rounding errors decide nothing


def _ends(filled: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the last true position along the last axis; the whole axis where there is none."""
    count = filled.shape[-1]
    first = filled.int().argmax(-1)
    last = count - 1 - filled.flip(-1).int().argmax(-1)
    return first, last


def _extent(mask: Tensor) -> tuple[slice, slice]:
    """The rows and columns that hold all masks (N, 1, H, W) of the batch."""
    if (
        mask.device.type != "cpu"
    ):  # asking would wait for the device, and there the whole picture costs little
        return slice(None), slice(None)
    spans = []
    for filled in (mask.any(3).any(0)[0], mask.any(2).any(0)[0]):
        where = filled.nonzero()
        spans.append(slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 0))
    return spans[0], spans[1]


def _reach(start: int, stop: int, radius: int, size: int) -> slice:
    # A kernel longer than the picture bounces off both ends: then everything counts.
    return slice(None) if radius >= size else slice(max(0, start - radius), min(size, stop + radius))


def _radius(sigma: float) -> int:
    """Half the length of the kernel for which OpenCV derives this sigma, never less than two sigmas."""
    return max(1, round((sigma - 0.5) / 0.3), math.ceil(2 * sigma))


@lru_cache(maxsize=16)
def _blur_matrix(size: int, sigma: float) -> Tensor:
    """The matrix (size, size) that blurs a column of pixels."""
    radius = _radius(sigma)
    offset = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offset.double() / sigma) ** 2)
    weights /= weights.sum()
    source = torch.arange(size)[:, None] + offset
    period = max(1, 2 * (size - 1))
    source = source % period
    source = torch.where(source >= size, period - source, source)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.scatter_add_(1, source, weights.expand(size, -1))
    return matrix.float()


def _five(landmarks: Tensor) -> Tensor:
    """Left and right eye, nose, left and right corner of the mouth: (N, 5, 2)."""
    left, right = _regions.eye_centres(landmarks)
    mesh = _regions.complete(landmarks)
    return torch.cat([left[:, None], right[:, None], mesh[:, [1, 61, 291]]], dim=1)


def _others(stimulus: Stimulus, batch: _Batch) -> tuple[Tensor, Tensor]:
    if batch.others is None:
        raise FacelesionError(f"{stimulus} is made of two faces: pass others=(images, landmarks)")
    images, landmarks = batch.others
    return images.to(batch.images), landmarks.to(batch.images.device, torch.float32)


def _parts(stimulus: Stimulus) -> tuple[Stimulus, ...]:
    return stimulus.parts if isinstance(stimulus, Chain) else (stimulus,)


def _kind(name: str) -> type[Stimulus]:
    if name not in _KINDS:
        near = difflib.get_close_matches(name[:100], _KINDS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise FacelesionError(f"no stimulus {reprlib.repr(name)}: {hint}there are {', '.join(_KINDS)}")
    return _KINDS[name]


def _read(values: object, read: list[object], depth: int = 0) -> Stimulus:
    """A stimulus from plain values, and in a chain from those of its parts; `read` counts all of them."""
    read.append(values)
    if depth > _DEEPEST or len(read) > _MOST_PARTS:  # a list may hold itself, or another many times over
        raise FacelesionError(
            f"a stimulus of more than {_MOST_PARTS} parts, or chains more than {_DEEPEST} deep: leave some out"
        )
    if isinstance(values, str):
        return _parse(values)
    if not isinstance(values, Mapping) or "kind" not in values:
        raise FacelesionError(f"a stimulus needs a 'kind': {reprlib.repr(values)} has none")
    if not isinstance(values["kind"], str):
        raise FacelesionError(
            f"a stimulus's 'kind' is a name, not {reprlib.repr(values['kind'])}: there are {', '.join(_KINDS)}"
        )
    cls = _kind(values["kind"])
    known = {field.name: field for field in fields(cls)}
    wrong = [key for key in values if key != "kind" and key not in known]
    if wrong:
        near = difflib.get_close_matches(str(wrong[0])[:100], known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise FacelesionError(
            f"stimulus {cls.kind!r} has no {reprlib.repr(wrong[0])}: {hint}it takes {', '.join(known) or 'nothing'}"
        )
    missing = [name for name, field in known.items() if field.default is MISSING and name not in values]
    if missing:
        raise FacelesionError(f"stimulus {cls.kind!r} needs {missing[0]!r}, and it is not given")
    given = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
        if key != "kind"
    }
    if cls is Chain:
        if not isinstance(given["parts"], tuple):
            raise FacelesionError(
                f"stimulus {cls.kind!r}: parts {reprlib.repr(given['parts'])} must be a list of stimuli"
            )
        given["parts"] = tuple(_read(part, read, depth + 1) for part in given["parts"])
    return cls(**given)


def _parse(text: str) -> Stimulus:
    """Short names joined by "+": "mask eyes + invert"."""
    total: Stimulus = Intact()
    written = text.split("+")
    if len(written) > _MOST_PARTS:
        raise FacelesionError(f"a stimulus of {len(written)} parts, more than {_MOST_PARTS}: leave some out")
    for part in written:
        words = part.strip()
        if words in _KINDS and not issubclass(_KINDS[words], (_OfRegion, Chain)):
            total = total + _KINDS[words]()
            continue
        first, _, rest = words.partition(" ")
        cls = _kind(first if rest and first in _KINDS else words)
        if not rest or cls is Chain:
            raise FacelesionError(
                f"stimulus {words!r} needs parts: write them with '+' between"
                if cls is Chain
                else f"stimulus {words!r} needs a region, such as '{words} eyes'"
            )
        if not issubclass(cls, _OfRegion):
            raise FacelesionError(
                f"stimulus {first!r} takes no region: leave {reprlib.repr(rest.strip())} out"
            )
        made: Callable[[str], Stimulus] = cls
        total = total + made(rest.strip())
    return total


def _plain(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _number(value: object, least: float, most: float) -> bool:
    """Whether it is a number of this range; nan, truth values and text are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _check_seed(stimulus: Stimulus) -> None:
    seed = getattr(stimulus, "seed", 0)
    if not (isinstance(seed, int) and _number(seed, 0, 2**63 - 1)):
        raise FacelesionError(
            f"{stimulus.kind}: seed {reprlib.repr(seed)} must be a whole number from 0 to {2**63 - 1}"
        )


def _check(images: Tensor, landmarks: Tensor, ids: Tensor | None) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise FacelesionError(f"images of shape {tuple(images.shape)}: they must be (N, 3, H, W), RGB")
    if not images.is_floating_point():
        raise FacelesionError(
            f"images are {images.dtype}: a stimulus takes floats in [0, 1], so divide by 255"
        )
    if images.numel():
        low, high = (float(value) for value in images.detach().aminmax())
        if not (-_BEYOND <= low and high <= 1 + _BEYOND):  # so written that nan is outside
            raise FacelesionError(
                f"images have values of {low:g} to {high:g}: a stimulus takes floats in [0, 1], so divide by 255"
            )
    _regions.check_landmarks(landmarks)
    if len(landmarks) != len(images):
        raise FacelesionError(f"{len(images)} images and {len(landmarks)} sets of landmarks do not match")
    if ids is not None and ids.shape != (len(images),):
        raise FacelesionError(
            f"ids of shape {tuple(ids.shape)} for {len(images)} images: give one number each"
        )
