"""What can be set, in three frozen dataclasses and the recipe that holds them.

Every field carries its meaning, unit and range as data, so that one function checks them all, and
the reference in ``docs/recipes.md`` is made from the same words.
"""

from __future__ import annotations

import math
import numbers
import re
import reprlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any, Self

from tinybuddy.errors import UsageError

MAX_THREADS = 1024


def _setting(
    default: Any,
    doc: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    among: tuple[str | int, ...] = (),
) -> Any:
    """Return a dataclass field with its description, inclusive range, or allowed words."""
    return field(default=default, metadata={"doc": doc, "low": low, "high": high, "among": among})


class _Checked:
    """Types and ranges checked from the fields' own metadata; then ``_check_together``."""

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, item.name, _checked_value(item, getattr(self, item.name)))
        self._check_together()

    def _check_together(self) -> None:
        """Refuse values that are each allowed but do not go together."""

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping.

        Raises:
            UsageError: for an unknown key (naming the nearest known one) or an impossible value.
        """
        known = [item.name for item in fields(cls)]  # type: ignore[arg-type]
        for key in values:
            if key not in known:
                raise UsageError(unknown("key", key, known))
        return cls(**values)


def _checked_value(item: Field[Any], value: Any) -> Any:
    value = _converted(item.name, value, type(item.default))
    _check_range(item.name, value, item.metadata)
    return value


def _converted(name: str, value: Any, kind: type) -> Any:
    """Return ``value`` as ``kind``; NumPy's numbers are numbers, and whole ones may be floats."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        whole = int(value)
        value = float(whole) if kind is float and abs(whole) < 2**53 else whole
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        value = float(value)
    elif isinstance(value, str):
        value = str(value)
    if type(value) is not kind:
        wanted = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        raise UsageError(f"{name} must be {wanted[kind]}, not {reprlib.repr(value)}.")
    return value


def _check_range(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    if among := metadata["among"]:
        if value not in among:
            raise UsageError(f"{name} must be {' or '.join(map(str, among))}, not {value!r}.")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low, high = metadata["low"], metadata["high"]
        if not low <= value <= min(high, sys.float_info.max):
            upper = f"{high:,}" if math.isfinite(high) else "any finite number"
            raise UsageError(
                f"{name} must lie between {low:,} and {upper}, not {reprlib.repr(value)}."
            )


def whole_number(name: str, value: Any, low: int, high: int) -> int:
    """Check a whole number that a caller gave.

    Raises:
        UsageError: if it is none, or lies outside ``low`` to ``high``.
    """
    number: int = _converted(name, value, int)
    _check_range(name, number, {"among": (), "low": low, "high": high})
    return number


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that ``name`` is not known, naming the nearest known one or else all of them."""
    import difflib

    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
    return f"There is no {kind} {name!r}: {hint}"


def last_half(context: int) -> int:
    """Ids that a text goes on from once it is longer than the context: its last half."""
    return max(1, context // 2)


@dataclass(frozen=True)
class ModelConfig(_Checked):
    """The shape of a Llama, under the names that ``transformers.LlamaConfig`` gives it.

    The defaults are the reference model: 83,856 parameters. The head is tied to the embedding, and
    there are no biases (Touvron et al. 2023, arXiv 2302.13971; grouped queries: Ainslie et al.
    2023, arXiv 2305.13245).

    Raises:
        UsageError: for a value out of its range, or values that do not go together.

    Examples:
        >>> config = tinybuddy.ModelConfig(hidden_size=32, num_hidden_layers=4)
        >>> config.parameters, config.head_dim
        (119072, 8)
    """

    vocab_size: int = _setting(1024, "Distinct tokens; token ids are stored as uint16.", 4, 65_535)
    hidden_size: int = _setting(48, "Width of the residual stream.", 1, 8192)
    intermediate_size: int = _setting(192, "Width of the SwiGLU feed-forward layer.", 1, 65_536)
    num_hidden_layers: int = _setting(1, "Transformer blocks.", 1, 128)
    num_attention_heads: int = _setting(4, "Query heads; divides hidden_size.", 1, 256)
    num_key_value_heads: int = _setting(2, "Key-value heads; divides the query heads.", 1, 256)
    max_position_embeddings: int = _setting(128, "Context length in tokens.", 1, 32_768)
    rope_theta: float = _setting(10_000.0, "Base of the rotary position frequencies.", 1.0, 1e9)
    rms_norm_eps: float = _setting(1e-5, "Added to the mean square in RMSNorm.", 1e-12, 1e-1)

    def _check_together(self) -> None:
        hidden, heads, kv_heads = (
            self.hidden_size,
            self.num_attention_heads,
            self.num_key_value_heads,
        )
        pairs = 2 * heads  # rotary positions turn the numbers of a head in pairs
        below = hidden // pairs * pairs
        either = f"{below} or {below + pairs}" if below else f"{pairs}"
        mend = f"use a hidden_size of {either}"
        if hidden % heads:
            raise UsageError(f"hidden_size {hidden} is not divisible by {heads} heads: {mend}.")
        if self.head_dim % 2:
            raise UsageError(
                f"hidden_size {hidden} gives {heads} heads of odd size {self.head_dim}: {mend}."
            )
        if heads % kv_heads:
            divisors = [str(n) for n in range(1, heads + 1) if heads % n == 0]
            raise UsageError(
                f"num_key_value_heads {kv_heads} does not divide num_attention_heads {heads}: "
                f"use one of {', '.join(divisors)}."
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def breakdown(self) -> dict[str, int]:
        """Parameters by part; the output head is tied to the embedding and counts once.

        Examples:
            >>> tinybuddy.ModelConfig().breakdown()
            {'embedding': 49152, 'attention': 6912, 'feed_forward': 27648, 'norms': 144}
        """
        h, layers = self.hidden_size, self.num_hidden_layers
        kv = self.num_key_value_heads * self.head_dim
        return {
            "embedding": self.vocab_size * h,
            "attention": layers * (2 * h * h + 2 * h * kv),
            "feed_forward": layers * 3 * h * self.intermediate_size,
            "norms": (2 * layers + 1) * h,
        }

    @property
    def parameters(self) -> int:
        """All trained numbers of the model."""
        return sum(self.breakdown().values())


@dataclass(frozen=True)
class TrainConfig(_Checked):
    """What a run reads, how it trains and when it evaluates. The defaults are recipe `card`.

    AdamW is Loshchilov & Hutter 2019 (arXiv 1711.05101), Muon Jordan 2024
    (github.com/KellerJordan/Muon).

    Raises:
        UsageError: for a value out of its range, or not among those allowed.

    Examples:
        >>> config = tinybuddy.TrainConfig(steps=100, warmup_steps=10, schedule="linear")
        >>> [round(config.rate(step), 5) for step in (0, 9, 55, 99)]
        [0.0005, 0.005, 0.0025, 6e-05]
    """

    data: str = _setting(
        "auto",
        "A file, folder, hub data set, 'tales', or 'auto': TinyStories, offline the tales; '-' is "
        "what the run has kept of standard input. Several stand on a line each.",
    )
    split: str = _setting(
        "", "What separates stories of plain text: 'lines', 'blank' or a text; '' finds out."
    )
    text_key: str = _setting("", "Key or column of rows that holds the stories; '' finds out.")
    from_model: str = _setting("", "Model whose shape, tokenizer and weights to begin with.")
    stories: int = _setting(5000, "Training stories to read; 0 reads all.", 0)
    clean: bool = _setting(True, "Mend mojibake in training text.")
    tokenizer: str = _setting(
        "bpe",
        "BPE, a Unigram model, or single characters.",
        among=("bpe", "unigram", "characters"),
    )
    alphabet: str = _setting(
        "bytes",
        "What BPE begins with: the 256 bytes, or the characters seen in the text, as the others "
        "do; what is not seen is skipped in a prompt.",
        among=("bytes", "seen"),
    )
    alphabet_min_count: int = _setting(
        1, "How often a character must stand in the text to be seen.", 1
    )
    suffixes: str = _setting(
        "",
        "Endings that tokens of a Unigram model leave apart from the word, separated by spaces: "
        "with 's ed' it spells 'dogs' and 'jumped' with the tokens of 'dog' and 'jump'.",
    )
    steps: int = _setting(1000, "Optimizer steps, at most.", 1, 100_000_000)
    epochs: float = _setting(
        0.0,
        "How often the text is seen at most, so that few steps are taken on a small one, but 20; "
        "0 = off, as where steps are said.",
        0.0,
    )
    patience: int = _setting(
        0, "Evaluations without a better one, after which training ends; 0 = off.", 0
    )
    batch_size: int = _setting(32, "Random crops of one context length a step.", 1, 65_536)
    crops: str = _setting(
        "anywhere",
        "Where crops begin: anywhere, or so that they keep within one story.",
        among=("anywhere", "stories"),
    )
    short_crops: float = _setting(
        0.0,
        "Share of the steps that take four times as many crops of a quarter of the context: they "
        "teach what the last few words say.",
        0.0,
        1.0,
    )
    optimizer: str = _setting(
        "adamw",
        "Of the matrices within the blocks; AdamW trains the rest.",
        among=("adamw", "muon"),
    )
    learning_rate: float = _setting(5e-3, "Peak learning rate of AdamW.", 0.0, 10.0)
    matrix_learning_rate: float = _setting(0.02, "Peak learning rate of Muon.", 0.0, 10.0)
    warmup_steps: int = _setting(50, "Steps of linear warm-up.", 0)
    schedule: str = _setting(
        "cosine",
        "Decay of the learning rate to 0, with t from 0 to 1: a half cosine, 1 - t, (1 - t)^2 "
        "or 1 - sqrt(t).",
        among=("cosine", "linear", "quadratic", "sqrt"),
    )
    weight_decay: float = _setting(0.1, "Decoupled, on matrices, not on norms.", 0.0, 10.0)
    embedding_decay_ratio: float = _setting(
        1.0, "Weight decay of the embedding, as a ratio to that of the other matrices.", 0.0, 100.0
    )
    beta1: float = _setting(0.9, "AdamW's decay of the mean gradient.", 0.0, 0.999999)
    beta2: float = _setting(0.999, "AdamW's decay of the mean squared gradient.", 0.0, 0.999999)
    momentum: float = _setting(0.95, "Muon's decay of the mean gradient.", 0.0, 0.999999)
    grad_clip: float = _setting(1.0, "Largest norm of the whole gradient; 0 = off.", 0.0)
    weight_bits: int = _setting(
        32,
        "Bits of a weight but for the norms: with 8 or 4 it trains for weights so rounded, with a "
        "scale a row, as `export compact` writes them; 32 = off.",
        among=(32, 8, 4),
    )
    init_std: float = _setting(0.02, "Standard deviation of the initial matrices.", 0.0, 10.0)
    eval_every: int = _setting(100, "Steps between evaluations and checkpoints.", 1)
    eval_stories: int = _setting(50, "Validation stories scored while training; all at the end.", 1)
    seed: int = _setting(0, "Of initial weights, order of data and samples.", 0, 2**63 - 1)
    threads: int = _setting(
        1,
        "Threads of the processor; the engine splits a batch into at most 8 parts, so that more "
        "than 8 threads find no work; on Windows it uses one.",
        1,
        MAX_THREADS,
    )
    device: str = _setting("cpu", "Where to compute.", among=("cpu", "cuda", "mps"))
    backend: str = _setting(
        "auto",
        "What computes; auto is the engine on the processor, and torch on another device.",
        among=("auto", "engine", "torch"),
    )

    @property
    def uses_torch(self) -> bool:
        """Whether PyTorch computes; a back end that is named stays, to be refused if need be."""
        return self.backend == "torch" or (self.backend == "auto" and self.device != "cpu")

    def rate(self, step: int) -> float:
        """Learning rate of step ``step`` (0-based): linear warm-up, then the decay schedule."""
        return self._share(step, self.learning_rate)

    def matrix_rate(self, step: int) -> float:
        """Muon's learning rate of step ``step`` (0-based), on the same schedule."""
        return self._share(step, self.matrix_learning_rate)

    def _share(self, step: int, peak: float) -> float:
        if step < self.warmup_steps:
            return peak * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        shares = {
            "cosine": 0.5 * (1.0 + math.cos(math.pi * done)),
            "linear": 1.0 - done,
            "quadratic": (1.0 - done) ** 2,
            "sqrt": 1.0 - math.sqrt(done),
        }
        return peak * shares[self.schedule]


def check_setting(name: str, value: Any) -> None:
    """Check a value of a field of `ModelConfig` or `TrainConfig`, by itself.

    Raises:
        UsageError: if it is none that the field may have.
    """
    for item in (*fields(ModelConfig), *fields(TrainConfig)):
        if item.name == name:
            _checked_value(item, value)


@dataclass(frozen=True)
class SampleConfig(_Checked):
    """How the next token is drawn; applied in the order of the fields.

    Top-p is Holtzman et al. 2020 (arXiv 1904.09751), min-p Nguyen et al. 2024 (arXiv 2407.01082),
    the repetition penalty Keskar et al. 2019 (arXiv 1909.05858).

    Raises:
        UsageError: for a value out of its range.

    Examples:
        >>> tinybuddy.SampleConfig(temperature=-1)
        Traceback (most recent call last):
            ...
        tinybuddy.errors.UsageError: temperature must lie between 0.0 and 100.0, not -1.0.
    """

    repetition_penalty: float = _setting(1.0, "Above 1 makes seen tokens rarer.", 0.01, 100.0)
    temperature: float = _setting(0.8, "0 always takes the best token.", 0.0, 100.0)
    top_k: int = _setting(40, "Draw among the K best tokens; 0 = off.", 0)
    top_p: float = _setting(1.0, "Draw among the best that reach this probability.", 0.0, 1.0)
    min_p: float = _setting(0.0, "Drop tokens below this share of the best one's.", 0.0, 1.0)


# Settings that two runs of one recipe may differ in: what is read, where it is computed, and how
# often a run looks up. How a model is sampled does not change what is trained either.
NOT_OF_THE_RECIPE = frozenset(
    {
        "data",
        "split",
        "text_key",
        "seed",
        "threads",
        "device",
        "backend",
        "eval_every",
        "eval_stories",
    }
)


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a model: its shape, its training, and how it is sampled.

    Attributes:
        name: letters, digits, ``.``, ``-`` and ``_``.
        model: the shape.
        train: the training.
        sample: how the model is sampled unless a call says otherwise.
        expected: by a text's name the validation curve that others saw on it, as
            ``{"steps": [...], "bits_per_byte": [...]}``.

    Raises:
        UsageError: for a name that cannot name a file, or a vocabulary too small for its tokenizer.

    Examples:
        >>> recipe = tinybuddy.Recipe("mine", tinybuddy.ModelConfig(vocab_size=512))
        >>> recipe.model.parameters
        59280
    """

    name: str = "card"
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    expected: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]{0,99}", self.name):  # it names folders too
            raise UsageError(f"{self.name!r} cannot name a recipe: use letters, digits, - and _.")
        least = 259  # <pad>, <bos>, <eos> and the 256 bytes
        byte_level = self.train.tokenizer == "bpe" and self.train.alphabet == "bytes"
        if byte_level and self.model.vocab_size < least:
            raise UsageError(
                f"vocab_size {self.model.vocab_size} is too small for byte-level BPE, which needs "
                f"{least}: use a larger one, or alphabet = 'seen'."
            )

    def with_settings(self, settings: Mapping[str, Any]) -> Recipe:
        """Return a copy with some fields of its sections changed; each key belongs to one section.

        Raises:
            UsageError: for an unknown key or an impossible value.

        Examples:
            >>> recipe = tinybuddy.load_recipe("card").with_settings({"top_k": 10, "steps": 500})
            >>> recipe.sample.top_k, recipe.train.steps
            (10, 500)
        """
        sections = {name: getattr(self, name) for name in ("model", "train", "sample")}
        owner = {item.name: name for name, part in sections.items() for item in fields(part)}
        changes: dict[str, dict[str, Any]] = {name: {} for name in sections}
        for key, value in settings.items():
            if key not in owner:
                raise UsageError(unknown("key", key, owner))
            changes[owner[key]][key] = value
        changed = replace(self, **{n: replace(p, **changes[n]) for n, p in sections.items()})
        if changed.fingerprint() != self.fingerprint():
            changed = replace(changed, expected={})  # the curve of another recipe
        return changed

    def fingerprint(self) -> str:
        """SHA-256 of what decides a run's weights but for its data and seed.

        Recipes of one fingerprint are the same, whatever they are called. Settings at their default
        are left out, so that one which is new, and off, changes none.
        """
        import hashlib
        import json

        train = {
            item.name: value
            for item in fields(self.train)
            if (value := getattr(self.train, item.name)) != item.default
            and item.name not in NOT_OF_THE_RECIPE
        }
        values = {"model": asdict(self.model), "train": train}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def to_mapping(self) -> dict[str, Any]:
        """Return plain nested data, as a recipe file holds it."""
        data = {"name": self.name, "parameters": self.model.parameters}
        return data | {k: v for k, v in asdict(self).items() if k != "name"}
