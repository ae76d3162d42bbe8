"""Real clients of OpenAI's API reach it by its address alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import HANG
from tests.server.conftest import MODEL, Client
from tinybuddy.generation.model import load

openai = pytest.importorskip("openai", reason="needs the client: pip install openai")

PROMPT = "Once upon a time"
NODE = Path(__file__).parent / "node"


@pytest.fixture
def client(server: Client):
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=HANG
    ) as found:
        yield found


@pytest.fixture(scope="module")
def story() -> str:
    return load(MODEL).generate(PROMPT, seed=6, temperature=0.5)


def test_a_completion(client, story: str):
    done = client.completions.create(
        model=MODEL, prompt=PROMPT, seed=6, temperature=0.5, max_tokens=512, echo=True
    )
    assert done.choices[0].text == story
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens


def test_a_completion_as_a_stream(client, story: str):
    parts = list(
        client.completions.create(
            model=MODEL,
            prompt=PROMPT,
            seed=6,
            temperature=0.5,
            max_tokens=512,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(choice.text for part in parts for choice in part.choices)
    assert PROMPT + text == story
    assert parts[-1].usage.completion_tokens > 10


def test_log_probabilities_and_parameters_of_ours(client):
    done = client.completions.create(
        model=MODEL,
        prompt=PROMPT,
        logprobs=2,
        max_tokens=5,
        extra_body={"top_k": 1, "min_p": 0.1, "repetition_penalty": 1.2},
    )
    logprobs = done.choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.top_logprobs)


def test_a_chat(client, story: str):
    done = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": PROMPT}],
        seed=6,
        temperature=0.5,
        logprobs=True,
        top_logprobs=1,
    )
    assert PROMPT + done.choices[0].message.content == story
    assert done.choices[0].logprobs.content[0].top_logprobs[0].logprob <= 0


def test_a_chat_as_a_stream(client, story: str):
    with client.chat.completions.stream(
        model=MODEL, messages=[{"role": "user", "content": PROMPT}], seed=6, temperature=0.5
    ) as stream:
        final = stream.until_done().get_final_completion()
    assert PROMPT + final.choices[0].message.content == story


def test_models(client):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_its_errors(client):
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="gpt-4", prompt="a")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.completions.create(model=MODEL, prompt="a", temperature=-1)
    assert bad.value.param == "temperature"


@pytest.mark.slow
def test_the_client_of_npm(server: Client, story: str):
    node = shutil.which("node")
    if not node or not (NODE / "node_modules").is_dir():
        pytest.skip(f"needs Node.js and openai: npm ci --prefix {NODE}")
    done = subprocess.run(
        [node, NODE / "openai.mjs", f"{server.url}/v1", MODEL, PROMPT],
        capture_output=True,
        encoding="utf-8",
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [PROMPT + text for text in found["texts"]] == [story] * 4
    assert (found["code"], found["models"]) == ("model_not_found", [MODEL])


@pytest.mark.slow
def test_langchain(server: Client, story: str):
    langchain = pytest.importorskip("langchain_openai", reason="needs langchain-openai")
    chat = langchain.ChatOpenAI(
        base_url=f"{server.url}/v1", api_key="none", model=MODEL, seed=6, temperature=0.5
    )
    assert PROMPT + chat.invoke(PROMPT).content == story
    assert PROMPT + "".join(part.content for part in chat.stream(PROMPT)) == story


@pytest.mark.slow
def test_llm(server: Client, story: str, tmp_path: Path):
    pytest.importorskip("llm", reason="needs llm")
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: buddy\n  model_name: {MODEL}\n  api_base: {server.url}/v1\n", "utf-8"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "llm",
            "-m",
            "buddy",
            "-o",
            "seed",
            "6",
            "-o",
            "temperature",
            "0.5",
            PROMPT,
        ],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"},
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    assert PROMPT + done.stdout.removesuffix("\n") == story
