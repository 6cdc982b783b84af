"""The Hub adapter when responses are invalid, or name other hosts."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from urllib.parse import parse_qs

import attrs
import pytest
from huggingface_hub import close_session, constants

from mlxknife.adapters.hub.hub import HuggingFaceHub
from mlxknife.adapters.hub.retry import RetryPolicy
from mlxknife.domain.errors import DownloadFailed, KnifeError, WrongBytes
from mlxknife.domain.transfer.values import RemoteCommit
from tests.fake_hub import (
    HOSTILE_HASHES,
    HOSTILE_NAMES,
    READER,
    Body,
    Bytes,
    FakeHub,
    Headers,
    Redirect,
    Rule,
    Status,
    recommitted,
    rehashed,
    renamed,
    web_page,
)
from tests.fake_hub.messages import Reply, Request
from tests.fakes.download_store import MemorySinks

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

_NAME, _WEIGHTS = "org/name", "model.safetensors"
_FILES = {_WEIGHTS: b"these are all the weights", "config.json": b"{}", "sub/x.txt": b"a text"}
_FAST_RETRY = RetryPolicy(tries=3, first_wait=0.001, longest_wait=0.002)
_DEFAULT_ENDPOINT = "https://huggingface.co"


@attrs.frozen
class Compressed:
    """The body is compressed although the client did not accept that; ``part`` answers with status 206."""

    part: bool = False

    def apply(self, _request: Request, reply: Reply) -> Reply | None:
        if reply.status not in (200, 206):
            return None
        body = Bytes(
            gzip.compress(reply.text() if self.part else reply.content.chunks(0, reply.content.size).__next__())
        )
        compressed = Reply(reply.status if self.part else 200, reply.headers, body)
        return compressed.with_headers(Content_Encoding="gzip")


@attrs.frozen
class NextPage:
    """The Link header names another URL for the next page."""

    old: str
    new: str

    def apply(self, _request: Request, reply: Reply) -> Reply | None:
        link = reply.headers.get("Link", "")
        return reply.with_headers(Link=link.replace(self.old, self.new)) if "next" in link else None


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


def _begun() -> MemorySinks:
    return MemorySinks({_WEIGHTS: b"these"})


def _commit_error(hub: HuggingFaceHub) -> KnifeError:
    with pytest.raises(KnifeError) as caught:
        hub.commit(_NAME, "main")
    return caught.value


# --- invalid responses


@pytest.mark.parametrize(
    "fault", [web_page(), Body(b""), Body(b"{"), Body(b"[]"), Body(b'{"sha": 1}'), Body(b"\xff"), Body(b"[" * 9999)]
)
@pytest.mark.parametrize("path", ["/api/*/revision/*", "/api/*/tree/*"])
def test_an_undecodable_listing_is_an_error(hub: HuggingFaceHub, fake: FakeHub, fault: Body, path: str) -> None:
    rule = fake.fail(fault, path, skip=1 if fault.data == b"[]" and "tree" in path else 0)
    if fault.data == b"[]" and "tree" in path:  # an empty page is a page
        assert len(hub.commit(_NAME, "main").files) < len(_FILES)
    else:
        assert type(_commit_error(hub)) is DownloadFailed
    assert rule.hits == 1


@pytest.mark.parametrize("text", ["../../c", "", "main", "A" * 40, "0" * 39, "0" * 41, "0" * 40 + "\n"])
def test_an_invalid_commit_is_refused(hub: HuggingFaceHub, fake: FakeHub, text: str) -> None:
    fake.fail(recommitted(text))
    assert type(_commit_error(hub)) is DownloadFailed


@pytest.mark.parametrize("text", [*HOSTILE_HASHES, "0" * 64 + "\n"])
def test_an_invalid_hash_is_refused(hub: HuggingFaceHub, fake: FakeHub, text: str) -> None:
    fake.fail(rehashed(_WEIGHTS, text))
    assert type(_commit_error(hub)) is DownloadFailed


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_passed_on_unchanged_or_refused(hub: HuggingFaceHub, fake: FakeHub, name: str) -> None:
    fake.fail(renamed("config.json", name))
    try:
        names = {file.name for file in hub.commit(_NAME, "main").files}
    except DownloadFailed:
        assert "\ud800" in name
    else:
        assert names == {*_FILES, name} - {"config.json"}


def test_a_web_page_instead_of_a_file_is_an_error(hub: HuggingFaceHub, fake: FakeHub, commit: RemoteCommit) -> None:
    fake.fail(web_page(), "*/config.json")
    with pytest.raises(WrongBytes):
        _fetched(hub, commit)


@pytest.mark.parametrize(
    "content_range",
    ["bytes 6-24/25", "bytes 5-25/26", "bytes 0-24/25", "bytes */25", "items 5-24/25", "", "bytes \u0665-24/25"],
)
def test_another_range_than_the_requested_one_is_an_error(
    hub: HuggingFaceHub, fake: FakeHub, commit: RemoteCommit, content_range: str
) -> None:
    fake.fail(Headers({"Content-Range": content_range.encode().decode("latin-1")}), f"/cdn/*/{_WEIGHTS}")
    sinks = _begun()
    with pytest.raises(DownloadFailed):
        _fetched(hub, commit, sinks)
    assert bytes(sinks.sinks[_WEIGHTS].data) == b"these"


def test_a_file_with_fewer_bytes_than_listed_is_an_error(
    hub: HuggingFaceHub, fake: FakeHub, commit: RemoteCommit
) -> None:
    fake.fail(Status(416), f"/cdn/*/{_WEIGHTS}")
    with pytest.raises(DownloadFailed, match="fewer bytes"):
        _fetched(hub, commit, _begun())


@pytest.mark.parametrize("status", [204, 207])
def test_an_unexpected_success_status_is_an_error(
    hub: HuggingFaceHub, fake: FakeHub, commit: RemoteCommit, status: int
) -> None:
    fake.fail(Status(status), "*/config.json")
    with pytest.raises(DownloadFailed):
        _fetched(hub, commit)


def test_a_compressed_file_is_decompressed_and_a_compressed_part_refused(
    hub: HuggingFaceHub, fake: FakeHub, commit: RemoteCommit
) -> None:
    rule = fake.fail(Compressed(), f"/cdn/*/{_WEIGHTS}")
    assert _fetched(hub, commit) == _FILES
    assert _fetched(hub, commit, _begun()) == _FILES  # from byte 0
    fake.heal(rule)
    fake.fail(Compressed(part=True), f"/cdn/*/{_WEIGHTS}")
    with pytest.raises(DownloadFailed):
        _fetched(hub, commit, _begun())


# --- pages and redirects


def test_a_listing_has_pages(hub: HuggingFaceHub, fake: FakeHub) -> None:
    assert {file.name for file in hub.commit(_NAME, "main").files} == set(_FILES)
    assert len(fake.requests("GET", "/tree/")) == 2


@pytest.mark.parametrize(
    "new", ["http://elsewhere.invalid", "https://127.0.0.1", f"{_DEFAULT_ENDPOINT}.evil.invalid", "//x.invalid"]
)
def test_a_next_page_at_another_host_is_refused(hub: HuggingFaceHub, fake: FakeHub, new: str) -> None:
    fake.fail(NextPage(fake.endpoint, new))
    assert "another host" in _commit_error(hub).message


def test_a_mirror_may_name_the_pages_of_the_hub_itself(hub: HuggingFaceHub, fake: FakeHub) -> None:
    rule = fake.fail(NextPage(fake.endpoint, _DEFAULT_ENDPOINT))
    assert len(hub.commit(_NAME, "main").files) == len(_FILES)
    assert rule.hits == 1


def test_a_listing_that_does_not_end_is_an_error(
    hub: HuggingFaceHub, fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlxknife.adapters.hub.hub._MAX_PAGES", 5)
    fake.fail(NextPage("cursor=2", "cursor=0"))
    assert "does not end" in _commit_error(hub).message
    monkeypatch.setattr("mlxknife.adapters.hub.client._MAX_BODY", 100)
    assert "does not end" in _commit_error(hub).message
    assert len(fake.requests("GET", "/tree/")) == 5


@pytest.mark.parametrize("to", [None, "ftp://127.0.0.1/x"])
def test_an_invalid_redirect_is_an_error(
    hub: HuggingFaceHub, fake: FakeHub, commit: RemoteCommit, to: str | None
) -> None:
    rules: list[Rule] = [fake.fail(Redirect(to), path) for path in ("/api/*", "*/resolve/*/config.json")]
    assert type(_commit_error(hub)) is DownloadFailed
    with pytest.raises(DownloadFailed):
        _fetched(hub, commit)
    assert all(rule.hits for rule in rules)


def test_the_token_is_sent_to_the_hub_only(fake: FakeHub) -> None:
    fake.repo(_NAME).private = True
    hub = HuggingFaceHub(fake.endpoint, READER, retry=_FAST_RETRY)
    assert _fetched(hub, hub.commit(_NAME, "main")) == _FILES
    assert {(seen.site, seen.authorized) for seen in fake.requests()} == {("hub", True), ("cdn", False)}


def test_a_model_that_moved_is_found(hub: HuggingFaceHub, fake: FakeHub) -> None:
    fake.rename(_NAME, "org/new")
    assert _fetched(hub, hub.commit(_NAME, "main")) == _FILES


# --- searches


@pytest.mark.parametrize("fault", [web_page(), Body(b"{}"), Body(b'[{"name": "x"}]'), Body(b" " * 2**20 + b"[]")])
def test_an_invalid_answer_to_a_search_is_an_error(hub: HuggingFaceHub, fake: FakeHub, fault: Body) -> None:
    fake.fail(fault, "/api/models")
    with pytest.raises(DownloadFailed):
        hub.search("name", 5)


def test_a_search_is_for_mlx_sent_once_and_cut_at_its_limit(hub: HuggingFaceHub, fake: FakeHub) -> None:
    fake.fail(Body(b'[{"id": "a/1"}, {"id": "../a"}, {"id": "a/3"}]'), "/api/models", times=1)
    assert hub.search("a&b=c d", 2) == ("a/1", "../a")
    (seen,) = fake.requests("GET", "/api/models")
    assert parse_qs(seen.query) == {
        "search": ["a&b=c d"],
        "filter": ["mlx"],
        "sort": ["downloads"],
        "direction": ["-1"],
        "limit": ["2"],
    }
    fake.reset()
    fake.fail(Status(500), "/api/models")
    with pytest.raises(DownloadFailed):
        hub.search("name", 5)
    assert len(fake.requests("GET", "/api/models")) == 1
