"""Code of a model repo: it runs only where it is needed and allowed. Each file of it leaves a trace when it runs."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
import transformers.dynamic_module_utils

from mlxknife.adapters.mlx.text.model import MlxTextLoader
from mlxknife.domain.errors import EngineError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.models.values.snapshot import Location
from tests.adapters.untrained import LLAMA, write_model
from tests.parrot_rows import run_rows
from tests.tokenizer_files import SENTENCEPIECE, write_transformers_tokenizer

pytestmark = pytest.mark.timeout(1200)

_TRACE = "from pathlib import Path\nwith Path({trace!r}).open('a') as file:\n    file.write({name!r} + ' ')\n"
_CODE = {
    "model.py": "from mlx_lm.models.llama import Model, ModelArgs\n",
    "modeling.py": "class Model: ...\n",
    "configuration.py": "from transformers import PreTrainedConfig\nclass Config(PreTrainedConfig): ...\n",
    "tokenization.py": "from transformers import GPTSw3Tokenizer\nclass Own(GPTSw3Tokenizer): ...\n",
}
_AUTO_MAP = {
    "AutoConfig": "configuration.Config",
    "AutoModelForCausalLM": "modeling.Model",
    "AutoTokenizer": ["tokenization.Own", None],
}


@attrs.frozen
class Repo:
    """A model with code, and the file that the code writes to when it runs."""

    location: Location
    trace: Path

    def ran(self) -> list[str]:
        return self.trace.read_text().split() if self.trace.exists() else []


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """Return a model that carries code for everything, and needs none of it."""
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = tmp_path / f"repo {tmp_path.name}"
    made = Repo(write_model(folder, {**LLAMA, "vocab_size": 400}), tmp_path / "trace")
    for name, code in _CODE.items():
        (folder / name).write_text(_TRACE.format(trace=str(made.trace), name=name) + code, encoding="utf-8")
    _change(folder / "config.json", auto_map=_AUTO_MAP)
    _change(folder / "tokenizer_config.json", auto_map=_AUTO_MAP, tokenizer_class="OwnTokenizer")
    return made


def _change(path: Path, **changes: Any) -> None:  # noqa: ANN401 - any JSON
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(content | changes), encoding="utf-8")


def _need_tokenizer_code(repo: Repo) -> None:
    """Take away tokenizer.json, so that only the code of the repo reads the vocabulary."""
    folder = Path(repo.location.token)
    config = (folder / "config.json").read_text(encoding="utf-8")
    write_transformers_tokenizer(folder, SENTENCEPIECE)
    (folder / "config.json").write_text(config, encoding="utf-8")
    (folder / "tokenizer.json").unlink()
    _change(folder / "tokenizer_config.json", auto_map=_AUTO_MAP, tokenizer_class="OwnTokenizer")


def _need_model_code(repo: Repo) -> None:
    _change(Path(repo.location.token) / "config.json", model_type="unheard-of", model_file="model.py")


def _load_and_step(repo: Repo, *, allowed: bool) -> None:
    """Load the model and compute a token. Raises EngineError."""
    request = LoadRequest(repo.location, "as-is", runs_code=(repo.location,) if allowed else ())
    with closing(MlxTextLoader().load(request)) as model:
        assert len(run_rows(model, [Row(1, (3, 4, 5), 1)]).tokens(1)) == 1


@pytest.mark.parametrize("allowed", [False, True])
def test_code_that_is_not_needed_never_runs(repo: Repo, *, allowed: bool) -> None:
    _load_and_step(repo, allowed=allowed)
    assert repo.ran() == []


def test_the_auto_map_does_not_change_how_a_text_is_split(repo: Repo) -> None:
    config = Path(repo.location.token) / "tokenizer_config.json"
    found = []
    for changes in ({"tokenizer_class": "LlamaTokenizerFast"}, {"auto_map": None}):
        _change(config, **changes)
        with closing(MlxTextLoader().load(LoadRequest(repo.location, "as-is"))) as model:
            found.append(model.tokenizer.encode("\u4e01\u4e02", add_special_tokens=False))
    assert found == [(1, 2)] * 2


@pytest.mark.parametrize(
    ("needs", "name"),
    [(_need_model_code, "model.py"), (_need_tokenizer_code, "tokenization.py")],
    ids=["model", "tokenizer"],
)
def test_needed_code_runs_only_where_it_is_allowed(repo: Repo, needs: Any, name: str) -> None:  # noqa: ANN401
    needs(repo)
    if name == "model.py":
        with pytest.raises(EngineError, match="needs code of its repo"):
            _load_and_step(repo, allowed=False)
    assert repo.ran() == []
    _load_and_step(repo, allowed=True)
    assert set(repo.ran()) == {name}
    assert not (repo.trace.parent / "cache").exists(), "copies of the code do not go to the Hugging Face cache"
