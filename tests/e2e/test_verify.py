"""``--verify`` as text and as JSON."""

from __future__ import annotations

import subprocess
import sys

from tests.builder import chat_files, safetensors
from tests.e2e.processes import Machine

MIB = 1024 * 1024


def test_a_flipped_byte_is_found_only_by_hashing(machine: Machine) -> None:
    machine.cache.model("org/good")
    weights = machine.cache.model("org/bad", chat_files(salt="bad")).blob("model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert machine.run("health", "--strict").code == 0
    outcome = machine.run("health", "--verify", "--strict")
    assert outcome.code == 1
    assert outcome.out == (
        "verified   org/good (the files that are there; no list of all is cached)\n"
        "unhealthy  org/bad: hash mismatch: model.safetensors\n"
        "2 models, 1 healthy (1 verified), 1 unhealthy\n"
    )
    assert outcome.err == ""


def test_json_contains_the_integrity(machine: Machine) -> None:
    machine.cache.model("org/model")
    data = machine.run("health", "--verify", "--json").data()
    assert data["healthy"] == [
        {
            "name": "org/model",
            "status": "healthy",
            "reason": "Model is healthy",
            "integrity": "verified",
            "proof": "files",
        }
    ]
    model = machine.run("show", "org/model", "--verify", "--json").data()["model"]
    assert isinstance(model, dict)
    assert (model["integrity"], model["proof"]) == ("verified", "files")
    assert "proof" not in str(machine.run("list", "--json").data()) + str(machine.run("health", "--json").data())


def test_a_file_without_a_recorded_hash_is_not_verified(machine: Machine) -> None:
    machine.workspace("mine")
    assert machine.run("health", "mine", "--verify").out == (
        "healthy    mine (nothing recorded to compare with)\n1 model, 1 healthy, 0 unhealthy\n"
    )
    line = "Health:        healthy (structural: nothing recorded to compare with)\n"
    assert line in machine.run("show", "mine", "--verify").out
    assert "recorded" not in machine.run("health", "mine").out + machine.run("show", "mine").out
    half = machine.cache.model("org/half")
    (half.snapshot / "notes.txt").write_text("mine")
    assert "healthy    org/half (not everything is recorded)\n" in machine.run("health", "half", "--verify").out
    document = machine.run("health", "mine", "--verify", "--json").data()["healthy"]
    assert document == [
        {"name": "mine", "status": "healthy", "reason": "Model is healthy", "integrity": "structural", "managed": False}
    ]


def test_show_prints_the_integrity_of_every_file(machine: Machine) -> None:
    built = machine.cache.model("org/model")
    blob = built.blob("tokenizer.json")
    blob.write_bytes(b" " + blob.read_bytes())
    (built.snapshot / "notes.txt").write_text("mine")
    data = machine.run("show", "org/model", "--files", "--verify", "--json").data()
    files = data["files"]
    assert isinstance(files, list)
    assert {file["name"]: file["integrity"] for file in files} == {
        "config.json": "verified",
        "model.safetensors": "verified",
        "notes.txt": "structural",
        "special_tokens_map.json": "verified",
        "tokenizer.json": "corrupt",
        "tokenizer_config.json": "verified",
    }
    model = data["model"]
    assert isinstance(model, dict)
    assert (model["integrity"], model["health"], model["runtime_compatible"]) == ("corrupt", "unhealthy", False)
    assert model["reason"] == "hash mismatch: tokenizer.json"


def test_without_verify_no_file_has_an_integrity(machine: Machine) -> None:
    machine.cache.model("org/model")
    files = machine.run("show", "org/model", "--files", "--json").data()["files"]
    assert isinstance(files, list)
    assert all("integrity" not in file for file in files)


def test_memory_does_not_grow_with_the_size_of_a_file(machine: Machine) -> None:
    weights = safetensors({"w": ("U8", (300 * MIB,))})
    machine.cache.model("org/large", chat_files() | {"model.safetensors": weights})
    script = (
        "import resource, sys, mlxknife\n"
        "app = mlxknife.open_app()\n"
        "app.health.check()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "report = app.health.check(verify=True)\n"
        "print(report.entries[0].integrity.value, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=machine.environment(), capture_output=True, text=True, check=True
    )
    verdict, grown = done.stdout.split()
    unit = 1 if sys.platform == "darwin" else 1024
    assert verdict == "verified"
    assert int(grown) * unit < 64 * MIB


def test_a_terminal_shows_a_bar_and_clears_it(machine: Machine) -> None:
    weights = safetensors({"w": ("U8", (400 * MIB,))})
    machine.cache.model("org/large", chat_files() | {"model.safetensors": weights})
    shown = machine.on_terminal("health", "--verify").out
    assert "verifying [" in shown
    assert "to go" in shown
    assert shown.rindex("\x1b[J") > shown.rindex("verifying [")
    assert "1 model, 1 healthy (1 verified), 0 unhealthy" in shown
