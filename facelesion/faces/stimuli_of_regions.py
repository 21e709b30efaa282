"""Stimuli that change one region of a face: covered, blurred, kept alone; and their control, covered elsewhere."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from facelesion.errors import Error
from facelesion.faces import randomness
from facelesion.faces import regions as _regions
from facelesion.faces.blur import gaussian_blur
from facelesion.faces.stimulus import Batch, Stimulus, check_seed, is_number

BLUR_SIGMA = 8.0  # what OpenCV derives for the notebook's 51 x 51 kernel
ISOLATE_SIGMA = 3.5  # ... and for its 21 x 21 kernel
ISOLATE_SCALE = 1.5
WIDEST = 1000  # pixels of a 224-pixel picture: a blur beyond it is a flat colour already

FILLS = ("black", "mean", "noise")
_SHAPES = ("box", "upright", "polygon")


@dataclass(frozen=True)
class OfRegion(Stimulus):
    region: str
    fills: ClassVar[tuple[str, ...]] = FILLS

    def __post_init__(self) -> None:
        if not isinstance(self.region, str):
            raise Error(f"{self.kind}: region {reprlib.repr(self.region)} must be a region's name")
        _regions.region(self.region)
        for name, choices in (("fill", self.fills), ("shape", _SHAPES)):
            value = getattr(self, name, None)
            if hasattr(self, name) and not (isinstance(value, str) and value in choices):
                raise Error(f"{self.kind}: no {name} {reprlib.repr(value)}: choose {', '.join(choices)}")
        scale = getattr(self, "scale", None)
        pair = isinstance(scale, tuple) and len(scale) == 2
        if scale is not None and not (pair and all(is_number(s, 0, 100) and s > 0 for s in scale)):
            raise Error(
                f"{self.kind}: scale {reprlib.repr(scale)} must be two positive factors, (width, height), up to 100"
            )
        if not (is_number(getattr(self, "sigma", 1.0), 0, WIDEST) and getattr(self, "sigma", 1.0) > 0):
            raise Error(
                f"{self.kind}: sigma {reprlib.repr(self.sigma)} must be a positive number of pixels, up to {WIDEST}"  # type: ignore[attr-defined]
            )
        check_seed(self)

    def _mask(self, batch: Batch) -> Tensor:
        shape, scale = getattr(self, "shape", "box"), getattr(self, "scale", None)
        return _regions.region_mask(batch.landmarks, self.region, *batch.size, shape, scale)


@dataclass(frozen=True)
class Mask(OfRegion):
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

    def _pictures(self, batch: Batch) -> Tensor:
        return covered(batch, self._mask(batch), self.fill, self.seed)


@dataclass(frozen=True)
class Blur(OfRegion):
    """A feature blurred by a Gaussian.

    Args:
        region: a region's name.
        sigma: standard deviation in pixels of a 224-pixel picture; the notebook's 51 x 51 kernel has 8.
        shape, scale: as for `Mask`.

    Example:
        >>> from facelesion.faces import mean_face
        >>> face = torch.rand(1, 3, 112, 112)
        >>> blurred = Blur("mouth")(face, mean_face()[None])
        >>> changed = (blurred != face).any(1)[0]
        >>> bool(changed[85].any()), bool(changed[40].any())
        (True, False)
    """

    sigma: float = BLUR_SIGMA
    shape: str = "box"
    scale: tuple[float, float] | None = None
    kind: ClassVar[str] = "blur"

    def _pictures(self, batch: Batch) -> Tensor:
        mask = self._mask(batch)
        rows, columns = extent(mask)
        blurred = gaussian_blur(batch.images, self.sigma * batch.per_pixel, rows, columns)
        pictures = batch.images.clone()
        part = mask[..., rows, columns]
        pictures[..., rows, columns] = torch.where(part, blurred, pictures[..., rows, columns])
        return pictures


@dataclass(frozen=True)
class Isolate(OfRegion):
    """One feature kept, everything else covered or blurred.

    Args:
        region: a region's name.
        fill: what everything else is covered with, as for `Mask`; or "blur", as the notebook has it, whose 3.5 pixels
            leave most of the face to be seen.
        sigma: of the blur, as for `Blur`; the notebook's 21 x 21 kernel has 3.5.
        shape: as for `Mask`; the notebook keeps the upright bounding box, here taken along the eye line.
        scale: factors of the box's width and height, 1.5 in the notebook.
        seed: of the noise that covers.

    Example:
        >>> from facelesion.faces import mean_face
        >>> face = torch.rand(1, 3, 112, 112)
        >>> isolated = Isolate("nose")(face, mean_face()[None])
        >>> len(isolated[0, :, 0].unique(dim=1).T), torch.equal(isolated[0, :, 66, 56], face[0, :, 66, 56])
        (1, True)
    """

    sigma: float = ISOLATE_SIGMA
    shape: str = "upright"
    scale: tuple[float, float] | None = (ISOLATE_SCALE, ISOLATE_SCALE)
    fill: str = "mean"
    seed: int = 0
    kind: ClassVar[str] = "isolate"
    fills: ClassVar[tuple[str, ...]] = ("blur", *FILLS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fill != "blur" and self.sigma != ISOLATE_SIGMA:
            raise Error(
                f"{self.kind}: sigma {self.sigma} does nothing where the rest is covered: give fill: blur, or no sigma"
            )

    def _pictures(self, batch: Batch) -> Tensor:
        if self.fill != "blur":
            return covered(batch, ~self._mask(batch), self.fill, self.seed)
        blurred = gaussian_blur(batch.images, self.sigma * batch.per_pixel)
        return torch.where(self._mask(batch), batch.images, blurred)


@dataclass(frozen=True)
class ControlMask(OfRegion):
    """A mask of the same shape and area as a feature's, laid where no feature is.

    It lies wholly inside the picture and touches the boxes of eyebrows, eyes, nose and mouth as little as can be (not
    at all, where there is room); of such places it takes one, drawn by seed, among those that cover most of the face.
    It may be turned by a quarter.

    Args:
        region, fill, shape, scale: as for `Mask`.
        seed: of the place, and of the noise.

    Example:
        >>> from facelesion.faces import Mask, mean_face
        >>> face, landmarks = torch.ones(1, 3, 112, 112), mean_face()[None]
        >>> masked, control = (each(face, landmarks) == 0 for each in (Mask("eyes"), ControlMask("eyes")))
        >>> bool((masked & control).any())
        False
    """

    fill: str = "black"
    shape: str = "box"
    scale: tuple[float, float] | None = None
    seed: int = 0
    kind: ClassVar[str] = "control"

    def _pictures(self, batch: Batch) -> Tensor:
        mask = _elsewhere(batch, self._mask(batch)[:, 0], self.seed)[:, None]
        return covered(batch, mask, self.fill, self.seed)


def covered(batch: Batch, mask: Tensor, fill: str, seed: int) -> Tensor:
    """The pictures with the mask's pixels filled."""
    rows, columns = extent(mask)
    pictures = batch.images.clone()
    filling = _fill(batch, fill, seed).expand_as(pictures)[..., rows, columns]
    part = mask[..., rows, columns]
    pictures[..., rows, columns] = torch.where(part, filling, pictures[..., rows, columns])
    return pictures


def _fill(batch: Batch, fill: str, seed: int) -> Tensor:
    images = batch.images
    if fill == "black":
        return images.new_zeros(())
    std, mean = torch.std_mean(images, (2, 3), keepdim=True)
    if fill == "mean":
        return mean
    noise = randomness.normal(seed, "fill", batch.ids, images[0].numel()).view_as(images).to(images.dtype)
    return (mean + std * noise).clamp(0, 1)


def _elsewhere(batch: Batch, mask: Tensor, seed: int) -> Tensor:
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


def extent(mask: Tensor) -> tuple[slice, slice]:
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
