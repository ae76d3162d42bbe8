"""The samples of published figures can be made again from what the hub serves."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.tinystories import LIST, SAMPLES, find, read_list, sha256, write_list, write_sample

from tinybuddy.corpus import hub
from tinybuddy.corpus.files import find_splits, parse_blocks, read_file
from tinybuddy.corpus.tales import generate_tale

from .range_server import RangeServer

pytestmark = pytest.mark.usefixtures("surroundings")

STORIES = [generate_tale(n).text for n in range(300)] + ["He said “no” and  ran home."]


def test_the_list_has_every_story_of_the_samples():
    counts = {name: len(digests) for name, digests in read_list(LIST).items()}
    assert counts == dict(zip(SAMPLES, (6_475, 759, 12_915, 1_500), strict=True))


def test_they_are_found_in_what_the_hub_serves_and_written_in_order(cache: Path, tmp_path: Path):
    wanted = [*STORIES[40:50], *STORIES[5:15], STORIES[-1].replace("  ", " ")]
    write_list(tmp_path / "list.gz", {"v1/train": wanted})
    digests = read_list(tmp_path / "list.gz")["v1/train"]
    served = "\n<|endoftext|>\n".join(f"  {story}\n" for story in STORIES)
    path = "TinyStories-train.txt"
    with RangeServer(served.encode("utf-8")) as server:
        blocks = hub.chunks(hub.STORIES, path, cache=cache, endpoint=server.url)
        found = find(parse_blocks(blocks, path), digests)
    assert write_sample(tmp_path / "v1" / "train.parquet", digests, found) == 0
    assert list(read_file(tmp_path / "v1" / "train.parquet")) == wanted
    assert write_sample(tmp_path / "v1" / "x.parquet", [*digests, sha256("none")], found) == 1


def test_reading_ends_once_all_are_found():
    def stories():
        yield from STORIES[:20]
        pytest.fail("read on")

    assert len(find(stories(), map(sha256, STORIES[:20]))) == 20


def test_the_sample_here_is_that_of_the_list(tinystories: Path):
    wanted = read_list(LIST)
    for split, (path,) in find_splits(tinystories).items():
        assert [sha256(story) for story in read_file(path)] == wanted[f"v1/{split}"]
