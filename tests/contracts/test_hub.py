"""The contract of ``Hub``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from huggingface_hub import close_session, constants

from mlxknife.adapters.hub.hub import HuggingFaceHub
from mlxknife.adapters.hub.retry import RetryPolicy
from mlxknife.domain.errors import (
    DownloadFailed,
    HubAccessDenied,
    HubAuthError,
    HubOffline,
    NetworkError,
    RepoNotFound,
    StorageError,
    WrongBytes,
)
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedHash
from mlxknife.domain.transfer.values import RemoteCommit, RemoteFile
from mlxknife.ports.hub.hub import Hub
from tests.builder import git_sha1, sha256
from tests.fake_hub import READER, STRANGER, Cut, FakeHub, Fault, Flip, IgnoreRange, Status
from tests.fakes.download_store import MemorySinks
from tests.fakes.hub import Flaw, InMemoryHub

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

_NAME, _CLOSED_PORT = "org/name", "http://127.0.0.1:1"
_WEIGHTS = "model.safetensors"
_FILES = {_WEIGHTS: b"these are all the weights", "config.json": b"{}", "sub/x y.txt": b"a text", "empty.txt": b""}
_FAST_RETRY = RetryPolicy(tries=5, first_wait=0.001, longest_wait=0.002)


class Stage(ABC):
    """A Hub whose models and faults a test sets."""

    @abstractmethod
    def add(self, files: Mapping[str, bytes], ref: str = "main", name: str = _NAME) -> str:
        """Commit files."""

    @abstractmethod
    def close_off(self, *, gated: bool = False, private: bool = False, disabled: bool = False) -> None:
        """Restrict access to the model."""

    @abstractmethod
    def open(self, token: str | None = None, *, is_offline: bool = False, is_silent: bool = False) -> Hub:
        """Return the Hub as a user with this token sees it."""

    @abstractmethod
    def spoil(self, file: str, flaw: Flaw, times: int = 1) -> None:
        """Make the next responses with a file wrong."""

    @abstractmethod
    def requested(self, file: str) -> list[int]:
        """Return the start positions of the requests for a file."""


def _fetched(
    hub: Hub, commit: RemoteCommit, sinks: MemorySinks | None = None, files: Sequence[RemoteFile] | None = None
) -> dict[str, bytes]:
    sinks = sinks or MemorySinks()
    hub.fetch(commit, commit.files if files is None else files, sinks)
    return sinks.finished()


class Contract(ABC):
    @pytest.fixture
    @abstractmethod
    def stage(self) -> Stage | Iterator[Stage]:
        """Give a Hub with one model."""

    # --- listings

    def test_a_commit_has_every_file_with_its_size_and_hash(self, stage: Stage) -> None:
        commit = stage.open().commit(_NAME, "main")
        files = {file.name: file for file in commit.files}
        assert (commit.name, {name: file.size for name, file in files.items()}) == (
            _NAME,
            {name: len(data) for name, data in _FILES.items()},
        )
        assert files[_WEIGHTS].hash == RecordedHash(HashAlgorithm.SHA256, sha256(_FILES[_WEIGHTS]))
        assert files[_WEIGHTS].git_oid not in (git_sha1(_FILES[_WEIGHTS]), files[_WEIGHTS].hash.digest)
        for name in set(_FILES) - {_WEIGHTS}:
            assert files[name].hash == RecordedHash(HashAlgorithm.GIT_SHA1, git_sha1(_FILES[name]))
            assert files[name].git_oid == files[name].hash.digest

    @pytest.mark.parametrize("ref", ["main", "v1", "feature/one"])
    def test_a_ref_gives_its_current_commit_and_a_commit_never_changes(self, stage: Stage, ref: str) -> None:
        old = stage.add({"a.txt": b"old"}, ref)
        hub = stage.open()
        assert hub.commit(_NAME, ref).commit == old
        new = stage.add({"a.txt": b"new"}, ref)
        assert (hub.commit(_NAME, ref).commit, hub.commit(_NAME, old).commit) == (new, old)
        assert (_fetched(hub, hub.commit(_NAME, old)), _fetched(hub, hub.commit(_NAME, new))) == (
            {"a.txt": b"old"},
            {"a.txt": b"new"},
        )

    @pytest.mark.parametrize(
        ("name", "revision", "error"),
        [
            ("org/none", "main", RepoNotFound),
            (_NAME, "none", DownloadFailed),
            (_NAME, "0" * 40, DownloadFailed),
        ],
    )
    @pytest.mark.parametrize("token", [None, READER])
    def test_a_missing_model_and_a_missing_revision_are_different_errors(
        self, stage: Stage, name: str, revision: str, error: type[DownloadFailed], token: str | None
    ) -> None:
        with pytest.raises(DownloadFailed) as caught:
            stage.open(token).commit(name, revision)
        assert type(caught.value) is error

    # --- searches

    def test_a_search_finds_names_by_a_part_of_them(self, stage: Stage) -> None:
        for name in ("mlx-community/Llama-3-4bit", "other/LLAMA", "other/gemma"):
            stage.add({"a.txt": b""}, name=name)
        hub = stage.open()
        assert set(hub.search("llama", 5)) == {"mlx-community/Llama-3-4bit", "other/LLAMA"}
        assert len(hub.search("llama", 1)) == 1
        assert hub.search("no such model & more", 5) == ()

    def test_a_search_shows_a_private_model_to_those_with_access_only(self, stage: Stage) -> None:
        stage.close_off(private=True)
        assert stage.open(STRANGER).search("name", 5) == ()
        assert stage.open(READER).search("name", 5) == (_NAME,)

    # --- access

    @pytest.mark.parametrize("token", [None, STRANGER])
    def test_a_private_model_is_not_found_by_others(self, stage: Stage, token: str | None) -> None:
        stage.close_off(private=True)
        with pytest.raises(RepoNotFound):
            stage.open(token).commit(_NAME, "main")

    @pytest.mark.parametrize("token", [None, STRANGER])
    def test_a_gated_model_is_listed_and_denied_to_others(self, stage: Stage, token: str | None) -> None:
        stage.close_off(gated=True)
        hub, sinks = stage.open(token), MemorySinks()
        commit = hub.commit(_NAME, "main")
        with pytest.raises(HubAccessDenied):
            hub.fetch(commit, commit.files, sinks)
        assert _WEIGHTS not in sinks.finished()

    def test_a_user_with_access_gets_the_files(self, stage: Stage) -> None:
        stage.close_off(gated=True, private=True)
        hub = stage.open(READER)
        assert _fetched(hub, hub.commit(_NAME, "main")) == _FILES

    def test_a_disabled_model_is_denied(self, stage: Stage) -> None:
        stage.close_off(disabled=True)
        with pytest.raises(HubAccessDenied):
            stage.open(READER).commit(_NAME, "main")

    def test_a_token_that_is_not_accepted_is_an_auth_error(self, stage: Stage) -> None:
        commit = stage.open().commit(_NAME, "main")
        hub = stage.open("hf_expired")
        with pytest.raises(HubAuthError):
            hub.commit(_NAME, "main")
        with pytest.raises(HubAuthError):
            hub.search("name", 5)
        with pytest.raises(HubAuthError):
            hub.fetch(commit, commit.files, MemorySinks())

    def test_offline_mode_sends_no_request(self, stage: Stage) -> None:
        commit = stage.open().commit(_NAME, "main")
        hub = stage.open(is_offline=True)
        with pytest.raises(HubOffline):
            hub.commit(_NAME, "main")
        with pytest.raises(HubOffline):
            hub.search("name", 5)
        with pytest.raises(HubOffline):
            hub.fetch(commit, commit.files, MemorySinks())
        assert all(stage.requested(name) == [] for name in _FILES)

    def test_a_hub_that_does_not_answer_is_a_network_error(self, stage: Stage) -> None:
        commit = stage.open().commit(_NAME, "main")
        hub = stage.open(is_silent=True)
        calls: tuple[Callable[[], object], ...] = (
            lambda: hub.commit(_NAME, "main"),
            lambda: hub.search("name", 5),
            lambda: hub.fetch(commit, commit.files, MemorySinks()),
        )
        for call in calls:
            with pytest.raises(NetworkError) as caught:
                call()
            assert type(caught.value) is NetworkError

    # --- files

    def test_files_are_downloaded_completely(self, stage: Stage) -> None:
        hub, sinks = stage.open(), MemorySinks()
        assert _fetched(hub, hub.commit(_NAME, "main"), sinks) == _FILES
        assert sorted(sinks.closed) == sorted(_FILES)
        assert [stage.requested(name) for name in _FILES] == [[0], [0], [0], []]  # an empty file needs no request

    def test_only_the_requested_files_are_downloaded(self, stage: Stage) -> None:
        hub = stage.open()
        commit = hub.commit(_NAME, "main")
        assert _fetched(hub, commit, files=commit.files[:1]).keys() == {commit.files[0].name}
        assert _fetched(hub, commit, files=[]) == {}

    @pytest.mark.parametrize("begun", [1, 10, 24])
    def test_a_file_continues_at_the_position_of_its_sink(self, stage: Stage, begun: int) -> None:
        hub = stage.open()
        sinks = MemorySinks({_WEIGHTS: _FILES[_WEIGHTS][:begun]})
        assert _fetched(hub, hub.commit(_NAME, "main"), sinks) == _FILES
        assert stage.requested(_WEIGHTS) == [begun]

    def test_a_file_that_is_complete_already_is_only_finished(self, stage: Stage) -> None:
        hub = stage.open()
        assert _fetched(hub, hub.commit(_NAME, "main"), MemorySinks(_FILES)) == _FILES
        assert all(stage.requested(name) == [] for name in _FILES)

    def test_wrong_bytes_of_an_earlier_download_are_fetched_again(self, stage: Stage) -> None:
        hub = stage.open()
        assert _fetched(hub, hub.commit(_NAME, "main"), MemorySinks({_WEIGHTS: b"those"})) == _FILES
        assert stage.requested(_WEIGHTS) == [5, 0]

    def test_a_file_that_another_process_stored_is_not_fetched(self, stage: Stage) -> None:
        hub = stage.open()
        found = _fetched(hub, hub.commit(_NAME, "main"), MemorySinks(stored_elsewhere=frozenset({_WEIGHTS})))
        assert found == {name: data for name, data in _FILES.items() if name != _WEIGHTS}
        assert stage.requested(_WEIGHTS) == []

    def test_a_whole_file_instead_of_its_rest_is_taken_from_the_start(self, stage: Stage) -> None:
        stage.spoil(_WEIGHTS, Flaw.WHOLE)
        hub = stage.open()
        assert _fetched(hub, hub.commit(_NAME, "main"), MemorySinks({_WEIGHTS: b"those"})) == _FILES
        assert stage.requested(_WEIGHTS) == [5]

    def test_a_broken_download_continues_where_it_broke(self, stage: Stage) -> None:
        stage.spoil(_WEIGHTS, Flaw.CUT, times=7)
        hub = stage.open()
        assert _fetched(hub, hub.commit(_NAME, "main")) == _FILES
        assert stage.requested(_WEIGHTS) == [0, 2, 4, 6, 8, 10, 12, 14]

    def test_wrong_bytes_are_requested_once_more(self, stage: Stage) -> None:
        stage.spoil(_WEIGHTS, Flaw.FLIPPED)
        hub = stage.open()
        assert _fetched(hub, hub.commit(_NAME, "main")) == _FILES
        assert stage.requested(_WEIGHTS) == [0, 0]

    def test_bytes_that_are_wrong_twice_are_an_error(self, stage: Stage) -> None:
        stage.spoil(_WEIGHTS, Flaw.FLIPPED, times=2)
        hub, sinks = stage.open(), MemorySinks()
        commit = hub.commit(_NAME, "main")
        with pytest.raises(WrongBytes):
            hub.fetch(commit, commit.files, sinks)
        assert (stage.requested(_WEIGHTS), sinks.sinks[_WEIGHTS].position) == ([0, 0], 0)
        assert _WEIGHTS in sinks.closed

    def test_a_file_that_the_hub_refuses_is_an_error(self, stage: Stage) -> None:
        stage.spoil(_WEIGHTS, Flaw.REFUSED)
        hub, sinks = stage.open(), MemorySinks()
        commit = hub.commit(_NAME, "main")
        with pytest.raises(DownloadFailed) as caught:
            hub.fetch(commit, commit.files, sinks)
        assert type(caught.value) is DownloadFailed
        assert _WEIGHTS not in sinks.finished()
        assert set(sinks.closed) == set(sinks.sinks)

    def test_an_error_of_a_sink_is_raised(self, stage: Stage) -> None:
        full = StorageError("The disk is full")
        hub, sinks = stage.open(), MemorySinks(failures={_WEIGHTS: full})
        commit = hub.commit(_NAME, "main")
        with pytest.raises(StorageError) as caught:
            hub.fetch(commit, commit.files, sinks)
        assert caught.value is full
        assert (stage.requested(_WEIGHTS), set(sinks.closed)) == ([0], set(sinks.sinks))


class FakeStage(Stage):
    def __init__(self) -> None:
        self.hub = InMemoryHub()
        self.add(_FILES)

    def add(self, files: Mapping[str, bytes], ref: str = "main", name: str = _NAME) -> str:
        return self.hub.add(name, files, ref)

    def close_off(self, *, gated: bool = False, private: bool = False, disabled: bool = False) -> None:
        repo = self.hub.repos[_NAME]
        repo.is_gated, repo.is_private, repo.is_disabled = gated, private, disabled

    def open(self, token: str | None = None, *, is_offline: bool = False, is_silent: bool = False) -> Hub:
        self.hub.token, self.hub.is_offline, self.hub.is_silent = token, is_offline, is_silent
        return self.hub

    def spoil(self, file: str, flaw: Flaw, times: int = 1) -> None:
        self.hub.flaws[file] += [flaw] * times

    def requested(self, file: str) -> list[int]:
        return self.hub.requested[file]


_FAULTS: Mapping[Flaw, Fault] = {
    Flaw.CUT: Cut(after=2),
    Flaw.FLIPPED: Flip(at=-1),
    Flaw.WHOLE: IgnoreRange(),
    Flaw.REFUSED: Status(404, code="EntryNotFound"),
}


class RealStage(Stage):
    def __init__(self, hub: FakeHub) -> None:
        self.hub = hub
        self.add(_FILES)

    def add(self, files: Mapping[str, bytes], ref: str = "main", name: str = _NAME) -> str:
        return self.hub.add(name, files, revision=ref)

    def close_off(self, *, gated: bool = False, private: bool = False, disabled: bool = False) -> None:
        repo = self.hub.repo(_NAME)
        repo.gated, repo.private, repo.disabled = gated, private, disabled

    def open(self, token: str | None = None, *, is_offline: bool = False, is_silent: bool = False) -> Hub:
        endpoint = _CLOSED_PORT if is_silent else self.hub.endpoint
        return HuggingFaceHub(endpoint, token, is_offline=is_offline, retry=_FAST_RETRY)

    def spoil(self, file: str, flaw: Flaw, times: int = 1) -> None:
        self.hub.fail(_FAULTS[flaw], f"*/{file}", times=times)

    def requested(self, file: str) -> list[int]:
        seen = [one for one in self.hub.requests("GET", f"/{file}") if one.status in (200, 206)]
        return [int((one.range or "bytes=0-").removeprefix("bytes=").removesuffix("-")) for one in seen]


class TestFake(Contract):
    @pytest.fixture
    def stage(self) -> Stage:
        return FakeStage()


class TestReal(Contract):
    @pytest.fixture
    def stage(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
        with FakeHub() as hub:
            yield RealStage(hub)
        close_session()
