"""What is trained and how: recipes by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facelesion.lazy import lazily

if TYPE_CHECKING:
    from facelesion.training.recipes import RECIPES, Recipe
    from facelesion.training.run import RunConfig

__all__ = ["RECIPES", "Recipe", "RunConfig"]

# A recipe's name is known before Lightning is.
__getattr__, __dir__ = lazily(__name__, {"recipes": ("RECIPES", "Recipe"), "run": ("RunConfig",)})
