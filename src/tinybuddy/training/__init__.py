"""From stories to a model that speaks."""
