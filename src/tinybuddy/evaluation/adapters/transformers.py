"""Any causal language model that transformers opens, as what takes the scorecard."""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinybuddy.backends import check_device
from tinybuddy.backends.interface import Ids, Stream
from tinybuddy.backends.lockstep import LockstepBackend
from tinybuddy.errors import TinybuddyError, require
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.tokenizer import check_unicode

MAX_CONTEXT = 4096  # tokens that scoring puts into one batch
DEFAULT_CONTEXT = 1024  # GPT-2's, where none is named, as by models without positions
# GPT-2 gives 50,257 logits a token, so those of 4,096 tokens would take 0.8 GB, and as much again
# for their logarithms.
MAX_LOGITS = 2**26


def open_transformers(path: Path) -> EvaluatedModel:
    """Open a directory that holds a causal language model and its tokenizer.

    Nothing is downloaded, and no code that came with the model is run: weights must be safetensors,
    and the architecture one of transformers' own. It computes in float32 on the processor.

    Args:
        path: what ``AutoModelForCausalLM`` and ``AutoTokenizer`` open.

    Raises:
        TinybuddyError: if transformers or PyTorch is missing, or the directory holds no whole model
            of that kind.
    """
    check_device()
    require("transformers", "transformers", "transformers")
    if not (path / "config.json").is_file():
        raise TinybuddyError(f"There is no model in {path}: it has no config.json.")
    if not any(path.glob("*.safetensors")):
        raise TinybuddyError(
            f"{path} holds no .safetensors file, and weights of another kind, such as .bin, are "
            "not opened, since they could run code: save them as safetensors."
        )
    # Without one, transformers makes an empty one, or asks for a library that would not help.
    if not any(any(path.glob(name)) for name in ("tokenizer.json", "*.model", "vocab*")):
        raise TinybuddyError(f"There is no tokenizer in {path}: put its tokenizer.json there.")
    with _refusals(path):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        local = {"local_files_only": True, "trust_remote_code": False}
        model, report = AutoModelForCausalLM.from_pretrained(
            path,
            **local,
            use_safetensors=True,
            attn_implementation="eager",  # config.json could name another one to be downloaded
            ignore_mismatched_sizes=True,  # said below, instead of through the log
            output_loading_info=True,
        )
        # Those would be random numbers.
        if wrong := sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]])):
            raise TinybuddyError(
                f"The weights in {path} lack {wrong[0]}, or have it in another shape than "
                "config.json says: copy the directory again, whole."
            )
        tokenizer = AutoTokenizer.from_pretrained(path, **local)
        context = _context(model, tokenizer)
        codec, backend = _Codec(tokenizer, model, path), _Backend(model, context)
        _check_causal(backend, codec, context, path)
    return EvaluatedModel(
        name=path.resolve().name,
        backend=backend,
        tokenizer=codec,
        context=context,
        parameters=sum(weight.numel() for weight in model.parameters()),  # a tied one comes once
        path=path,
    )


class _Backend(LockstepBackend):
    """A model of transformers behind the interface of `tinybuddy.backends.pytorch.Backend`."""

    def __init__(self, model: Any, context: int) -> None:
        self._model, self.context = model.float().eval(), context

    def stream(self, texts: int = 1) -> Stream:
        """Begin one text, or several of equal length."""
        return _Stream(self._model, texts)

    def log_likelihoods(self, inputs: Ids, targets: Ids) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id after the inputs up to its place."""
        import torch

        rows = max(1, MAX_LOGITS // (inputs.shape[1] * _vocabulary(self._model)))
        found = []
        with torch.inference_mode():
            for start in range(0, len(inputs), rows):
                ids = torch.from_numpy(inputs[start : start + rows])
                wanted = torch.from_numpy(targets[start : start + rows])
                logits = self._model(ids, attention_mask=torch.ones_like(ids), use_cache=False)
                losses = torch.nn.functional.cross_entropy(
                    logits.logits.flatten(0, 1), wanted.flatten(), reduction="none"
                )
                found.append(-losses.view(wanted.shape).numpy())
        return np.concatenate(found)


class _Stream:
    def __init__(self, model: Any, texts: int) -> None:
        self._model, self._cache = model, None
        self._ids: Ids = np.zeros((texts, 0), np.int64)
        # Most compute only the logits that are asked for.
        known = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._asked = {"logits_to_keep": 1} if known else {}

    def feed(self, ids: Ids) -> NDArray[np.float32]:
        import torch

        self._ids = np.concatenate([self._ids, ids], axis=1)
        # A state space keeps no such cache, and is given everything again.
        cached: dict[str, Any] = {} if self._cache is None else {"past_key_values": self._cache}
        new = torch.from_numpy(ids if cached else self._ids)
        with torch.inference_mode():
            mask = torch.ones(self._ids.shape, dtype=torch.int64)
            output = self._model(new, attention_mask=mask, use_cache=True, **self._asked, **cached)
        self._cache = getattr(output, "past_key_values", None)
        result: NDArray[np.float32] = output.logits[:, -1].numpy()
        return result


class _Codec:
    """A tokenizer of transformers behind the interface of `tinybuddy.tokenizer.Codec`.

    Many put a space before a text and take one off when they decode, even where ids continue a
    text, so that a space between two words goes. So ids are decoded behind a known word, and the
    space before a text is taken off here, if they begin with `bos`.
    """

    def __init__(self, tokenizer: Any, model: Any, path: Path) -> None:
        tokenizer.model_max_length = 10**30  # it prints a warning for longer texts
        self._tokenizer = tokenizer
        self._anchor: list[int] = self._ids("a")
        if not self._anchor:
            raise TinybuddyError(f"The tokenizer in {path} has no tokens: copy it again.")
        vocabulary = tokenizer.get_vocab()
        self.vocab_size = 1 + max(vocabulary.values())
        added = set(tokenizer.added_tokens_decoder)  # not used, they may lie beyond the model's
        if max(set(vocabulary.values()) - added, default=0) >= _vocabulary(model):
            raise TinybuddyError(
                f"The tokenizer in {path} has {self.vocab_size:,} tokens and its model "
                f"{_vocabulary(model):,}: they do not belong together."
            )
        # A config.json may name those of another tokenizer: GPT-2's end is its class's default.
        usable = {id for id in added | set(tokenizer.all_special_ids) if id < _vocabulary(model)}
        config = model.config.get_text_config()
        bos = _first(usable, tokenizer.bos_token_id, getattr(config, "bos_token_id", None))
        eos = _first(usable, tokenizer.eos_token_id, getattr(config, "eos_token_id", None))
        bos, eos = eos if bos is None else bos, bos if eos is None else eos
        if bos is None or eos is None:
            raise TinybuddyError(
                f"The tokenizer in {path} has no token for the beginning or the end of a text: "
                "name its eos_token in tokenizer_config.json."
            )
        self.bos, self.eos = bos, eos
        backend = getattr(tokenizer, "backend_tokenizer", None)
        unknown = vocabulary.get(getattr(getattr(backend, "model", None), "unk_token", None))
        self._silent = {*tokenizer.all_special_ids, bos, eos, unknown}
        self._begins_with_space = self.decode(self._ids("a")) == " a"

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without the beginning and the end.

        Raises:
            UsageError: for text with lone surrogates, which is no Unicode text.
        """
        check_unicode(text)
        return self._ids(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``, special and unknown ones left out, after `bos` or as a continuation."""
        ids = list(ids)
        text = self._text([*self._anchor, *ids])[len(self._text(self._anchor)) :]
        at_start = ids[:1] == [self.bos] and self._begins_with_space
        return text.removeprefix(" ") if at_start else text

    def decode_stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Text of ``ids`` as they come, one piece an id; never half a character.

        The pieces joined are ``decode(ids)``; a piece is empty while a character is unfinished.
        """
        seen: list[int] = []
        text, shown = "", 0
        for id in ids:
            seen.append(id)
            text = self.decode(seen)
            finished = len(text.rstrip("\ufffd"))
            yield text[shown:finished]
            shown = max(shown, finished)
        if shown < len(text):
            yield text[shown:]

    def lost_bytes(self, text: str, ids: Sequence[int]) -> int:
        """UTF-8 bytes of ``text`` that the text of ``ids`` has not, in whatever order."""
        kept = Counter(self.decode([self.bos, *ids]).encode("utf-8"))
        return (Counter(text.encode("utf-8")) - kept).total()

    def _ids(self, text: str) -> list[int]:
        # The text "<eos>" in a story is five characters.
        try:
            ids = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        except Exception as error:  # the library below raises plain ones, for an unknown word
            raise TinybuddyError(f"The tokenizer cannot encode {text[:40]!r}: {error}.") from None
        return [int(id) for id in ids]

    def _text(self, ids: Iterable[int]) -> str:
        spoken = [id for id in ids if id not in self._silent]
        text: str = self._tokenizer.decode(spoken, clean_up_tokenization_spaces=False)
        return text


def _first(usable: set[int], *named: int | list[int] | None) -> int | None:
    """First id that is usable, of those that tokenizer and ``config.json`` name."""
    ids = (id for value in named for id in (value if isinstance(value, list) else [value]))
    return next((id for id in ids if id in usable), None)


def _vocabulary(model: Any) -> int:
    """Number of tokens that a model knows."""
    return int(model.get_input_embeddings().weight.shape[0])


def _context(model: Any, tokenizer: Any) -> int:
    """Predictions at a time, as the first of the two that names it has it."""
    named = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    # A tokenizer that does not know it says 10^30.
    context = next((n for n in (named, tokenizer.model_max_length) if n and 0 < n < 10**9), None)
    return min(int(context or DEFAULT_CONTEXT), MAX_CONTEXT)


def _check_causal(backend: _Backend, codec: _Codec, context: int, path: Path) -> None:
    """Raise TinybuddyError if later ids change earlier probabilities, as in BERT's kind."""
    word, half = codec.encode("a")[0], min(4, context // 2)
    inputs = np.array([[codec.bos] * 2 * half, [codec.bos] * half + [word] * half])
    if not half:
        return  # a context of one id has nothing later
    one, other = backend.log_likelihoods(inputs, np.full_like(inputs, word))[:, :half]
    if not np.allclose(one, other, rtol=0, atol=1e-4, equal_nan=True):
        raise TinybuddyError(
            f"The model in {path} sees the words that it is to predict: it is not a causal "
            "language model."
        )


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Raise one TinybuddyError for all that transformers may raise, and let it print nothing."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (TinybuddyError, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # tokenizers raise plain Exceptions, and panics, which are not
        lines = str(error).strip().splitlines() or [type(error).__name__]
        if "trust_remote_code" in str(error):
            reason = "it needs code of its authors, which is not run here"
        elif "recogniz" in lines[0]:
            reason = "transformers knows no causal language model of its model_type"
        else:
            reason = lines[0][:200].rstrip(" .:")
        raise TinybuddyError(f"The model in {path} cannot be opened: {reason}.") from None
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
