"""What Prometheus is told."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from starlette.responses import Response

from tinybuddy.server.engine import EnginePool

# Seconds: 1 ms to 100 s, five to a decade where people would notice, fewer elsewhere.
BUCKETS = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 100)


class Metrics:
    """Counts, which engine threads and requests add to; meets `tinybuddy.server.engine.Hooks`.

    Attributes:
        open: requests that are being answered.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._tokens = Counter(
            "tinybuddy_tokens", "New tokens.", ["model"], registry=self._registry
        )
        self._steps = Histogram(
            "tinybuddy_step_seconds",
            "Time of one call of the engine, which goes on with all texts of a thread.",
            registry=self._registry,
            buckets=BUCKETS,
        )
        self._first = Histogram(
            "tinybuddy_first_token_seconds",
            "Time from when a text is asked for to its first token.",
            registry=self._registry,
            buckets=BUCKETS,
        )
        self._requests = Counter(
            "tinybuddy_requests", "Answers.", ["path", "status"], registry=self._registry
        )
        self.open = Gauge(
            "tinybuddy_open_requests", "Requests that are being answered.", registry=self._registry
        )
        self._seconds = Histogram(
            "tinybuddy_request_seconds",
            "Time of a whole answer.",
            ["path"],
            registry=self._registry,
            buckets=BUCKETS,
        )

    def watch(self, pool: EnginePool) -> None:
        """Show how many texts run and wait in a pool."""
        self._registry.register(_PoolCollector(pool))

    def on_step(self, model: str, tokens: int, seconds: float) -> None:
        """Count the tokens of a step."""
        self._tokens.labels(model).inc(tokens)
        self._steps.observe(seconds)

    def on_begin(self, seconds: float) -> None:
        """Note how long a first token took."""
        self._first.observe(seconds)

    def on_answer(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def response(self) -> Response:
        """Return all of them in Prometheus' text format."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class _PoolCollector(Collector):
    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "tinybuddy_streams", "Texts being generated.", value=self._pool.running
        )
        yield GaugeMetricFamily(
            "tinybuddy_waiting", "Texts that wait for a place.", value=self._pool.waiting
        )
