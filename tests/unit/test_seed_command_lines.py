"""Every command line of the seeds whose command exists is a command line here, and means what the seed says."""

from __future__ import annotations

import importlib
import shlex

import pytest

from mlxknife.cli.arguments import UsageError, command_parser, resolve_command, split_command
from mlxknife.cli.commands.run import RunOptions

_CATALOG = """\
mlxk list
mlxk list --health
mlxk list --verbose --health
mlxk list --all --health
mlxk list --all --verbose
mlxk list --json
mlxk health
mlxk health --json
mlxk health "Qwen3@e96" --json
mlxk show "mlx-community/Phi-3-mini-4k-instruct-4bit"
mlxk show "Phi-3-mini" --json --files
mlxk show "$model" --json --config
mlxk show "model@3df9bfd" --json
mlxk pull "mlx-community/Llama-3.2-3B-Instruct-4bit"
mlxk pull "production-model" --json
mlxk rm "Phi-3@e967" --json --force
mlxk rm "test-model-*" --json --force
mlxk serve
mlxk server
mlxk serve --port 8080
mlxk serve --log-level info
mlxk serve --log-level warning
mlxk serve --log-level error
mlxk serve --log-level debug
mlxk serve --log-json
mlxk-json list "Llama" --json
mlxk-json health "Phi-3" --json
mlxk-json show "Phi-3-mini" --files --json
mlxk-json show "Phi-3-mini" --config --json
mlxk-json pull "microsoft/DialoGPT-small" --json
mlxk-json rm "Phi-3-mini" --force --json"""

_RUN = {
    'mlxk run "Phi-3-mini" -c': RunOptions(model="Phi-3-mini", chat=True),
    "mlxk run model -": RunOptions(model="model", prompt=("-",)),
    'mlxk run model - "Additional text"': RunOptions(model="model", prompt=("-", "Additional text")),
    'mlxk run model "test"': RunOptions(model="model", prompt=("test",)),
    'mlxk run model "test" --json': RunOptions(model="model", prompt=("test",)),
    "mlxk run model - --json": RunOptions(model="model", prompt=("-",)),
    "mlxk run model - --stream": RunOptions(model="model", prompt=("-",), stream=True),
    'mlxk run "mlx-community/Llama-3.2-11B-Vision-Instruct-4bit" "What is 2+2?"': RunOptions(
        model="mlx-community/Llama-3.2-11B-Vision-Instruct-4bit", prompt=("What is 2+2?",)
    ),
    "mlx-run model --in docs/quantization.md --in examples/4bit.py -": RunOptions(
        model="model", prompt=("-",), files=("docs/quantization.md", "examples/4bit.py")
    ),
    'mlx-run model --system system.txt --in context.txt - "query"': RunOptions(
        model="model", prompt=("-", "query"), system="system.txt", files=("context.txt",)
    ),
    'mlx-run model --in file - "instruction"': RunOptions(model="model", prompt=("-", "instruction"), files=("file",)),
    "mlx-run stage1 --out log/stage1.txt -": RunOptions(model="stage1", prompt=("-",), out="log/stage1.txt"),
}


def _parsed(line: str) -> dict[str, object]:
    program, *words = shlex.split(line)
    _, word, arguments = split_command(words if program != "mlx-run" else ["run", *words])
    name = resolve_command(word or "")
    parser = command_parser(name)
    importlib.import_module(f"mlxknife.cli.commands.{name}").add_arguments(parser)
    return vars(parser.parse_mixed(arguments))


@pytest.mark.parametrize("line", _CATALOG.splitlines())
def test_a_command_line_of_the_catalog_and_the_server_is_accepted(line: str) -> None:
    parsed = _parsed(line)
    assert parsed["json"] == ("--json" in line)


@pytest.mark.parametrize("line", _RUN)
def test_a_command_line_of_run_means_what_the_seed_says(line: str) -> None:
    given = {name: value for name, value in _parsed(line).items() if name not in ("json", "debug")}
    assert RunOptions(**given) == _RUN[line]  # type: ignore[arg-type]


@pytest.mark.parametrize("line", ["mlxk phi-3", "mlxk run model --input -"])
def test_what_the_seeds_rejected_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        _parsed(line)
