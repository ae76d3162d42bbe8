"""The model card: written from what was measured, with the command that measures each figure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from tinybuddy.config import ModelConfig, Recipe, TrainConfig
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.recipes import load_recipe, recipe_names
from tinybuddy.tokenizer import Tokenizer

HEADER = """---
library_name: transformers
pipeline_tag: text-generation
{known}---
"""

KNOWN = """license: mit
language: en
tags: [tinystories, llama, tiny]
"""

USAGE = """## Use it

```python
from transformers import pipeline

generate = pipeline("text-generation", model=".")  # this directory
print(generate("Once upon a time", max_new_tokens=100)[0]["generated_text"])
```

With tinybuddy, which trained it:

```sh
tinybuddy generate "Once upon a time" --model {place}
```

`model.py`, `output/model.pt` and `data/tokenizer.json`, which `tinybuddy export hub` writes beside
the weights, serve without either library but PyTorch and tokenizers:

```python
import json
import torch
from tokenizers import Tokenizer
from model import create_model

with open("config.json") as file:
    model = create_model(json.load(file))
model.load_state_dict(torch.load("output/model.pt", map_location="cpu"))
tokenizer = Tokenizer.from_file("data/tokenizer.json")
ids = torch.tensor([[1] + tokenizer.encode("Once upon a time,").ids])  # 1 is <bos>
generated = model.generate(ids, max_new_tokens=60, temperature=0.8, top_k=40)
print(tokenizer.decode(generated[0].tolist(), skip_special_tokens=True))
```
"""

CITATION = """## Licence and sources

The weights are under MIT. TinyStories, by Ronen Eldan and Yuanzhi Li (2023, arXiv 2305.07759), is
under CDLA-Sharing-1.0; none of its text is here.
"""


OWN_TEXT = """## Licence

It was trained on a text of its owner's: choose a licence before you publish it.
"""


def model_card(files: ModelFiles, training: Mapping[str, Any]) -> str:
    """Return the text of ``README.md`` for a model and what `record.training_of` knows of it."""
    recipe = training.get("recipe", {})
    place = training.get("name", ".")  # how commands name it: a released name, or this directory
    changed = "" if not recipe or _is_published(recipe) else ", changed"
    title = training.get("name") or recipe.get("name", "A model") + changed
    source = str(training.get("run", {}).get("data", {}).get("source", ""))
    stories = "tinystories" in source.casefold()
    known = KNOWN if stories or source.startswith("tales ") else ""
    known += "datasets: [roneneldan/TinyStories]\n" if stories else ""
    parts = [HEADER.format(known=known), f"# {title}\n", _shape(files, place)]
    if source:
        parts.append(_training(training))
    if measured := training.get("measured"):
        parts.append(_measured(measured))
    return "\n".join([*parts, USAGE.format(place=place), CITATION if known else OWN_TEXT])


def _is_published(recipe: Mapping[str, Any]) -> bool:
    """Whether a run's recipe is the published one of its name, but for what is free to change."""
    if recipe["name"] not in recipe_names():
        return False
    model = ModelConfig.from_mapping(recipe["model"])
    train = TrainConfig.from_mapping(recipe["train"])  # an older one may lack some settings
    used = Recipe(recipe["name"], model, train)
    return used.fingerprint() == load_recipe(recipe["name"]).fingerprint()


def _shape(files: ModelFiles, place: str) -> str:
    config = files.config
    rows = "\n".join(f"| {k.replace('_', '-')} | {v:,} |" for k, v in config.breakdown().items())
    size = 4 * config.parameters
    return f"""A Llama of **{config.parameters:,} parameters** ({size:,} bytes as float32) that
writes very short stories in English.

| part | parameters |
|---|---|
{rows}
| **total** | **{config.parameters:,}** |

`tinybuddy info {place}` prints this table. The output head is tied to the embedding and counts
once.
Layers: {config.num_hidden_layers}. Hidden size: {config.hidden_size}. Feed-forward size:
{config.intermediate_size}. Query heads: {config.num_attention_heads}. Key-value heads:
{config.num_key_value_heads}. Context: {config.max_position_embeddings} tokens. Vocabulary:
{config.vocab_size:,} tokens (`<pad>` 0, `<bos>` 1, `<eos>` 2{_alphabet(files.tokenizer)}).
"""


def _alphabet(tokenizer: Tokenizer) -> str:
    if tokenizer.alphabet == "bytes":
        return "; in byte-level BPE byte b is 3 + b"
    shown = "".join(c for c in tokenizer.characters if c.isprintable() and c not in " `")
    rest = "no digits, " if not any(c.isdigit() for c in shown) else ""
    return (
        f"). Of characters it knows\nspaces, line breaks and `{shown}`, and skips all others "
        f"({rest}no other alphabets"
    )


def _training(training: Mapping[str, Any]) -> str:
    recipe, run, result = training["recipe"], training["run"], training["result"]
    data, train, steps = run["data"], recipe["train"], training["steps"]
    context = recipe["model"]["max_position_embeddings"]
    stopped = f" (stopped before its {train['steps']:,})" if steps < train["steps"] else ""
    base = f" It went on from the weights of {train['from_model']}." if train["from_model"] else ""
    optimizer = "AdamW with a peak learning"
    if train.get("optimizer") == "muon":
        rate = train["matrix_learning_rate"]
        optimizer = f"Muon with a peak learning\nrate of {rate} on the matrices, {optimizer}"
    text = f"""## How it was trained

Recipe `{recipe["name"]}` of tinybuddy {run["versions"]["tinybuddy"]}, seed {run["seed"]}:
{steps:,} steps{stopped} of {train["batch_size"]} x {context} tokens, {optimizer}
rate of {train["learning_rate"]}, on {data["stories"]:,} stories ({data["bytes"]:,} bytes,
{data["tokens"]:,} tokens) of {data["source"]}; threads: {run["threads"]}; {run["processor"]}.{base}
SHA-256 of the stories: `{data["sha256"]}`. The rest is in `training.json`.
"""
    if result:
        text += f"""
It scores **{result["bits_per_byte"]:.3f} bits per byte** on the {result["validation_stories"]:,}
validation stories of its data, which it has not seen, each alone, from `<bos>` to `<eos>`.
"""
        if _is_published(recipe):
            again = f"tinybuddy train --recipe {recipe['name']} --data {shlex.quote(train['data'])}"
            text += f"""To do it again:

```sh
{again} --seed {run["seed"]} --out again
```
"""
    return text


def _measured(measured: list[Mapping[str, Any]]) -> str:
    """What works and what is broken: findings under the command that printed them."""
    parts = ["## What works and what is broken\n"]
    for part in measured:
        lines = "\n".join(f"- {line}" for line in part["lines"])
        parts.append(f"`{part['command']}` says:\n\n{lines}\n")
    return "\n".join(parts)
