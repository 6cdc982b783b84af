"""What is counted, for Prometheus. Each application counts for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mlxknife.domain.generation.values.generation import Usage
from mlxknife.http.needs import Resident

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@attrs.define(eq=False)
class Metrics:
    """The numbers of one application."""

    registry: CollectorRegistry = attrs.field(factory=CollectorRegistry)
    _requests: Counter = attrs.field(init=False)
    _refused: Counter = attrs.field(init=False)
    _tokens: Counter = attrs.field(init=False)
    _first: Histogram = attrs.field(init=False)
    _duration: Histogram = attrs.field(init=False)
    _restarts: Counter = attrs.field(init=False)
    _running: Gauge = attrs.field(init=False)
    _loaded: Gauge = attrs.field(init=False)
    _answers: Gauge = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make what is counted with."""
        home = self.registry
        self._requests = Counter(
            "mlxknife_requests", "Requests by endpoint and status", ["route", "status"], registry=home
        )
        self._refused = Counter("mlxknife_refused", "Requests refused because the server was full", registry=home)
        self._tokens = Counter("mlxknife_tokens", "Tokens by kind", ["kind"], registry=home)
        self._first = Histogram(
            "mlxknife_first_token_seconds", "Until the first token", buckets=_SECONDS, registry=home
        )
        self._duration = Histogram(
            "mlxknife_request_seconds", "Until the last byte", ["route"], buckets=_SECONDS, registry=home
        )
        self._restarts = Counter("mlxknife_worker_falls", "Model processes that fell", ["model"], registry=home)
        self._running = Gauge("mlxknife_requests_in_flight", "Requests that wait or run", registry=home)
        self._loaded = Gauge("mlxknife_models_loaded", "Models in memory by state", ["state"], registry=home)
        self._answers = Gauge("mlxknife_answers_running", "Answers on their way by model", ["model"], registry=home)

    def visited(self, route: str, status: int, seconds: float) -> None:
        """Count a request that came to its end."""
        self._requests.labels(route, str(status)).inc()
        self._duration.labels(route).observe(seconds)

    def refused(self) -> None:
        """Count a request for which there was no place."""
        self._refused.inc()

    def first_token(self, seconds: float) -> None:
        """Note how long somebody waited for the first token."""
        self._first.observe(seconds)

    def answered(self, usage: Usage) -> None:
        """Count the tokens of an answer."""
        self._tokens.labels("prompt").inc(usage.prompt_tokens)
        self._tokens.labels("cached").inc(usage.cached_tokens)
        self._tokens.labels("completion").inc(usage.completion_tokens)

    def fell(self, model: str) -> None:
        """Count a process of a model that fell."""
        self._restarts.labels(model).inc()

    def page(self, residents: Sequence[Resident], in_flight: int) -> bytes:
        """Return everything as Prometheus reads it."""
        self._running.set(in_flight)
        self._loaded.clear()
        self._answers.clear()
        for state in ("loading", "ready"):
            self._loaded.labels(state).set(sum(resident.state.value == state for resident in residents))
        for resident in residents:  # two of one name are two revisions, or a folder before and after a change
            self._answers.labels(resident.name).inc(resident.running)
        write: Callable[[CollectorRegistry], bytes] = generate_latest
        return write(self.registry)
