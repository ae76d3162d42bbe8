"""The page at ``/``: the default model in a file that works by itself, as `export html` writes."""

from __future__ import annotations

import asyncio
import functools

from starlette.responses import HTMLResponse, Response

from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters import html
from tinybuddy.server.models import ServedModel

PLAIN = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>tinybuddy</title>
<h1>tinybuddy</h1>
<p>Stories by OpenAI's API: <a href="/v1/models">the models</a>, <a href="/docs">how to ask</a>.</p>
</html>
"""


async def page(model: ServedModel) -> Response:
    """Return the page of a model, or a plain one where it cannot be written."""
    return HTMLResponse(await asyncio.to_thread(_written, model))


@functools.lru_cache(maxsize=1)
def _written(model: ServedModel) -> str:
    try:
        return html.page_of(model.files, "int8")
    except TinybuddyError:  # a tokenizer of llama2.c, or a model too large
        return PLAIN
