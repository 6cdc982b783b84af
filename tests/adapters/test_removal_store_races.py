"""Two removals and a download at the same moment: nothing that is needed is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlxknife.adapters.hfcache import safe_files
from mlxknife.adapters.hfcache.removal_store import CacheRemovalStore
from mlxknife.domain.errors import LocksPresent
from mlxknife.domain.removal.values import RemovalTarget
from tests.builder import CacheBuilder

_OTHERS = """
import fcntl, os, sys
from mlxknife.adapters.hfcache.removal_store import CacheRemovalStore
hub, lock = sys.argv[1:]
CacheRemovalStore(hub).empty_trash()
handle = os.open(lock, os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
_REMOVER = """
import contextlib, os, sys
print("there", flush=True)
while True:
    with contextlib.suppress(OSError):
        os.rmdir(sys.argv[1])
"""


def test_a_folder_is_created_while_another_process_keeps_removing_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _REMOVER, str(tmp_path / "folder")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as remover:
        try:
            assert remover.stdout is not None
            assert remover.stdout.readline() == "there\n"
            for _ in range(5000):
                assert safe_files.make_folder(str(tmp_path), "folder") == str(tmp_path / "folder")
        finally:
            remover.kill()


def test_a_repo_is_restored_when_a_download_begins_while_another_removal_empties_the_trash(tmp_path: Path) -> None:
    built = CacheBuilder(tmp_path).model("org/model")
    before = {path: path.read_bytes() for path in built.repo.rglob("*") if path.is_file()}
    lock = tmp_path / ".locks" / built.repo.name / f"{'a' * 64}.lock"
    lock.parent.mkdir(parents=True)
    others: list[subprocess.Popen[str]] = []

    def meanwhile(event: str, arguments: tuple[object, ...]) -> None:
        """Right after the rename, let another process empty the trash and a third begin a download."""
        if active and event == "os.listdir" and str(arguments[0]).startswith(str(lock.parent)) and not others:
            command = [sys.executable, "-c", _OTHERS, str(tmp_path), str(lock)]
            others.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            assert others[0].stdout is not None
            assert others[0].stdout.readline() == "held\n"

    active = True
    sys.addaudithook(meanwhile)
    try:
        with pytest.raises(LocksPresent):
            CacheRemovalStore(str(tmp_path)).discard(
                RemovalTarget(name="org/model", size_bytes=0, folder=built.repo.name)
            )
    finally:
        active = False
        for other in others:
            other.communicate("")
    assert len(others) == 1
    assert {path: path.read_bytes() for path in built.repo.rglob("*") if path.is_file()} == before
    assert not (tmp_path / ".mlxk-trash").exists()
