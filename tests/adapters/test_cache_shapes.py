"""What a model may be made to remember: for families that remember differently, untrained, so that all matters."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten
from tokenizers import Tokenizer, decoders, models

from mlxknife.adapters.mlx.text.model import MlxEngine, MlxTextModel
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.generation import CacheShape, Sampling, TokenRequest
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.snapshot import Location

pytestmark = pytest.mark.timeout(1200)

_LETTERS = 100
_COMMON: dict[str, Any] = {
    "vocab_size": _LETTERS,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
_LLAMA = {**_COMMON, "model_type": "llama"}
_GEMMA = {**_COMMON, "model_type": "gemma3_text", "sliding_window": 12, "sliding_window_pattern": 2}
_MAMBA = {
    **_COMMON,
    "model_type": "mamba",
    "intermediate_size": 128,
    "state_size": 8,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "time_step_rank": 4,
}
_PROMPT = tuple(range(40, 100))
_TEXT = 30
_WHOLE = CacheShape()


def model(folder: Path, config: dict[str, Any]) -> Location:
    """Return where an untrained model is."""
    folder.mkdir(exist_ok=True)
    family = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    mx.random.seed(1)
    weights = dict(tree_flatten(family.Model(family.ModelArgs.from_dict(config)).parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    letters = Tokenizer(models.BPE(vocab={chr(0x4E00 + number): number for number in range(_LETTERS)}, merges=[]))
    letters.decoder = decoders.Fuse()
    letters.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}', encoding="utf-8")
    return Location(str(folder), (str(folder),))


def loaded(folder: Path, config: dict[str, Any]) -> MlxTextModel:
    return MlxEngine().load(model(folder, config), "as-is")


def said(one: MlxTextModel, shape: CacheShape = _WHOLE) -> tuple[str, int]:
    """Return a text and how much of the prompt was known before."""
    steps = list(one.generate(TokenRequest(_PROMPT, _TEXT, Sampling(temperature=0.0), shape)))
    return "".join(step.text for step in steps), steps[0].cached


@pytest.mark.parametrize(
    ("config", "known"), [(_LLAMA, len(_PROMPT) - 1), (_GEMMA, 0)], ids=["llama", "gemma, which has windows itself"]
)
def test_what_fits_is_not_forgotten(tmp_path: Path, config: dict[str, Any], known: int) -> None:
    one = loaded(tmp_path, config)
    whole, _ = said(one)
    assert said(one, CacheShape(window=200)) == (whole, 0)
    assert said(one, CacheShape(window=200)) == (whole, known)
    short, _ = said(one, CacheShape(window=16))
    assert short != whole
    assert said(one, CacheShape(window=16)) == (short, 0)  # what was forgotten cannot be gone back to
    assert said(one) == (whole, 0)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_it_remembers_in_few_bits(tmp_path: Path, bits: int) -> None:
    one = loaded(tmp_path, _LLAMA)
    whole, _ = said(one)
    assert said(one, CacheShape(bits, 32, quantized_from=1000)) == (whole, 0)
    rough, known = said(one, CacheShape(bits, 64))
    assert (len(rough), known) == (_TEXT, 0)
    assert rough != whole or bits > 3
    assert said(one, CacheShape(bits, 64))[1] == len(_PROMPT) - 1


@pytest.mark.parametrize(
    ("config", "size", "hint"),
    [
        (_LLAMA, 128, Hint(HintCode.CHOICES, values="32, 64")),
        ({**_LLAMA, "head_dim": 48}, 32, Hint(HintCode.OMIT, name="kv_bits")),
        ({**_LLAMA, "head_dim": 96}, 64, Hint(HintCode.CHOICES, values="32")),
    ],
)
def test_groups_that_do_not_fit_are_refused(tmp_path: Path, config: dict[str, Any], size: int, hint: Hint) -> None:
    one = loaded(tmp_path, config)
    with pytest.raises(ValidationError, match=f"^kv_group_size {size} .* {config['head_dim']} numbers") as caught:
        said(one, CacheShape(8, size, quantized_from=1000))
    assert caught.value.hint == hint
    assert said(one)[0]


@pytest.mark.parametrize(
    ("config", "shape", "name"),
    [
        (_MAMBA, CacheShape(window=64), "max_kv_size"),
        (_MAMBA, CacheShape(bits=8), "kv_bits"),
        (_GEMMA, CacheShape(bits=8), "kv_bits"),
    ],
    ids=["no window", "no numbers of its own", "a window"],
)
def test_what_a_model_cannot_do_is_refused_by_name(
    tmp_path: Path, config: dict[str, Any], shape: CacheShape, name: str
) -> None:
    one = loaded(tmp_path, config)
    with pytest.raises(ValidationError, match=f"^{name} does not go with this model"):
        said(one, shape)
    assert said(one)[0]


@pytest.mark.parametrize("forgetful", [_MAMBA, _GEMMA], ids=lambda config: config["model_type"])
def test_a_guess_must_be_taken_back_by_both(tmp_path: Path, forgetful: dict[str, Any]) -> None:
    one, other = model(tmp_path / "one", _LLAMA), model(tmp_path / "other", forgetful)
    with pytest.raises(ValidationError, match=r"^draft_model cannot be used here: draft_model could not"):
        MlxEngine().load(one, "as-is", draft=other)
    with pytest.raises(ValidationError, match=r"^draft_model cannot be used here: the model could not"):
        MlxEngine().load(other, "as-is", draft=one)


@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_bad_guesses_change_nothing(tmp_path: Path, penalty: float) -> None:
    one = model(tmp_path / "one", _LLAMA)
    guessing = model(tmp_path / "other", {**_LLAMA, "num_hidden_layers": 1})
    request = TokenRequest(_PROMPT, _TEXT, Sampling(temperature=0.0, repetition_penalty=penalty))
    texts = [
        "".join(step.text for step in MlxEngine().load(one, "as-is", draft=draft).generate(request))
        for draft in (None, guessing, one)
    ]
    assert len(set(texts)) == 1
