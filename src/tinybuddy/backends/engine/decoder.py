"""The Python face of ``decode.c``: continues texts with a key-value cache, without PyTorch.

Every size and id is checked here or there before memory is touched. All memory is Python's, so
nothing has to be freed. Nothing here needs numpy until arrays are asked for.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ctypes import POINTER, byref, c_double, c_float, c_int32, c_uint8, c_uint64, c_void_p
from typing import TYPE_CHECKING, Any

from tinybuddy.backends.engine.library import run_stoppable
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.errors import TinybuddyError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROWS = 64  # tokens fed at once at most; more than the 3 to 8 that share a load gains little
PROMPT_ROWS = 16  # tokens of one prompt that a step feeds
_STEPS = 1 << 16  # room for new ids that a story takes at a time
LOOK_EVERY = 16  # steps at most, before it is asked whether more is wanted of a text
_CALL_SECONDS = 0.02  # a native call's length to aim at: Ctrl-C is seen between calls
_MAX_INT32 = 2**31 - 1

_ERRORS = {
    -1: "The engine does not compute a model of this shape.",
    -2: "There is an id that the vocabulary does not have.",
    -3: "The text is longer than the context: begin a new stream with its newer part.",
    -4: "More texts were given at once than there is room for.",
    -5: "The model's numbers are not finite: its weights are broken.",
    -6: "The story's numbers contradict each other.",
}


class _Config(ctypes.Structure):
    _fields_ = (
        *((name, c_int32) for name in ("vocab_size", "hidden_size", "intermediate_size")),
        ("num_hidden_layers", c_int32),
        ("num_attention_heads", c_int32),
        ("num_key_value_heads", c_int32),
        ("max_position_embeddings", c_int32),
        ("int8", c_int32),
        ("rope_theta", c_float),
        ("rms_norm_eps", c_float),
    )


class _Sampling(ctypes.Structure):
    _fields_ = (
        ("repetition_penalty", c_double),
        ("temperature", c_double),
        ("top_p", c_double),
        ("min_p", c_double),
        ("top_k", c_int32),
        ("unused", c_int32),
    )


class _Random(ctypes.Structure):
    _fields_ = (("state", c_uint64),)


class _Story(ctypes.Structure):
    _fields_ = (
        ("stream", c_void_p),
        ("ids", c_void_p),
        ("seen", c_void_p),
        ("sampling", _Sampling),
        ("random", _Random),
        *((name, c_int32) for name in ("count", "limit", "start", "fed", "eos")),
        *((name, c_int32) for name in ("ended", "result", "marked")),
    )


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "tb_packed_bytes": (c_uint64, [POINTER(_Config)]),
    "tb_model_bytes": (c_uint64, [POINTER(_Config)]),
    "tb_stream_bytes": (c_uint64, [c_void_p]),
    "tb_scratch_bytes": (c_uint64, [c_void_p, c_int32]),
    "tb_pack": (ctypes.c_int, [POINTER(_Config), POINTER(c_void_p), c_void_p]),
    "tb_model_init": (ctypes.c_int, [c_void_p, POINTER(_Config), c_void_p]),
    "tb_stream_init": (None, [c_void_p]),
    "tb_scratch_init": (None, [c_void_p, c_void_p, c_int32]),
    "tb_step": (
        ctypes.c_int,
        [c_void_p, c_void_p, c_int32, POINTER(c_void_p), POINTER(c_int32), POINTER(c_void_p)],
    ),
    "tb_feed": (
        ctypes.c_int,
        [c_void_p, c_void_p, c_void_p, c_int32, POINTER(c_int32), c_void_p],
    ),
    "tb_generate": (
        ctypes.c_int,
        [c_void_p, c_void_p, c_int32, POINTER(c_void_p), c_int32, POINTER(c_int32)],
    ),
    "tb_kernels_name": (ctypes.c_char_p, []),
    "tb_random_seed": (None, [POINTER(_Random), c_uint64]),
    "tb_random_next": (ctypes.c_uint32, [POINTER(_Random)]),
    "tb_sample_bytes": (c_uint64, [c_int32]),
    "tb_sample": (
        c_int32,
        [c_void_p, c_int32, POINTER(_Sampling), c_void_p, POINTER(_Random), c_void_p],
    ),
}


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """Tell ``ctypes`` what the functions of ``decode.h`` and ``sample.h`` take and give."""
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Memory:
    """Zeroed bytes at an address that vectors like: a multiple of 64."""

    def __init__(self, size: int) -> None:
        if not 0 < size <= 2**62:
            raise TinybuddyError(_ERRORS[-1])
        self._bytes = (ctypes.c_char * (size + 63))()
        self.address = (ctypes.addressof(self._bytes) + 63) // 64 * 64


def _check(result: int) -> None:
    if result:
        raise TinybuddyError(_ERRORS.get(result, f"The engine failed with {result}."))


def _sampling(config: SampleConfig) -> _Sampling:
    return _Sampling(
        config.repetition_penalty,
        config.temperature,
        config.top_p,
        config.min_p,
        min(config.top_k, _MAX_INT32),
    )


class Decoder:
    """A model ready to continue texts; what a `tinybuddy.backends.pytorch.Backend` is, on one core.

    Several threads may use one: they take turns.

    Attributes:
        config: its shape.
        kernels: which instructions it uses: ``avx512``, ``avx2`` or ``baseline``.
    """

    def __init__(
        self,
        config: ModelConfig,
        weights: Mapping[str, Any],
        *,
        int8: bool = False,
        library: ctypes.CDLL | None = None,
    ) -> None:
        """Pack the weights.

        Args:
            config: the shape.
            weights: float32 arrays, or any other buffers of that type and shape, under
                transformers' names.
            int8: keep each matrix as 8-bit numbers with one scale for each row: a quarter of the
                memory, and slightly other logits.
            library: the loaded engine; by default the one that came with the package.

        Raises:
            TinybuddyError: if the weights are not those of the shape.
        """
        if library is None:
            from tinybuddy.backends.engine.library import load

            library = load()
        self.config = config
        self._operations = 2 * config.parameters  # of a row; counting takes 2 us
        self._library = declare(library)
        self._lock = threading.Lock()
        self._shape = _Config(
            int8=int8,
            **{name: getattr(config, name) for name in config.__dataclass_fields__},
        )
        self._packed = self._pack(weights)
        self._model = _Memory(library.tb_model_bytes(byref(self._shape)))
        _check(library.tb_model_init(self._model.address, byref(self._shape), self._packed.address))
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
        _check(self._library.tb_pack(byref(self._shape), pointers, packed.address))
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
            raise TinybuddyError(_ERRORS[-2])
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
            raise TinybuddyError(_ERRORS[-4])
        if logits.dtype != np.float32 or logits.shape[1:] != (vocab,):
            raise UsageError(f"Logits must be float32 (rows, {vocab}).")
        if not (logits.flags.c_contiguous and logits.flags.writeable):
            raise UsageError("Logits must be contiguous and writable.")
        if rows and not 0 <= ids.min() <= ids.max() < vocab:  # int32 would wrap around
            raise TinybuddyError(_ERRORS[-2])
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
        _check(result)

    def feed(self, memory: _Memory, ids: NDArray[np.int64], logits: NDArray[np.float32]) -> None:
        """Feed ids (T,) to one text; ``logits`` (V,) after the last one is written."""
        import numpy as np

        if logits.dtype != np.float32 or logits.shape != (self.config.vocab_size,):
            raise UsageError(f"Logits must be float32 ({self.config.vocab_size},).")
        if not (logits.flags.c_contiguous and logits.flags.writeable):
            raise UsageError("Logits must be contiguous and writable.")
        if len(ids) > self.config.max_position_embeddings:
            raise TinybuddyError(_ERRORS[-3])
        if not 0 <= ids.min() <= ids.max() < self.config.vocab_size:
            raise TinybuddyError(_ERRORS[-2])
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
        _check(result)

    def begin(
        self, prompt: Sequence[int], count: int, sample: SampleConfig, seed: int, eos: int = -1
    ) -> Story:
        """Begin a text whose tokens are drawn here; see `Backend.begin`."""
        return Story(self, prompt, count, sample, seed, eos)

    def advance(self, stories: Sequence[Story], steps: int) -> None:
        """Go on with stories side by side: ``steps`` tokens each, or until they end.

        A prompt takes a step for each 16 of its tokens. Stories may join and leave between calls.
        Where a call is long, Ctrl-C ends it after the rows that are being fed.

        Args:
            stories: of this model, each once.
            steps: at most; no more than 65,536 are made at a time.

        Raises:
            TinybuddyError: if the numbers of a story are not finite; it has ended, and the others
                have gone on.
        """
        if any(story.decoder is not self for story in stories):
            raise UsageError("Stories of another model cannot be told here.")
        if len({id(story) for story in stories}) < len(stories):
            raise UsageError("A story cannot be told twice at once.")
        steps = max(0, min(steps, _STEPS))
        stop = c_int32(0)

        def call() -> int:
            with self._lock:
                for story in stories:
                    story.make_room(steps)
                pointers = (c_void_p * len(stories))(
                    *(ctypes.addressof(story.native) for story in stories)
                )
                result: int = self._library.tb_generate(
                    self._model.address,
                    self._scratch.address,
                    len(stories),
                    pointers,
                    steps,
                    byref(stop),
                )
                return result

        rows = min(steps, PROMPT_ROWS) * len(stories)
        _check(run_stoppable(call, stop, self._operations * rows))
        for story in stories:
            _check(story.native.result)

    def continue_ids(
        self,
        prompt: Sequence[int],
        count: int,
        sample: SampleConfig,
        seed: int,
        eos: int = -1,
    ) -> Iterator[int]:
        """Yield up to ``count`` new ids, ending before ``eos``."""
        for _, new in self.continue_all([prompt], count, sample, [seed], eos):
            yield from new

    def continue_all(
        self,
        prompts: Sequence[Sequence[int]],
        count: int,
        sample: SampleConfig,
        seeds: Sequence[int],
        eos: int = -1,
        goes_on: Callable[[int], bool] | None = None,
    ) -> Iterator[tuple[int, list[int]]]:
        """Do what `tinybuddy.generation.decoding.continue_ids` does.

        The native calls grow until each takes some 20 ms, so Ctrl-C is seen at once.
        """
        stories = [
            Story(self, prompt, count, sample, seed, eos)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        told, steps = [0] * len(stories), 1
        most = LOOK_EVERY if goes_on else _STEPS
        going = [place for place, story in enumerate(stories) if not story.ended]
        while going:
            began = time.perf_counter()
            self.advance([stories[place] for place in going], steps)
            seconds = time.perf_counter() - began
            steps = min(2 * steps, most) if seconds < _CALL_SECONDS / 2 else steps
            steps = max(1, steps // 2) if seconds > _CALL_SECONDS * 2 else steps
            for place in going:
                if new := stories[place].new_ids(told[place]):
                    told[place] += len(new)
                    yield place, new
            going = [
                place
                for place in going
                if not stories[place].ended and (goes_on is None or goes_on(place))
            ]


class DecoderStream:
    """Texts being continued side by side; meets `tinybuddy.backends.pytorch.Stream`.

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


class Story:
    """A text that `Decoder.advance` tells.

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
            raise UsageError("A story needs a first id, such as <bos>.")
        if not all(0 <= token < vocab for token in prompt):
            raise TinybuddyError(_ERRORS[-2])
        if len(prompt) > _MAX_INT32 - 2 * _STEPS:
            raise UsageError("The prompt is too long.")
        self.decoder = decoder
        self._prompt = len(prompt)
        self._limit = min(len(prompt) + max(0, count), _MAX_INT32 - _STEPS)
        self._stream = decoder._new_stream()
        self._seen = (c_uint8 * vocab)() if sample.repetition_penalty != 1.0 else None
        self._ids = (c_int32 * len(prompt))(*prompt)
        self.native = _Story(
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
