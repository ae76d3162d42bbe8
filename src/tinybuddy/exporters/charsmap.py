"""The map of characters that llama.cpp's Unigram tokenizer applies to a text first.

It is sentencepiece's ``precompiled_charsmap``: a trie over bytes, which says of the longest match
at each place what stands there instead. The trie is a double array, laid out as in darts-clone
(https://github.com/s-yata/darts-clone): child ``b`` of unit ``n`` is unit ``n ^ offset ^ b``, if
``b`` is the lowest byte there, and at ``n ^ offset`` stands the value of ``n``, if it has one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from tinybuddy.errors import TinybuddyError

BLOCK = 256  # units, in which all children of one lie
HAS_VALUE, VALUE, OFFSET_SHIFT = 1 << 8, 1 << 31, 10
MAX_UNITS = 1 << 21  # beyond, offsets are written otherwise


def dropping_all_but(characters: Iterable[str]) -> bytes:
    """Return the map that leaves out all characters of a text but these, and NUL.

    Every byte alone is replaced by nothing, and a known character of several bytes by itself, which
    is the longer match. Known ones of a single byte are not in the trie: what is not stays.

    Raises:
        TinybuddyError: if there are too many.
    """
    known = sorted({character.encode("utf-8") for character in characters})
    values = {bytes([b]): 0 for b in range(1, 256) if bytes([b]) not in known}
    replacements = b"\0"  # at 0: nothing
    for text in known:
        if len(text) > 1:
            values[text] = len(replacements)
            replacements += text + b"\0"
    units = _double_array(values)
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + replacements


def _double_array(values: dict[bytes, int]) -> list[int]:
    """Lay out a trie: values in the first blocks, then a block for each node with children."""
    nodes = sorted({text[:end] for text in values for end in range(1, len(text) + 1)}, key=len)
    value_units = {value: unit for unit, value in enumerate(sorted({*values.values()}), start=1)}
    value_blocks = len(value_units) // BLOCK + 1  # with the root, which is unit 0
    parents = dict.fromkeys(node[:-1] for node in nodes)
    begins = {node: BLOCK * block for block, node in enumerate(parents, start=value_blocks)}
    units = [0] * (BLOCK * (value_blocks + len(parents)))
    if len(units) > MAX_UNITS:
        raise TinybuddyError("The tokenizer has too many different characters for a GGUF.")
    units[0] = begins[b""] << OFFSET_SHIFT
    for value, unit in value_units.items():
        units[unit] = VALUE | value
    for node in nodes:
        unit = begins[node[:-1]] + node[-1]
        goes_to = begins[node] if node in begins else value_units[values[node]]
        units[unit] = node[-1] | (unit ^ goes_to) << OFFSET_SHIFT
        if node in values:
            units[unit] |= HAS_VALUE
            units[goes_to] = VALUE | values[node]
    return units
