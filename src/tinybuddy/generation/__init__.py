"""Prompt in, stream of text out."""
