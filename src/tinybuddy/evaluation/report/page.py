"""The scorecard as one page that a person would rather look at than read.

It loads nothing: the style stands in it, every picture is drawn in it, and there is no script.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

from tinybuddy.corpus.statistics import words
from tinybuddy.disk import write_text
from tinybuddy.errors import UsageError
from tinybuddy.evaluation.comparison import Difference
from tinybuddy.evaluation.metrics.bits_per_byte import PARAMETER_BYTES
from tinybuddy.evaluation.metrics.bounds import BOUNDS
from tinybuddy.evaluation.metrics.metric import Figure, Gauge
from tinybuddy.evaluation.report.pictures import (
    AXES,
    LOOKS,
    SIGNS,
    Bar,
    axis_of,
    bars,
    clean,
    legend,
    strip,
)
from tinybuddy.evaluation.report.published import Record, records
from tinybuddy.evaluation.report.wording import (
    LABELS,
    VERDICTS,
    bound_of,
    interval_of,
    reasons_of,
    span,
    written,
)
from tinybuddy.evaluation.rivals.controls import CAUGHT_BY
from tinybuddy.evaluation.scorecard import Scorecard
from tinybuddy.evaluation.session import Evaluation
from tinybuddy.evaluation.stories import Story, sentences
from tinybuddy.training.metadata import short_source
from tinybuddy.training.provenance import provenance

SAMPLES = 6  # stories shown of each model
UNKNOWN = 20  # words shown that are not English
SHORT_HASH = 12

GAUGES = {
    "bits_per_byte": ("Foresight", "How well it foresees stories that it has never seen."),
    "words": ("Words", "It tells English words, not letters that only look like some."),
    "grammar": ("Grammar", "It prefers right sentences to wrong ones, and tells right ones."),
    "coherence": ("Coherence", "What comes later belongs to what came before."),
    "repetition": ("Repetition", "It does not say the same thing again and again."),
    "variety": ("Variety", "It has more than one story to tell, and more than a few words."),
    "originality": ("Originality", "It tells stories of its own, not those of its training."),
    "sentences": ("Sentences", "They begin and end as sentences do."),
    "tell_apart": ("Likeness", "Can its stories be told from human ones? Shown, not judged."),
}
NOTES = {
    "bits_per_byte.validation": "the bound: the best table of counts with as many numbers",
    "words.english": "of the words that it tells",
    "grammar.pairs": "“the dogs were happy” to “the dogs was happy”; guessing gets 50%",
    "grammar.word_order": "likelier than with their words shuffled, by counts of human stories",
    "coherence.pairs": "the sentence or name that belongs to a beginning; guessing gets 50%",
    "coherence.sentence_order": "likelier than with their sentences shuffled, likewise",
    "repetition.rows": "those that stood in the same story before",
    "variety.own_rows": "rows of 4 words that one story alone has",
    "variety.distinct_words": "of one thousand words told in a row",
    "originality.new_rows": "rows of 4 words that its training text lacks",
    "originality.longest_copy": "in a story, pieced together from its training text",
    "sentences.whole": "a capital, an end mark, closed quotations, a human length",
    "tell_apart.accuracy": "how often a classifier is right; guessing gets 50%",
}
RIVALS = {"equal_count": "as many numbers", "equal_bytes": "as many bytes", "unlimited": "all"}
HOW_TO_READ = """<p>Every model continues the same twenty prompts ten times, and what it tells is
measured word by word. Where a model says how likely a text is, it also has to choose between right
texts and wrong ones. A dot is the value; its whisker is where it would lie 95 times in 100 with
other stories or pairs. To pass, <b>the worse end of the whisker</b> must stand on the shaded side
of the bound. The verdict is NO if one figure fails, YES if all twelve pass, and OPEN if none fails
but some could not be measured. The bounds were set with human stories, one model of others, and the
controls, before any model of this project was measured.</p>"""


def write_report(evaluation: Evaluation, path: str | Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        UsageError: if the name does not end in ``.html``.
        TinybuddyError: if it cannot be written.
    """
    path = Path(path)
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
        yield from (
            f'<p class="warning"><b>Warning, {_name(names[card.name])}:</b> {clean(text)}</p>'
            for text in card.warnings
        )
    for card in cards:
        yield _verdict(card, names[card.name], short_source(evaluation.evidence.source))
    signs = legend(any(card.plain for card in cards), bool(evaluation.beside))
    yield _section("Figure by figure", signs, *_gauges(evaluation, names))
    yield _section("A closer look", *(_closer(c, names) for c in cards), _blimp(evaluation, names))
    yield _section("What it tells", *(_stories(card, names[card.name]) for card in cards))
    for other, differences in evaluation.differences.items():
        yield _differences(names[cards[0].name], names[other], differences)
    yield _matrix(evaluation, names)
    yield _records(cards, names)
    yield _section("How to read this", HOW_TO_READ)
    yield _footer(evaluation)


def _short(names: Sequence[str]) -> dict[str, str]:
    """The last part of each path, unless two would be called the same."""
    last = {name: re.split(r"[/\\]", name.rstrip("/\\"))[-1] or name for name in names}
    return last if len({*last.values()}) == len(last) else {name: name for name in names}


def _name(name: str) -> str:
    return f"<bdi>{clean(name)}</bdi>"


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>\n{chr(10).join(parts)}\n</section>"


def _facts(**facts: object) -> str:
    rows = (f"<div><dt>{_spoken(k)}</dt><dd>{clean(v)}</dd></div>" for k, v in facts.items())
    return f"<dl>{''.join(rows)}</dl>"


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _verdict(card: Scorecard, name: str, source: str) -> str:
    """The headline: what, why, and how large."""
    speaks, figures = card.speaks_english, card.figures()
    verdicts = {name: figures[name].passed if name in figures else None for name in BOUNDS}
    pips = "".join(
        f'<li class="{LOOKS[passed]}" title="{LABELS[name]}">{SIGNS[passed]}</li>'
        for name, passed in verdicts.items()
    )
    passed = f"{[*verdicts.values()].count(True)} of {len(BOUNDS)}"
    opening = " ".join(sentences(card.stories[0].whole)[:2]) if card.stories else ""
    facts = _facts(
        parameters=f"{card.parameters:,}",
        bytes_at_4_a_parameter=f"{card.parameters * PARAMETER_BYTES:,}",
        figures_that_pass=passed,
        measured_against=source,
    )
    return f"""<article class="verdict {LOOKS[speaks]}">
<h1><span>{_name(name)}: does it speak English?</span> <b>{VERDICTS[speaks]}</b></h1>
<div class="why"><div>{_why(card)}<ul class="pips" aria-label="{passed} figures pass">{pips}</ul>
</div><blockquote><p>{_marked(opening, _unknown(card))}</p></blockquote></div>
{facts}
<p class="note">For YES, all {len(BOUNDS)} judged figures must be measured and keep their bounds,
even at the worse end of their 95% intervals.</p>
</article>"""


def _why(card: Scorecard) -> str:
    if card.speaks_english:
        return f"<p>All {len(BOUNDS)} judged figures keep their bounds.</p>"
    reasons = "".join(f"<li>{clean(reason)}</li>" for reason in reasons_of(card))
    why = (
        "These figures fail:"
        if card.speaks_english is False
        else "No figure fails, but not all could be judged:"
    )
    return f'<p>{why}</p><ul class="reasons">{reasons}</ul>'


def _gauges(evaluation: Evaluation, names: Mapping[str, str]) -> Iterator[str]:
    """Every gauge with a picture of each figure of each model, and what it lacks."""
    for name, (title, what) in GAUGES.items():
        found = {c.name: c.gauges[name] for c in evaluation.scorecards if name in c.gauges}
        figures = dict.fromkeys(f.name for gauge in found.values() for f in gauge.figures)
        drawn = "".join(_figure(figure, evaluation, names) for figure in figures)
        lacks = "".join(_lacks(names[who], g) for who, g in found.items() if g.lacks)
        head = f"<h3>{title} <small>{what}</small></h3>"
        yield f'<article class="gauge">{head}{drawn}{lacks}</article>'


def _lacks(name: str, gauge: Gauge) -> str:
    how = "not wholly run" if gauge.figures else "not run"
    return f'<p class="lacks">{_name(name)}: {how}, since it needs {clean(gauge.lacks)}.</p>'


def _figure(name: str, evaluation: Evaluation, names: Mapping[str, str]) -> str:
    """One figure: a row for each model, all on one scale."""
    found = {c.name: f for c in evaluation.scorecards if (f := c.figures().get(name))}
    plain = {
        card.name: figure.value
        for card in evaluation.scorecards
        for gauge in card.plain.values()
        for figure in gauge.figures
        if figure.name == name
    }
    beside = {
        who: figure.value
        for who, card in evaluation.beside.items()
        if (figure := card.figures().get(name))
    }
    other = beside.pop("human", None)
    human = {who: other if f.human is None else f.human for who, f in found.items()}
    shown = [v for f in found.values() for v in (f.value, f.limit, *f.share.interval())]
    axis = axis_of(name, [*shown, *human.values(), *plain.values()])
    rows = "".join(
        f'<div class="row"><p class="who">{_name(names[who]) if len(found) > 1 else ""}</p>'
        f"{strip(figure, axis, human[who], plain.get(who), beside)}{_value(figure)}</div>"
        for who, figure in found.items()
    )
    return (
        f'<div class="figure"><h4>{LABELS[name]} <small>{NOTES.get(name, "")}</small></h4>'
        f"{rows}</div>"
    )


def _value(figure: Figure) -> str:
    passed = figure.passed
    unknown = "? no bound" if figure.name in BOUNDS else "not judged"
    said = {True: "✓ pass", False: "✕ FAIL", None: unknown}[passed]
    must = f"<small>must be {bound_of(figure)}</small>" if figure.limit is not None else ""
    return (
        f'<p class="value {LOOKS[passed]}"><b>{written(figure.name, figure.value)}</b> '
        f"<em>{said}</em><small>{interval_of(figure)}</small> {must}</p>"
    )


def _closer(card: Scorecard, names: Mapping[str, str]) -> str:
    """Grammar by paradigm, coherence by kind, and the n-gram models beside the model."""
    drawn = []
    for gauge, title in (("grammar", "Grammar by paradigm"), ("coherence", "Coherence by kind")):
        bound = BOUNDS[f"{gauge}.pairs"].value
        note = f"Pairs that are right. Dashed: chance, 50%; solid: the bound on all, {bound:.0%}."
        parts = card.gauges[gauge].details if gauge in card.gauges else {}
        rows: list[Bar] = [(_spoken(k), v, f"{v:.0%}", v >= bound) for k, v in parts.items()]
        if rows:
            drawn.append(bars(title, note, rows, chance=0.5, bound=bound))
    first = card.gauges.get("bits_per_byte")
    if first and first.figures:
        drawn.append(_rivals(names[card.name], first))
    head = f"<h3>{_name(names[card.name])}</h3>" if len(names) > 1 and drawn else ""
    return f'{head}<div class="grid">{"".join(drawn)}</div>' if drawn else ""


def _rivals(name: str, gauge: Gauge) -> str:
    own, rivals = gauge.figures[0], gauge.details.get("kneser_ney", {})
    top = max([own.value, *(rival["bits_per_byte"] for rival in rivals.values())])
    rows: list[Bar] = [(name, own.value / top, written(own.name, own.value), own.passed)]
    for kind, rival in rivals.items():
        bits, label = rival["bits_per_byte"], f"{RIVALS.get(kind, kind)}: {rival['n_grams']:,}"
        rows.append((label, bits / top, written(own.name, bits), None))
    note = "Shorter is better. Below it, Kneser-Ney models of its training stories, by the number "
    return bars("Bits per byte", f"{note}of n-grams that they keep; the first is the bound.", rows)


def _blimp(evaluation: Evaluation, names: Mapping[str, str]) -> str:
    note = "Pairs whose words it knows that are right. Dashed: chance, 50%."
    drawn = []
    for name, shares in evaluation.blimp.items():
        rows: list[Bar] = [(_spoken(k), s.value, f"{s.value:.0%}", None) for k, s in shares.items()]
        drawn.append(bars(f"BLiMP, {_name(names[name])}", note, rows, chance=0.5))
    return f'<div class="grid">{"".join(drawn)}</div>' if drawn else ""


def _unknown(card: Scorecard) -> Sequence[str]:
    gauge = card.gauges.get("words")
    return gauge.details.get("unknown", []) if gauge else []


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
    told = "".join(
        f'<p class="story"><b>{clean(story.prompt)}</b>{_marked(story.text, unknown)}'
        f"{' <i>…</i>' if story.cut else ''}</p>"
        for story in [*firsts.values()][:: max(1, len(firsts) // SAMPLES)][:SAMPLES]
    )
    most = ", ".join(f"<u>{clean(word)}</u>" for word in unknown[:UNKNOWN])
    count = f"{len(unknown):,} different words of all its stories are not known" if most else ""
    note = f'<p class="note">{count}, the most frequent first: {most}</p>' if most else ""
    head = f"<h3>{_name(name)} <small>the first story of each prompt, not chosen</small></h3>"
    return f'{head}<div class="grid">{told}</div>{note}'


def _table(look: str, head: Iterable[str], rows: Iterable[str]) -> str:
    columns = "".join(f'<th scope="col"><span>{title}</span></th>' for title in head)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{look}"><table class="{look}">'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row_head(name: str) -> str:
    return f'<th scope="row">{_name(name)}</th>'


def _verdict_cell(speaks: bool | None) -> str:
    return f'<td class="{LOOKS[speaks]}">{VERDICTS[speaks]}</td>'


def _matrix(evaluation: Evaluation, names: Mapping[str, str]) -> str:
    """What every source gets in every figure, with what is meant to catch each control."""
    if not evaluation.beside:
        return ""
    sources = [(names[card.name], "", card) for card in evaluation.scorecards]
    sources += [(who, CAUGHT_BY.get(who, ""), card) for who, card in evaluation.beside.items()]
    rows = []
    for who, caught_by, card in sources:
        figures = card.figures()
        cells = "".join(_cell(figures.get(name), name == caught_by) for name in LABELS)
        rows.append(f"{_row_head(who)}{_verdict_cell(card.speaks_english)}{cells}")
    note = """<p>The controls are made not to speak English, each in a way of its own, and the
outlined figure is to catch it: a scorecard that lets one through measures nothing. Stories that
come from no model have no probabilities, so the verdict on them is open at best.</p>"""
    head = ["", "speaks English", *LABELS.values()]
    return _section("Beside it: people, and what must fail", note, _table("matrix", head, rows))


def _cell(figure: Figure | None, catches: bool) -> str:
    if figure is None:
        return "<td></td>"
    passed = figure.passed
    look, title = LOOKS[passed], LABELS[figure.name]
    if catches:
        look, title = f"{look} catch", f"{title}, meant to catch it"
    sign = SIGNS[passed] if passed is not None else ""
    escaped = "<em>got through!</em>" if catches and passed is not False else ""
    value = written(figure.name, figure.value)
    return f'<td class="{look}" title="{title}">{value} <b>{sign}</b>{escaped}</td>'


def _differences(first: str, other: str, differences: Sequence[Difference]) -> str:
    """Which figures of two models differ by more than chance."""
    rows = []
    for it in differences:
        worst, best = AXES[it.name]
        ahead = first if (it.value > 0) == (best > worst) else other
        real = f"<b>real</b>, in favour of {_name(ahead)}" if it.real else "perhaps chance"
        sign = "+" if it.value > 0 else ""
        rows.append(
            f'<th scope="row">{LABELS[it.name]}</th><td>{sign}{written(it.name, it.value)}</td>'
            f"<td>{span(it.name, it.low, it.high)}</td><td>{real}</td>"
        )
    head = ("", "difference", "95% interval", "")
    table = _table("differences", head, rows)
    return _section(f"{_name(first)} minus {_name(other)}", table)


def _records(cards: Sequence[Scorecard], names: Mapping[str, str]) -> str:
    """The record table with the models just measured; nothing without records."""
    if not (known := records()):
        return ""
    fresh = [_as_record(card, names[card.name]) for card in cards]
    rows = []
    known = [row for row in known if row.name not in names.values()]
    for row in sorted([*known, *fresh], key=lambda row: row.parameters):
        bits = written("bits_per_byte.validation", row.bits_per_byte)
        fails = ", ".join(LABELS.get(name, name) for name in row.fails)
        rows.append(
            f"{_row_head(row.name)}<td>{row.parameters:,}</td>{_verdict_cell(row.speaks_english)}"
            f"<td>{bits}</td><td>{fails}</td><td>{clean(row.claim)}</td>"
            f"<td><code>{clean(row.measured_by)}</code></td>"
        )
    head = ("", "parameters", "speaks English", "bits per byte", "fails", "claim", "measured by")
    note = "<p>The smallest first. Bits per byte compare on the same stories alone.</p>"
    return _section("The record", note, _table("records", head, rows))


def _as_record(card: Scorecard, name: str) -> Record:
    figures = card.figures()
    bits = figures.get("bits_per_byte.validation")
    fails = tuple(figure.name for figure in figures.values() if figure.passed is False)
    value = bits.value if bits else None
    return Record(name, card.parameters, "", card.speaks_english, value, fails, "this report")


def _footer(evaluation: Evaluation) -> str:
    evidence, where = evaluation.evidence, provenance()
    facts = _facts(
        stories=short_source(evaluation.evidence.source),
        their_SHA_256=evidence.sha256[:SHORT_HASH] or "-",
        training_stories=f"{len(evidence.train):,}",
        validation_stories=f"{len(evidence.validation):,}",
        commit=(where["git_commit"] or "-")[:SHORT_HASH],
        versions=", ".join(f"{name} {version}" for name, version in where["versions"].items()),
        system=f"{where['system']}, {where['processor']}, {where['cores']} cores",
        seconds=", ".join(f"{card.seconds:.0f}" for card in evaluation.scorecards),
    )
    return f"<footer><h2>Where it comes from</h2>{facts}</footer>"
