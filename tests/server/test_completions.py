"""OpenAI's API: what it says is what the model says elsewhere."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.conftest import DEFAULTS, MODEL, Client, running
from tinybuddy.exporters.session import export
from tinybuddy.generation.model import Model, load
from tinybuddy.server import limits
from tinybuddy.server.models import Models

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def model() -> Model:
    return load(MODEL)


def _text(model: Model, prompt: str, **settings: Any) -> str:
    return model.generate(prompt, **settings).removeprefix(prompt)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**63 - 32),
    prompt=st.text(max_size=60),
    temperature=st.floats(0, 3),
    top_k=st.integers(0, 50),
    top_p=st.floats(0, 1),
    min_p=st.floats(0, 1),
    repetition_penalty=st.floats(0.5, 2),
    max_tokens=st.integers(0, 200),
)
@pytest.mark.filterwarnings("ignore::tinybuddy.errors.TinybuddyWarning")
def test_a_seed_gives_the_text_that_the_library_gives(
    server: Client, model: Model, seed: int, prompt: str, max_tokens: int, **sample: Any
):
    asked = {"seed": seed, "prompt": prompt, "max_tokens": max_tokens} | sample
    (choice,) = server.complete(**asked).json["choices"]
    assert choice["text"] == _text(model, prompt, seed=seed, max_new_tokens=max_tokens, **sample)
    streamed = server.complete(**asked, stream=True).events
    assert "".join(c["text"] for e in streamed for c in e["choices"]) == choice["text"]


def test_what_is_beside_a_text_does_not_change_it(server: Client, model: Model):
    """Fifty clients at once, more than there are places for side by side in a thread."""
    wanted = {seed: _text(model, PROMPT, seed=seed) for seed in range(50)}
    with ThreadPoolExecutor(len(wanted)) as clients:
        replies = clients.map(
            lambda seed: server.complete(prompt=PROMPT, seed=seed, stream=seed % 2 == 0), wanted
        )
    for (seed, text), reply in zip(wanted.items(), replies, strict=True):
        parts = reply.json["choices"] if seed % 2 else [e["choices"][0] for e in reply.events]
        assert "".join(part["text"] for part in parts) == text


def test_each_prompt_and_each_choice_is_as_it_is_alone(server: Client, model: Model):
    prompts = [PROMPT, "", "One day"]
    reply = server.complete(prompt=prompts, n=2, seed=7).json
    assert [c["index"] for c in reply["choices"]] == [0, 1, 2, 3, 4, 5]
    assert [c["seed"] for c in reply["choices"]] == [7, 8, 7, 8, 7, 8]
    assert [c["text"] for c in reply["choices"]] == [
        _text(model, prompt, seed=seed) for prompt in prompts for seed in (7, 8)
    ]
    events = server.complete(prompt=prompts, n=2, seed=7, stream=True).events
    for choice in reply["choices"]:
        own = [e["choices"][0] for e in events if e["choices"][0]["index"] == choice["index"]]
        assert "".join(part["text"] for part in own) == choice["text"]
        assert [part["finish_reason"] for part in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1]["finish_reason"] == choice["finish_reason"]


def test_ids_stand_for_the_text_that_they_are_of(server: Client, model: Model):
    ids = model.tokenizer.encode(PROMPT)
    text = server.complete(prompt=PROMPT, seed=1).json["choices"][0]["text"]
    for prompt in (ids, [ids], [model.tokenizer.bos, *ids]):
        reply = server.complete(prompt=prompt, seed=1, echo=True).json
        assert reply["choices"][0]["text"] == PROMPT + text
        assert reply["usage"]["prompt_tokens"] == len(ids) + 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stop", ["play", "e wa", [". ", "!"], ["never there"], [], ""])
def test_it_ends_before_a_stop_string(
    server: Client, model: Model, stop: str | list[str], stream: bool
):
    reply = server.complete(prompt=PROMPT, seed=3, stop=stop, stream=stream)
    choices = [c for e in reply.events for c in e["choices"]] if stream else reply.json["choices"]
    text = "".join(choice["text"] for choice in choices)
    assert text == _text(model, PROMPT, seed=3, stop=stop)
    assert choices[-1]["finish_reason"] == "stop"


def test_tokens_are_counted(server: Client, model: Model):
    ids = [model.tokenizer.bos, *model.tokenizer.encode(PROMPT)]
    reply = server.complete(prompt=PROMPT, max_tokens=9, seed=0, n=3).json
    assert [choice["finish_reason"] for choice in reply["choices"]] == ["length"] * 3
    wanted = {
        "prompt_tokens": len(ids),
        "completion_tokens": 27,
        "total_tokens": len(ids) + 27,
    }
    assert reply["usage"] == wanted
    options = {"include_usage": True}
    *events, last = server.complete(
        prompt=PROMPT, max_tokens=9, seed=0, n=3, stream=True, stream_options=options
    ).events
    assert all(event["usage"] is None for event in events)
    assert (last["choices"], last["usage"]) == ([], wanted)
    assert "usage" not in server.complete(max_tokens=9, stream=True).events[0]


def test_tokens_of_a_stop_string_are_counted_and_those_behind_it_not(server: Client, model: Model):
    whole = _text(model, PROMPT, seed=3)
    stop = whole[20:25]
    reply = server.complete(prompt=PROMPT, seed=3, stop=stop, logprobs=0).json
    tokens = reply["choices"][0]["logprobs"]["tokens"]
    assert reply["usage"]["completion_tokens"] == len(tokens)
    assert stop in "".join(tokens)
    assert stop not in "".join(tokens[:-1])


@pytest.mark.parametrize("prompt", [PROMPT, "", "One day, a girl and her dog went out. " * 30])
def test_log_probabilities_are_those_of_the_model(server: Client, model: Model, prompt: str):
    """Their sum over a short text is its score; past the context they go on without a break."""
    reply = server.complete(prompt=prompt, seed=2, echo=True, logprobs=3, max_tokens=60).json
    choice = reply["choices"][0]
    found = choice["logprobs"]
    assert "".join(found["tokens"]) == choice["text"]
    offsets = np.cumsum([0, *map(len, found["tokens"])])[:-1]
    assert found["text_offset"] == offsets.tolist()
    for token, logprob, top in zip(
        found["tokens"], found["token_logprobs"], found["top_logprobs"], strict=True
    ):
        assert top[token] == logprob <= max(top.values()) <= 0
        assert 3 <= len(top) <= 4
        assert sum(np.exp(value) for value in top.values()) <= 1 + 1e-6
    context = model.config.max_position_embeddings
    ids = [model.tokenizer.bos, *model.tokenizer.encode(choice["text"])]
    if len(ids) <= context and len(ids) == len(found["tokens"]) + 1:
        table = np.array([ids])
        scores = model.backend.log_likelihoods(table[:, :-1], table[:, 1:])[0]
        np.testing.assert_allclose(found["token_logprobs"], scores, atol=1e-4)
    else:
        assert len(prompt) > 100
    streamed = server.complete(
        prompt=prompt, seed=2, echo=True, logprobs=3, max_tokens=60, stream=True
    ).events
    parts = [event["choices"][0]["logprobs"] for event in streamed]
    for key, values in found.items():
        assert [value for part in parts if part for value in part[key]] == values


def test_the_most_probable_token_is_what_greedy_decoding_takes(server: Client):
    reply = server.complete(prompt=PROMPT, temperature=0, logprobs=1, max_tokens=200).json
    found = reply["choices"][0]["logprobs"]
    assert [len(top) for top in found["top_logprobs"]] == [1] * len(found["tokens"])


def test_an_explicit_beginning_has_no_log_probability(server: Client, model: Model):
    ids = [model.tokenizer.bos, *model.tokenizer.encode(PROMPT)]
    reply = server.complete(prompt=ids, echo=True, logprobs=1, max_tokens=0).json
    found = reply["choices"][0]["logprobs"]
    assert found["token_logprobs"][0] is found["top_logprobs"][0] is None
    assert len(found["tokens"]) == len(ids)
    assert None not in found["token_logprobs"][1:]


def test_too_many_log_probabilities_come_only_as_a_stream(
    server: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "WHOLE_LOGPROBS", 1_000)
    asked = {"prompt": PROMPT, "n": 8, "logprobs": 5, "max_tokens": 30, "seed": 0}
    reply = server.complete(**asked)
    assert (reply.status, reply.json["error"]["param"]) == (400, "logprobs")
    events = server.complete(**asked, stream=True).events
    assert sum(len(e["choices"][0]["logprobs"]["tokens"]) for e in events) == 8 * 30


def test_without_a_seed_one_is_drawn_and_said(server: Client):
    first, second = (server.complete(prompt=PROMPT).json["choices"][0] for _ in range(2))
    assert first["seed"] != second["seed"]
    assert server.complete(prompt=PROMPT, seed=first["seed"]).json["choices"][0] == first


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_goes_on_with_the_last_message_of_a_user(server: Client, model: Model, stream: bool):
    messages = [
        {"role": "system", "content": "You tell stories."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": None},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Once upon"}, {"type": "text", "text": " a time"}],
        },
        {"role": "assistant", "content": ","},
    ]
    body = {"messages": messages, "seed": 4, "stream": stream, "max_completion_tokens": 40}
    reply = server.post("/v1/chat/completions", body)
    text = _text(model, PROMPT, seed=4, max_new_tokens=40)
    if not stream:
        (choice,) = reply.json["choices"]
        assert choice["message"] == {"role": "assistant", "content": text}
        assert choice["finish_reason"] == "length"
        return
    deltas = [event["choices"][0]["delta"] for event in reply.events]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == text


def test_a_chat_without_a_user_is_a_new_story(server: Client, model: Model):
    body = {"messages": [{"role": "system", "content": "Hi"}], "seed": 4, "max_tokens": 30}
    reply = server.post("/v1/chat/completions", body).json
    assert reply["choices"][0]["message"]["content"] == _text(model, "", seed=4, max_new_tokens=30)


def test_log_probabilities_of_a_chat(server: Client):
    reply = server.chat(PROMPT, logprobs=True, top_logprobs=2, max_tokens=12, seed=0).json
    tokens = reply["choices"][0]["logprobs"]["content"]
    text = reply["choices"][0]["message"]["content"]
    assert "".join(token["token"] for token in tokens) == text
    assert bytes(b for token in tokens for b in token["bytes"]).decode("utf-8") == text
    assert all(len(token["top_logprobs"]) == 2 for token in tokens)
    plain = server.complete(prompt=PROMPT, logprobs=0, max_tokens=12, seed=0).json
    assert [token["logprob"] for token in tokens] == plain["choices"][0]["logprobs"][
        "token_logprobs"
    ]


def test_half_a_character_is_never_sent(server: Client):
    """At temperature 50 nearly every token is a byte, and few are valid UTF-8."""
    asked = {"prompt": "😀", "temperature": 50, "top_k": 0, "max_tokens": 300, "seed": 1}
    whole = server.complete(**asked).json["choices"][0]["text"]
    parts = server.complete(**asked, stream=True).events
    assert "".join(part["choices"][0]["text"] for part in parts) == whole


def test_models_are_listed_and_looked_up(server: Client):
    (listed,) = server.get("/v1/models").json["data"]
    assert (listed["id"], listed["object"], listed["owned_by"]) == (MODEL, "model", "tinybuddy")
    assert server.get(f"/v1/models/{MODEL}").json == listed
    for reply in (server.get("/v1/models/gpt-4"), server.complete(model="gpt-4")):
        assert reply.status == 404
        assert reply.json["error"]["code"] == "model_not_found"
        assert MODEL in reply.json["error"]["message"]


def test_models_are_called_what_their_places_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    export("compact", MODEL, tmp_path / "story.buddy")
    export("hub", MODEL, tmp_path / "v1.5")
    monkeypatch.chdir(tmp_path / "v1.5")
    for place in (".", "../v1.5/", str(tmp_path / "v1.5"), tmp_path / "story.buddy", MODEL):
        assert Models([str(place)], 1).names == [load(place).name]
    models = Models([".", "../story.buddy", "tinybuddy-80k-int4"], DEFAULTS.threads)
    assert models.names == ["v1.5", "story", "tinybuddy-80k-int4"]
    with running(models=models) as server:
        for name in models.names:
            assert server.complete(model=name, max_tokens=1).json["model"] == name


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"prompt": ["a"] * 17}, "at most 16 items"),
        ({"prompt": "a" * 32_769}, "at most 32768 characters"),
        ({"prompt": 5}, "a valid string. Or: Input should be a valid array."),
        ({"stop": ["a"] * 17}, "at most 16 items"),
        ({"stop": ["a" * 257]}, "at most 256 characters"),
    ],
)
def test_a_mistake_is_said_of_the_type_that_is_meant(server: Client, body: Any, words: str):
    assert words in server.complete(**body).json["error"]["message"]


def test_an_answer_that_is_no_story_is_refused(server: Client):
    for asked in ({"response_format": {"type": "json_object"}}, {"functions": [{"name": "a"}]}):
        assert server.chat("Hi", **asked).json["error"]["param"] in asked
    assert server.chat("Hi", response_format={"type": "text"}, max_tokens=1).status == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": 5}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [99_999]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": "a" * 32_769}, "prompt"),
        ({"prompt": ["a"] * 17}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"n": "2"}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 4_097}, "max_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": "a" * 257}, "stop"),
        ({"logprobs": 21}, "logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {"5": 100}}, "logit_bias"),
        ({"best_of": 3}, "best_of"),
        ({"suffix": "the end"}, "suffix"),
        ([], None),
        (None, None),
    ],
)
def test_what_makes_no_sense_is_said_of_its_parameter(server: Client, body: Any, param: str | None):
    reply = server.post("/v1/completions", body)
    assert reply.status == 400, reply.body
    error = reply.json["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["message"].startswith(param or "")


def test_what_clients_send_beside_is_ignored(server: Client):
    neutral = {
        "user": "me",
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "logit_bias": {},
        "best_of": 1,
        "suffix": None,
        "stop": None,
        "n": None,
        "max_tokens": 1.0,
        "stream_options": None,
        "metadata": {"a": 1},
    }
    assert server.complete(prompt=PROMPT, **neutral).status == 200
    assert server.chat(PROMPT, max_tokens=1, tools=[], tool_choice="auto").status == 200


def test_a_long_prompt_does_not_hold_up_the_others(server: Client, model: Model):
    """Beside 28 texts that begin with 31,000 characters a short one is there first."""
    long, ended = "One day, a dog sat in the sun. " * 1_000, threading.Event()

    def ask() -> None:
        reply = server.complete(prompt=[long] * 7, n=4, max_tokens=4_096, temperature=3, top_k=0)
        assert reply.status == 200
        ended.set()

    with ThreadPoolExecutor(1) as clients:
        asked = clients.submit(ask)
        reply = server.complete(prompt=PROMPT, seed=5, max_tokens=20)
        early = not ended.is_set()
        asked.result()
    assert reply.json["choices"][0]["text"] == _text(model, PROMPT, seed=5, max_new_tokens=20)
    assert early


def test_events_are_json_of_one_line(server: Client):
    body = server.chat("Hello\nthere", stream=True, seed=0, max_tokens=100).body
    for event in body.decode("utf-8").strip().split("\n\n")[:-1]:
        assert json.loads(event.removeprefix("data: "))["object"] == "chat.completion.chunk"
