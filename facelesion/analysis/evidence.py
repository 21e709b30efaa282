"""Where the evidence lies, as numbers: the share of a map on each part of the picture, beside the part's area."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from facelesion.errors import FacelesionError


@dataclass(frozen=True, eq=False)
class Evidence:
    """How the evidence of maps is spread over parts of the picture.

    Attributes:
        share: float32 (N, parts), each map's share on each part; a row sums to 1. Not a number where a map is zero
            everywhere: then there is no evidence that could lie anywhere.
        area: float32 (N, parts), the parts' shares of the picture: what evidence that lies anywhere alike would give.
    """

    share: torch.Tensor
    area: torch.Tensor

    @property
    def density(self) -> torch.Tensor:
        """Share over area (N, parts): above 1 a part carries more evidence than its size; nan where it has no area."""
        return self.share / self.area


def evidence_shares(maps: torch.Tensor, parts: torch.Tensor) -> Evidence:
    """The share of every map on each part of its picture.

    Args:
        maps: (N, H, W), no value below 0: such as Grad-CAM's.
        parts: (N, parts, H, W), how much of every pixel belongs to each part, as `faces.division.divided` gives it.

    Raises:
        FacelesionError: shapes that do not fit, values below 0 or not finite, or pixels that belong to more or less
            than one part in all.

    Example:
        >>> left = torch.tensor([[[1.0, 0, 0, 0]]])
        >>> parts = torch.tensor([[[[1.0, 1, 0, 0]], [[0.0, 0, 1, 1]]]])
        >>> found = evidence_shares(left, parts)
        >>> found.share.tolist(), found.area.tolist()
        ([[1.0, 0.0]], [[0.5, 0.5]])
    """
    if maps.ndim != 3 or parts.ndim != 4 or parts.shape[::2] + parts.shape[3:] != maps.shape:
        raise FacelesionError(
            f"maps (N, H, W) and parts (N, parts, H, W) of the same pictures, not {tuple(maps.shape)} and "
            f"{tuple(parts.shape)}"
        )
    if not torch.isfinite(maps).all() or (maps < 0).any():
        raise FacelesionError("maps of evidence are finite and not below 0: cut off what speaks against the answer")
    if ((parts.sum(1) - 1).abs() > 1e-4).any():
        raise FacelesionError("every pixel must belong to the parts once in all: take them from faces.division")
    heat, weight = maps.double(), parts.double()
    total = heat.sum((1, 2))
    share = torch.einsum("nhw,nphw->np", heat, weight) / torch.where(total > 0, total, torch.nan)[:, None]
    return Evidence(share.float(), weight.mean((2, 3)).float())
