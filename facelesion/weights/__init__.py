"""Weights: which ones facelesion knows of, how they come from the network, where they lie and how they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facelesion.lazy import lazily

if TYPE_CHECKING:
    from facelesion.weights.places import weights_folder, weights_path
    from facelesion.weights.registry import Entry, entries, entry
    from facelesion.weights.store import read_weights, save_weights

__all__ = ["Entry", "entries", "entry", "read_weights", "save_weights", "weights_folder", "weights_path"]

# Only to read and write tensors takes torch.
__getattr__, __dir__ = lazily(
    __name__,
    {
        "places": ("weights_folder", "weights_path"),
        "registry": ("Entry", "entries", "entry"),
        "store": ("read_weights", "save_weights"),
    },
)
