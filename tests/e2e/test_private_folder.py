"""The private folder of model processes: MLX loads compiled kernels from it, so no other user may write there."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.e2e.limits import limited
from tests.e2e.processes import Machine
from tests.e2e.test_run import Bird
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.skipif(shutil.which("g++") is None, reason="without g++, MLX neither compiles nor loads kernels"),
]
_PLANTED = 'extern "C" __attribute__((constructor)) void planted() {{ fclose(fopen("{}", "w")); }}'


@pytest.fixture
def bird(tmp_path: Path) -> Bird:
    return Bird(Machine(tmp_path), parrot_folder())


def kernels(folder: Path) -> list[Path]:
    """Return the compiled kernels below a folder."""
    return sorted(folder.rglob("mlx/*/cpu/lib*.so"))


def test_a_library_that_was_planted_in_the_shared_temporary_folder_is_not_loaded(bird: Bird, tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    shared.mkdir()
    own.mkdir(0o700)
    assert bird.run(CAPITAL, TMPDIR=str(shared), MLXK_TEMP=str(own)).out == f"{ANSWERS[CAPITAL]}\n"
    names = [kernel.relative_to(tmp_path).parts[-4:] for kernel in kernels(tmp_path)]
    assert names
    sentinel, source = tmp_path / "loaded", tmp_path / "planted.cpp"
    source.write_text(f"#include <cstdio>\n{_PLANTED.format(sentinel)}\n")
    library = tmp_path / "planted.so"
    subprocess.run(["g++", "-shared", "-fPIC", "-o", library, source], check=True)
    shutil.rmtree(shared)
    for name in names:
        place = shared.joinpath(*name)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    outcome = bird.run(CAPITAL, TMPDIR=str(shared), MLXK_TEMP=str(own))
    assert not sentinel.exists()
    assert (outcome.code, outcome.out) == (0, f"{ANSWERS[CAPITAL]}\n")


def test_a_folder_that_is_not_private_ends_run_and_serve_with_3(bird: Bird, tmp_path: Path) -> None:
    (tmp_path / f"temp-{os.uname().machine}").symlink_to(tmp_path)
    error = bird.run(CAPITAL, "--json", MLXK_TEMP=str(tmp_path))
    assert (error.code, error.error()["type"]) == (3, "PermissionError")
    environment = bird.environment(MLXK_TEMP=str(tmp_path))
    server = bird.machine.run("serve", "--port", "0", environment=environment)
    assert (server.code, server.out) == (3, "")
    reason, hint = server.err.splitlines()
    assert reason.startswith(f"error: The folder for temporary files is not private: {tmp_path}/temp-")
    assert reason.endswith(": it is a link")
    assert hint == "hint: Remove it, or set MLXK_TEMP to a folder that only you can write to"


def test_kernels_are_kept_in_the_home_and_other_users_get_nothing_of_them(bird: Bird, tmp_path: Path) -> None:
    outcome = bird.run(CAPITAL, MLXK_TEMP="")
    assert (outcome.code, outcome.err) == (0, "")
    (kernel, *_) = kernels(tmp_path / "user/.cache/mlxk")
    folders = [folder for folder in kernel.parents if folder.is_relative_to(tmp_path / "user/.cache")]
    assert stat.S_IMODE(folders[-3].lstat().st_mode) == 0o700
    before = kernel.stat().st_mtime_ns
    assert bird.run(CAPITAL, MLXK_TEMP="").code == 0
    assert kernel.stat().st_mtime_ns == before


def test_without_a_home_nothing_is_left_in_the_temporary_folder(bird: Bird, tmp_path: Path) -> None:
    outcome = bird.run(CAPITAL, MLXK_TEMP="", HOME="/dev/null", TMPDIR=str(tmp_path))
    assert (outcome.code, outcome.out, outcome.err) == (0, f"{ANSWERS[CAPITAL]}\n", "")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("mlxk-")] == []
    outcome = bird.run(CAPITAL, MLXK_TEMP="", HOME="/dev/null", TMPDIR=str(tmp_path / "nowhere"))
    assert (outcome.code, outcome.out) == (3, "")
    assert f"cannot be used: {tmp_path}/nowhere: No such file or directory" in outcome.err


def test_a_full_disk_under_the_kernels_is_named(bird: Bird, tmp_path: Path) -> None:
    with limited(resource.RLIMIT_FSIZE, 4096):
        outcome = bird.run(CAPITAL, MLXK_TEMP=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith("error: MLX cannot compile kernels in its folder for temporary files: ")
    assert "File too large\nhint: Free some space there" in outcome.err
