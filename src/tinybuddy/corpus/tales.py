"""The built-in tales: an original story grammar whose entropy is known, for work without a network.

The stories are in the tables of `tales_grammar.toml`, written for this project; this module says
them. A table has one option a line, all equally likely. In an option

    {table}         says an option of that table
    {name=table}    does so and remembers it as `name`; none remembered already is drawn
    {name=one+two}  the same from both tables
    {name}          says again what is remembered
    {name.field}    says a field of it: `dog ; they: it ; home: kennel` has fields `they` and `home`
    {Name}          says it capitalized
    {a name}        says it with "a" or "an" in front, {A name} with "A" or "An"
    [one|two]       a choice on the spot
     ~              (between spaces) a paragraph break

and a line `cat/dog ; they: it` stands for two options with the same fields.

**Why the entropy is exact.** A tale is said strictly from left to right, and at every choice the
*openings* of the options (what each says before its own first choice) differ: none is a prefix of
another, the end of a word counting as part of it. So a reader who knows the tables recovers every
choice from the text, one text comes from one sequence of choices, and -log2 of the probability of
the text is the sum of -log2 of the probabilities of its choices. The tests read tales back so.
To make openings differ, an option which starts with a choice, or soon comes to one, is spread:
`[big|red] dog` among the options of a table counts as `big dog` and `red dog`, each with half of
the weight, which leaves every probability as it was.
"""

import math
import random
import re
import tomllib
from bisect import bisect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache, cached_property
from importlib import resources
from itertools import accumulate, islice
from itertools import count as count_from
from typing import NamedTuple, TypeAlias

_TOKEN = re.compile(r"[\[\]|]|\{[^}]*\}|[^\[\]|{}]+")
_SLOT = re.compile(r"\{([aA] )?(?:(\w+)=)?([\w+]+)(?:\.(\w+))?\}")

# A choice within so many characters of an option's start is spread, a name counting as six: enough
# that "The [cat|dog]" and "The [cow|pig]" may be options side by side, without too many options.
_SOON = 12
_NAME = "a name"


class Mark(Enum):
    """What happens to the next words said."""

    CAPITAL = auto()
    ARTICLE = auto()


@dataclass(frozen=True, eq=False)
class Record:
    """An option of a table: what it says (the field `is`) and its other fields."""

    fields: "dict[str, Parts]"


class Remember(NamedTuple):
    """From here on, `name` is `record`."""

    name: str
    record: Record


class Recall(NamedTuple):
    """Say a field of what is remembered as `name`."""

    name: str
    field: str


class Option(NamedTuple):
    """One way to go on, as likely as its weight beside the others'."""

    weight: float
    parts: "Parts"
    remembers: tuple[Record, ...]


@dataclass(frozen=True, eq=False)
class Choice:
    """Two or more options."""

    options: tuple[Option, ...]

    @cached_property
    def binds(self) -> bool:
        """Whether any option is remembered."""
        return any(option.remembers for option in self.options)

    @cached_property
    def ends(self) -> list[float]:
        """The running sum of the weights."""
        return list(accumulate(option.weight for option in self.options))


Part: TypeAlias = str | Mark | Remember | Recall | Choice
Parts: TypeAlias = tuple[Part, ...]


class Grammar:
    """Tables of options, by name, read from `source`: the text of each table."""

    def __init__(self, source: Mapping[str, str]) -> None:
        self._source = source
        self._records: dict[str, list[Record]] = {}
        self._tables: dict[str, Parts] = {}

    def table(self, name: str) -> Parts:
        """The choice between the options of a table (of a table of one: that one)."""
        if name not in self._tables:
            self._tables[name] = _choice(record.fields["is"] for record in self.records(name))
        return self._tables[name]

    def records(self, name: str) -> list[Record]:
        """The options of a table with their fields."""
        if name not in self._records:
            lines = self._source[name].strip().splitlines()
            self._records[name] = [record for line in lines for record in self._line(line)]
        return self._records[name]

    def _line(self, line: str) -> Iterator[Record]:
        texts, *rest = line.split(" ; ")
        fields = {name: self.parse(text) for name, text in (item.split(": ", 1) for item in rest)}
        for text in texts.split("/"):
            yield Record({"is": self.parse(text), **fields})

    def parse(self, text: str) -> Parts:
        """A template as parts."""
        return self._sequence(deque(_TOKEN.findall(text)))

    def _sequence(self, tokens: deque[str]) -> Parts:
        parts: list[Part] = []
        while tokens and tokens[0] not in ("|", "]"):
            token = tokens.popleft()
            if token == "[":
                parts += self._bracket(tokens)
            elif token[0] == "{":
                parts += self._slot(token)
            else:
                parts.append(token.replace(" ~ ", "\n\n"))
        return tuple(parts)

    def _bracket(self, tokens: deque[str]) -> Parts:
        options = [self._sequence(tokens)]
        while tokens.popleft() == "|":
            options.append(self._sequence(tokens))
        return _choice(options)

    def _slot(self, token: str) -> Iterator[Part]:
        match = _SLOT.fullmatch(token)
        if match is None:
            raise ValueError(f"not a slot: {token}")
        article, bound, source, field_name = match.groups()
        first = bound or source
        if first[0].isupper() or article == "A ":
            yield Mark.CAPITAL
        if article:
            yield Mark.ARTICLE
        if bound:
            name = bound.lower()
            if name in self._source:
                raise ValueError(f"{token}: {name} is a table")
            records = [record for table in source.split("+") for record in self.records(table)]
            yield from _choice((Remember(name, it), *it.fields["is"]) for it in records)
        elif source.lower() in self._source:
            yield from self.table(source.lower())
        else:
            yield Recall(source.lower(), field_name or "is")


def _choice(options: Iterable[Parts]) -> Parts:
    """A choice between equally likely options; of one option, that option."""
    options = list(options)
    if len(options) == 1:
        return options[0]
    spread = (option for parts in options for option in _spread(parts, 1 / len(options)))
    return (Choice(tuple(spread)),)


def _spread(parts: Parts, weight: float) -> Iterator[Option]:
    """An option, or where it soon comes to a choice, one for each way of that choice."""
    text = ""
    for at, part in enumerate(parts):
        if isinstance(part, Choice) and not (text and part.binds):
            for option in part.options:
                rest = (*parts[:at], *option.parts, *parts[at + 1 :])
                yield from _spread(rest, weight * option.weight)
            return
        text += part if isinstance(part, str) else _NAME if isinstance(part, Recall) else ""
        if isinstance(part, Choice) or len(text) > _SOON:
            break
    yield Option(weight, parts, tuple(it.record for it in parts if isinstance(it, Remember)))


@cache
def grammar() -> Grammar:
    """The tables of the built-in tales."""
    file = resources.files("tinybuddy.corpus") / "tales_grammar.toml"
    return Grammar(tomllib.loads(file.read_text(encoding="utf-8")))


Chooser: TypeAlias = "Callable[[Generator, Choice], Option]"


@dataclass
class Generator:
    """Says parts from left to right, and asks `choose` at each choice."""

    choose: Chooser
    memory: dict[str, Record] = field(default_factory=dict)
    marks: set[Mark] = field(default_factory=set)
    text: str = ""
    bits: float = 0.0

    def say(self, parts: Parts) -> None:
        """Add the parts to the text, and the surprise of each choice to the bits."""
        for part in parts:
            if isinstance(part, str):
                self._add(part)
            elif isinstance(part, Choice):
                self.say(self._settle(part).parts)
            elif isinstance(part, Recall):
                self.say(self.memory[part.name].fields[part.field])
            elif isinstance(part, Remember):
                self.memory[part.name] = part.record
            else:
                self.marks.add(part)

    def _add(self, text: str) -> None:
        if self.marks:
            if Mark.ARTICLE in self.marks:
                text = ("an " if text[0] in "aeiou" else "a ") + text
            if Mark.CAPITAL in self.marks:
                text = text[0].upper() + text[1:]
            self.marks.clear()
        self.text += text

    def _settle(self, choice: Choice) -> Option:
        if choice.binds:
            known = set(self.memory.values())
            new = [option for option in choice.options if known.isdisjoint(option.remembers)]
            choice = Choice(tuple(new)) if len(new) < len(choice.options) else choice
        option = self.choose(self, choice)
        self.bits += math.log2(choice.ends[-1] / option.weight)
        return option


@dataclass(frozen=True)
class Tale:
    """A story of 80 to 250 words, and -log2 of its probability under the grammar."""

    text: str
    bits: float


def generate_tale(index: int, seed: int = 0) -> Tale:
    """The tale with this index (from 0). The same on every machine and Python version."""
    # random() is the one method whose numbers Python promises never to change.
    draw = random.Random(f"{seed}/{index}").random

    def choose(_: Generator, choice: Choice) -> Option:
        ends = choice.ends
        return choice.options[bisect(ends, draw() * ends[-1], hi=len(ends) - 1)]

    generator = Generator(choose)
    generator.say(grammar().table("tale"))
    return Tale(generator.text, generator.bits)


def tales(seed: int = 0) -> Iterator[Tale]:
    """All tales of a seed, index 0, 1, 2, and on without end."""
    return (generate_tale(index, seed) for index in count_from())


@dataclass(frozen=True)
class Entropy:
    """The entropy of the tales, measured on a number of them."""

    bits_per_story: float
    bits_per_byte: float
    standard_error: float
    """of bits_per_byte"""
    tales: int


def entropy(count: int = 5000, seed: int = 0) -> Entropy:
    """The least that a model can score on the tales: its expected bits per byte are no lower.

    `bits_per_byte = sum(bits) / sum(UTF-8 bytes + 1)` over the tales 0 to count - 1, the 1 for the
    end of a story, as in the definition of bits per byte for models. The bits of each tale are
    exact. Their mean over `count` tales (at least 2) estimates the entropy of the source; the
    standard error says how well. A model can beat the estimate by chance on a few tales, or by
    having learned them by heart, but in expectation over new tales never the entropy.
    """
    if count < 2:
        raise ValueError(f"a standard error needs at least 2 tales, not {count}")
    sample = list(islice(tales(seed), count))
    bits = [tale.bits for tale in sample]
    sizes = [len(tale.text.encode("utf-8")) + 1 for tale in sample]
    ratio = sum(bits) / sum(sizes)
    # The usual error of a ratio of means: the spread of bits - ratio * size.
    spread = sum((b - ratio * n) ** 2 for b, n in zip(bits, sizes, strict=True)) / (count - 1)
    error = math.sqrt(spread / count) / (sum(sizes) / count)
    return Entropy(sum(bits) / count, ratio, error, count)
