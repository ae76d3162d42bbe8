"""What the verbs take unless another is named."""

DEFAULT_MODEL = "tinybuddy-80k"  # the best YES within the parameters of the card's model
DEFAULT_RECIPE = "speedrun"
DEFAULT_RECIPE_FROM = "finetune"  # of a training that goes on from a model
