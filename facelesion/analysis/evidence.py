"""Where the evidence lies, as numbers: the share of a map on each part of the picture, beside the part's area."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from facelesion.errors import Error


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
        Error: shapes that do not fit, values below 0 or not finite, or pixels that belong to more or less
            than one part in all.

    Example:
        >>> left = torch.tensor([[[1.0, 0, 0, 0]]])
        >>> parts = torch.tensor([[[[1.0, 1, 0, 0]], [[0.0, 0, 1, 1]]]])
        >>> found = evidence_shares(left, parts)
        >>> found.share.tolist(), found.area.tolist()
        ([[1.0, 0.0]], [[0.5, 0.5]])
    """
    if maps.ndim != 3 or parts.ndim != 4 or parts.shape[::2] + parts.shape[3:] != maps.shape:
        raise Error(
            f"maps (N, H, W) and parts (N, parts, H, W) of the same pictures, not {tuple(maps.shape)} and "
            f"{tuple(parts.shape)}"
        )
    return site_shares({"": maps}, parts)[""]


def site_shares(maps: Mapping[str, torch.Tensor], parts: torch.Tensor) -> dict[str, Evidence]:
    """As `evidence_shares`, of maps that are coarser than the picture, each as if it were `resized` to it.

    Resizing is linear, so the parts are brought to each map's size once and no map is enlarged.

    Args:
        maps: by site, (N, h, w), no value below 0.
        parts: (N, parts, H, W), as for `evidence_shares`.
    """
    if parts.ndim != 4 or any(each.ndim != 3 or len(each) != len(parts) for each in maps.values()):
        raise Error("maps are (N, h, w) and parts (N, parts, H, W), of the same pictures")
    if ((parts.sum(1) - 1).abs() > 1e-4).any():
        raise Error("every pixel must belong to the parts once in all: take them from faces.division")
    weight = parts.float()
    area = weight.mean((2, 3))
    known: dict[torch.Size, torch.Tensor] = {}
    found = {}
    for name, each in maps.items():
        if not torch.isfinite(each).all() or (each < 0).any():
            raise Error(
                "maps of evidence are finite and not below 0: cut off what speaks against the answer"
            )
        size = each.shape[1:]
        if size not in known:
            known[size] = _carried_back(weight, size[0], size[1]).flatten(2)
        top = each.flatten(1).amax(1).clamp_min(torch.finfo(torch.float32).tiny)
        lying = (known[size] @ (each.float() / top[:, None, None]).flatten(1)[:, :, None])[:, :, 0]
        total = lying.sum(1, keepdim=True)
        found[name] = Evidence(lying / torch.where(total > 0, total, torch.nan), area)
    return found


def _carried_back(parts: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """How much of every place of a coarse map comes to lie on each part once the map is enlarged: (N, parts, h, w)."""
    if parts.shape[2:] == (height, width):
        return parts
    rows, columns = (
        nn.functional.interpolate(torch.eye(few)[None].to(parts), many, mode="linear")[0]
        for few, many in ((height, parts.shape[2]), (width, parts.shape[3]))
    )
    return rows @ (parts @ columns.T)
