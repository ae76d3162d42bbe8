"""What a reference to a model may be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.references import (
    RELEASED,
    Kind,
    find,
    find_directory,
    is_reference,
    open_model,
    open_shape,
    released_names,
)
from tinybuddy.training.run import Run


def test_a_run_a_directory_and_a_released_name(small_run: Run):
    latest = Path(small_run.result["model"])
    assert latest == small_run.path / "checkpoints" / "000012"
    assert find(small_run.path) == find(latest) == (Kind.HUB, latest)
    assert find_directory(small_run.path) == find_directory(latest) == latest
    for name in released_names():
        assert open_model(name).config == open_shape(name)
        assert open_model(name).path == find(name).path
    assert find("tinybuddy-80k") == (Kind.HUB, RELEASED / "tinybuddy-80k")
    assert find_directory("tinybuddy-80k") == RELEASED / "tinybuddy-80k"


def test_a_released_file_cannot_be_trained_on():
    path = RELEASED / "tinybuddy-80k-int4.buddy"
    assert find("tinybuddy-80k-int4") == (Kind.COMPACT, path)
    with pytest.raises(TinybuddyError, match="which cannot be trained on"):
        find_directory("tinybuddy-80k-int4")


def test_a_directory_of_others_is_told_by_its_config(small_run: Run, tmp_path: Path):
    folder = Path(shutil.copytree(small_run.result["model"], tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    del config["tokenizer_sha256"]
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    assert find(folder) == (Kind.TRANSFORMERS, folder)
    (folder / "config.json").write_text("{", "utf-8")
    assert find(folder) == (Kind.HUB, folder)  # whose error says what is wrong
    with pytest.raises(TinybuddyError, match="is not valid JSON"):
        open_model(folder)


def test_a_bin_is_of_llama2c_there_or_not(tmp_path: Path):
    path = tmp_path / "model.bin"
    assert find(path) == (Kind.LLAMA2C, path)
    with pytest.raises(TinybuddyError, match="Cannot read"):
        open_model(path)
    with pytest.raises(TinybuddyError, match="There is no model"):
        find_directory(path)
    path.write_bytes(b"")
    with pytest.raises(TinybuddyError, match="which cannot be trained on"):
        find_directory(path)


def test_nothing_is_one_sentence(tmp_path: Path):
    empty = tmp_path / "empty"  # with no run of another test beside it, whose name is near
    empty.mkdir()
    for reference in ("tinybuddy-80", empty, "no/such/folder"):
        for search in (find, find_directory):
            with pytest.raises(TinybuddyError, match=r"There is no model .*tinybuddy-80k"):
                search(reference)


def test_what_is_meant_as_a_model(tmp_path: Path):
    meant = [str(tmp_path), "model.bin", *released_names()]
    assert all(map(is_reference, meant))
    assert not any(map(is_reference, ("card", "recipe.toml", "config.json")))
