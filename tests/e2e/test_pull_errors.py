"""``pull`` with damage in the cache, errors of the Hub, of the network, or of the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.adapters.damages import LFS_POINTER
from tests.builder import BuiltModel, git_sha1, sha256
from tests.e2e.processes import Machine
from tests.e2e.test_pull import FILES, NAME, WEIGHTS, Site, content, failure, picture, sizes
from tests.fake_hub import (
    STRANGER,
    Body,
    Cut,
    FakeHub,
    Flip,
    Headers,
    IgnoreRange,
    Status,
    generated_safetensors,
    rate_limited,
    resized,
    web_page,
)
from tests.fake_hub.faults import Fault

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

LARGE = FILES | {WEIGHTS: b"".join(generated_safetensors(300_000).chunks(0, 300_000))}
AT_ONCE = {"Retry-After": "3600"}
"""A Retry-After so long that a pull fails at once."""


@pytest.fixture
def site(machine: Machine) -> Iterator[Site]:
    with FakeHub() as hub:
        yield Site(machine, hub)


def refused(site: Site, code: int, *words: str, **variables: str) -> dict[str, Any]:
    """Return the error of a pull, and check its exit code."""
    outcome = site.run(*words, "--json", **variables)
    assert outcome.code == code, outcome
    return failure(outcome)


# --- damage in the cache


def over(data: bytes, *, keeps_time: bool = False) -> Callable[[BuiltModel, str], None]:
    """Overwrite a blob."""

    def damage(model: BuiltModel, file: str) -> None:
        blob = model.blob(file)
        before = blob.stat()
        blob.write_bytes(data)
        if keeps_time:
            os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))

    return damage


def linked_to(target: str) -> Callable[[BuiltModel, str], None]:
    def damage(model: BuiltModel, file: str) -> None:
        (model.snapshot / file).unlink()
        (model.snapshot / file).symlink_to(target)

    return damage


def _nothing_left(model: BuiltModel, file: str) -> None:
    model.blob(file).unlink()
    (model.snapshot / file).unlink()


LOST: dict[str, Callable[[BuiltModel, str], None]] = {
    WEIGHTS: over(FILES[WEIGHTS][:-1] + b"\1"),
    "config.json": over(FILES["config.json"][::-1], keeps_time=True),
    "tokenizer.json": over(FILES["tokenizer.json"][:-7]),
    "lost/pointer.txt": over(LFS_POINTER),
    "lost/dangling.txt": lambda model, file: model.blob(file).unlink(),
    "lost/gone.txt": _nothing_left,
}
ASTRAY: dict[str, Callable[[BuiltModel, str], None]] = {
    "astray/deleted.txt": lambda model, file: (model.snapshot / file).unlink(),
    "astray/elsewhere.txt": linked_to(f"../../../blobs/{git_sha1(FILES['README.md'])}"),
    "astray/outside.txt": linked_to("../../../../../precious"),
}
"""Only the link is damaged; the blob is intact."""


def test_only_damaged_files_are_fetched(site: Site) -> None:
    files = {name: f"the content of {name}".encode() for name in (*LOST, *ASTRAY)} | FILES
    precious = site.machine.root / "precious"
    precious.write_bytes(files["astray/outside.txt"])
    commit = site.hub.add(NAME, files)
    site.pull(NAME)
    site.hub.reset()
    for file, harm in (LOST | ASTRAY).items():
        harm(site.built(commit), file)
    data = site.pull(NAME)
    assert site.fetched() == {name: len(files[name]) for name in LOST}
    assert {file["name"] for file in data["files"] if file["action"] != "keep"} == LOST.keys()
    assert data["bytes_to_fetch"] == sum(site.fetched().values())
    assert site.verified() == {NAME: "verified"}
    assert content(site.built(commit).snapshot) == files
    assert {site.built(commit).blob(name).name for name in ASTRAY} == {git_sha1(files[name]) for name in ASTRAY}
    assert precious.read_bytes() == files["astray/outside.txt"]
    assert site.pull(NAME)["download_status"] == "already_exists"


@pytest.mark.parametrize("place", [None, "folder"])
def test_plain_http_is_used_if_the_chunk_store_fails(site: Site, place: str | None) -> None:
    commit = site.hub.add(NAME, FILES)
    site.hub.repo(NAME).xet = True
    if place:
        access = {"X-Xet-Access-Token": "x", "X-Xet-Token-Expiration": "99999999999"}
        for fault in (Body(b"{}"), Headers(access | {"X-Xet-Cas-Url": str(site.machine.root)})):
            site.hub.fail(fault, "*/xet-read-token/*")
    site.pull(NAME)
    assert len(site.hub.requests(path_part="/xet-read-token/")) == 1
    assert site.fetched() == sizes()
    assert content(site.built(commit).snapshot) == FILES
    site.pull(NAME, "--force", HF_HUB_DISABLE_XET="1")
    assert len(site.hub.requests(path_part="/xet-read-token/")) == 1


# --- refusals of the Hub


@pytest.mark.parametrize(
    ("words", "token", "kind", "text"),
    [
        ("org/gated", None, "access_denied", "HF_TOKEN"),
        ("org/gated", STRANGER, "access_denied", "Request access"),
        ("org/private", None, "download_failed", "HF_TOKEN"),
        ("org/private", STRANGER, "download_failed", "repository not found"),
        ("org/disabled", None, "access_denied", "disabled access"),
        ("org/nowhere", None, "download_failed", "repository not found"),
        (f"{NAME}@nowhere", None, "download_failed", "no such revision"),
        (NAME, "hf_expired", "auth_error", "HF_TOKEN"),
    ],
)
def test_each_refusal_of_the_hub_has_its_error_type(
    site: Site, words: str, token: str | None, kind: str, text: str
) -> None:
    site.hub.add(NAME, FILES)
    for name in ("org/gated", "org/private", "org/disabled"):
        site.hub.add(name, FILES, gated=name == "org/gated", private=name == "org/private")
    site.hub.repo("org/disabled").disabled = True
    error = refused(site, 2, words, **({"HF_TOKEN": token} if token else {}))
    assert error["type"] == kind
    assert words in error["message"]
    assert text in error["message"] + error.get("hint", "")
    assert sum(site.fetched().values()) == 0


def test_a_gated_model_is_not_listed_after_a_refused_pull(site: Site) -> None:
    site.hub.add(NAME, FILES, gated=True)
    refused(site, 2, NAME)
    assert site.machine.run("list", "--json").names() == []


@pytest.mark.parametrize("fault", [web_page(), Body(b'{"sha": "../../x"}'), Status(418)])
def test_a_malformed_listing_is_refused(site: Site, fault: Fault) -> None:
    site.hub.add(NAME, FILES)
    site.hub.fail(fault, "/api/*")
    assert refused(site, 2, NAME)["type"] == "download_failed"
    assert not site.machine.hub.exists()


# --- on the way


def test_an_unreachable_hub_is_a_network_error(site: Site) -> None:
    site.hub.close()
    error = refused(site, 2, NAME)
    assert error["type"] == "NetworkError"
    assert "HF_ENDPOINT" in error["hint"]
    assert not site.machine.hub.exists()


def test_a_single_failure_is_retried(site: Site) -> None:
    commit = site.hub.add(NAME, LARGE)
    faults: list[tuple[Fault, str]] = [
        (rate_limited(retry_after=0), "/api/*"),
        (rate_limited(retry_after=0), "*/config.json"),
        (Status(503), "*/tokenizer.json"),
        (Cut(after=10), "*/README.md"),
        (Cut(after=0, reset=True), "*/notes.txt"),
        (Flip(at=-1), "*/tokenizer_config.json"),
        (Status(403), "/cdn/*"),  # an expired link
        (Cut(after=100_000), "/cdn/*"),
    ]
    rules = [site.hub.fail(fault, path, times=1) for fault, path in faults]
    site.pull(NAME)
    assert [rule.hits for rule in rules] == [1] * len(rules)
    assert content(site.built(commit).snapshot) == LARGE
    sent = [(seen.status, seen.range, seen.bytes_sent) for seen in site.hub.requests("GET", "/cdn/")][1:]
    assert sent == [(200, None, 100_000), (206, "bytes=100000-", 200_000)]


def test_a_file_that_always_fails_ends_the_pull_and_the_next_pull_fetches_only_the_rest(site: Site) -> None:
    commit = site.hub.add(NAME, LARGE)
    site.hub.fail(Cut(after=100_000), "/cdn/*", times=1)
    site.hub.fail(Status(503, AT_ONCE), "/cdn/*", skip=1)
    error = refused(site, 2, NAME)
    assert (error["type"], WEIGHTS in error["message"]) == ("download_failed", True)
    assert site.verified() == {NAME: "incomplete"}
    assert not site.built(commit).snapshot.exists()
    there = {path.name for path in (site.built(commit).repo / "blobs").iterdir()}
    kept = {name for name, data in LARGE.items() if {git_sha1(data), sha256(data)} & there}
    assert kept
    site.hub.heal()
    site.hub.reset()
    data = site.pull(NAME)
    rest = {name: len(LARGE[name]) for name in LARGE.keys() - kept}
    assert site.fetched() == rest | {WEIGHTS: 200_000}
    assert data["bytes_to_fetch"] == sum(site.fetched().values())
    assert site.verified() == {NAME: "verified"}


def test_a_hub_without_ranges_sends_the_whole_file_again(site: Site) -> None:
    commit = site.hub.add(NAME, LARGE)
    site.hub.fail(Cut(after=100_000), "/cdn/*", times=1)
    whole = site.hub.fail(IgnoreRange(), "/cdn/*")
    site.pull(NAME)
    assert whole.hits == 1
    assert content(site.built(commit).snapshot) == LARGE


def test_wrong_bytes_are_never_published(site: Site) -> None:
    commit = site.hub.add(NAME, FILES)
    site.hub.fail(Flip(at=-1), "/cdn/*")
    error = refused(site, 2, NAME)
    assert (error["type"], WEIGHTS in error["message"]) == ("download_failed", True)
    built = site.built(commit)
    assert not built.snapshot.exists()
    assert not built.ref().exists()
    assert not (built.repo / "blobs" / sha256(FILES[WEIGHTS])).exists()
    assert site.verified() == {NAME: "incomplete"}
    site.hub.heal()
    site.pull(NAME)
    assert site.verified() == {NAME: "verified"}


# --- the disk


def test_a_full_disk_is_detected_before_anything_is_fetched(site: Site) -> None:
    site.hub.add(NAME, FILES)
    site.hub.fail(resized(WEIGHTS, 10**15))
    error = refused(site, 3, NAME)
    assert (error["type"], "mlxk rm" in error["hint"]) == ("FilesystemError", True)
    assert site.fetched() == {}
    assert site.machine.run("list", "--json").names() == []


@pytest.mark.parametrize("place", ["hub", f"hub/models--{NAME.replace('/', '--')}"])
def test_a_file_in_place_of_a_folder_exits_with_3_and_is_kept(site: Site, place: str) -> None:
    site.hub.add(NAME, FILES)
    file = site.machine.root / place
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    assert refused(site, 3, NAME)["type"] == "FilesystemError"
    assert file.read_text() == "mine"


# --- offline


def test_offline_a_complete_model_needs_no_request(site: Site) -> None:
    site.hub.add(NAME, FILES)
    site.pull(NAME)
    site.hub.reset()
    before = picture(site.machine.hub)
    assert site.pull(NAME, HF_HUB_OFFLINE="1")["download_status"] == "already_exists"
    assert "offline" in site.run(NAME, HF_HUB_OFFLINE="1").out
    for words in ((NAME, "--force"), ("org/missing",), (f"{NAME}@v9",)):
        error = refused(site, 2, *words, HF_HUB_OFFLINE="1")
        assert (error["type"], "HF_HUB_OFFLINE" in error["hint"]) == ("NetworkError", True)
    assert site.hub.requests() == []
    assert picture(site.machine.hub) == before


def test_offline_a_damaged_model_cannot_be_repaired(site: Site) -> None:
    site.hub.add(NAME, FILES)
    (site.machine.cache.model(NAME, FILES).snapshot / "tokenizer.json").unlink()
    error = refused(site, 2, NAME, HF_HUB_OFFLINE="1")
    assert (error["type"], "tokenizer missing" in error["message"]) == ("NetworkError", True)
    assert site.hub.requests() == []
