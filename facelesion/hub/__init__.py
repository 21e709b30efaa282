"""Weights and studies to and from the Hugging Face hub, by `huggingface_hub` (the extra `hub`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facelesion.lazy import lazily

if TYPE_CHECKING:
    from facelesion.hub.cards import model_card, study_card
    from facelesion.hub.transfer import fetch_study, fetch_weights, push_study, push_weights

__all__ = ["fetch_study", "fetch_weights", "model_card", "push_study", "push_weights", "study_card"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "cards": ("model_card", "study_card"),
        "transfer": ("fetch_study", "fetch_weights", "push_study", "push_weights"),
    },
)
