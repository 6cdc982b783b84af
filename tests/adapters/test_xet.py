"""Downloads from the Hub's chunk store, with the real hf_xet over a folder, and over HTTP where that fails."""

from __future__ import annotations

import random
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import attrs
import pytest
from huggingface_hub import close_session, constants

from mlxknife.adapters.hub.client import HubClient
from mlxknife.adapters.hub.download import FileDownload
from mlxknife.adapters.hub.hub import HuggingFaceHub
from mlxknife.adapters.hub.retry import RetryPolicy
from mlxknife.adapters.hub.xet import XetAccess, XetError, XetStore
from mlxknife.domain.errors import DownloadFailed
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedHash
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from tests.builder import sha256
from tests.fake_hub import READER, FakeHub, Headers, Status, web_page
from tests.fakes.download_store import MemorySink, MemorySinks

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

_NAME, _WEIGHTS = "org/name", "model.safetensors"
_DATA = random.Random(7).randbytes(300_000)
_NEVER = 4_000_000_000
_FAST_RETRY = RetryPolicy(tries=3, first_wait=0.001, longest_wait=0.002)
_TOKEN_ROUTE = "*/xet-read-token/*"


def _access(endpoint: str) -> XetAccess:
    return XetAccess(endpoint, "t", _NEVER, "http://127.0.0.1:1/refresh", {})


def _file(xet_hash: str, data: bytes = _DATA) -> RemoteFile:
    return RemoteFile(_WEIGHTS, len(data), RecordedHash(HashAlgorithm.SHA256, sha256(data)), "0" * 40, xet_hash)


@pytest.fixture(scope="module", autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep hf_xet's cache and logs out of the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_XET_CACHE", str(tmp_path_factory.mktemp("xet")))
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return the address of a chunk store that has the data, and the hash of the data."""
    import hf_xet  # noqa: PLC0415 - it opens its log when it is imported

    endpoint = f"local://{tmp_path_factory.mktemp('cas')}"
    upload = hf_xet.XetSession().new_upload_commit(endpoint=endpoint, token="t", token_expiry_unix_secs=_NEVER)
    with upload as commit:
        handle = commit.start_upload_bytes(_DATA, name=_WEIGHTS)
    return endpoint, handle.result().xet_info.hash


@pytest.fixture
def store(stored: tuple[str, str]) -> XetStore:
    return XetStore(lambda: _access(stored[0]), schemes=("local://",))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    with FakeHub() as fake:
        fake.add(_NAME, {_WEIGHTS: _DATA, "config.json": b"{}"})
        fake.repo(_NAME).xet = True
        yield fake
    close_session()


# --- the store itself


def test_a_file_is_streamed_completely(store: XetStore, stored: tuple[str, str]) -> None:
    assert b"".join(store.stream(_file(stored[1]), 0)) == _DATA


@pytest.mark.parametrize("position", [1, 65_536, 299_999])
def test_a_file_is_streamed_from_a_position_on(store: XetStore, stored: tuple[str, str], position: int) -> None:
    assert b"".join(store.stream(_file(stored[1]), position)) == _DATA[position:]


def test_one_connection_serves_many_files(stored: tuple[str, str]) -> None:
    requests: list[None] = []

    def get_access() -> XetAccess:
        requests.append(None)
        return _access(stored[0])

    store = XetStore(get_access, schemes=("local://",))
    assert requests == []
    streams = [store.stream(_file(stored[1]), position) for position in (0, 10)]
    assert [b"".join(stream) for stream in streams] == [_DATA, _DATA[10:]]
    assert len(requests) == 1


def test_a_stream_may_be_closed_early(store: XetStore, stored: tuple[str, str]) -> None:
    stream = store.stream(_file(stored[1]), 0)
    assert _DATA.startswith(next(stream))
    stream.close()
    assert b"".join(store.stream(_file(stored[1]), 0)) == _DATA


@pytest.mark.parametrize("unknown", ["zz", "ab" * 32])
def test_an_unknown_hash_is_an_error(store: XetStore, unknown: str) -> None:
    with pytest.raises(XetError):
        b"".join(store.stream(_file(unknown), 0))


def test_a_missing_store_is_an_error(tmp_path: Path, stored: tuple[str, str]) -> None:
    (tmp_path / "file").touch()
    missing = XetStore(lambda: _access(f"local://{tmp_path}/file/no"), schemes=("local://",))
    with pytest.raises(XetError):
        b"".join(missing.stream(_file(stored[1]), 0))


def test_no_access_is_an_error(stored: tuple[str, str]) -> None:
    def refuse() -> XetAccess:
        msg = "not you"
        raise DownloadFailed(msg)

    with pytest.raises(XetError):
        b"".join(XetStore(refuse).stream(_file(stored[1]), 0))


@pytest.mark.parametrize("form", ["local://{}", "{}", "file://{}", "LOCAL://{}", " local://{}", "memory://"])
def test_the_hub_cannot_choose_a_folder_of_this_machine(tmp_path: Path, stored: tuple[str, str], form: str) -> None:
    store = XetStore(lambda: _access(form.format(tmp_path / "new")))
    with pytest.raises(XetError):
        b"".join(store.stream(_file(stored[1]), 0))
    assert list(tmp_path.iterdir()) == []


# --- HTTP where the store fails


class BreakingStore(XetStore):
    """A chunk store that fails after some bytes."""

    def __init__(self, after: int) -> None:
        super().__init__(lambda: _access("http://127.0.0.1:1"))
        self.after = after
        self.requests: list[int] = []

    def stream(self, file: RemoteFile, position: int) -> Generator[bytes]:
        self.requests.append(position)
        yield from (_DATA[at : at + 100] for at in range(position, min(file.size, position + self.after), 100))
        raise XetError


def _download(fake: FakeHub, file: RemoteFile, store: XetStore) -> FileDownload:
    commit = RemoteCommit(_NAME, fake.repo(_NAME).branches["main"], (file,))
    return FileDownload(HubClient(fake.endpoint, None), _FAST_RETRY, commit, file, threading.Event(), store)


def _ranges(fake: FakeHub) -> list[str | None]:
    return [seen.range for seen in fake.requests("GET", "/cdn/")]


@pytest.mark.parametrize(("begun", "after"), [(0, 0), (0, 1_000), (500, 0), (500, 200)])
def test_http_continues_at_the_byte_where_the_store_failed(fake: FakeHub, begun: int, after: int) -> None:
    file, store = _file("ab" * 32), BreakingStore(after)
    sink = MemorySink(file, bytearray(_DATA[:begun]))
    _download(fake, file, store).run(sink)
    assert (sink.is_finished, bytes(sink.data)) == (True, _DATA)
    assert (store.requests, _ranges(fake)) == ([begun], [f"bytes={begun + after}-" if begun + after else None])


def test_a_file_from_the_store_needs_no_http(fake: FakeHub, store: XetStore, stored: tuple[str, str]) -> None:
    file = _file(stored[1])
    sink = MemorySink(file, bytearray(_DATA[:12_345]))
    _download(fake, file, store).run(sink)
    assert (sink.is_finished, _ranges(fake)) == (True, [])


def test_a_file_that_is_not_in_the_store_is_downloaded_over_http(fake: FakeHub, store: XetStore) -> None:
    file = attrs.evolve(_file(""), xet_hash=None)
    sink = MemorySink(file)
    _download(fake, file, store).run(sink)
    assert (sink.is_finished, _ranges(fake)) == (True, [None])


def _fetched(fake: FakeHub, begun: int = 777) -> dict[str, bytes]:
    hub, sinks = HuggingFaceHub(fake.endpoint, READER, retry=_FAST_RETRY), MemorySinks({_WEIGHTS: _DATA[:begun]})
    commit = hub.commit(_NAME, "main")
    assert {file.name: file.xet_hash is not None for file in commit.files} == {_WEIGHTS: True, "config.json": False}
    hub.fetch(commit, commit.files, sinks)
    return sinks.finished()


@pytest.mark.parametrize("fault", [None, web_page(), Status(500), Headers({"X-Xet-Cas-Url": "http://127.0.0.1:1"})])
def test_without_access_to_the_store_the_file_is_downloaded_over_http(
    fake: FakeHub, fault: Status | Headers | None
) -> None:
    if fault is not None:
        fake.fail(fault, _TOKEN_ROUTE)
    assert _fetched(fake) == {_WEIGHTS: _DATA, "config.json": b"{}"}
    assert fake.requests(path_part="/xet-read-token/")
    assert _ranges(fake) == ["bytes=777-"]


def test_a_store_address_that_is_a_folder_is_refused_and_http_is_used(fake: FakeHub, tmp_path: Path) -> None:
    fake.fail(web_page(), _TOKEN_ROUTE)
    headers = {
        "X-Xet-Cas-Url": f"local://{tmp_path}/new",
        "X-Xet-Access-Token": "t",
        "X-Xet-Token-Expiration": str(_NEVER),
    }
    rule = fake.fail(Headers(headers), _TOKEN_ROUTE)
    assert _fetched(fake) == {_WEIGHTS: _DATA, "config.json": b"{}"}
    assert (rule.hits, _ranges(fake), list(tmp_path.iterdir())) == (1, ["bytes=777-"], [])


@pytest.mark.parametrize("status", [401, 404])
@pytest.mark.parametrize("begun", [0, 777])
def test_http_is_used_when_the_store_refuses_everything(fake: FakeHub, status: int, begun: int) -> None:
    fake.fail(web_page(), _TOKEN_ROUTE)
    headers = {"X-Xet-Cas-Url": fake.endpoint, "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": str(_NEVER)}
    fake.fail(Headers(headers), _TOKEN_ROUTE)
    refused = fake.fail(Status(status), "/v*/*")
    assert _fetched(fake, begun) == {_WEIGHTS: _DATA, "config.json": b"{}"}
    assert (refused.hits > 0, _ranges(fake)) == (True, [f"bytes={begun}-" if begun else None])


def test_hf_hub_disable_xet_disables_the_store(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    assert _fetched(fake)[_WEIGHTS] == _DATA
    assert not fake.requests(path_part="/xet-read-token/")


def test_a_store_that_failed_is_not_tried_again_for_every_file(fake: FakeHub) -> None:
    files = {f"{number}.safetensors": bytes([number]) for number in range(12)}
    fake.add(_NAME, files)
    hub, sinks = HuggingFaceHub(fake.endpoint, READER, retry=_FAST_RETRY), MemorySinks()
    commit = hub.commit(_NAME, "main")
    hub.fetch(commit, commit.files, sinks)
    assert sinks.finished() == files
    assert len(fake.requests(path_part="/xet-read-token/")) == 1
