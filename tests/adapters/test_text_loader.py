"""Loading a language model: what it reports, and which files and draft models are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Library

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.adapters.mlx.text.model import MlxTextLoader, MlxTextModel
from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.ports.engines.text import TextModelLoader
from tests.adapters.untrained import LLAMA, write_model
from tests.parrot import parrot_folder
from tests.parrot.answers import CAPITAL
from tests.parrot.tokens import END, END_OF_TEXT, TEMPLATE, build_tokenizer
from tests.parrot_rows import answer_to, mixed_rows, prompt_for, run_rows, tokens
from tests.tokenizer_files import BYTES_IN_PYTHON, SENTENCEPIECE, write_transformers_tokenizer

pytestmark = pytest.mark.timeout(1200)


def _request(folder: Path, profile: str = "as-is", draft: Path | None = None) -> LoadRequest:
    return LoadRequest(
        Location(str(folder), ()), profile, 2**30, draft=None if draft is None else Location(str(draft), ())
    )


def _copied(folder: Path) -> Path:
    shutil.copytree(parrot_folder(), folder)
    return folder


@pytest.fixture(scope="module")
def parrot() -> Iterator[MlxTextModel]:
    loader: TextModelLoader = MlxTextLoader()
    with closing(loader.load(_request(parrot_folder()))) as model:
        assert isinstance(model, MlxTextModel)
        yield model


def test_a_loaded_model_reports_what_its_folder_says(parrot: MlxTextModel) -> None:
    assert set(parrot.tokenizer.vocabulary) == set(build_tokenizer().get_vocab())
    assert parrot.tokenizer.encode(f"Hi{END}", add_special_tokens=False) == tokens(f"Hi{END}")
    assert parrot.chat_template == TEMPLATE
    assert (parrot.special_tokens["eos_token"], parrot.special_tokens["pad_token"]) == (END, END_OF_TEXT)
    assert parrot.vocabulary_size == 264
    assert parrot.can_batch


@pytest.mark.parametrize("profile", ["fast", "compact", "as-is"])
def test_every_profile_gives_the_greedy_answer(profile: str) -> None:
    with closing(MlxTextLoader().load(_request(parrot_folder(), profile))) as model:
        assert run_rows(model, mixed_rows()[:1]).tokens(0) == answer_to(CAPITAL)


def test_the_second_model_of_a_process_reports_the_same_blas(parrot: MlxTextModel) -> None:
    with closing(MlxTextLoader().load(_request(parrot_folder()))) as second:
        assert second.notes == parrot.notes
        if second.notes:
            assert second.notes[-1] == f"BLAS: {load_fast_blas() or 'of MLX, which is slow'}"


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xed\xa0\x80",
        b"\xff",
        b'{"model":' * 100_000,
        b"[" * 100_000,
        json.dumps({"version": "1.0", "model": {"type": "none"}}).encode(),
    ],
    ids=lambda damage: damage[:30],
)
def test_a_file_that_is_no_tokenizer_raises_engine_error(tmp_path: Path, damage: bytes) -> None:
    folder = _copied(tmp_path / "parrot")
    (folder / "tokenizer.json").write_bytes(damage)
    with pytest.raises(EngineError, match=r"^The model could not be loaded: "):
        MlxTextLoader().load(_request(folder))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_raises_engine_error(tmp_path: Path, name: str) -> None:
    folder = _copied(tmp_path / "parrot")
    (folder / name).unlink()
    with pytest.raises(EngineError, match=r"^The model could not be loaded: "):
        MlxTextLoader().load(_request(folder))


@pytest.mark.parametrize("kind", [SENTENCEPIECE, BYTES_IN_PYTHON])
def test_a_model_whose_tokenizer_only_transformers_can_run_is_loaded(tmp_path: Path, kind: str) -> None:
    location = write_model(tmp_path, {**LLAMA, "vocab_size": 400})
    (tmp_path / "tokenizer.json").unlink()
    config = (tmp_path / "config.json").read_text(encoding="utf-8")
    write_transformers_tokenizer(tmp_path, kind)
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with closing(MlxTextLoader().load(LoadRequest(location, "as-is"))) as model:
        prompt = model.tokenizer.encode("the sun é", add_special_tokens=False)
        detokenizer = model.tokenizer.detokenizer()
        assert "".join([*map(detokenizer.feed, prompt), detokenizer.finish()]) == "the sun é"
        assert model.vocabulary_size == 400 > len(model.tokenizer.vocabulary)


def test_a_draft_model_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    other = _copied(tmp_path / "other")
    content = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    content["added_tokens"].append(content["added_tokens"][-1] | {"id": 263, "content": "<more>"})
    (other / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert Library.from_file(str(other / "tokenizer.json")).token_to_id("<more>") == 263
    for model, draft in ((parrot_folder(), other), (other, parrot_folder())):
        with pytest.raises(ValidationError, match=r"^draft_model has another vocabulary than the model") as caught:
            MlxTextLoader().load(_request(model, draft=draft))
        assert caught.value.hint == Hint(HintCode.SMALLER_DRAFT)


def test_a_draft_model_of_the_same_vocabulary_is_loaded() -> None:
    with closing(MlxTextLoader().load(_request(parrot_folder(), draft=parrot_folder()))) as model:
        assert not model.can_batch
        outputs = run_rows(model, mixed_rows()[:1])
        assert outputs.tokens(0) == answer_to(CAPITAL)
        assert outputs.cached(0) < len(prompt_for(CAPITAL))


def test_a_closed_model_frees_its_memory(parrot: MlxTextModel) -> None:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS

    assert parrot.is_idle
    before = mx.get_active_memory()
    model = MlxTextLoader().load(_request(parrot_folder()))
    run_rows(model, mixed_rows())
    assert mx.get_active_memory() > before + 2**16
    model.close()
    assert mx.get_active_memory() < before + 2**12  # the random state of MLX remains
