"""A zoo of small models: what ``list`` calls runnable loads and gives a token, and what it refuses does not load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mlxknife import App
from mlxknife.adapters.mlx.text.model import MlxTextLoader
from mlxknife.domain.catalog.services.runnable import can_run, find_runnable
from mlxknife.domain.errors import EngineError, ModelNotRunnable
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.models.values.snapshot import Location
from tests.adapters.stage import Stage
from tests.adapters.untrained import GEMMA, LLAMA, MAMBA, write_model
from tests.parrot import parrot_folder
from tests.parrot_rows import run_rows
from tests.tokenizer_files import KINDS, SENTENCEPIECE, TRANSFORMERS_KINDS, tokenizer_json, write_transformers_tokenizer

pytestmark = pytest.mark.timeout(1200)

_VOCABULARY = 400
_CODE = {"AutoConfig": "configuration.Config", "AutoTokenizer": ["tokenization.Own", None]}
_VISION = {"model_type": "siglip_vision_model", "hidden_size": 8}


def _model(folder: Path, base: dict[str, Any] = LLAMA, **config: object) -> Path:
    """Write an untrained model of a family, and change its config afterwards."""
    write_model(folder, {**base, "vocab_size": _VOCABULARY})
    return _changed(folder, "config.json", **config)


def _changed(folder: Path, name: str, **changes: object) -> Path:
    path = folder / name
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
    return folder


def _without(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).unlink()
    return folder


def _with_tokenizer(folder: Path, kind: str, **settings: object) -> Path:
    (folder / "tokenizer.json").write_text(tokenizer_json(kind), encoding="utf-8")
    return _changed(folder, "tokenizer_config.json", **settings)


def _vocabulary(folder: Path, **settings: object) -> Path:
    """Write the files of GPT-2 in place of tokenizer.json."""
    content = json.loads(tokenizer_json("byte-level"))["model"]
    (folder / "vocab.json").write_text(json.dumps(content["vocab"]), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in content["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    return _changed(_without(folder, "tokenizer.json"), "tokenizer_config.json", **settings)


def _of_transformers(folder: Path, kind: str) -> Path:
    config = (folder / "config.json").read_text(encoding="utf-8")
    write_transformers_tokenizer(folder, kind)
    (folder / "config.json").write_text(config, encoding="utf-8")
    return _without(folder, "tokenizer.json")


def _sentencepiece(folder: Path, **settings: object) -> Path:
    _of_transformers(folder, SENTENCEPIECE)
    (folder / "spiece.model").rename(folder / "tokenizer.model")
    return _changed(folder, "tokenizer_config.json", **settings)


def _file(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder


def _renamed(folder: Path, name: str, new: str) -> Path:
    (folder / name).rename(folder / new)
    return folder


def _tokenizer_without(folder: Path, part: str) -> Path:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    del content[part]
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _only(folder: Path, name: str, data: bytes, **settings: object) -> Path:
    """Write one tokenizer file in place of tokenizer.json."""
    return _changed(_file(_without(folder, "tokenizer.json"), name, data), "tokenizer_config.json", **settings)


RUN: dict[str, Callable[[Path], Path]] = {
    "parrot": lambda folder: shutil.copytree(parrot_folder(), folder, dirs_exist_ok=True),
    "llama": _model,
    "gemma": lambda folder: _model(folder, GEMMA),
    "mamba": lambda folder: _model(folder, MAMBA),
    "vision, of which only text is used": lambda folder: _file(
        _model(
            folder,
            {"model_type": "gemma3", "text_config": GEMMA | {"vocab_size": _VOCABULARY}, "vision_config": _VISION},
        ),
        "preprocessor_config.json",
        b'{"image_processor_type": "Gemma3ImageProcessor"}',
    ),
    "no vision": lambda folder: _model(folder, vision_config={}, audio_config={}),
    "unused code": lambda folder: _changed(
        _model(folder, auto_map=_CODE), "tokenizer_config.json", auto_map=_CODE, tokenizer_class="OwnTokenizer"
    ),
    "renamed": lambda folder: _model(folder, model_type="mistral"),
    "sentencepiece": lambda folder: _sentencepiece(_model(folder), tokenizer_class="LlamaTokenizer"),
    "sentencepiece of no class": lambda folder: _sentencepiece(_model(folder), tokenizer_class=None),
    "GPT-2": lambda folder: _vocabulary(_model(folder), tokenizer_class="GPT2Tokenizer"),
    "Qwen": lambda folder: _vocabulary(_model(folder), tokenizer_class="Qwen2TokenizerFast"),
    **{
        f"tokenizer: {kind}": lambda folder, kind=kind: _with_tokenizer(_model(folder), kind)  # type: ignore[misc]
        for kind in KINDS
    },
    **{
        f"tokenizer: {kind}": lambda folder, kind=kind: _of_transformers(_model(folder), kind)  # type: ignore[misc]
        for kind in TRANSFORMERS_KINDS
    },
}
"""Models that run, and how they are written."""
REFUSED: dict[str, Callable[[Path], Path]] = {
    "a tokenizer without added tokens": lambda folder: _tokenizer_without(_model(folder), "added_tokens"),
    "a tokenizer without a model": lambda folder: _tokenizer_without(_model(folder), "model"),
    "a token of the wrong type": lambda folder: _changed(_model(folder), "tokenizer_config.json", eos_token=7),
    "a template in another encoding": lambda folder: _file(_model(folder), "chat_template.jinja", b"\xff{{ x }}"),
    "mllama": lambda folder: _file(
        _model(folder, model_type="mllama", vision_config=_VISION), "preprocessor_config.json", b'{"size": 8}'
    ),
    "an architecture of mlx-vlm": lambda folder: _file(
        _model(folder, model_type="idefics3", vision_config=_VISION), "preprocessor_config.json", b'{"size": 8}'
    ),
    "an unknown architecture": lambda folder: _model(folder, model_type="unheard-of"),
    "an unknown architecture with code": lambda folder: _model(folder, model_type="unheard-of", auto_map=_CODE),
    "a model file": lambda folder: _file(_model(folder, model_file="model.py"), "model.py", b"raise SystemExit"),
    "weights of another name": lambda folder: _renamed(_model(folder), "model.safetensors", "weights.safetensors"),
    "a vocabulary of no class": lambda folder: _vocabulary(_model(folder), tokenizer_class=None),
    "a vocabulary for a class that reads others": lambda folder: _vocabulary(
        _model(folder, model_type="phi3"), tokenizer_class="Qwen2Tokenizer"
    ),
    "tiktoken": lambda folder: _only(_model(folder), "qwen.tiktoken", b"IQ== 0\n", tokenizer_class="QWenTokenizer"),
    "rwkv": lambda folder: _only(_model(folder), "rwkv_vocab_v20230424.txt", b"1 '\\x00' 1\n"),
    "a tokenizer of its own": lambda folder: _file(
        _only(_model(folder), "tiktoken.model", b"IQ== 0\n", auto_map=_CODE, tokenizer_class="OwnTokenizer"),
        "tokenization.py",
        b"raise SystemExit",
    ),
}
"""Models that do not run."""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "hub", tmp_path / "home")


def _written(stage: Stage, kinds: dict[str, Callable[[Path], Path]]) -> dict[str, Path]:
    stage.home.mkdir()
    places = {kind: stage.home / f"model-{number}" for number, kind in enumerate(kinds)}
    for kind, write in kinds.items():
        write(places[kind])
    return places


def _token_count(location: Location) -> int:
    """Load a model, encode a prompt, and return how many tokens come. Raises EngineError."""
    with closing(MlxTextLoader().load(LoadRequest(location, "as-is"))) as model:
        prompt = model.tokenizer.encode("the sun", add_special_tokens=True) or (1,)
        return len(run_rows(model, [Row(1, prompt, 1)]).tokens(1))


def _listed(app: App) -> dict[str, bool]:
    return {info.name: can_run(info) for info in app.catalog.list()}


def test_every_model_that_is_runnable_loads_and_gives_a_token(stage: Stage) -> None:
    app = stage.app()
    places = _written(stage, RUN)
    listed = _listed(app)
    assert [kind for kind, place in places.items() if not listed[place.name]] == []
    counts = {kind: _token_count(find_runnable(app.catalog, place.name).location) for kind, place in places.items()}
    assert counts == dict.fromkeys(RUN, 1)


def test_no_model_that_is_refused_would_load(stage: Stage) -> None:
    app = stage.app()
    places = _written(stage, REFUSED)
    listed = _listed(app)
    assert [kind for kind, place in places.items() if listed[place.name]] == []
    for place in places.values():
        with pytest.raises(ModelNotRunnable):
            find_runnable(app.catalog, place.name)
        with pytest.raises(EngineError):
            _token_count(Location(str(place), (str(place),)))
