"""From a proposal to a recipe: the widest model that a parameter budget allows."""

from __future__ import annotations

from itertools import count, product
from typing import Any

from tinybuddy.config import ModelConfig, Recipe
from tinybuddy.errors import UsageError
from tinybuddy.frontier.study import RATIOS, Proposal, Range, Study

SHAPE = ("vocab_size", "num_hidden_layers", "num_attention_heads", *RATIOS)


def fitted(recipe: Recipe, proposal: Proposal, budget: int) -> Recipe | None:
    """Return the recipe of a proposal within a budget; None where not even the narrowest fits.

    Its hidden size is the widest at which the feed-forward layers are still
    ``feed_forward_ratio`` as wide; what then remains of the budget widens these.

    Raises:
        UsageError: if its values do not go together.
    """
    chosen = {name: getattr(recipe.model, name) for name in SHAPE[:3]} | {**proposal}
    ratio, group = (chosen.pop(key, 1) for key in RATIOS)
    heads, layers = chosen["num_attention_heads"], chosen["num_hidden_layers"]
    kv_heads = max(n for n in range(1, max(1, heads // group) + 1) if heads % n == 0)

    def shape(hidden: int, intermediate: int) -> dict[str, Any]:
        return {
            "vocab_size": chosen["vocab_size"],
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
        }

    widest: dict[str, Any] = {}
    left = 0
    for hidden in count(2 * heads, 2 * heads):  # as RoPE turns pairs within each head
        wider = shape(hidden, max(1, round(ratio * hidden)))
        left, least = budget - ModelConfig(**wider).parameters, left
        if left < 0:
            break
        widest = wider
    if not widest:
        return None
    hidden = widest["hidden_size"]
    more = least // (3 * hidden * layers)
    return recipe.with_settings(chosen | shape(hidden, widest["intermediate_size"] + more))


def check_budgets(study: Study) -> None:
    """Raise `UsageError` unless each budget allows a model of the study's space."""
    choices = {
        key: [choice.low] if isinstance(choice, Range) else choice
        for key, choice in study.space.items()
        if key in (*SHAPE, "tokenizer", "alphabet")
    }
    for budget in study.budgets:
        reason = UsageError(
            f"No shape of the study {study.name} fits into {budget:,} parameters: give a larger "
            "budget, or smaller vocabularies and fewer layers in [space]."
        )
        for values in product(*choices.values()):
            try:
                if fitted(study.recipe, dict(zip(choices, values, strict=True)), budget):
                    break
            except UsageError as error:  # it fits, but its values do not go together
                reason = error
        else:
            raise reason
