"""Does it speak English? A scorecard that any language model can take, and that can say no."""
