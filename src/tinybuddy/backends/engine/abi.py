"""The engine's structs, codes and functions as ctypes sees them, held against what it exports.

A library that was built of other sources would read wild memory, so nothing of it is called before
every size, offset, code and limit that Python relies on is the engine's own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, c_double, c_float, c_int, c_int32, c_int64, c_uint64, c_void_p
from dataclasses import fields
from typing import Any

from tinybuddy.backends.interface import Stopped
from tinybuddy.config import ModelConfig
from tinybuddy.errors import TinybuddyError

VERSION = 1  # TB_ABI_VERSION

CODES = {
    "TB_OK": 0,
    "TB_BAD_CONFIG": -1,
    "TB_BAD_TOKEN": -2,
    "TB_FULL": -3,
    "TB_TOO_MANY": -4,
    "TB_NOT_FINITE": -5,
    "TB_BAD_SEQUENCE": -6,
    "TB_NO_MEMORY": -7,
    "TB_STOPPED": -8,
    # What tb_trainer_put and tb_trainer_get copy.
    "TB_WEIGHTS": 0,
    "TB_MEAN": 1,
    "TB_SQUARE": 2,
    "TB_GRADIENT": 3,
}

# The engine's limits of a shape, by the field of `ModelConfig` that has the same.
LIMITS = {
    "TB_MAX_VOCAB_SIZE": "vocab_size",
    "TB_MAX_HIDDEN_SIZE": "hidden_size",
    "TB_MAX_INTERMEDIATE_SIZE": "intermediate_size",
    "TB_MAX_LAYERS": "num_hidden_layers",
    "TB_MAX_HEADS": "num_attention_heads",
    "TB_MAX_CONTEXT": "max_position_embeddings",
}


ERRORS = {
    CODES["TB_BAD_CONFIG"]: "The engine does not compute a model of this shape.",
    CODES["TB_BAD_TOKEN"]: "There is an id that the vocabulary does not have.",
    CODES["TB_FULL"]: "The text is longer than the context: begin a new stream with its last half.",
    CODES["TB_TOO_MANY"]: "More texts were given at once than there is room for.",
    CODES["TB_NOT_FINITE"]: "The model's numbers are not finite: its weights are broken.",
    CODES["TB_BAD_SEQUENCE"]: "The text's numbers contradict each other.",
}


def check(result: int, *fine: str) -> None:
    """Raise what a status code stands for, unless it is ``TB_OK`` or a code that is ``fine``.

    Raises:
        Stopped: for ``TB_STOPPED``.
        MemoryError: for ``TB_NO_MEMORY``.
        TinybuddyError: for any other.
    """
    if result == CODES["TB_OK"] or result in (CODES[name] for name in fine):
        return
    if result == CODES["TB_STOPPED"]:
        raise Stopped
    if result == CODES["TB_NO_MEMORY"]:
        raise MemoryError
    raise TinybuddyError(ERRORS.get(result, f"The engine failed with {result}."))


class Config(ctypes.Structure):
    """``tb_config``: the shape of a model."""

    _fields_ = (
        *((name, c_int32) for name in ("vocab_size", "hidden_size", "intermediate_size")),
        ("num_hidden_layers", c_int32),
        ("num_attention_heads", c_int32),
        ("num_key_value_heads", c_int32),
        ("max_position_embeddings", c_int32),
        ("bits", c_int32),
        ("rope_theta", c_float),
        ("rms_norm_eps", c_float),
    )

    @classmethod
    def of(cls, config: ModelConfig, bits: int = 32) -> Config:
        """Return the struct of a shape."""
        return cls(
            bits=bits, **{name: getattr(config, name) for name in config.__dataclass_fields__}
        )


class Sampling(ctypes.Structure):
    """``tb_sampling``: how a token is drawn."""

    _fields_ = (
        ("repetition_penalty", c_double),
        ("temperature", c_double),
        ("top_p", c_double),
        ("min_p", c_double),
        ("top_k", c_int32),
    )


class Random(ctypes.Structure):
    """``tb_random``: the state of PCG32."""

    _fields_ = (("state", c_uint64),)


class Sequence(ctypes.Structure):
    """``tb_sequence``: a text being generated."""

    _fields_ = (
        ("stream", c_void_p),
        ("ids", c_void_p),
        ("seen", c_void_p),
        ("sampling", Sampling),
        ("random", Random),
        *((name, c_int32) for name in ("count", "limit", "start", "fed", "eos")),
        *((name, c_int32) for name in ("ended", "result", "marked")),
    )


class OptimizerSettings(ctypes.Structure):
    """``tb_optimizer_settings``: of one step."""

    _fields_ = tuple(
        (name, c_double)
        for name in (
            *("learning_rate", "beta1", "beta2", "eps", "weight_decay", "embedding_decay", "clip"),
            *("matrix_learning_rate", "momentum"),
        )
    )


STRUCTS: dict[str, type[ctypes.Structure]] = {
    "tb_config": Config,
    "tb_sampling": Sampling,
    "tb_random": Random,
    "tb_sequence": Sequence,
    "tb_optimizer_settings": OptimizerSettings,
}

Flag = c_int32  # tb_flag; a pointer to it is POINTER(c_int32)
_ids, _floats, _flag = POINTER(c_int32), POINTER(c_float), POINTER(Flag)

SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "tb_kernels_name": (ctypes.c_char_p, []),
    "tb_packed_bytes": (c_uint64, [POINTER(Config)]),
    "tb_model_bytes": (c_uint64, [POINTER(Config)]),
    "tb_stream_bytes": (c_uint64, [c_void_p]),
    "tb_scratch_bytes": (c_uint64, [c_void_p, c_int32]),
    "tb_pack": (c_int, [POINTER(Config), POINTER(c_void_p), c_void_p]),
    "tb_model_init": (c_int, [c_void_p, POINTER(Config), c_void_p]),
    "tb_stream_init": (None, [c_void_p]),
    "tb_scratch_init": (None, [c_void_p, c_void_p, c_int32]),
    "tb_step": (c_int, [c_void_p, c_void_p, c_int32, POINTER(c_void_p), _ids, POINTER(c_void_p)]),
    "tb_feed": (c_int, [c_void_p, c_void_p, c_void_p, c_int32, _ids, c_void_p]),
    "tb_generate": (c_int, [c_void_p, c_void_p, c_int32, POINTER(c_void_p), c_int32, _flag]),
    "tb_random_seed": (None, [POINTER(Random), c_uint64]),
    "tb_random_next": (ctypes.c_uint32, [POINTER(Random)]),
    "tb_sample_bytes": (c_uint64, [c_int32]),
    "tb_sample": (
        c_int32,
        [c_void_p, c_int32, POINTER(Sampling), c_void_p, POINTER(Random), c_void_p],
    ),
    "tb_trainer_new": (c_int, [POINTER(Config), c_int32, c_int32, POINTER(c_void_p)]),
    "tb_trainer_free": (None, [c_void_p]),
    "tb_trainer_put": (c_int, [c_void_p, c_int, _floats]),
    "tb_trainer_get": (c_int, [c_void_p, c_int, _floats]),
    "tb_trainer_steps": (c_int64, [c_void_p]),
    "tb_trainer_set_steps": (c_int, [c_void_p, c_int64]),
    "tb_trainer_step": (
        c_int,
        [
            *(c_void_p, _ids, _ids, c_int64, c_int64),
            *(POINTER(OptimizerSettings), _flag, POINTER(c_double)),
        ],
    ),
    "tb_trainer_score": (c_int, [c_void_p, _ids, _ids, c_int64, c_int64, _flag, _floats]),
    "tb_trainer_logits": (c_int, [c_void_p, _ids, c_int64, c_int64, _flag, _floats]),
}


class _Entry(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("value", c_int64))


def expected() -> dict[str, int]:
    """What the engine must export for this module to be true of it, by name."""
    limits = {item.name: item.metadata["high"] for item in fields(ModelConfig)}
    return {
        "TB_ABI_VERSION": VERSION,
        **CODES,
        **{name: limits[field] for name, field in LIMITS.items()},
        **{f"sizeof {name}": ctypes.sizeof(struct) for name, struct in STRUCTS.items()},
        **{
            f"{name}.{field[0]}": getattr(struct, field[0]).offset
            for name, struct in STRUCTS.items()
            for field in struct._fields_
        },
        "sizeof tb_flag": ctypes.sizeof(Flag),
    }


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """Hold a library against this module, then let ctypes know what its functions take and give.

    Raises:
        TinybuddyError: if they differ: it was built of other sources.
        AttributeError: if it lacks a function.
    """
    library.tb_abi.restype, library.tb_abi.argtypes = POINTER(_Entry), []
    found, wanted = dict(_entries(library)), expected()
    if found != wanted:
        name = min(k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k))
        raise TinybuddyError(
            f"The engine was built of other sources than this package ({name} is "
            f"{found.get(name, 'not there')}, not {wanted.get(name, 'known')}): install tinybuddy "
            "again, or use `backend` torch."
        )
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _entries(library: ctypes.CDLL) -> Iterator[tuple[str, int]]:
    entries = library.tb_abi()
    for number in range(1000):  # a list without an end is none of ours
        if not entries[number].name:
            return
        yield entries[number].name.decode("ascii", "replace"), entries[number].value
