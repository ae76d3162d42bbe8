"""A model on disk: one file a format, and what a reference to a model may be."""
