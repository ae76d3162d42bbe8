"""What the verbs take unless another is named."""

DEFAULT_MODEL = "tinybuddy-80k"  # the best of no more parameters than the card's model
DEFAULT_RECIPE = "speedrun"
DEFAULT_RECIPE_FROM = "finetune"  # of a training that goes on from a model
