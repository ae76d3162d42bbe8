"""What a model is measured beside: n-gram models, and sources that must fail."""
