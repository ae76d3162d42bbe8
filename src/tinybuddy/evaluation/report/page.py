"""The scorecard as one page that a person would rather look at than read.

It loads nothing: the style stands in it, every picture is drawn in it, and there is no script.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

from tinybuddy.config import SampleConfig
from tinybuddy.corpus.statistics import words
from tinybuddy.disk import expanded, write_text
from tinybuddy.errors import UsageError
from tinybuddy.evaluation.metrics.bits_per_byte import PARAMETER_BYTES
from tinybuddy.evaluation.metrics.bounds import BOUNDS, EDITION
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.report.comparisons import differences_table, matrix, published_table
from tinybuddy.evaluation.report.html import (
    definitions,
    name_tag,
    section,
    spoken,
)
from tinybuddy.evaluation.report.pictures import (
    LOOKS,
    SIGNS,
    Bar,
    axis_of,
    bars,
    clean,
    legend,
    letters_of,
    strip,
)
from tinybuddy.evaluation.report.wording import (
    LABELS,
    VERDICTS,
    bound_of,
    interval_of,
    paradigm_name,
    reasons_of,
    written,
)
from tinybuddy.evaluation.scorecard import PLAIN, SAMPLING, Scorecard
from tinybuddy.evaluation.session import Evaluation
from tinybuddy.evaluation.stories import Story, sentences
from tinybuddy.training.metadata import short_source
from tinybuddy.training.provenance import provenance

SAMPLES = 6  # stories shown of each model
UNKNOWN = 20  # words shown that are not English
SHORT_HASH = 12

METRICS = {
    "bits_per_byte": ("Prediction", "How well it predicts stories that it has never seen."),
    "words": ("Words", "It writes English words, not letters that only look like some."),
    "grammar": ("Grammar", "It prefers right sentences to wrong ones, and writes right ones."),
    "coherence": ("Coherence", "What comes later belongs to what came before."),
    "repetition": ("Repetition", "It does not say the same thing again and again."),
    "variety": ("Variety", "It has more than one story, and more than a few words."),
    "originality": ("Originality", "It writes stories of its own, not those of its training."),
    "sentences": ("Sentences", "They begin and end as sentences do."),
    "tell_apart": ("Likeness", "Can its stories be told from human ones? Shown, not judged."),
}
NOTES = {
    "bits_per_byte.validation": "the bound: the best table of counts with as many numbers",
    "words.english": "of the words that it writes",
    "grammar.pairs": "“the dogs were happy” to “the dogs was happy”; guessing gets 50%",
    "grammar.word_order": "preferred to their own words shuffled, by counts of human stories",
    "coherence.pairs": "the sentence or name that belongs to a beginning; guessing gets 50%",
    "coherence.sentence_order": "more probable than with their sentences shuffled, likewise",
    "repetition.repeated_4grams": "those that stood in the same story before",
    "variety.own_4grams": "4-grams that one story alone has",
    "variety.distinct_words": "of one thousand words in a row",
    "originality.new_4grams": "4-grams that its training text lacks",
    "originality.longest_copy": "in a story, pieced together from its training text",
    "sentences.whole": "a capital, an end mark, closed quotations, a human length",
    "tell_apart.accuracy": "how often a classifier is right; guessing gets 50%",
}
RIVALS = {"equal_count": "as many numbers", "equal_bytes": "as many bytes", "unlimited": "all"}
HOW_TO_READ = """<p>Every model continues the same forty prompts, each five times, and what it
writes is measured word by word. Where a model says how likely a text is, it also has to choose
between right texts and wrong ones. A dot is the value; its whisker is where it would lie 95 times
in 100 with other prompts, stories or sentences. To pass, <b>the worse end of the whisker</b> must
stand on the shaded side of the bound. The verdict is NO if one value fails, YES if all twelve pass,
and OPEN if none fails but some could not be measured. The bounds were set with human stories, one
model of others, and the controls, before any model of this project took this edition. The verdict
is on stories drawn at temperature 0.8 among the 40 best tokens; what the same model gets at
temperature 1 from all tokens stands beside it.</p>"""
SOURCES = {
    "TinyStories": "https://arxiv.org/abs/2305.07759",
    "BLiMP, whose method the minimal pairs follow": "https://arxiv.org/abs/1912.00582",
    "stories260K, by which bounds were set": "https://huggingface.co/karpathy/tinyllamas",
}


def write_report(evaluation: Evaluation, path: str | Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        UsageError: if the name does not end in ``.html``.
        TinybuddyError: if it cannot be written.
    """
    path = expanded(path)
    if path.suffix != ".html":
        raise UsageError(f"The report is a page: name a file that ends in .html, not {path.name}.")
    write_text(path, _page(evaluation))


def _page(evaluation: Evaluation) -> str:
    names = _short([card.name for card in evaluation.scorecards])
    style = (resources.files(__package__) / "page.css").read_text("utf-8")
    body = "\n".join(part for part in _parts(evaluation, names) if part)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Does it speak English? {clean(", ".join(names.values()))}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _parts(evaluation: Evaluation, names: Mapping[str, str]) -> Iterator[str]:
    cards = evaluation.scorecards
    for card in cards:
        yield _verdict(card, names[card.name], short_source(evaluation.evidence.source))
    yield section("How to read this", HOW_TO_READ)
    signs = legend(any(card.plain for card in cards), _control_names(evaluation))
    yield section("Value by value", signs, *_metrics(evaluation, names))
    yield section("A closer look", *(_closer(c, names) for c in cards), _blimp(evaluation, names))
    yield section("What it writes", *(_stories(card, names[card.name]) for card in cards))
    for other, differences in evaluation.differences.items():
        yield differences_table(names[cards[0].name], names[other], differences)
    yield matrix(evaluation, names)
    yield published_table(cards, names)
    yield _footer(evaluation)


def _control_names(evaluation: Evaluation) -> list[str]:
    return [who for who in evaluation.beside if who != "human"]


def _short(names: Sequence[str]) -> dict[str, str]:
    """The last part of each path, unless two would be called the same."""
    last = {name: re.split(r"[/\\]", name.rstrip("/\\"))[-1] or name for name in names}
    return last if len({*last.values()}) == len(last) else {name: name for name in names}


def _verdict(card: Scorecard, name: str, source: str) -> str:
    """The headline: what, why, and how large."""
    speaks, values = card.speaks_english, card.values()
    verdicts = {name: values[name].passed if name in values else None for name in BOUNDS}
    pips = "".join(
        f'<li class="{LOOKS[passed]}" title="{LABELS[name]}">{SIGNS[passed]}</li>'
        for name, passed in verdicts.items()
    )
    passed = f"{[*verdicts.values()].count(True)} of {len(BOUNDS)}"
    opening = " ".join(sentences(card.stories[0].whole)[:2]) if card.stories else ""
    statistics = definitions(
        parameters=f"{card.parameters:,}",
        bytes_at_4_a_parameter=f"{card.parameters * PARAMETER_BYTES:,}",
        values_that_pass=passed,
        measured_against=source,
    )
    warnings = "".join(f'<p class="warning"><b>Warning:</b> {clean(w)}</p>' for w in card.warnings)
    return f"""<article class="verdict {LOOKS[speaks]}">
<h1><span>{name_tag(name)}: does it speak English?</span> <b>{VERDICTS[speaks]}</b></h1>
{warnings}
<div class="why"><div>{_why(card)}<ul class="pips" aria-label="{passed} values pass">{pips}</ul>
</div><blockquote><p>{_marked(opening, _unknown(card))}</p></blockquote></div>
{statistics}
<p class="note">For YES, all {len(BOUNDS)} judged values must be measured and keep their bounds,
even at the worse end of their 95% intervals.</p>
</article>"""


def _why(card: Scorecard) -> str:
    if card.speaks_english:
        return f"<p>All {len(BOUNDS)} judged values keep their bounds.</p>"
    reasons = "".join(f"<li>{clean(reason)}</li>" for reason in reasons_of(card))
    why = (
        "These values fail:"
        if card.speaks_english is False
        else "No value fails, but not all could be judged:"
    )
    return f'<p>{why}</p><ul class="reasons">{reasons}</ul>'


def _metrics(evaluation: Evaluation, names: Mapping[str, str]) -> Iterator[str]:
    """Every metric with a picture of each value of each model, and what it lacks."""
    for name, (title, what) in METRICS.items():
        found = {c.name: c.metrics[name] for c in evaluation.scorecards if name in c.metrics}
        values = dict.fromkeys(f.name for metric in found.values() for f in metric.values)
        drawn = "".join(_measured(measured, evaluation, names) for measured in values)
        lacks = "".join(_lacks(names[who], g) for who, g in found.items() if g.lacks)
        head = f"<h3>{title} <small>{what}</small></h3>"
        yield f'<article class="metric">{head}{drawn}{lacks}</article>'


def _lacks(name: str, metric: Metric) -> str:
    how = "not wholly run" if metric.values else "not run"
    return f'<p class="lacks">{name_tag(name)}: {how}, since it needs {clean(metric.lacks)}.</p>'


def _measured(name: str, evaluation: Evaluation, names: Mapping[str, str]) -> str:
    """One value: a row for each model, all on one scale."""
    found = {c.name: f for c in evaluation.scorecards if (f := c.values().get(name))}
    plain = {
        card.name: measured
        for card in evaluation.scorecards
        for metric in card.plain.values()
        for measured in metric.values
        if measured.name == name
    }
    beside = {
        who: measured.value
        for who, card in evaluation.beside.items()
        if (measured := card.values().get(name))
    }
    other = beside.pop("human", None)
    human = {who: other if f.human is None else f.human for who, f in found.items()}
    shown = [v for f in found.values() for v in (f.value, f.limit, *f.share.interval())]
    axis = axis_of(name, [*shown, *human.values(), *(f.value for f in plain.values())])
    letters = letters_of(_control_names(evaluation))
    rows = "".join(
        f'<div class="row"><p class="who">{name_tag(names[who]) if len(found) > 1 else ""}</p>'
        f"{strip(measured, axis, human[who], _of(plain.get(who)), beside, letters)}"
        f"{_value(measured, plain.get(who))}</div>"
        for who, measured in found.items()
    )
    return (
        f'<div class="measured"><h4>{LABELS[name]} <small>{NOTES.get(name, "")}</small></h4>'
        f"{rows}</div>"
    )


def _of(measured: MetricValue | None) -> float | None:
    return measured.value if measured else None


def _value(measured: MetricValue, plain: MetricValue | None) -> str:
    passed = measured.passed
    unknown = "? no bound" if measured.name in BOUNDS else "not judged"
    said = {True: "✓ pass", False: "✕ FAIL", None: unknown}[passed]
    must = f"<small>must be {bound_of(measured)}</small>" if measured.limit is not None else ""
    at_1 = ""
    if plain:
        sign = {True: "✓", False: "✕", None: ""}[plain.passed]
        at_1 = f"<small>at temperature 1: {written(plain.name, plain.value)} {sign}</small>"
    return (
        f'<p class="value {LOOKS[passed]}"><b>{written(measured.name, measured.value)}</b> '
        f"<em>{said}</em><small>{interval_of(measured)}</small> {must}{at_1}</p>"
    )


def _closer(card: Scorecard, names: Mapping[str, str]) -> str:
    """Grammar by paradigm, coherence by kind, and the n-gram models beside the model."""
    drawn = []
    for metric, title in (("grammar", "Grammar by paradigm"), ("coherence", "Coherence by kind")):
        bound = BOUNDS[f"{metric}.pairs"].value
        note = f"Pairs that are right, from chance, 50%, on. Line: the bound on all, {bound:.0%}."
        parts = card.metrics[metric].details if metric in card.metrics else {}
        rows: list[Bar] = [
            (paradigm_name(k), _above(v), f"{v:.0%}", v >= bound) for k, v in parts.items()
        ]
        if rows:
            drawn.append(bars(title, note, rows, bound=_above(bound)))
    first = card.metrics.get("bits_per_byte")
    if first and first.values:
        drawn.append(_rivals(names[card.name], first))
    head = f"<h3>{name_tag(names[card.name])}</h3>" if len(names) > 1 and drawn else ""
    return f'{head}<div class="grid">{"".join(drawn)}</div>' if drawn else ""


def _rivals(name: str, metric: Metric) -> str:
    own, rivals = metric.values[0], metric.details.get("kneser_ney", {})
    best = min([own.value, *(rival["bits_per_byte"] for rival in rivals.values())])
    rows: list[Bar] = [(name, best / own.value, written(own.name, own.value), own.passed)]
    for kind, rival in rivals.items():
        bits, label = rival["bits_per_byte"], f"{RIVALS.get(kind, kind)}: {rival['n_grams']:,}"
        rows.append((label, best / bits, written(own.name, bits), None))
    note = """Fewer bits make a longer bar. Below it, Kneser-Ney models of its training stories, by
the number of n-grams that they keep; the first is the bound."""
    return bars("Bits per byte", note, rows)


def _above(share: float) -> float:
    """Part of the way from chance, 50 %, to all."""
    return max(0.0, 2 * share - 1)


def _blimp(evaluation: Evaluation, names: Mapping[str, str]) -> str:
    note = "Pairs whose words it knows that are right. A bar begins at chance, 50%."
    drawn = []
    for name, shares in evaluation.blimp.items():
        rows: list[Bar] = [
            (spoken(k), _above(s.value), f"{s.value:.0%}", None) for k, s in shares.items()
        ]
        drawn.append(bars(f"BLiMP, {name_tag(names[name])}", note, rows))
    return f'<div class="grid">{"".join(drawn)}</div>' if drawn else ""


def _unknown(card: Scorecard) -> Sequence[str]:
    metric = card.metrics.get("words")
    return metric.details.get("unknown", []) if metric else []


def _marked(text: str, unknown: Collection[str]) -> str:
    """A text whose words that are not English are underlined."""
    wrong, parts, at = frozenset(unknown), [], 0
    for match in re.finditer(r"\w+(?:['’]\w+)*", text):  # noqa: RUF001
        if wrong.intersection(words(match[0])):
            parts.append(clean(text[at : match.start()]))
            parts.append(f'<u title="not an English word">{clean(match[0])}</u>')
            at = match.end()
    return "".join([*parts, clean(text[at:])])


def _stories(card: Scorecard, name: str) -> str:
    """The first story of some prompts, and the words that are none."""
    firsts: dict[str, Story] = {}
    for story in card.stories:
        firsts.setdefault(story.prompt, story)
    unknown = _unknown(card)
    texts = "".join(
        f'<p class="story"><b>{clean(story.prompt)}</b>{_marked(story.text, unknown)}'
        f"{' <i>…</i>' if story.cut else ''}</p>"
        for story in [*firsts.values()][:: max(1, len(firsts) // SAMPLES)][:SAMPLES]
    )
    most = ", ".join(f"<u>{clean(word)}</u>" for word in unknown[:UNKNOWN])
    count = f"{len(unknown):,} different words of all its stories are not known" if most else ""
    note = f'<p class="note">{count}, the most frequent first: {most}</p>' if most else ""
    how = "the first story of every sixth prompt or so, not chosen"
    head = f"<h3>{name_tag(name)} <small>{how}</small></h3>"
    return f'{head}<div class="grid">{texts}</div>{note}'


def _footer(evaluation: Evaluation) -> str:
    evidence, where = evaluation.evidence, provenance()
    statistics = definitions(
        scorecard=f"edition {EDITION}",
        date=evaluation.date,
        command=evaluation.command,
        stories=short_source(evaluation.evidence.source),
        their_SHA_256=evidence.sha256[:SHORT_HASH] or "-",
        training_stories=f"{len(evidence.train):,}",
        validation_stories=f"{len(evidence.validation):,}",
        commit=(where["git_commit"] or "-")[:SHORT_HASH],
        versions=", ".join(f"{name} {version}" for name, version in where["versions"].items()),
        system=f"{where['system']}, {where['processor']}, {where['cores']} cores",
        sampled_by=_sampling(SAMPLING),
        and_plainly_by=_sampling(PLAIN),
        seconds=f"{evaluation.seconds:.0f} in all, of which the models took "
        + ", ".join(f"{card.seconds:.0f}" for card in evaluation.scorecards),
    )
    links = ", ".join(f'<a href="{place}">{name}</a>' for name, place in SOURCES.items())
    notes = "".join(f"<p>{clean(note)}</p>" for note in evaluation.notes)
    return f"""<footer><h2>Where it comes from</h2>{statistics}{notes}
<p>Sources: {links}. What each metric is, and its holes: docs/evaluation.md of tinybuddy.</p>
</footer>"""


def _sampling(config: SampleConfig) -> str:
    top = f"among the {config.top_k} best tokens" if config.top_k else "among all tokens"
    return f"temperature {config.temperature:g} {top}"
