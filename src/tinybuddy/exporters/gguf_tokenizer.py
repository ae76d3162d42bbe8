"""A tokenizer as GGUF holds it: as one of llama.cpp's own, which must give the same ids.

=======================  =========  ================================================================
ours                     llama.cpp  where they differ
=======================  =========  ================================================================
BPE over bytes           ``gpt2``   nowhere
Unigram, and characters  ``t5``     NUL, if unknown, is ``<pad>``; of two ways to write a text that
                                    are as probable it may take the other, as we add up decimals (of
                                    759 stories in none, or, with other scores, in two)
llama2.c's               ``llama``  U+2581 in a text is read as a space, and a character that is no
                                    token may still merge
=======================  =========  ================================================================

BPE over characters is refused: where we drop an unknown character before we merge, llama.cpp drops
it after, and so does not merge across it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from gguf import GGUFWriter, TokenType

from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters.charsmap import dropping_all_but
from tinybuddy.formats.loaded import LoadedModel
from tinybuddy.formats.sentencepiece import BOS, BYTE_NAMES, FIRST_PIECE, SentencePieceTokenizer
from tinybuddy.tokenizer import Tokenizer
from tinybuddy.tokenizer.layout import PAD, SCORE_DECIMALS, SPECIAL

SPACE = "\u2581"  # as which llama.cpp reads and keeps a space, but for ``gpt2``
SCALE = 10**SCORE_DECIMALS  # of scores: as whole numbers they and their sums are exact


def add_tokenizer(writer: GGUFWriter, model: LoadedModel) -> None:
    """Add the tokenizer of a model.

    Raises:
        TinybuddyError: if llama.cpp has none that gives the same ids.
    """
    match model.tokenizer:
        case SentencePieceTokenizer() as tokenizer:
            tokens = _add_llama(writer, tokenizer)
        case Tokenizer(kind="bpe", alphabet="bytes") as tokenizer:
            tokens = _add_gpt2(writer, tokenizer)
        case Tokenizer(kind="unigram" | "characters") as tokenizer:
            tokens = _add_t5(writer, tokenizer)
        case _:
            raise TinybuddyError(
                "llama.cpp has no BPE over characters, as the tokenizer of this model is: train "
                "one of kind unigram, or with an alphabet of bytes."
            )
    unused = range(len(tokens), model.config.vocab_size)
    tokens += [(f"<unused{id}>".encode(), TokenType.CONTROL) for id in unused]
    if len({token for token, _ in tokens} - {b""}) < len(tokens):
        raise TinybuddyError(
            "The tokenizer of this model has an empty token, or one twice, which llama.cpp's "
            "cannot have."
        )
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([type for _, type in tokens])
    writer.add_bos_token_id(model.tokenizer.bos)
    writer.add_eos_token_id(model.tokenizer.eos)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def _add_gpt2(writer: GGUFWriter, tokenizer: Tokenizer) -> list[tuple[bytes, TokenType]]:
    model = json.loads(tokenizer.to_json())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_merges([f"{left} {right}" for left, right in model["merges"]])
    writer.add_pad_token_id(PAD)
    return _typed(sorted(model["vocab"], key=model["vocab"].get))


def _add_t5(writer: GGUFWriter, tokenizer: Tokenizer) -> list[tuple[bytes, TokenType]]:
    vocabulary = json.loads(tokenizer.to_json())["model"]["vocab"]
    if tokenizer.kind == "characters":  # all are as good, as there is but one way
        vocabulary = [(token, 0.0) for token in sorted(vocabulary, key=vocabulary.get)]
    writer.add_tokenizer_model("t5")
    writer.add_token_scores([SCALE * score for _, score in vocabulary])
    writer.add_precompiled_charsmap(dropping_all_but(tokenizer.characters))
    writer.add_add_space_prefix(False)
    writer.add_remove_extra_whitespaces(False)
    writer.add_pad_token_id(PAD)
    writer.add_unk_token_id(PAD)
    return _typed(_with_spaces_marked([token for token, _ in vocabulary]))


def _add_llama(
    writer: GGUFWriter, tokenizer: SentencePieceTokenizer
) -> list[tuple[bytes, TokenType]]:
    if tokenizer.eos != BOS:
        raise TinybuddyError(
            "This model was written for llama2.c alone: export the one that it was made from."
        )
    writer.add_tokenizer_model("llama")
    writer.add_token_scores(tokenizer.scores)
    return [
        (b"<unk>", TokenType.UNKNOWN),
        (b"<s>", TokenType.CONTROL),
        (b"</s>", TokenType.CONTROL),
        *((name, TokenType.BYTE) for name in BYTE_NAMES),
        *(
            (piece.replace(b" ", SPACE.encode()), TokenType.NORMAL)
            for piece in tokenizer.pieces[FIRST_PIECE:]
        ),
    ]


def _typed(tokens: Sequence[str]) -> list[tuple[bytes, TokenType]]:
    types = dict.fromkeys(SPECIAL, TokenType.CONTROL)
    return [(token.encode(), types.get(token, TokenType.NORMAL)) for token in tokens]


def _with_spaces_marked(tokens: Sequence[str]) -> list[str]:
    if any(SPACE in token for token in tokens):
        raise TinybuddyError(
            f"The tokenizer of this model knows the character {SPACE}, which is a space to "
            "llama.cpp: train one on text without it."
        )
    return [token.replace(" ", SPACE) for token in tokens]
