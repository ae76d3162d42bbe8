"""Decoding speed in Chromium: the page's engine and onnxruntime-web, on one core, the same weights.

    python benchmarks/page_speed.py [--runs 7] [--seconds 1] [--model NAME] [--json]

Both hold the model at 8 bits, compute with float32, and generate stories of a whole context from
`<bos>`, drawn by temperature 0.8 from the 40 best by the same code; both are first checked to take
the same best tokens. They take turns, and the ratio is the median of the turns' ratios. Last, the
page itself tells stories at its highest speed, with all that it draws, and says when it is painted.
It needs the extras `browser` and `onnx`, Debian's `chromium`, and
`npm ci --prefix tests/exporters/node`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from decode_speed import use_one_core
from playwright.sync_api import sync_playwright

import tinybuddy
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.training.provenance import provenance

HERE = Path(__file__).parent
RUNTIME = HERE.parent / "tests/exporters/node/node_modules/onnxruntime-web/dist"
PEERS = ("page", "onnxruntime")
BAR = 5000  # tokens/s of the page's engine
STORIES = 5
# A frame after the story's end is drawn, so that all of it has been.
TELL = """async (seed) => {
  const tokens = () => document.querySelectorAll("#story [data-index]").length;
  document.getElementById("speed").value = 5;
  document.getElementById("seed").value = seed;
  const status = document.getElementById("status");
  status.textContent = "";
  const since = performance.now();
  document.getElementById("form").requestSubmit();
  do await new Promise(requestAnimationFrame);
  while (!/end|went on/.test(status.textContent));
  return 1000 * tokens() / (performance.now() - since);
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


def lay_out(folder: Path, model: str) -> None:
    """Put what the browser loads in a folder."""
    if not RUNTIME.is_dir():
        sys.exit("Without onnxruntime-web: npm ci --prefix tests/exporters/node")
    tinybuddy.export("js", model, folder / "buddy.js")
    tinybuddy.export("html", model, folder / "story.html")
    exported = tinybuddy.export("onnx", model, folder / "hub", weights="int8").path
    shutil.copy(exported / "onnx" / "model_quantized.onnx", folder / "model.onnx")
    shutil.copytree(RUNTIME, folder / "ort")
    shutil.copy(HERE / "peers" / "browser.js", folder)
    (folder / "index.html").write_text("<!doctype html><title>speed</title>", encoding="utf-8")


def measure(page: Any, runs: int, seconds: float) -> dict[str, list[float]]:
    """Tokens a second of each, one a turn; leave with a sentence if they differ."""
    said = {
        peer: page.evaluate("async (peer) => (await bench).greedy(peer)", peer) for peer in PEERS
    }
    if said["page"] != said["onnxruntime"]:
        sys.exit(f"They take other best tokens: {said}")
    rates: dict[str, list[float]] = {peer: [] for peer in PEERS}
    for run in range(runs + 1):  # the first, in which the browser compiles, does not count
        for peer in PEERS:
            how = [peer, seconds, 1000 * run]
            rate = page.evaluate("async (how) => (await bench).speed(...how)", how)
            rates[peer] += [rate] if run else []
    return rates


def browse(
    folder: Path, runs: int, seconds: float
) -> tuple[dict[str, list[float]], dict[str, str], float, float]:
    """Open a browser, and measure all in it."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        handler = partial(_Quiet, directory=str(folder))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
            page.evaluate("window.bench = import('./browser.js'); 0")
            rates = measure(page, runs, seconds)
            versions = page.evaluate("async () => (await bench).versions")
            server.shutdown()
        told, paint = tell(browser, folder / "story.html", runs)
        versions = {"chromium": browser.version} | versions
        browser.close()
    return rates, versions, told, paint


def main() -> None:
    """Print versions, speeds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL, help="what export takes")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each turn, at least")
    parser.add_argument("--json", action="store_true", help="print one JSON object as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder, options.model)
        use_one_core()  # and with it the browser
        rates, versions, told, paint = browse(folder, options.runs, options.seconds)
    speeds = {peer: statistics.median(rate) for peer, rate in rates.items()}
    both = zip(rates["page"], rates["onnxruntime"], strict=True)
    ratio = statistics.median(a / b for a, b in both)
    machine = provenance()
    print(f"{machine['processor']}, one core; {options.model}")
    print("\n".join(f"  {name:<14}{version}" for name, version in versions.items()))
    for peer in PEERS:
        print(f"{peer:<14}{speeds[peer]:>8,.0f} tokens/s, at best {max(rates[peer]):,.0f}")
    print(f"page / onnxruntime: {ratio:.2f}; at least {BAR:,} tokens/s: {speeds['page'] >= BAR}")
    print(f"the page, with all that it draws: {told:,.0f} tokens/s; painted after {paint:.0f} ms")
    if options.json:
        result = {"machine": machine, "versions": versions, "tokens_per_second": speeds}
        print(json.dumps(result | {"ratio": ratio, "told": told, "first_paint_ms": paint}))


def tell(browser: Any, page_file: Path, runs: int) -> tuple[float, float]:
    """Tokens a second of stories that the page tells, and milliseconds to its first paint."""
    paints, told = [], []
    for _ in range(runs):
        page = browser.new_page()
        page.goto(page_file.as_uri())
        page.locator("#weights canvas").first.wait_for()
        paints.append(page.evaluate(PAINT))
        told += [page.evaluate(TELL, seed) for seed in range(STORIES)][1:]
        page.close()
    return statistics.median(told), statistics.median(paints)


if __name__ == "__main__":
    main()
