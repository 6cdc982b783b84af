"""Models of strangers: what is wrong with their files ends in an error of the contract, and says nothing by itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.adapters.mlx.runtime.failures import our_errors
from mlxknife.adapters.mlx.text.model import MlxEngine, MlxTextModel
from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.values.generation import Sampling, TokenRequest
from mlxknife.domain.models.values.snapshot import Location
from tests.parrot import parrot_folder

pytestmark = pytest.mark.timeout(1200)

_GREEDY = Sampling(temperature=0.0)
_ONE_WORD: dict[str, Any] = {"type": "Unigram", "unk_id": 99, "vocab": [["a", -1.0]], "byte_fallback": False}
_NO_WORD = _ONE_WORD | {"unk_id": 0, "vocab": []}
_CUTS_BADLY = {"max_length": 2, "strategy": "LongestFirst", "stride": 9, "direction": "Right"}
_BAD_MAP = {"type": "Precompiled", "precompiled_charsmap": "AAAA/////w=="}


def stranger(folder: Path, name: str, **changes: object) -> Location:
    """Return the parrot with another word in one of its files."""
    shutil.copytree(parrot_folder(), folder, dirs_exist_ok=True)
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps(content | changes), encoding="utf-8")
    return Location(str(folder), (str(folder),))


def spoken(location: Location) -> str:
    with closing(MlxEngine().load(location, "as-is")) as model:
        request = TokenRequest(model.tokens("Hello!", is_rendered=True), 5, _GREEDY)
        return "".join(step.text for step in model.generate(request))


@pytest.fixture(scope="module")
def bird() -> Generator[MlxTextModel]:
    folder = str(parrot_folder())
    with closing(MlxEngine().load(Location(folder, (folder,)), "as-is")) as model:
        yield model


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
    ],
    ids=str,
)
def test_a_wrong_config_ends_in_our_words(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(EngineError, match=r"^The model could not be (loaded|run): "):
        spoken(stranger(tmp_path, "config.json", **changes))


@pytest.mark.parametrize(
    "changes",
    [{"model": _ONE_WORD}, {"model": _NO_WORD}, {"truncation": _CUTS_BADLY}, {"normalizer": _BAD_MAP}, {"model": {}}],
    ids=["a word too far", "no words", "a panic", "a map of nothing", "no kind"],
)
def test_a_wrong_tokenizer_ends_in_our_words(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(EngineError, match=r"^The model could not be (loaded|run): "):
        spoken(stranger(tmp_path, "tokenizer.json", **changes))


@pytest.mark.parametrize("failure", [ZeroDivisionError(), MemoryError(), RecursionError(), SystemExit(1)], ids=repr)
def test_a_failure_of_the_libraries_has_a_reason(failure: BaseException) -> None:
    with pytest.raises(EngineError, match=r"could not be run: \w+") as told, our_errors("run"):
        raise failure
    assert told.value.__cause__ is failure


def test_a_key_that_is_missing_is_told_in_words() -> None:
    with pytest.raises(EngineError) as told, our_errors("loaded"):
        raise KeyError("added_tokens")  # noqa: EM101 - as the libraries do
    assert told.value.message == "The model could not be loaded: what its files say lacks 'added_tokens'"


@pytest.mark.parametrize("passing", [KeyboardInterrupt, GeneratorExit, ValidationError("no")], ids=repr)
def test_what_is_no_failure_of_theirs_passes(passing: BaseException) -> None:
    with pytest.raises(type(passing) if isinstance(passing, BaseException) else passing), our_errors("run"):
        raise passing


def test_nothing_of_a_config_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rope = {"type": "yarn\x1b[2J", "rope_type": "yarn\x1b[2J", "factor": 2.0}
    with pytest.raises(EngineError, match="loaded"):
        spoken(stranger(tmp_path, "config.json", rope_scaling=rope))
    assert capfd.readouterr() == ("", "")


def test_a_prompt_of_nothing_is_refused(bird: MlxTextModel) -> None:
    with pytest.raises(ValidationError, match="empty"):
        next(bird.generate(TokenRequest((), 5, _GREEDY)))
    assert list(bird.generate(TokenRequest(bird.tokens("Hi", is_rendered=True), 1, _GREEDY)))


def test_the_second_model_remembers_the_blas(bird: MlxTextModel) -> None:
    folder = str(parrot_folder())
    with closing(MlxEngine().load(Location(folder, (folder,)), "as-is")) as second:
        assert second.notes == bird.notes
        if second.notes:
            blas = load_fast_blas()
            assert second.notes[-1] == f"BLAS: {blas or 'the one of MLX, which is slow'}"
