"""Changes of light and grain that leave a face's identity alone, for many pictures at once."""

from __future__ import annotations

from functools import lru_cache

import torch


def vary(images: torch.Tensor, generator: torch.Generator, strength: float = 1.0) -> torch.Tensor:
    """Mirror half of the pictures and change their brightness, contrast, colour and grain at random.

    Args:
        images: uint8 (N, 3, S, S).
        generator: where chance comes from.
        strength: 0 leaves only the mirroring.

    Returns:
        float (N, 3, S, S), clipped to [0, 1].

    Example:
        >>> grey = torch.full((4, 3, 8, 8), 128, dtype=torch.uint8)
        >>> varied = vary(grey, torch.Generator().manual_seed(0))
        >>> varied.shape, bool((varied.mean((1, 2, 3)) != 128 / 255).all())
        (torch.Size([4, 3, 8, 8]), True)
    """
    count = len(images)

    def chance(columns: int = 1) -> torch.Tensor:
        return torch.rand(count, columns, 1, 1, generator=generator)

    mirrored = chance()[:, 0, 0, 0] < 0.5
    values = torch.where(mirrored[:, None, None, None], images.flip(3), images).float().div_(255)
    if strength <= 0:
        return values
    grey = values.mean(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    colour = torch.where(chance() < 0.1 * strength, 0.0, 1 + strength * 0.3 * (chance() - 0.5))
    contrast = 1 + strength * 0.5 * (chance() - 0.5)
    light = strength * (0.25 * (chance() - 0.5) + 0.06 * (chance(3) - 0.5))
    # grey + colour (x - grey), then mean + contrast (x - mean) + light, in as few passes as there can be.
    values.mul_(contrast * colour).add_(grey * (contrast * (1 - colour))).add_((1 - contrast) * mean + light)
    grain = _grain()
    start = int(torch.randint(len(grain) - values.numel() % len(grain), (1,), generator=generator))
    if values.numel() <= len(grain):
        values.addcmul_(grain[start : start + values.numel()].view_as(values), strength * 0.03 * chance())
    return values.clamp_(0, 1)


@lru_cache(maxsize=1)
def _grain() -> torch.Tensor:
    """A long row of normal noise, cut at another place each time: drawing it afresh would cost more than the rest."""
    return torch.randn(2**23, generator=torch.Generator().manual_seed(0))
