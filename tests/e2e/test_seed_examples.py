"""The shell examples of seeds 1, 2 and 5 about models and the Hub, word for word. docs/seed-map.md maps the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import attrs
import pytest

from tests.builder import chat_files, gguf_files, pytorch_files
from tests.e2e.processes import Machine, Outcome
from tests.fake_hub import FakeHub

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed here"),
]

_PHI = "mlx-community/Phi-3-mini-4k-instruct-4bit"
_CACHED = {
    _PHI: "a5339a41",
    "mlx-community/Qwen3-30B-A3B-4bit": "e96",
    "mlx-community/test-model-a": "0aa",
    "mlx-community/test-model-b": "0bb",
    "mlx-community/corrupted-model": "0cc",
    "org/some-model": "3df9bfd",
}
_OTHERS = ("Llama-3.2-3B-Instruct-4bit", "Llama-3.2-1B", "Phi-3-mini", "production-model", "replacement-model")
_ON_THE_HUB = (_PHI, *(f"mlx-community/{name}" for name in _OTHERS))


@attrs.frozen
class Shell:
    """A shell of a machine with the models that the examples name."""

    machine: Machine
    hub: FakeHub

    def run(self, line: str) -> Outcome:
        return self.machine.shell(line, HF_ENDPOINT=self.hub.endpoint)

    def printed(self, line: str) -> str:
        """Return what a line prints; of a document, what it is about. Exit codes but 0 come last."""
        outcome = self.run(line)
        shown = _summary(outcome.out)
        return shown if outcome.code == 0 else f"{shown} (exit code {outcome.code})".lstrip()


@pytest.fixture
def shell(machine: Machine) -> Iterator[Shell]:
    for name, commit in _CACHED.items():
        machine.cache.model(name, chat_files(), commit=commit.ljust(40, "0"))
    machine.cache.model(_PHI, chat_files(note="old"), commit="e967".ljust(40, "0"), ref=None)
    machine.cache.model("TheBloke/Llama-2-7B-GGUF", gguf_files())
    with FakeHub() as hub:
        for name in _ON_THE_HUB:
            hub.add(name, chat_files())
        hub.add("microsoft/DialoGPT-small", pytorch_files())
        yield Shell(machine, hub)


def _summary(text: str) -> str:
    """Return the names, the action or the error of a document of ours, and any other text as it is."""
    try:
        document = json.loads(text)
    except ValueError:
        return text.strip()
    if not isinstance(document, dict) or "status" not in document:
        return text.strip()
    if document["error"] is not None:
        return f"{document['command']}: {document['error']['type']}"
    data = document["data"]
    named = data.get("models", data.get("healthy"))
    if named is not None:
        return f"{document['command']}: {', '.join(model['name'] for model in named)}"
    model = data["model"]
    done = data.get("action") or data.get("download_status") or sorted(data)
    return f"{document['command']}: {model if isinstance(model, str) else model['name']} {done}"


def test_hash_syntax(shell: Shell) -> None:
    for line, printed in (
        ('mlxk health "Qwen3@e96" --json     # Check specific hash', "health: mlx-community/Qwen3-30B-A3B-4bit"),
        ('mlxk show "model@3df9bfd" --json   # Short hash matching', "show: org/some-model ['metadata', 'model']"),
        ('mlxk rm "Phi-3@e967" --json --force  # Delete specific version', f"rm: {_PHI} deleted"),
    ):
        assert shell.printed(line) == printed
    snapshots = shell.machine.hub / f"models--{_PHI.replace('/', '--')}/snapshots"
    assert [folder.name[:8] for folder in snapshots.iterdir()] == ["a5339a41"]


def test_quick_start_and_human_output(shell: Shell) -> None:
    for line, part in (
        ("mlxk list", "Phi-3-mini-4k-instruct-4bit | a5339a4 |"),
        ("mlxk list --health", "| chat | healthy"),
        ("mlxk list --verbose --health", "| MLX       | chat | healthy"),
        ("mlxk list --all --health", "| GGUF "),
        ("mlxk health", f"healthy    {_PHI}"),
        ('mlxk show "mlx-community/Phi-3-mini-4k-instruct-4bit"', "Runs here:     yes"),
        ('mlxk pull "mlx-community/Llama-3.2-3B-Instruct-4bit"', "Successfully downloaded model"),
    ):
        outcome = shell.run(line)
        assert (outcome.code, part in outcome.out) == (0, True), line
    failed = shell.run("mlxk show badmodel | grep .      # Errors don't contaminate stdout")
    assert (failed.code, failed.out) == (1, "")
    assert failed.err.startswith("error: ")
    assert shell.run("mlxk pull badmodel > log 2> err    # Capture errors separately").code == 2
    assert (shell.machine.root / "log").read_text() == ""
    assert "\nerror: " in (shell.machine.root / "err").read_text()


def test_only_pull_contacts_the_hub(shell: Shell) -> None:
    for line in (
        "list",
        "show Qwen3",
        "health --verify",
        "rm Qwen3 --force",
        "rm --orphans",
        "version",
        "run absent hi",
    ):
        shell.run(f"mlxk {line}")
    assert list(shell.hub.requests()) == []
    shell.run("mlxk pull production-model")
    assert list(shell.hub.requests()) != []


_NAMES = sorted([*_CACHED, "TheBloke/Llama-2-7B-GGUF"], key=str.lower)
_SUMMARY = '{"total":7,"healthy_count":7,"unhealthy_count":0}'
_SEED_1 = {
    "mlxk list --json | jq '.data.models[].name'": "\n".join(f'"{name}"' for name in _NAMES),
    "mlxk health --json | jq -c '.data.summary'": _SUMMARY,
    "mlxk show \"Phi-3-mini\" --json | jq '.data.model' | grep cached": '"cached": true,',
    "MODELS=$(mlxk list --json | jq -r '.data.models[].name'); echo \"$MODELS\"": "\n".join(_NAMES),
    'mlxk pull "mlx-community/Phi-3-mini-4k-instruct-4bit" --json': f"pull: {_PHI} success",
    "mlxk health --json | jq -e '.data.summary.unhealthy_count == 0'": "true",
    'mlxk rm "test-model-*" --json --force': "rm: test-model-* deleted",
    'mlxk pull "production-model" --json': "pull: mlx-community/production-model success",
    """mlxk list --json | jq -r '.data.models[] | select(.name | contains("30B")) | .name'""": (
        "mlx-community/Qwen3-30B-A3B-4bit"
    ),
    "mlxk list --json | jq '.data.count'": "6",
    'mlxk rm "corrupted-model" --json --force': "rm: mlx-community/corrupted-model deleted",
    'mlxk pull "replacement-model" --json': "pull: mlx-community/replacement-model success",
}
_COUNTS = ".data.models | group_by(.framework) | map({framework: .[0].framework, count: length})"
_SEED_2 = {
    r"""mlxk-json list --json | jq -r '.data.models[] | select(.framework=="MLX") | "\(.name)@\(.hash)"' | head -1""": (
        f"mlx-community/corrupted-model@{'0cc'.ljust(40, '0')}"
    ),
    "mlxk-json list \"Qwen\" --json | jq -r '.data.models[] | .hash'": "e96".ljust(40, "0"),
    f"mlxk-json list --json | jq -c '{_COUNTS}'": '[{"framework":"GGUF","count":1},{"framework":"MLX","count":6}]',
    "mlxk-json health --json | jq -c '.data.summary'": _SUMMARY,
    "mlxk-json health --json | jq -r '.data.unhealthy[].name'": "",
    "mlxk-json list \"Llama\" --json | jq '.data.count'": "1",
    r"""mlxk-json show "Phi-3-mini" --files --json | jq -r '.data.files[] | "\(.name): \(.size)"' | head -1""": (
        "config.json: 231B"
    ),
    "mlxk-json show \"Phi-3-mini\" --config --json | jq -c '.data.config.quantization'": '{"group_size":64,"bits":4}',
    "mlxk-json pull \"Phi-3-mini\" --json | jq '.data.download_status'": '"success"',
    'mlxk-json pull "mlx-community/Phi-3-mini" --json # Full name': "pull: mlx-community/Phi-3-mini already_exists",
    'mlxk-json pull "microsoft/DialoGPT-small" --json # Non-MLX model': "pull: microsoft/DialoGPT-small success",
    'mlxk-json rm "Phi-3-mini" --json                 # Direct deletion': "rm: mlx-community/Phi-3-mini deleted",
}


@pytest.mark.parametrize("lines", [_SEED_1, _SEED_2], ids=["seed 1", "seed 2"])
def test_automation(shell: Shell, lines: dict[str, str]) -> None:
    assert {line: shell.printed(line) for line in lines} == lines
