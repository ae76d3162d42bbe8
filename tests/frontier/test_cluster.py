"""A real Ray cluster of two nodes on this machine, whose parts are killed while it works."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.conftest import HANG
from tests.frontier.test_frontier_cli import COMMAND, rows_of
from tinybuddy.cli import main
from tinybuddy.errors import TinybuddyError
from tinybuddy.frontier.cluster import RayPool
from tinybuddy.frontier.study import Study

pytestmark = pytest.mark.slow
RAY = Path(sys.executable).parent / "ray"
FLAGS = ("--num-cpus=1", "--disable-usage-stats", "--object-store-memory=100000000")


class Cluster(NamedTuple):
    """A head and a second node, each of one core."""

    address: str
    head: list[int]  # process numbers
    node: list[int]

    def kill(self, processes: list[int]) -> None:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, 9)


def started(port: str, *arguments: str) -> list[int]:
    """Begin a node of the cluster whose head listens at a port, and return its processes."""
    before = {process.pid for process in psutil.process_iter()}
    environment = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
    subprocess.run(
        [RAY, "start", *arguments, *FLAGS],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=HANG,
        env=environment,
    )
    new = (process for process in psutil.process_iter(["cmdline"]) if process.pid not in before)
    # Others may begin meanwhile: of Ray's, those that name the port are of this cluster.
    return [process.pid for process in new if port in " ".join(process.info["cmdline"] or [])]


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if sys.platform != "linux" or not RAY.exists():
        pytest.skip("needs Ray: pip install 'tinybuddy[cluster]'")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    # A short name, since those of sockets may have 107 bytes.
    folder = Path(f"/tmp/ray-{os.getpid()}")
    address = f"127.0.0.1:{port}"
    head = started(
        port, "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"
    )
    found = Cluster(address, head, started(port, f"--address={address}"))
    yield found
    found.kill(found.node + found.head)


@contextlib.contextmanager
def searching(file: Path, out: Path, address: str) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "run", str(file), "--out", str(out), "--cluster", address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and len(rows_of(out)) < 2:
            pass
        yield process


def test_no_node_and_no_head_loses_a_run(study: Study, tmp_path: Path, cluster: Cluster):
    file, out = tmp_path / "small.toml", tmp_path / "out"
    file.write_text(study.to_toml(), encoding="utf-8")
    with searching(file, out, cluster.address) as process:
        cluster.kill(cluster.node)
        while process.poll() is None and len(rows_of(out)) < 4:
            pass
        known = rows_of(out)
        assert len(known) >= 4
        cluster.kill(cluster.head)
        error = process.communicate(timeout=HANG)[1]
    assert process.returncode in (0, 1)
    if process.returncode:
        last = error.splitlines()[-1]
        assert last.startswith(f"tinybuddy: The Ray cluster at {cluster.address} is gone")
    assert main(["frontier", "resume", str(out), "--workers", "1"]) == 0
    rows = rows_of(out)
    assert rows[: len(known)] == known
    assert len(rows) == len({row["fingerprint"] for row in rows}) == 8  # type: ignore[arg-type]


def test_what_a_job_raises_comes_back(cluster: Cluster):
    pool = RayPool(cluster.address)
    try:
        assert pool.workers() == 2
        shared = pool.share(b"x" * 10_000_000)
        for number in range(4):
            pool.submit(str(number), len, shared)
        pool.submit("wrong", int, "no number")
        found: dict[str, object] = {}
        while len(found) < 5:
            found |= pool.wait()
        assert [found[str(number)] for number in range(4)] == [10_000_000] * 4
        assert isinstance(found["wrong"], ValueError)
    finally:
        pool.close()


def test_a_cluster_that_is_not_there_is_said():
    pytest.importorskip("ray", reason="needs Ray: pip install 'tinybuddy[cluster]'")
    with pytest.raises(TinybuddyError, match=r"There is no Ray cluster at 127.0.0.1:1 "):
        RayPool("127.0.0.1:1")
