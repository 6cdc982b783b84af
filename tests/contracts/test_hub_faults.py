"""The Hub adapter when responses fail: retries, timeouts, broken connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from huggingface_hub import close_session, constants

from mlxknife.adapters.hub.errors import RetryableError
from mlxknife.adapters.hub.hub import HuggingFaceHub
from mlxknife.adapters.hub.retry import RetryPolicy
from mlxknife.domain.errors import DownloadFailed, KnifeError, NetworkError
from mlxknife.domain.transfer.values import RemoteCommit
from tests.fake_hub import (
    Cut,
    FakeHub,
    Fault,
    Slow,
    Stall,
    Status,
    WrongLength,
    hang,
    rate_limited,
)
from tests.fakes.download_store import MemorySinks

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

_NAME, _WEIGHTS = "org/name", "model.safetensors"
_FILES = {_WEIGHTS: b"these are all the weights", "config.json": b"{}", "sub/x.txt": b"a text"}
_TRIES = 3
_FAST_RETRY = RetryPolicy(tries=_TRIES, first_wait=0.001, longest_wait=0.002)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    with FakeHub(page_size=2) as fake:
        fake.add(_NAME, _FILES)
        yield fake
    close_session()


@pytest.fixture
def hub(fake: FakeHub) -> HuggingFaceHub:
    return HuggingFaceHub(fake.endpoint, retry=_FAST_RETRY)


@pytest.fixture
def commit(hub: HuggingFaceHub, fake: FakeHub) -> RemoteCommit:
    commit = hub.commit(_NAME, "main")
    fake.reset()
    return commit


def _fetched(hub: HuggingFaceHub, commit: RemoteCommit, sinks: MemorySinks | None = None) -> dict[str, bytes]:
    sinks = sinks or MemorySinks()
    hub.fetch(commit, commit.files, sinks)
    return sinks.finished()


def _commit_error(hub: HuggingFaceHub) -> KnifeError:
    with pytest.raises(KnifeError) as caught:
        hub.commit(_NAME, "main")
    return caught.value


# --- retries

_TRANSIENT = [Status(429), Status(500), Status(502), Status(503), Status(504), Status(408), rate_limited(0)]


@pytest.mark.parametrize("fault", _TRANSIENT)
def test_transient_errors_are_retried(hub: HuggingFaceHub, fake: FakeHub, fault: Fault) -> None:
    listing = fake.fail(fault, "/api/*", times=_TRIES - 1)
    files = fake.fail(fault, "*/resolve/*/config.json", times=_TRIES - 1)
    assert _fetched(hub, hub.commit(_NAME, "main")) == _FILES
    assert (listing.hits, files.hits) == (_TRIES - 1, _TRIES - 1)


@pytest.mark.parametrize("fault", _TRANSIENT)
def test_an_error_that_stays_is_raised_after_the_last_try(
    hub: HuggingFaceHub, fake: FakeHub, commit: RemoteCommit, fault: Fault
) -> None:
    rules = [fake.fail(fault, "/api/*"), fake.fail(fault, "*/resolve/*/config.json")]
    assert type(_commit_error(hub)) is DownloadFailed
    with pytest.raises(DownloadFailed):
        _fetched(hub, commit)
    assert [rule.hits for rule in rules] == [_TRIES, _TRIES]


def test_a_retry_after_of_more_than_a_minute_is_not_waited_for(hub: HuggingFaceHub, fake: FakeHub) -> None:
    rule = fake.fail(rate_limited(61), "/api/*")
    assert type(_commit_error(hub)) is DownloadFailed
    assert rule.hits == 1


@pytest.mark.parametrize("retry_after", ["-5", "soon", "1e400", "Wed, 21 Oct 2026 07:28:00 GMT", "²"])
def test_a_retry_after_that_is_no_number_is_ignored(hub: HuggingFaceHub, fake: FakeHub, retry_after: str) -> None:
    quoted = retry_after.encode().decode("latin-1")
    rule = fake.fail(Status(503, headers={"Retry-After": quoted}), "/api/*", times=1)
    hub.commit(_NAME, "main")
    assert rule.hits == 1


class FakeEvent(threading.Event):
    """Records the timeouts of ``wait`` and returns at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return self.is_set()


def test_waits_double_up_to_a_limit_and_respect_retry_after() -> None:
    policy, event = RetryPolicy(tries=9, first_wait=0.5, longest_wait=4.0), FakeEvent()
    for failures in range(1, 6):
        policy.wait(failures, RetryableError(NetworkError("x")), event)
    for retry_after in (0.0, 60.0):
        policy.wait(1, RetryableError(NetworkError("x"), retry_after), event)
    assert event.seconds == [0.5, 1.0, 2.0, 4.0, 4.0, 0.5, 60.0]
    event.set()
    with pytest.raises(NetworkError):
        policy.wait(1, RetryableError(NetworkError("x")), event)


@pytest.mark.parametrize("fault", [Cut(0), Cut(0, reset=True), WrongLength(by=3)])
def test_a_listing_that_breaks_off_is_requested_again(hub: HuggingFaceHub, fake: FakeHub, fault: Fault) -> None:
    rule = fake.fail(fault, "/api/*/tree/*", times=1)
    assert len(hub.commit(_NAME, "main").files) == len(_FILES)
    fake.heal(rule)
    fake.fail(fault, "/api/*")
    assert type(_commit_error(hub)) is NetworkError


def test_a_file_that_always_breaks_off_at_once_is_an_error(
    hub: HuggingFaceHub, fake: FakeHub, commit: RemoteCommit
) -> None:
    rule = fake.fail(Cut(0, reset=True), f"*/{_WEIGHTS}")
    with pytest.raises(NetworkError):
        _fetched(hub, commit)
    assert rule.hits == _TRIES


def test_a_file_that_arrives_byte_by_byte_is_downloaded_completely(
    hub: HuggingFaceHub, fake: FakeHub, commit: RemoteCommit
) -> None:
    rule = fake.fail(Cut(1), f"*/{_WEIGHTS}")
    assert _fetched(hub, commit) == _FILES
    assert rule.hits == len(_FILES[_WEIGHTS])
    assert fake.bytes_sent(f"cdn/{_NAME}") == len(_FILES[_WEIGHTS])


@pytest.mark.parametrize("fault", [hang(), Stall(3)])
def test_a_connection_without_data_times_out_and_is_retried(
    hub: HuggingFaceHub, fake: FakeHub, commit: RemoteCommit, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    rule = fake.fail(fault, f"*/cdn/*/{_WEIGHTS}", times=1)
    assert _fetched(hub, commit) == _FILES
    fake.heal(rule)
    fake.fail(hang(), "/api/*")
    assert type(_commit_error(hub)) is NetworkError


def test_an_expired_link_of_the_file_store_is_requested_again(
    hub: HuggingFaceHub, fake: FakeHub, commit: RemoteCommit
) -> None:
    fake.fail(Status(403), f"/cdn/*/{_WEIGHTS}", times=1)
    assert _fetched(hub, commit) == _FILES


# --- several files


def test_the_first_failed_file_stops_the_others(hub: HuggingFaceHub, fake: FakeHub) -> None:
    fake.add(_NAME, {f"{number}.txt": bytes(1_000) for number in range(20)} | {"z.txt": bytes(2_000)})
    fake.fail(Slow(bytes_per_second=5_000), "*/[0-9]*.txt")
    fake.fail(Status(404, code="EntryNotFound"), "*/z.txt")
    commit, sinks = hub.commit(_NAME, "main"), MemorySinks()
    with pytest.raises(DownloadFailed):
        hub.fetch(commit, commit.files, sinks)
    assert sinks.finished() == {}
    assert set(sinks.closed) == set(sinks.sinks)
    assert len(sinks.sinks) < 10
