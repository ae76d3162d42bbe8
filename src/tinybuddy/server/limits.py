"""What one request may ask for, and how long it may take. All of it is in the API's document."""

from __future__ import annotations

# Checking the worst body of this size takes some 0.1 s, in which nobody is answered.
BODY_BYTES = 1 << 18
DRAINED_BYTES = 16 << 20  # of a larger body read all the same, so that its sender hears why not
BODY_SECONDS = 30.0
HEADER_BYTES = 1 << 16
HEADER_SECONDS = 10.0
IDLE_SECONDS = 30.0  # of a connection between two requests
UNREAD_SECONDS = 30  # that what was sent may stay unacknowledged, or unread
PROBE_SECONDS = 5  # between two questions whether a client that has been silent is still there

PROMPT_CHARACTERS = 32_768
PROMPT_TOKENS = 32_768  # where they are given as ids
PROMPTS = 16
CHOICES = 16
MESSAGES = 256
NEW_TOKENS = 4_096
STOPS = 16
STOP_CHARACTERS = 256
TOP_LOGPROBS = 20
NAME_CHARACTERS = 200
WHOLE_LOGPROBS = 1 << 18  # of an answer that is no stream: it takes some 100 bytes for each
