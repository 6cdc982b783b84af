"""``pull`` over a damaged cache: bit rot, partial files, a folder that is a link."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlxknife.adapters.hfcache.stamps import identity
from tests.e2e.processes import Machine
from tests.e2e.test_pull import FILES, NAME, WEIGHTS, Site, content, failure, sizes
from tests.fake_hub import FakeHub, Status

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture
def site(machine: Machine) -> Iterator[Site]:
    with FakeHub() as hub:
        yield Site(machine, hub)


@pytest.fixture
def snapshot(site: Site) -> Path:
    """Pull the model once."""
    commit = site.hub.add(NAME, FILES)
    assert site.pull(NAME)["download_status"] == "success"
    site.hub.reset()
    return site.built(commit).snapshot


def rot(repo: Path, blob: Path) -> None:
    """Flip a byte as a failing disk does: size and times do not change, so the stamp stays valid."""
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    stamps = json.loads((repo / ".mlxk/stamps.json").read_bytes())
    stamps[str(blob.relative_to(repo.parent))]["identity"] = list(identity(blob.stat()))
    (repo / ".mlxk/stamps.json").write_text(json.dumps(stamps))


def test_the_next_pull_fetches_a_file_that_health_verify_found_corrupt(site: Site, snapshot: Path) -> None:
    rot(snapshot.parents[1], (snapshot / WEIGHTS).resolve())
    assert site.pull(NAME)["download_status"] == "already_exists"  # the stamp is trusted, and health only reports
    assert site.machine.run("health", NAME).code == 0
    assert site.pull(NAME)["download_status"] == "already_exists"
    assert f"hash mismatch: {WEIGHTS}" in site.machine.run("health", "--verify").out
    again = site.pull(NAME)
    assert (again["download_status"], site.fetched()) == ("success", sizes(WEIGHTS))
    assert content(snapshot) == FILES
    assert site.verified() == {NAME: "verified"}


def test_a_file_that_is_gone_is_missed_and_fetched_and_a_listing_that_is_gone_comes_back(
    site: Site, snapshot: Path
) -> None:
    (snapshot / "special_tokens_map.json").unlink()
    health = site.machine.run("health", "--verify").out
    assert f"unhealthy  {NAME}: file missing: special_tokens_map.json (the Hub lists it)\n" in health
    assert site.pull(NAME)["download_status"] == "success"
    shutil.rmtree(snapshot.parents[1] / "trees")
    health = site.machine.run("health", "--verify").out
    assert f"verified   {NAME} (the files that are there; no list of all is cached)\n" in health
    assert site.pull(NAME)["download_status"] == "already_exists"
    assert f"verified   {NAME}\n" in site.machine.run("health", "--verify").out


@pytest.mark.parametrize("suffix", [".incomplete", ".0a1b2c3d.incomplete"])
def test_a_partial_beside_its_blob_makes_a_model_unfinished_until_the_next_pull(
    site: Site, snapshot: Path, suffix: str
) -> None:
    blob = (snapshot / WEIGHTS).resolve()
    blob.with_name(blob.name + suffix).write_bytes(b"half")
    assert "download not finished" in site.machine.run("health", NAME).out
    assert site.pull(NAME)["download_status"] == "already_exists"
    assert site.fetched() == {}
    assert site.verified() == {NAME: "verified"}
    assert not list(blob.parent.glob("*.incomplete"))


def test_a_repo_that_is_a_link_is_listed_and_nothing_is_written_through_it(
    site: Site, snapshot: Path, tmp_path: Path
) -> None:
    repo, elsewhere = snapshot.parents[1], tmp_path / "elsewhere"
    shutil.move(repo, elsewhere)
    repo.symlink_to(elsewhere)
    assert site.pull(NAME)["download_status"] == "already_exists"
    damaged = elsewhere / snapshot.relative_to(repo) / WEIGHTS
    damaged.resolve().write_bytes(b"damaged")
    before = {path: path.lstat().st_mtime_ns for path in elsewhere.rglob("*")}
    refused = site.run(NAME, "--json")
    error = failure(refused)
    assert (refused.code, error["type"]) == (3, "FilesystemError")
    assert "models--org--tiny-chat is a link, not a folder" in str(error["message"])
    assert {path: path.lstat().st_mtime_ns for path in elsewhere.rglob("*")} == before
    removed = site.machine.run("rm", NAME)
    assert removed.out == f"Successfully deleted {NAME} (only the link; its target stays)\n"
    assert not repo.is_symlink()
    assert {path: path.lstat().st_mtime_ns for path in elsewhere.rglob("*")} == before


def test_a_file_that_the_hub_has_lost_is_named(site: Site) -> None:
    site.hub.add(NAME, FILES)
    site.hub.fail(Status(404), f"/cdn/*/{WEIGHTS}")
    error = failure(site.run(NAME, "--json"))
    assert error["type"] == "download_failed"
    assert error["message"] == f"{NAME}: {WEIGHTS}: the file store does not have it"
