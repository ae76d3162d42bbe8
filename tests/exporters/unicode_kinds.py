"""The kinds of all characters, as GPT-2's regular expression sees them in the tokenizers library.

    python -m tests.exporters.unicode_kinds > src/tinybuddy/exporters/c/src/unicode.h

asks the library about every character, which takes it some 20 seconds.
"""

from __future__ import annotations

import sys

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

OTHER = 0
NOT_OF_KIND = {1: r"[^\p{L}]+", 2: r"[^\p{N}]+", 3: r"\S+"}  # letters, numbers, spaces
COLUMNS = 96


def kinds() -> bytearray:
    """Kind of each code point."""
    found = bytearray(0x110000)
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    text = "".join(map(chr, codes))
    for kind, pattern in NOT_OF_KIND.items():
        for _, (begin, end) in Split(Regex(pattern), "removed").pre_tokenize_str(text):
            for place in range(begin, end):
                found[codes[place]] = kind
    return found


def header() -> str:
    """`unicode.h`."""
    found, runs, begin = kinds(), bytearray(), 0
    while begin < len(found):
        end = begin
        while end < len(found) and found[end] == found[begin]:
            end += 1
        number = (end - begin) << 2 | found[begin]
        while number >= 128:
            runs.append(number & 127 | 128)
            number >>= 7
        runs.append(number)
        begin = end
    lines, line = [], "   "
    for byte in runs:
        if len(line) + len(f" {byte},") > COLUMNS:
            lines.append(line)
            line = "   "
        line += f" {byte},"
    return "\n".join(
        [
            "/* Which characters are letters, numbers and spaces: encode_bpe.c reads it. */",
            "/* clang-format off */",
            "#include <stdint.h>",
            "",
            "static const uint8_t unicode_runs[] = {",
            *lines,
            line,
            "};\n",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(header())
