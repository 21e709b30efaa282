"""A picture of a face divided into parts, every pixel once: what shares of something by part are counted over."""

from __future__ import annotations

import torch
from torch import Tensor

from facelesion.faces.regions import FEATURES, check_landmarks, region_mask

#: The parts of a picture of a face, in order. `rest_of_face` is what is no feature and no contour: cheeks, chin, brow.
PARTS = ("eyes", "eyebrows", "nose", "mouth", "contour", "rest_of_face", "outside")


def divided(landmarks: Tensor, height: int, width: int) -> Tensor:
    """How much of every pixel belongs to each part of the picture.

    Features are the boxes that `Mask` covers; a pixel in several of them belongs to each in equal shares. Contour and
    the rest of the face are what the face's outline holds besides.

    Args:
        landmarks: float (N, 478, 2), (N, 68, 2) or (N, 5, 2), pixels of pictures of this size.
        height, width: the pictures' size in pixels.

    Returns:
        float32 (N, parts, height, width), parts as in `PARTS`; over the parts every pixel's numbers sum to 1.

    Example:
        >>> from facelesion.faces.regions import mean_face
        >>> share = divided(mean_face(64)[None], 64, 64)
        >>> share.shape, bool((share.sum(1) - 1).abs().max() < 1e-6)
        (torch.Size([1, 7, 64, 64]), True)
    """
    check_landmarks(landmarks)
    boxes = {name: region_mask(landmarks, name, height, width)[:, 0] for name in FEATURES}
    features = torch.stack([boxes[name] for name in PARTS if name in boxes], 1).float()
    claims = features.sum(1, keepdim=True)
    free = claims[:, 0] == 0
    face = region_mask(landmarks, "face", height, width, "polygon")[:, 0]
    contour = region_mask(landmarks, "contour", height, width, "polygon")[:, 0] & face
    rest = [free & contour, free & face & ~contour, free & ~face]
    return torch.cat([features / claims.clamp_min(1), torch.stack(rest, 1).float()], 1)
