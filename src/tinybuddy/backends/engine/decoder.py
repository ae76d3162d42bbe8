"""The Python face of the decoder: generates text with a key-value cache, without PyTorch.

Every size and id is checked here or there before memory is touched. All memory is Python's, so
nothing has to be freed. Nothing here needs numpy until arrays are asked for.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from ctypes import POINTER, byref, c_int32, c_uint8, c_void_p
from typing import TYPE_CHECKING, Any

from tinybuddy.backends.engine import abi
from tinybuddy.backends.engine.abi import Config, Sampling
from tinybuddy.backends.engine.library import run_stoppable
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.errors import TinybuddyError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROWS = 64  # tokens fed at once at most; more than the 3 to 8 that share a load gains little
PROMPT_ROWS = 16  # tokens of one prompt that a step feeds
_STEPS = 1 << 16  # room for new ids that a text takes at a time
_MAX_INT32 = 2**31 - 1


class _Memory:
    """Zeroed bytes at an address that vectors like: a multiple of 64."""

    def __init__(self, size: int) -> None:
        if not 0 < size <= 2**62:
            abi.check(abi.CODES["TB_BAD_CONFIG"])
        self._bytes = (ctypes.c_char * (size + 63))()
        self.address = (ctypes.addressof(self._bytes) + 63) // 64 * 64


def _sampling(config: SampleConfig) -> Sampling:
    return Sampling(
        config.repetition_penalty,
        config.temperature,
        config.top_p,
        config.min_p,
        min(config.top_k, _MAX_INT32),
    )


class Decoder:
    """A model ready to generate texts, on one core.

    Several threads may use one: they take turns.

    Attributes:
        config: its shape.
        kernels: which instructions it uses: ``avx512_bf16``, ``avx512``, ``avx2`` or ``baseline``.
    """

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Any],
        *,
        bits: int = 32,
        library: ctypes.CDLL | None = None,
    ) -> None:
        """Pack the weights.

        Args:
            config: the shape.
            weights: float32 arrays, or any other buffers of that type and shape, under
                transformers' names.
            bits: of a weight: 32, or 8 or 4, whole numbers with one scale for each row, which take
                a quarter or an eighth of the memory, and give slightly other logits.
            library: the loaded engine; by default the one that came with the package.

        Raises:
            TinybuddyError: if the weights are not those of the shape.
        """
        if library is None:
            from tinybuddy.backends.engine.library import load

            library = load()
        self.config = config
        self._operations = 2 * config.parameters  # of a row; counting takes 2 us
        self._library = library
        self._lock = threading.Lock()
        self._shape = Config.of(config, bits)
        self._packed = self._pack(weights)
        self._model = _Memory(library.tb_model_bytes(byref(self._shape)))
        abi.check(
            library.tb_model_init(self._model.address, byref(self._shape), self._packed.address)
        )
        self._scratch = _Memory(library.tb_scratch_bytes(self._model.address, ROWS))
        library.tb_scratch_init(self._model.address, self._scratch.address, ROWS)
        self.kernels: str = library.tb_kernels_name().decode()

    def _pack(self, weights: Mapping[str, Any]) -> _Memory:
        from tinybuddy.weights import weight_shapes

        shapes = weight_shapes(self.config)
        pointers, kept = (c_void_p * len(shapes))(), []
        for place, (name, shape) in enumerate(shapes.items()):
            if name not in weights:
                raise TinybuddyError(f"The weights lack {name}.")
            view = memoryview(weights[name])
            if view.format not in ("f", "<f") or view.shape != shape:
                raise TinybuddyError(
                    f"{name} is {view.format} {view.shape}; float32 {shape} is expected."
                )
            # ctypes takes no address from a buffer that must not be written, nor from a strided one
            data: Any = view if view.c_contiguous and not view.readonly else bytearray(view)
            kept.append((ctypes.c_char * view.nbytes).from_buffer(data))
            pointers[place] = ctypes.addressof(kept[-1])
        packed = _Memory(self._library.tb_packed_bytes(byref(self._shape)))
        abi.check(self._library.tb_pack(byref(self._shape), pointers, packed.address))
        return packed

    def _new_stream(self) -> _Memory:
        memory = _Memory(self._library.tb_stream_bytes(self._model.address))
        self._library.tb_stream_init(memory.address)
        return memory

    def stream(self, texts: int = 1) -> DecoderStream:
        """Begin one text, or several of equal length."""
        return DecoderStream(self, texts)

    def join(self, streams: Sequence[DecoderStream]) -> DecoderStream:
        """Return the texts of several streams side by side.

        They need not be equally long, and go on to be those of the streams given: what is fed to
        one is fed to the other. To leave, a text is left out the next time.
        """
        joined = DecoderStream(self, 0)
        joined.memories = [memory for stream in streams for memory in stream.memories]
        if any(stream.decoder is not self for stream in streams):
            raise UsageError("Streams of another model cannot join.")
        return joined

    def log_likelihoods(
        self, inputs: NDArray[np.int64], targets: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id after the inputs up to its place."""
        import numpy as np

        vocab = self.config.vocab_size
        if inputs.shape != targets.shape or inputs.ndim != 2:
            raise UsageError("Inputs and targets must be two tables of the same shape.")
        if targets.size and not 0 <= targets.min() <= targets.max() < vocab:
            abi.check(abi.CODES["TB_BAD_TOKEN"])
        result = np.empty(inputs.shape, np.float32)
        logits = np.empty((ROWS, vocab), np.float32)
        for text in range(len(inputs)):
            memory = self._new_stream()
            for begin in range(0, inputs.shape[1], ROWS):
                part = slice(begin, begin + ROWS)
                ids, wanted = inputs[text, part], targets[text, part]
                self.step([memory] * len(ids), ids, logits)
                some = logits[: len(ids)]
                best = some.max(1, keepdims=True)
                total = np.log(np.exp(some - best).sum(1, dtype=np.float64))
                result[text, part] = some[np.arange(len(ids)), wanted] - best[:, 0] - total
        return result

    def step(
        self, memories: Sequence[_Memory], ids: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> None:
        """Feed an id to each of at most ``ROWS`` texts; ``logits`` (rows or more, V) is written."""
        import numpy as np

        rows, vocab = len(memories), self.config.vocab_size
        if not rows == len(ids) <= min(ROWS, len(logits)):
            abi.check(abi.CODES["TB_TOO_MANY"])
        if logits.dtype != np.float32 or logits.shape[1:] != (vocab,):
            raise UsageError(f"Logits must be float32 (rows, {vocab}).")
        if not (logits.flags.c_contiguous and logits.flags.writeable):
            raise UsageError("Logits must be contiguous and writable.")
        if rows and not 0 <= ids.min() <= ids.max() < vocab:  # int32 would wrap around
            abi.check(abi.CODES["TB_BAD_TOKEN"])
        tokens = np.ascontiguousarray(ids, np.int32)
        streams = (c_void_p * rows)(*(memory.address for memory in memories))
        first = logits.ctypes.data
        places = (c_void_p * rows)(*(first + row * 4 * vocab for row in range(rows)))
        with self._lock:
            result = self._library.tb_step(
                self._model.address,
                self._scratch.address,
                rows,
                streams,
                tokens.ctypes.data_as(POINTER(c_int32)),
                places,
            )
        abi.check(result)

    def feed(self, memory: _Memory, ids: NDArray[np.int64], logits: NDArray[np.float32]) -> None:
        """Feed ids (T,) to one text; ``logits`` (V,) after the last one is written."""
        import numpy as np

        if logits.dtype != np.float32 or logits.shape != (self.config.vocab_size,):
            raise UsageError(f"Logits must be float32 ({self.config.vocab_size},).")
        if not (logits.flags.c_contiguous and logits.flags.writeable):
            raise UsageError("Logits must be contiguous and writable.")
        if len(ids) > self.config.max_position_embeddings:
            abi.check(abi.CODES["TB_FULL"])
        if not 0 <= ids.min() <= ids.max() < self.config.vocab_size:
            abi.check(abi.CODES["TB_BAD_TOKEN"])
        tokens = np.ascontiguousarray(ids, np.int32)
        with self._lock:
            result = self._library.tb_feed(
                self._model.address,
                self._scratch.address,
                memory.address,
                len(tokens),
                tokens.ctypes.data_as(POINTER(c_int32)),
                logits.ctypes.data,
            )
        abi.check(result)

    def begin(
        self, prompt: Sequence[int], count: int, sample: SampleConfig, seed: int, eos: int = -1
    ) -> GeneratedText:
        """Begin a text whose tokens are drawn here; see `Backend.begin`."""
        return GeneratedText(self, prompt, count, sample, seed, eos)

    def advance(self, texts: Sequence[GeneratedText], steps: int) -> None:
        """Go on with texts side by side: ``steps`` tokens each, or until they end.

        A prompt takes a step for each 16 of its tokens, and none is more than 16 steps ahead of
        another. Texts may join and leave between calls. One whose logits are not finite ends, and
        is `broken`. Where a call is long, Ctrl-C ends it after the rows that are being fed.

        Args:
            texts: of this model, each once.
            steps: at most; no more than 65,536 are made at a time.

        Raises:
            UsageError: for texts of another model, or one given twice.
        """
        if any(text.decoder is not self for text in texts):
            raise UsageError("Texts of another model cannot be generated here.")
        if len({id(text) for text in texts}) < len(texts):
            raise UsageError("A text cannot be given twice at once.")
        steps = max(0, min(steps, _STEPS))
        stop = c_int32(0)

        def call() -> int:
            with self._lock:
                for text in texts:
                    text.make_room(steps)
                pointers = (c_void_p * len(texts))(
                    *(ctypes.addressof(text.native) for text in texts)
                )
                result: int = self._library.tb_generate(
                    self._model.address,
                    self._scratch.address,
                    len(texts),
                    pointers,
                    steps,
                    byref(stop),
                )
                return result

        rows = min(steps, PROMPT_ROWS) * len(texts)
        abi.check(run_stoppable(call, stop, self._operations * rows))


class DecodingBackend:
    """The part of a back end that generates, for what has a `Decoder`."""

    def current_decoder(self) -> Decoder:
        """Return what generates text."""
        raise NotImplementedError

    def stream(self, texts: int = 1) -> DecoderStream:
        """Begin one text, or several of equal length; see `Backend.stream`."""
        return self.current_decoder().stream(texts)

    def begin(
        self, prompt: Sequence[int], count: int, sample: SampleConfig, seed: int, eos: int = -1
    ) -> GeneratedText:
        """Begin a text of the weights as they are now; see `Backend.begin`."""
        return self.current_decoder().begin(prompt, count, sample, seed, eos)

    def advance(self, generations: Sequence[GeneratedText], steps: int) -> None:
        """Go on with texts, each with the weights that it began with; see `Backend.advance`."""
        for decoder in dict.fromkeys(text.decoder for text in generations):
            decoder.advance([text for text in generations if text.decoder is decoder], steps)


class DecoderStream:
    """Texts side by side, of which the caller draws the tokens; meets the interface `Stream`.

    Attributes:
        decoder: the model.
        memories: the key-value cache of each text.
    """

    def __init__(self, decoder: Decoder, texts: int) -> None:
        self.decoder = decoder
        self.memories = [decoder._new_stream() for _ in range(texts)]

    def feed(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits (B, V) after ``ids`` (B, T); all ids since the beginning must fit the context.

        Raises:
            TinybuddyError: if they do not, or an id is not in the vocabulary.
        """
        import numpy as np

        if ids.ndim != 2 or len(ids) != len(self.memories) or not ids.shape[1]:
            raise UsageError(f"Ids must be ({len(self.memories)}, 1 or more), not {ids.shape}.")
        logits = np.empty((len(ids), self.decoder.config.vocab_size), np.float32)
        if ids.shape[1] == 1:
            for row in range(0, len(ids), ROWS):
                part = slice(row, row + ROWS)
                self.decoder.step(self.memories[part], ids[part, 0], logits[part])
        else:
            for row, memory in enumerate(self.memories):
                self.decoder.feed(memory, ids[row], logits[row])
        return logits


class GeneratedText:
    """A text that `Decoder.advance` generates.

    Attributes:
        decoder: the model.
        native: what the engine knows of it.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompt: Sequence[int],
        count: int,
        sample: SampleConfig,
        seed: int,
        eos: int = -1,
    ) -> None:
        vocab = decoder.config.vocab_size
        if not prompt:
            raise UsageError("A text needs a first id, such as <bos>.")
        if not all(0 <= token < vocab for token in prompt):
            abi.check(abi.CODES["TB_BAD_TOKEN"])
        if len(prompt) > _MAX_INT32 - 2 * _STEPS:
            raise UsageError("The prompt is too long.")
        self.decoder = decoder
        self._prompt = len(prompt)
        self._limit = min(len(prompt) + max(0, count), _MAX_INT32 - _STEPS)
        self._stream = decoder._new_stream()
        self._seen = (c_uint8 * vocab)() if sample.repetition_penalty != 1.0 else None
        self._ids = (c_int32 * len(prompt))(*prompt)
        self.native = abi.Sequence(
            stream=self._stream.address,
            ids=ctypes.addressof(self._ids),
            seen=ctypes.addressof(self._seen) if self._seen is not None else None,
            sampling=_sampling(sample),
            count=len(prompt),
            limit=len(prompt),
            eos=eos,
            ended=int(count <= 0),
        )
        decoder._library.tb_random_seed(byref(self.native.random), seed % 2**64)

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return bool(self.native.ended)

    @property
    def broken(self) -> bool:
        """Whether it ended because the model's logits are not finite."""
        return bool(self.native.result)

    def new_ids(self, begin: int = 0) -> list[int]:
        """Return the ids after the prompt, from the ``begin``-th on."""
        return self._ids[self._prompt + begin : self.native.count]

    def make_room(self, steps: int) -> None:
        """Let the native array hold ``steps`` more ids, or as many as may follow.

        And one more, since the engine takes a full array for the end.
        """
        wanted = min(self.native.count + steps + 1, self._limit)
        if wanted > len(self._ids):
            room = min(max(wanted, 2 * len(self._ids)), self._limit)
            longer = (c_int32 * room)()
            ctypes.memmove(longer, self._ids, 4 * self.native.count)
            self._ids = longer
            self.native.ids = ctypes.addressof(longer)
        self.native.limit = len(self._ids)
