"""The HTTP server: stories for many listeners at once, by OpenAI's API."""
