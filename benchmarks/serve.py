"""How many listeners `tinybuddy serve` holds: first tokens, delivered tokens and memory.

    python benchmarks/serve.py [--streams 1000] [--spread 1] [--soak 0] [--rival] [--json]

This script is the client, one process beside the server on the loopback address, so both share the
processor. It opens so many streams, their beginnings spread evenly, each a connection of its own
and a story with a seed of its own. Times are from when a stream was due. What came is looked at
once all have ended: each must have its end, and tokens are those that the server counts.

`--soak` then asks for so many short stories, and compares the server's memory with that after a
tenth of them. `--rival` lets llama-cpp-python's server, where it is installed, tell stories of the
same model one after another: it generates one at a time, whatever it is asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tinybuddy.defaults import DEFAULT_MODEL

MODEL, PROMPT = DEFAULT_MODEL, "Once upon a time"
TOKENS_BAR, FIRST_BAR, RATIO_BAR = 20_000, 1.0, 3.0
SOAK_CLIENTS = 64


class Stream(asyncio.Protocol):
    """One request and all that came back."""

    def __init__(self, address: str, body: dict[str, Any], due: float) -> None:
        data = json.dumps(body).encode()
        self.request = (
            f"POST /v1/completions HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        ).encode() + data
        self.due, self.first = due, 0.0
        self.parts: list[bytes] = []
        self.ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Ask."""
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        if not self.first and b"data: {" in data:
            self.first = time.perf_counter()
        self.parts.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self.ended.set_result(time.perf_counter())

    def events(self) -> list[Any]:
        """What each event holds.

        Raises:
            ValueError: if the stream has no end, or is an error.
        """
        lines = [line for line in b"".join(self.parts).split(b"\n") if line.startswith(b"data: ")]
        if not lines or lines[-1].strip() != b"data: [DONE]":
            raise ValueError(b"".join(self.parts)[:300])
        return [json.loads(line[6:]) for line in lines[:-1]]


async def load(url: str, streams: int, spread: float) -> dict[str, Any]:
    """Open many streams; return what came of them."""
    loop, where = asyncio.get_running_loop(), urlsplit(url)
    opened: list[Stream] = []
    begin = time.perf_counter() + 0.1

    async def one(seed: int) -> float:
        due = begin + spread * seed / streams
        await asyncio.sleep(due - time.perf_counter())
        body = {"prompt": PROMPT, "seed": seed, "max_tokens": 512, "stream": True}
        stream = Stream(where.netloc, body | {"stream_options": {"include_usage": True}}, due)
        opened.append(stream)
        await loop.create_connection(lambda: stream, where.hostname, where.port)
        return await stream.ended

    ends = await asyncio.gather(*map(one, range(streams)), return_exceptions=True)
    errors = [end for end in ends if isinstance(end, BaseException)]
    tokens, chunks = 0, 0
    for stream in opened:
        try:
            events = stream.events()
            tokens += events[-1]["usage"]["completion_tokens"]
            chunks += len(events) - 1
        except (ValueError, KeyError, IndexError) as error:
            errors.append(error)
    firsts = sorted(s.first - s.due if s.first else float("inf") for s in opened)
    seconds = max((end for end in ends if isinstance(end, float)), default=begin) - begin
    return {
        "streams": streams,
        "errors": len(errors),
        "first_error": repr(errors[0]) if errors else None,
        "seconds": seconds,
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "tokens_per_event": tokens / max(1, chunks),
        "first_token_median": statistics.median(firsts),
        "first_token_p99": firsts[max(0, int(len(firsts) * 0.99) - 1)],
    }


def soak(url: str, pid: int, requests: int) -> dict[str, Any]:
    """Ask for many short stories; return the server's memory in MB after a tenth and after all."""

    async def some(first: int, count: int) -> None:
        where, loop = urlsplit(url), asyncio.get_running_loop()
        seeds = iter(range(first, first + count))

        async def client() -> None:
            for seed in seeds:
                body = {"prompt": PROMPT, "seed": seed, "max_tokens": 8, "stream": True}
                stream = Stream(where.netloc, body, 0.0)
                await loop.create_connection(lambda s=stream: s, where.hostname, where.port)
                await stream.ended
                stream.events()

        await asyncio.gather(*(client() for _ in range(SOAK_CLIENTS)))

    tenth = requests // 10
    asyncio.run(some(0, tenth))
    before = memory(pid)
    asyncio.run(some(tenth, requests - tenth))
    return {"requests": requests, "megabytes_before": before, "megabytes_after": memory(pid)}


def memory(pid: int) -> float:
    """Megabytes that a process holds; Linux alone tells it so."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """Run the server; yield its URL and process number."""
    command = [sys.executable, "-m", "tinybuddy", "serve", MODEL, "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert server.stdout
        yield json.loads(server.stdout.readline())["url"], server.pid
    finally:
        server.terminate()
        server.wait()


def rival(stories: int) -> float | None:
    """Tokens/s of llama-cpp-python's server, story after story; None where it is not installed."""
    needed = ("llama_cpp", "fastapi", "uvicorn", "sse_starlette", "pydantic_settings")
    if missing := [name for name in needed if not importlib.util.find_spec(name)]:
        print(f"missing: {', '.join(missing)} (pip install 'llama-cpp-python[server]')")
        return None
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        file, port = Path(folder) / "model.gguf", free.getsockname()[1]
        export = [sys.executable, "-m", "tinybuddy", "export", "gguf", MODEL, "-o", str(file)]
        subprocess.run(export, check=True, stdout=subprocess.DEVNULL)
        free.close()
        command = [sys.executable, "-m", "llama_cpp.server", "--model", str(file)]
        command += ["--port", str(port), "--n_threads", "1", "--interrupt_requests", "false"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return asyncio.run(_rival_speed(f"http://127.0.0.1:{port}", stories))
        finally:
            server.terminate()
            server.wait()


async def _rival_speed(url: str, stories: int) -> float:
    loop, where = asyncio.get_running_loop(), urlsplit(url)
    while True:
        try:
            await asyncio.to_thread(urllib.request.urlopen, f"{url}/v1/models")
            break
        except urllib.error.URLError:
            await asyncio.sleep(0.2)
    chunks = 0
    for seed in range(-1, stories):  # the first fills caches
        if not seed:
            began = time.perf_counter()
        body = {"prompt": PROMPT, "seed": seed + 1, "max_tokens": 100, "stream": True}
        body |= {"temperature": 0.8, "top_k": 40, "top_p": 1.0, "min_p": 0.0}
        body |= {"repeat_penalty": 1.0}
        stream = Stream(where.netloc, body, 0.0)
        await loop.create_connection(lambda s=stream: s, where.hostname, where.port)
        await stream.ended
        if seed >= 0:
            chunks += len(stream.events()) - 1  # an event a token, and one for the end
    return chunks / (time.perf_counter() - began)


def main() -> None:
    """Print what came of the load."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--spread", type=float, default=1.0, help="seconds from first to last")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="requests more")
    parser.add_argument("--rival", action="store_true", help="llama-cpp-python's server too")
    parser.add_argument("--json", action="store_true", help="print one JSON object as well")
    options = parser.parse_args()
    with contextlib.suppress(ImportError):  # Windows has no such limit
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    result: dict[str, Any] = {"rounds": []}
    with serving() as (url, pid):
        asyncio.run(load(url, 1, 0.0))  # the model is loaded
        for _ in range(options.rounds):
            done = asyncio.run(load(url, options.streams, options.spread))
            result["rounds"].append(done | {"megabytes": memory(pid)})
            print(
                f"{done['streams']} streams: {done['errors'] or 'no'} errors, "
                f"{done['tokens_per_second']:,.0f} tokens/s (bar {TOKENS_BAR:,}), first token "
                f"median {done['first_token_median']:.3f} s, 99th percentile "
                f"{done['first_token_p99']:.3f} s (bar {FIRST_BAR:g}), "
                f"{done['tokens_per_event']:.1f} tokens an event, {memory(pid):.0f} MB"
            )
            if done["first_error"]:
                print(done["first_error"])
        if options.soak:
            result["soak"] = found = soak(url, pid, options.soak)
            print(
                f"{found['requests']:,} requests: {found['megabytes_before']:.1f} MB after a tenth,"
                f" {found['megabytes_after']:.1f} MB after all"
            )
    if options.rival and (speed := rival(20)):
        own = statistics.median(done["tokens_per_second"] for done in result["rounds"])
        result["rival_tokens_per_second"] = speed
        print(
            f"llama-cpp-python's server: {speed:,.0f} tokens/s, story after story; "
            f"tinybuddy / it: {own / speed:.1f} (bar {RATIO_BAR:g})"
        )
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
