"""What a model's own process loads is what ``run`` would have."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from mlxknife.adapters.mlx.text.hosting import MlxLoader
from mlxknife.adapters.mlx.text.model import MlxEngine, MlxTextModel
from mlxknife.domain.errors import EngineError
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.ports.engines.loaders import Loader
from tests.contracts.flock import answer, mixed, run
from tests.parrot import parrot_folder
from tests.parrot.answers import CAPITAL

pytestmark = pytest.mark.timeout(1200)


def at(folder: Path) -> Location:
    return Location(str(folder), (str(folder),))


def test_it_is_the_model_that_run_would_load() -> None:
    loader: Loader = MlxLoader()
    place = at(parrot_folder())
    batches, hosted = loader.load(place, "fast", 2**26)
    with closing(MlxEngine().load(place, "fast")) as same:
        assert hosted.chat_template == same.chat_template
        assert hosted.special_tokens == same.special_tokens
        assert set(Tokenizer.from_str(hosted.tokenizer).get_vocab()) == set(same.vocabulary)
    assert hosted.can_batch
    assert hosted.vocabulary_size == 264
    assert run(batches, mixed()[:1]).tokens(0) == answer(CAPITAL)
    batches.close()


@pytest.mark.parametrize("damage", ["", "[]", json.dumps({"version": "1.0", "model": {"type": "none"}})])
def test_a_tokenizer_that_is_damaged_is_an_error_of_loading(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "bird"
    shutil.copytree(parrot_folder(), folder)
    (folder / "tokenizer.json").write_text(damage, encoding="utf-8")
    with pytest.raises(EngineError, match="could not be loaded"):
        MlxLoader().load(at(folder), "fast", 0)


class Slow:
    """A tokenizer of transformers that is written in Python."""

    special_tokens_map: dict[str, str] = {}  # noqa: RUF012 - as transformers has it
    eos_token_ids = (1,)

    def get_vocab(self) -> dict[str, int]:
        return {"a": 0, "b": 1}


def test_a_tokenizer_of_another_library_cannot_be_served() -> None:
    model = MlxTextModel([], Slow(), None, ())
    with pytest.raises(EngineError, match="cannot be served yet"):
        model.written_tokenizer()
