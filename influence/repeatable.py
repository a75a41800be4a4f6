"""Which models can be trained again, or followed through their training: those whose weights come from a recipe alone."""

from __future__ import annotations

from influence.types import Trained


def no_recipe(trained: Trained, what: str, instead: str) -> str:
    """Return why `what`, which follows the recipe, is closed to a model, and what to do `instead`; or ""."""
    if trained.recipe is None:
        return f"{what} needs the recipe by which the model was trained; this model has none. Train it here, or choose {instead}."
    if trained.claim in ("L0", "L1", "L3"):
        return (
            f"{what} follows the recipe, but these weights were made by an approximate unlearning method (claim {trained.claim}), not by "
            f"the recipe alone. Ask it of the original or the retrained model, or choose {instead}."
        )
    return ""
