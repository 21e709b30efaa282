"""Where a picture's pixels lie in what a network is given, found by looking at what its preprocessing does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from facelesion.errors import Error

Preprocess = Callable[[torch.Tensor], torch.Tensor]
_INNER = 0.15  # of the side: nearer to the border, resampling bends what is straight
_STRAIGHT = 0.25  # of a pixel: resampling by broken factors wobbles by some tenths


@dataclass(frozen=True, eq=False)
class Frame:
    """How preprocessing moves and colours pictures of one size.

    Attributes:
        height, width: of what the network is given.
        scale, shift: along x and y: a point at x lies at `scale * x + shift`, pixel centres at whole numbers.
        order: which channel of the result is red, which green, which blue.
        black, white: float (3,), what these colours become.
    """

    height: int
    width: int
    scale: tuple[float, float]
    shift: tuple[float, float]
    order: tuple[int, int, int]
    black: torch.Tensor
    white: torch.Tensor

    def moved(self, landmarks: torch.Tensor) -> torch.Tensor:
        """Landmarks (N, points, 2) of the pictures, in pixels of what the network is given."""
        return landmarks * landmarks.new_tensor(self.scale) + landmarks.new_tensor(self.shift)

    def seen(self, given: torch.Tensor) -> torch.Tensor:
        """What the network is given (N, 3, height, width), as float RGB in [0, 1] to look at."""
        black, white = (each.to(given)[:, None, None] for each in (self.black, self.white))
        return ((given - black) / (white - black))[:, list(self.order)].clamp(0, 1)


def frame_of(preprocess: Preprocess, height: int, width: int) -> Frame:
    """The frame of a preprocessing for pictures of this size.

    Ramps of brightness are sent through it: they show where every column and row of a picture comes to lie.

    Raises:
        Error: it turns, bends or recolours pictures so that a place in them has no one place afterwards.

    Example:
        >>> from facelesion.models.subject import Preprocessing
        >>> frame = frame_of(Preprocessing(224), 112, 112)
        >>> [round(value, 3) for value in (*frame.scale, *frame.shift)]
        [2.0, 2.0, 0.5, 0.5]
    """
    x, y = torch.arange(width) / (width - 1), torch.arange(height) / (height - 1)
    ramps = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    grey = torch.stack([torch.full((height, width), value) for value in (0.0, 1.0, 0.5)])
    colours = torch.eye(3)[:, :, None, None].expand(3, 3, height, width)
    with torch.no_grad():
        sent = preprocess(torch.cat([torch.cat([grey, ramps])[:, None].expand(5, 3, height, width), colours])).float()
    if sent.ndim != 4 or sent.shape[:2] != (8, 3):
        raise _unlike("gives no picture (N, 3, height, width)")
    black, white = sent[0].mean((1, 2)), sent[1].mean((1, 2))
    if not torch.isfinite(sent).all() or ((white - black).abs() < 1e-6).any():
        raise _unlike("makes no difference between black and white")
    plain = (sent - black[:, None, None]) / (white - black)[:, None, None]
    if (plain[2] - 0.5).abs().max() > 0.02:
        raise _unlike("bends brightness")
    order = plain[5:].mean((2, 3)).argmax(1).tolist()
    if sorted(order) != [0, 1, 2]:
        raise _unlike("mixes colours")
    scale, shift = zip(
        _line(plain[3, 0].mean(0), plain[3, 0].std(0), width), _line(plain[4, 0].mean(1), plain[4, 0].std(1), height),
        strict=True,
    )  # fmt: skip
    return Frame(sent.shape[2], sent.shape[3], scale, shift, (order[0], order[1], order[2]), black, white)


def _line(place: torch.Tensor, spread: torch.Tensor, size: int) -> tuple[float, float]:
    """Scale and shift along one axis, from where each of its pixels was in the picture."""
    inner = slice(round(_INNER * len(place)), round((1 - _INNER) * len(place)))
    after = torch.arange(len(place)).double()[inner]
    before = place.double()[inner] * (size - 1)
    slope = float(((after - after.mean()) * (before - before.mean())).sum() / (after - after.mean()).square().sum())
    start = float(before.mean() - slope * after.mean())
    bent = (before - (start + slope * after)).abs().max()
    if not slope > 0 or bent > _STRAIGHT * max(1.0, slope) or spread[inner].max() * (size - 1) > _STRAIGHT:
        raise _unlike("turns or bends pictures")
    return 1 / slope, -start / slope


def _unlike(what: str) -> Error:
    return Error(f"the network's preprocessing {what}: maps of it cannot be laid over the picture")
