"""Tokenizers put together from their tokens, with fixed ids: the one place that lays them out.

`training` finds the tokens, and `packed` reads them from a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from tinybuddy.tokenizer.layout import BOS, NEVER, PAD, SPECIAL, WORDS, byte_alphabet, unseen


def byte_level_bpe(merges: list[tuple[str, str]]) -> Backend:
    """BPE that begins with the 256 bytes."""
    backend = bare_bpe(byte_alphabet(), merges, pre_tokenizers.ByteLevel(add_prefix_space=False))
    backend.decoder = decoders.ByteLevel()
    return _finished(backend)


def bpe(characters: Iterable[str], merges: list[tuple[str, str]]) -> Backend:
    """BPE that begins with some characters."""
    return _finished(bare_bpe(characters, merges, pre_tokenizers.Split(Regex(WORDS), "isolated")))


def single_characters(characters: Iterable[str]) -> Backend:
    """Each character a token."""
    return _finished(bare_bpe(characters, [], None))


def unigram(scores: Iterable[tuple[str, float]]) -> Backend:
    """A Unigram model of tokens and their log-probabilities, in the order of their ids."""
    scores = list(scores)
    vocabulary = [*((token, NEVER) for token in SPECIAL), *scores]
    backend = Backend(models.Unigram(vocabulary, PAD, byte_fallback=False))
    characters = [token for token, _ in scores if len(token) == 1]
    backend.normalizer = normalizers.Replace(Regex(unseen(characters)), "")
    backend.decoder = decoders.Fuse()
    return _finished(backend)


def bare_bpe(alphabet: Iterable[str], merges: list[tuple[str, str]], words: Any) -> Backend:
    """BPE with fixed ids: the special tokens, the alphabet, the merges in their order.

    It does not know yet that the special tokens are such; ``words`` is its pre-tokenizer.
    """
    tokens = dict.fromkeys([*SPECIAL, *alphabet, *(left + right for left, right in merges)])
    vocabulary = {token: id for id, token in enumerate(tokens)}
    backend = Backend(models.BPE(vocab=vocabulary, merges=merges))
    if words is not None:
        backend.pre_tokenizer = words
    backend.decoder = decoders.Fuse()
    return backend


def _finished(backend: Backend) -> Backend:
    backend.add_special_tokens(list(SPECIAL))
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", BOS)]
    )
    return backend
