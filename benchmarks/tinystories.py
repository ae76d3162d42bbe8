"""The samples of TinyStories that our figures are of, read from the hub: v1, v2 and v1+v2.

    python benchmarks/tinystories.py OUT [--megabytes 3000]

`results/tinystories.sha256.gz` has the SHA-256 of every story of `v1/train`, `v1/validation`,
`v2/train` and `v2/validation`, in order. The files of the hub are read from their beginning, a
megabyte at a time, until all stories of a sample are found; what is found is written to OUT in that
order, what is missing is counted, and then the exit code is 1. The first 10 MB of v1 hold all of
its sample; that of v2 comes from several places of a file of 2.2 GB.

    python benchmarks/tinystories.py --list FOLDER    # makes that list, of a folder that has them
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tinybuddy.corpus import hub
from tinybuddy.corpus.cache import cache_folder
from tinybuddy.corpus.files import parse_blocks, read_file
from tinybuddy.errors import TinybuddyError
from tinybuddy.terminal import open_progress

LIST = Path(__file__).parents[1] / "results" / "tinystories.sha256.gz"
SAMPLES = ("v1/train", "v1/validation", "v2/train", "v2/validation")
FILES = {  # of the hub, and the samples in each
    "TinyStories-train.txt": SAMPLES[:2],
    "TinyStoriesV2-GPT4-train.txt": SAMPLES[2:3],
    "TinyStoriesV2-GPT4-valid.txt": SAMPLES[3:],
}


def sha256(story: str) -> str:
    """Of its UTF-8 bytes."""
    return hashlib.sha256(story.encode("utf-8")).hexdigest()


def write_list(path: Path, samples: dict[str, Sequence[str]]) -> None:
    """Write a line a story: its sample and its hash."""
    lines = (f"{name} {sha256(story)}\n" for name, stories in samples.items() for story in stories)
    path.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))


def read_list(path: Path) -> dict[str, list[str]]:
    """Hashes of each sample, in order."""
    wanted: dict[str, list[str]] = {name: [] for name in SAMPLES}
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        name, digest = line.split()
        wanted[name].append(digest)
    return wanted


def forms(story: str) -> Iterator[str]:
    """A story as the hub's several copies have it: as it is, mended, with single spaces."""
    import ftfy

    for text in dict.fromkeys((story, ftfy.fix_encoding(story))):
        yield text.strip()
        yield re.sub(r"[^\S\n]+", " ", text).strip()


def find(stories: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """Read stories until all that are wanted are found; return them by their hash."""
    missing, found = {*wanted}, dict[str, str]()
    for story in stories:
        for form in forms(story):
            if (digest := sha256(form)) in missing:
                missing.remove(digest)
                found[digest] = form
        if not missing:
            break
    return found


def write_sample(path: Path, digests: Sequence[str], found: dict[str, str]) -> int:
    """Write the stories that were found, in order; return how many were not."""
    stories = [found[digest] for digest in digests if digest in found]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": stories}), path)
    return len(digests) - len(stories)


def link_both(out: Path) -> None:
    """`v1+v2`: both training parts, and the validation stories of v1."""
    both = out / "v1+v2"
    both.mkdir(exist_ok=True)
    for name, target in (
        ("train.v1", "v1/train"),
        ("train.v2", "v2/train"),
        ("validation", "v1/validation"),
    ):
        place = both / f"{name}.parquet"
        place.unlink(missing_ok=True)
        place.write_bytes((out / f"{target}.parquet").read_bytes())


def main() -> None:
    """Fetch the samples, or make their list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--megabytes", type=int, default=3000, help="of a file at most")
    parser.add_argument("--list", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.list:
        write_list(LIST, {n: list(read_file(options.list / f"{n}.parquet")) for n in SAMPLES})
        return
    if not options.out:
        parser.error("say where to write them")
    try:
        missing = fetch(options.out, options.megabytes)
    except TinybuddyError as error:
        sys.exit(str(error))
    if missing:
        sys.exit(f"{missing:,} stories were not found: the hub's files have changed.")


def fetch(out: Path, megabytes: int) -> int:
    """Write all samples; return how many stories were not found."""
    wanted, missing = read_list(LIST), 0
    with open_progress() as hooks:
        for path, samples in FILES.items():
            blocks = hub.chunks(
                hub.STORIES,
                path,
                cache=cache_folder(),
                on_progress=lambda done, total, path=path: hooks.on_progress(path, done, total),
            )
            stories = parse_blocks(islice(blocks, megabytes), path)
            found = find(stories, (digest for name in samples for digest in wanted[name]))
            for name in samples:
                lacking = write_sample(out / f"{name}.parquet", wanted[name], found)
                print(f"{name}: {len(wanted[name]) - lacking:,} of {len(wanted[name]):,} stories")
                missing += lacking
    link_both(out)
    return missing


if __name__ == "__main__":
    main()
