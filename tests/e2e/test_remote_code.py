"""``--allow-remote-code``: code of a model repo runs only with it, and is announced each time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.processes import Machine
from tests.e2e.serving import parrot_in, serving
from tests.parrot import ANSWERS
from tests.parrot.answers import CAPITAL

pytestmark = [pytest.mark.timeout(1200), pytest.mark.allow_hosts(["127.0.0.1"])]

_OPTION = "--allow-remote-code"
_SETTINGS = {"MLXK_ALLOW_REMOTE_CODE": "1", "MLXK2_ALLOW_REMOTE_CODE": "1", "TRUST_REMOTE_CODE": "1"}


def _coded_parrot(machine: Machine) -> Path:
    """Return a parrot with an architecture of its own, whose code leaves a trace."""
    folder = parrot_in(machine, "coded")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own", "model_file": "own.py"}))
    trace = f"with open({str(machine.root / 'trace')!r}, 'a') as file:\n    file.write('ran ')\n"
    (folder / "own.py").write_text(f"from mlx_lm.models.llama import Model, ModelArgs\n{trace}")
    return machine.root / "trace"


def _parrot_with_own_tokenizer(machine: Machine) -> None:
    """Write a parrot whose tokenizer only the code of its repo reads."""
    folder = parrot_in(machine, "own-tokenizer")
    (folder / "tokenizer.json").rename(folder / "spiece.model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"auto_map": {"AutoTokenizer": [None, "tokenization.Own"]}, "tokenizer_class": "OwnTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "tokenization.py").write_text(
        "from transformers import PreTrainedTokenizerFast\n"
        "class Own(PreTrainedTokenizerFast):\n"
        "    @classmethod\n"
        "    def from_pretrained(cls, path, **settings):\n"
        "        return PreTrainedTokenizerFast(tokenizer_file=f'{path}/spiece.model')\n"
    )


def test_a_tokenizer_of_its_own_runs_only_with_the_option(machine: Machine) -> None:
    _parrot_with_own_tokenizer(machine)
    assert machine.run("run", "own-tokenizer", CAPITAL).code == 1
    answered = machine.run("run", "own-tokenizer", CAPITAL, _OPTION)
    assert answered.out == f"{ANSWERS[CAPITAL]}\n"
    assert answered.err.startswith("warning: code of the repo of own-tokenizer runs with your rights: tokenization.py")


def test_run_needs_the_option_and_warns_each_time(machine: Machine) -> None:
    trace = _coded_parrot(machine)
    shown = machine.run("show", "coded", "--json", environment=machine.environment(**_SETTINGS)).document()
    assert _OPTION in json.dumps(shown)
    refused = machine.run("run", "coded", CAPITAL, environment=machine.environment(**_SETTINGS))
    assert (refused.code, refused.out, trace.exists()) == (1, "", False)
    assert _OPTION in refused.err
    for number, words in enumerate(((), ("--json",)), 1):
        answered = machine.run("run", "coded", CAPITAL, _OPTION, *words)
        assert ANSWERS[CAPITAL] in answered.out
        assert (
            answered.err
            == "warning: code of the repo of coded runs with your rights: own.py (config.json: model_file)\n"
        )
        assert trace.read_text().split() == ["ran"] * number


def test_serve_needs_the_option_and_logs_each_load(machine: Machine) -> None:
    trace = _coded_parrot(machine)
    with serving(machine, MLXK_ALLOW_REMOTE_CODE="1") as server:
        assert server.chat("coded", CAPITAL).status == 422
        assert server.ask("/v1/models").document()["data"] == []
        assert not trace.exists()
    with serving(machine, _OPTION) as server:
        assert server.chat("coded", CAPITAL).text() == ANSWERS[CAPITAL]
        assert [one["id"] for one in server.ask("/v1/models").document()["data"]] == ["coded"]
        assert "own.py (config.json: model_file)" in server.log("WARN")
        assert trace.exists()
