"""Metrics for Prometheus. Each application has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mlxknife.domain.generation.values.answer import Usage
from mlxknife.domain.serving.services.loaded_model import LoadedModel

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        """Register the metrics."""
        registry = self.registry = CollectorRegistry()

        def counter(name: str, description: str, *labels: str) -> Counter:
            return Counter(f"mlxknife_{name}", description, labels, registry=registry)

        def histogram(name: str, description: str, *labels: str) -> Histogram:
            return Histogram(f"mlxknife_{name}", description, labels, buckets=_BUCKETS, registry=registry)

        def gauge(name: str, description: str, *labels: str) -> Gauge:
            return Gauge(f"mlxknife_{name}", description, labels, registry=registry)

        self._requests = counter("requests", "Requests by endpoint and status", "route", "status")
        self._refused = counter("refused", "Requests refused because the server was full")
        self._tokens = counter("tokens", "Tokens by kind", "kind")
        self._crashes = counter("worker_crashes", "Model processes that crashed", "model")
        self._first_token = histogram("first_token_seconds", "Seconds until the first token")
        self._duration = histogram("request_seconds", "Seconds until the last byte", "route")
        self._in_flight = gauge("requests_in_flight", "Requests that are waiting or running")
        self._loaded = gauge("models_loaded", "Loaded models by state", "state")
        self._running = gauge("requests_running", "Requests that run in a model process, by model", "model")

    def request_finished(self, route: str, status: int, seconds: float) -> None:
        """Count a request and its duration."""
        self._requests.labels(route, str(status)).inc()
        self._duration.labels(route).observe(seconds)

    def request_refused(self) -> None:
        """Count a request that was refused because the server was full."""
        self._refused.inc()

    def first_token(self, seconds: float) -> None:
        """Record the time until the first token of a request."""
        self._first_token.observe(seconds)

    def tokens_used(self, usage: Usage) -> None:
        """Count the tokens of a request."""
        self._tokens.labels("prompt").inc(usage.prompt_tokens)
        self._tokens.labels("cached").inc(usage.cached_tokens)
        self._tokens.labels("completion").inc(usage.completion_tokens)

    def worker_crashed(self, model: str) -> None:
        """Count a crash of a model's process."""
        self._crashes.labels(model).inc()

    def page(self, models: Sequence[LoadedModel], in_flight: int) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        self._in_flight.set(in_flight)
        self._loaded.clear()
        self._running.clear()
        for state in ("loading", "ready"):
            self._loaded.labels(state).set(sum(model.state.value == state for model in models))
        for model in models:  # two revisions of a model have the same name
            self._running.labels(model.name).inc(model.running)
        write: Callable[[CollectorRegistry], bytes] = generate_latest  # it has no types
        return write(self.registry)
