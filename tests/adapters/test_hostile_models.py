"""Hostile and damaged model files: each ends in a typed error, and nothing is printed."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlxknife.adapters.mlx.runtime.failures import library_errors
from mlxknife.adapters.mlx.text.model import MlxTextLoader
from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.models.values.snapshot import Location
from tests.parrot import parrot_folder
from tests.parrot_rows import run_rows

pytestmark = pytest.mark.timeout(1200)

_UNKNOWN_OUTSIDE: dict[str, Any] = {"type": "Unigram", "unk_id": 99, "vocab": [["a", -1.0]], "byte_fallback": False}
_EMPTY_VOCABULARY = _UNKNOWN_OUTSIDE | {"unk_id": 0, "vocab": []}
_BAD_TRUNCATION = {"max_length": 2, "strategy": "LongestFirst", "stride": 9, "direction": "Right"}
_BAD_MAP = {"type": "Precompiled", "precompiled_charsmap": "AAAA/////w=="}
_PYTHON = re.compile(r"Error|object|NoneType|<class|argument|variable|\bstr\b.*indices|\n")
_TYPED = r"^The (model could not be (loaded|run)|tokenizer of the model cannot (be read|encode the text)): "


def changed_parrot(folder: Path, name: str, **changes: object) -> Location:
    """Write a parrot with other values in one of its JSON files."""
    shutil.copytree(parrot_folder(), folder, dirs_exist_ok=True)
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps(content | changes), encoding="utf-8")
    return Location(str(folder), (str(folder),))


def run(location: Location) -> None:
    """Load a model and run a row. Raises EngineError also for a row that fails."""
    with closing(MlxTextLoader().load(LoadRequest(location, "as-is"))) as model:
        prompt = model.tokenizer.encode("Hello!", add_special_tokens=False)
        outputs = run_rows(model, [Row(1, prompt, 5)])
        if outputs.errors:
            raise EngineError(outputs.errors[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 0},
        {"max_position_embeddings": "2048"},
        {"num_hidden_layers": "2"},
        {"model_type": ["llama"]},
        {"model_type": "../llama"},
        {"quantization": {"bits": "x"}},
        {"rope_scaling": {"type": "yarn", "factor": "x"}},
        {"rope_scaling": "linear"},
        {"rope_theta": "a"},
        {"num_hidden_layers": -1},
        {"quantization": "4bit"},
        {"quantization": {}},
        {"quantization_config": 5},
        {"quantization_config": {"quant_method": "gptq"}},
        {"architectures": 3},
        {"auto_map": None},
        {"text_config": None},
        {"eos_token_id": [None]},
        {"vocab_size": 0},
    ],
    ids=str,
)
def test_an_invalid_config_raises_engine_error(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(EngineError, match=_TYPED) as caught:
        run(changed_parrot(tmp_path, "config.json", **changes))
    assert not _PYTHON.search(caught.value.message)


@pytest.mark.parametrize("changes", [{"model_file": None}, {"quantization": None}, {"architectures": [None]}], ids=str)
def test_a_value_that_means_nothing_changes_nothing(tmp_path: Path, changes: dict[str, object]) -> None:
    run(changed_parrot(tmp_path, "config.json", **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": _UNKNOWN_OUTSIDE},
        {"model": _EMPTY_VOCABULARY},
        {"truncation": _BAD_TRUNCATION},
        {"normalizer": _BAD_MAP},
        {"model": {}},
    ],
    ids=["unknown token outside", "empty vocabulary", "a panic", "an invalid map", "no type"],
)
def test_an_invalid_tokenizer_raises_engine_error(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(EngineError, match=_TYPED):
        run(changed_parrot(tmp_path, "tokenizer.json", **changes))


@pytest.mark.parametrize("failure", [ZeroDivisionError(), MemoryError(), RecursionError(), SystemExit(1)], ids=repr)
def test_an_error_of_a_library_has_a_reason(failure: BaseException) -> None:
    with pytest.raises(EngineError, match=r"could not be run: \w+") as caught, library_errors("It could not be run"):
        raise failure
    assert caught.value.__cause__ is failure
    assert caught.value.hint


def test_a_missing_key_is_worded() -> None:
    with pytest.raises(EngineError) as caught, library_errors("The model could not be loaded"):
        raise KeyError("added_tokens")  # noqa: EM101 - as the libraries do
    assert caught.value.message == "The model could not be loaded: its files lack 'added_tokens'"


@pytest.mark.parametrize("passing", [KeyboardInterrupt(), GeneratorExit(), ValidationError("no")], ids=repr)
def test_interrupts_and_errors_of_the_contract_pass_through(passing: BaseException) -> None:
    with pytest.raises(type(passing)) as caught, library_errors("It could not be run"):
        raise passing
    assert caught.value is passing


def test_nothing_of_a_config_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rope = {"type": "yarn\x1b[2J", "rope_type": "yarn\x1b[2J", "factor": 2.0}
    with pytest.raises(EngineError, match="loaded"):
        run(changed_parrot(tmp_path, "config.json", rope_scaling=rope))
    assert capfd.readouterr() == ("", "")
