from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinybuddy
from tinybuddy.backends.lockstep import LockstepBackend
from tinybuddy.errors import TinybuddyError
from tinybuddy.evaluation.adapters.lm_eval import harness_model
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.scoring import log_likelihoods

CHOICES = [
    ("The sun was hot. Mia took off her", ["hat.", "soup.", "sky.", "loud."], 0),
    ("The dog was very", ["of.", "happy.", "the.", "ran."], 1),
    ("Once upon a time, there was a little", ["was.", "and.", "girl.", "very."], 2),
    ("Tom gave the ball to", ["runs.", "his friend.", "blue.", "sang."], 1),
]
STORIES = [
    "A small fox found a big red leaf. It put the leaf on its head and was glad.",
    "Ben had a boat. " + "He rowed the boat to the old tree and back again. " * 12,
]


@pytest.fixture(scope="module")
def evaluated() -> EvaluatedModel:
    model = tinybuddy.load("tinybuddy-80k-card")
    context, parameters = model.config.max_position_embeddings, model.config.parameters
    return EvaluatedModel("card", model.backend, model.tokenizer, context, parameters, model.path)


def asked(*arguments: Any) -> list[SimpleNamespace]:
    return [SimpleNamespace(args=each) for each in arguments]


def write_task(folder: Path, name: str, rows: list[dict[str, Any]], **task: Any) -> dict[str, Any]:
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        "metadata": {"version": 0},
        **task,
    }


def test_the_harness_finds_what_we_find(
    evaluated: EvaluatedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import datasets
    import lm_eval
    from lm_eval.tasks import TaskManager

    # As HF_HUB_OFFLINE=1 does it; even a local file is reported to the network otherwise.
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    choice = write_task(
        tmp_path,
        "choice",
        [{"begin": b, "ends": ends, "right": right} for b, ends, right in CHOICES],
        output_type="multiple_choice",
        doc_to_text="{{begin}}",
        doc_to_choice="{{ends}}",
        doc_to_target="{{right}}",
        metric_list=[{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    )
    rolling = write_task(
        tmp_path,
        "rolling",
        [{"story": story} for story in STORIES],
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{story}}",
        metric_list=[{"metric": "bits_per_byte"}],
    )
    telling = write_task(
        tmp_path,
        "telling",
        [{"begin": begin} for begin, _, _ in CHOICES],
        output_type="generate_until",
        doc_to_text="{{begin}}",
        doc_to_target="",
        generation_kwargs={"until": ["."], "max_gen_toks": 40},
        metric_list=[{"metric": "bypass"}],
    )
    found = lm_eval.simple_evaluate(
        model=harness_model(evaluated),
        tasks=[choice, rolling, telling],
        task_manager=TaskManager(include_defaults=False),  # reading all of theirs takes 20 seconds
        bootstrap_iters=0,
        random_seed=None,
        numpy_random_seed=None,
        torch_random_seed=None,
    )

    right = 0
    for begin, ends, answer in CHOICES:
        (given, *whole) = evaluated.log_likelihoods([begin, *(f"{begin} {end}" for end in ends)])
        samples = found["samples"]["choice"]
        (answers,) = [s["filtered_resps"] for s in samples if s["doc"]["begin"] == begin]
        assert [float(nats) for nats, _ in answers] == pytest.approx(
            np.array(whole) - given, abs=1e-3
        )
        right += int(np.argmax(whole)) == answer
    assert found["results"]["choice"]["acc,none"] == right / len(CHOICES)

    size = sum(len(story.encode("utf-8")) for story in STORIES)
    bits = -sum(rolled(evaluated, story) for story in STORIES) / math.log(2)
    assert found["results"]["rolling"]["bits_per_byte,none"] == pytest.approx(bits / size, abs=1e-4)

    model = tinybuddy.load(evaluated.path)
    for sample in found["samples"]["telling"]:
        begin = sample["doc"]["begin"]
        told = model.generate(begin, temperature=0.0, max_new_tokens=40, stop=".")
        assert begin + sample["resps"][0][0] == told


def rolled(evaluated: EvaluatedModel, text: str) -> float:
    """By the harness's own windows."""
    from lm_eval.utils import get_rolling_token_windows

    ids, total = evaluated.tokenizer.encode(text), 0.0
    for read, foreseen in get_rolling_token_windows(
        ids, evaluated.tokenizer.bos, evaluated.context, 1
    ):
        inputs, targets = np.array([read]), np.array([[*read[1:], foreseen[-1]]])
        total += float(
            evaluated.backend.log_likelihoods(inputs, targets)[0, -len(foreseen) :].sum()
        )
    return total


def test_an_empty_context_is_the_beginning_of_a_story(evaluated: EvaluatedModel):
    model = harness_model(evaluated)
    short = STORIES[0]
    ((nats, greedy),) = model.loglikelihood(asked(("", short)))
    assert nats == pytest.approx(evaluated.log_likelihoods([short])[0], abs=1e-3)
    assert model.loglikelihood_rolling(asked((short,))) == pytest.approx([nats], abs=1e-3)
    assert not greedy
    assert model.loglikelihood([]) == model.loglikelihood_rolling([]) == []
    assert model.loglikelihood(asked((short, ""))) == [(0.0, True)]


def test_greedy_is_what_would_be_told(evaluated: EvaluatedModel):
    model, begin = harness_model(evaluated), "Once upon a time,"
    (told,) = model.generate_until(asked((begin, {"max_gen_toks": 12})))
    assert told[0] == " "
    other = told[:-1] + ("x" if told[-1] != "x" else "y")
    answers = model.loglikelihood(asked((begin, told), (begin, other), (begin + " ", told[1:])))
    assert [greedy for _, greedy in answers] == [True, False, True]
    assert answers[0] == pytest.approx(answers[2])


def test_a_context_too_long_is_cut_on_the_left(evaluated: EvaluatedModel):
    model, end = harness_model(evaluated), " The end."
    begin = STORIES[1].rstrip()
    (whole, cont) = (evaluated.tokenizer.encode(text) for text in (begin + end, end))
    assert len(whole) > evaluated.context
    kept = whole[-evaluated.context - 1 :]
    nats = log_likelihoods(
        evaluated.backend, evaluated.context, [kept, kept[: len(kept) - len(cont)]]
    )
    ((found, _),) = model.loglikelihood(asked((begin, end)))
    assert found == pytest.approx(nats[0] - nats[1], abs=1e-3)
    # A continuation too long is scored as a rolling text is.
    ((found, _),) = model.loglikelihood(asked(("", begin)))
    assert found == pytest.approx(rolled(evaluated, begin), abs=1e-2)
    assert model.loglikelihood_rolling(asked((begin,))) == pytest.approx([found], abs=1e-2)


def test_answers_do_not_depend_on_their_neighbours(evaluated: EvaluatedModel):
    model = harness_model(evaluated)
    requests = asked(*((begin, f" {end}") for begin, ends, _ in CHOICES for end in ends))
    alone = [model.loglikelihood([request])[0] for request in requests]
    for one, other in zip(model.loglikelihood(requests), alone, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_telling_ends_at_the_first_stop_and_goes_past_the_context(evaluated: EvaluatedModel):
    model = harness_model(evaluated)
    settings = {"max_gen_toks": 300, "do_sample": True, "temperature": 1.5}
    whole, again = (model.generate_until(asked(("The cat", settings)))[0] for _ in range(2))
    assert whole == again
    (first, second) = whole.split(".")[0], whole.split("e")[0]
    (told,) = model.generate_until(asked(("The cat", {**settings, "until": [".", "e", ""]})))
    assert told == min(first, second, key=len)
    assert model.generate_until(asked(("The cat", {"max_gen_toks": 0, "until": "."}))) == [""]
    assert model.generate_until(asked((STORIES[1], {"max_gen_toks": 150}))) != [""]
    lines = [model.generate_until(asked(*[("The cat", settings)] * 3))]
    assert all(one != other for line in lines for one, other in pairwise(line))


def test_lost_bytes_are_paid_for(evaluated: EvaluatedModel):
    class Deaf(type(evaluated.tokenizer)):  # type: ignore[misc]
        """Hears no x."""

        def encode(self, text: str) -> list[int]:
            return super().encode(text.replace("x", ""))

    deaf = EvaluatedModel(
        "deaf", evaluated.backend, Deaf(evaluated.tokenizer.backend), evaluated.context, 1
    )
    (with_x, without) = harness_model(deaf).loglikelihood(
        asked(("The fox", " axx"), ("The fo", " a"))
    )
    assert with_x[0] == pytest.approx(without[0] - 16 * math.log(2), abs=1e-3)
    assert not with_x[1]
    (rolling, plain) = harness_model(deaf).loglikelihood_rolling(asked(("a fox",), ("a fo",)))
    assert rolling == pytest.approx(plain - 8 * math.log(2), abs=1e-3)


def test_a_broken_model_and_a_missing_harness_are_said(
    evaluated: EvaluatedModel, monkeypatch: pytest.MonkeyPatch
):
    class Broken(LockstepBackend):
        context = evaluated.context

        def stream(self, texts: int = 1) -> Broken:
            return self

        def feed(self, ids: Any) -> Any:
            return np.full((len(ids), evaluated.tokenizer.vocab_size), np.nan, np.float32)

    broken = EvaluatedModel("broken", Broken(), evaluated.tokenizer, evaluated.context, 1)  # type: ignore[arg-type]
    for ask in ("loglikelihood", "generate_until"):
        with pytest.raises(TinybuddyError, match="not finite"):
            getattr(harness_model(broken), ask)(asked(("a", "b" if ask[0] == "l" else {})))
    monkeypatch.setitem(__import__("sys").modules, "lm_eval", None)
    with pytest.raises(TinybuddyError, match=r"pip install 'tinybuddy\[harness\]'"):
        harness_model(evaluated)
