from __future__ import annotations

import attrs
import pytest

from mlxknife.domain.compatibility.rules import compatibility
from mlxknife.domain.compatibility.rules.architecture_versions import first_version
from mlxknife.domain.compatibility.values import Runtime, RuntimePackage
from tests.builder import (
    Files,
    chat_files,
    embedding_files,
    gguf_files,
    json_bytes,
    pytorch_files,
    speech_files,
    vision_files,
)
from tests.unit.facts import facts_of, traits_of, with_config, without

_LM = RuntimePackage(
    name="mlx-lm",
    version="0.27.1",
    architectures=frozenset({"llama", "qwen2_vl", "hybrid_v3"}),
    remapping={"mistral": "llama", "lost": "nowhere"},
    class_remapping={("hybrid", "HybridV3"): "hybrid_v3", ("hybrid", "HybridV9"): "hybrid_v9"},
)
_VLM = RuntimePackage(
    name="mlx-vlm",
    version="0.7.0",
    architectures=frozenset({"gemma3n", "idefics3"}),
    remapping={"lfm2-vl": "idefics3"},
)
_BOTH = Runtime(backend=True, mlx_lm=_LM, mlx_vlm=_VLM, tokenizers={"llama4": "LlamaTokenizer"})
_LM_ONLY = attrs.evolve(_BOTH, mlx_vlm=None)
_MLX = {"quantization": {"group_size": 64, "bits": 4}}


def _reason(files: Files, runtime: Runtime = _BOTH, *, allowed: bool = False) -> str | None:
    verdict = compatibility.judge(traits_of(files, "org/name"), facts_of(files), runtime, allows_remote_code=allowed)
    assert verdict.compatible is (verdict.reason is None)
    return verdict.reason


def _chat(model_type: str | None = None, architectures: object = None) -> Files:
    config = {"model_type": model_type, "architectures": architectures}
    return with_config(**{key: value for key, value in config.items() if value is not None}, **_MLX)


def _embedding(model_type: str) -> Files:
    return embedding_files() | {"config.json": json_bytes({"model_type": model_type})}


def _modules(*kinds: str) -> Files:
    folders = {"Transformer": "", "Pooling": "1_Pooling", "Dense": "2_Dense"}
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": folders.get(kind, kind)} for kind in kinds]
    return {"modules.json": json_bytes(modules)}


_DENSE = {
    "2_Dense/config.json": json_bytes({"in_features": 768, "out_features": 8, "bias": False}),
    "2_Dense/pytorch_model.bin": b"PK\x03\x04",
}


def _renamed(weights: str) -> Files:
    """Return a chat model whose weights have another name."""
    files = chat_files()
    return without(files, "model.safetensors") | {weights: files["model.safetensors"]}


_CODE = {"AutoModelForCausalLM": "modeling.Model", "AutoTokenizer": ["tokenization.Own", None]}


def _tokenizer(auto_map: object, tokenizer_class: str | None = None) -> Files:
    """Return a chat model whose tokenizer config has an ``auto_map``."""
    settings = {"auto_map": auto_map, "tokenizer_class": tokenizer_class}
    return chat_files() | {"tokenizer_config.json": json_bytes(settings), "tokenization.py": b""}


def _bare(files: Files) -> Files:
    """Return a model with a sentencepiece file in place of tokenizer.json."""
    return without(files, "tokenizer.json") | {"tokenizer.model": b"x"}


_UNLOADABLE = "Weights not executable with mlx-lm (requires model*.safetensors beside config.json)"


@pytest.mark.parametrize(
    ("files", "runtime"),
    [
        pytest.param(chat_files(), _BOTH, id="known"),
        pytest.param(chat_files(), _LM_ONLY, id="known without mlx-vlm"),
        pytest.param(_chat("mistral"), _BOTH, id="renamed"),
        pytest.param(_chat("hybrid", ["Other", "HybridV3"]), _BOTH, id="renamed for its class"),
        pytest.param(embedding_files(), _BOTH, id="an encoder without an MLX marker"),
        pytest.param(embedding_files(), attrs.evolve(_BOTH, mlx_lm=None), id="an encoder without mlx-lm"),
        pytest.param(embedding_files(), attrs.evolve(_LM_ONLY, backend=False), id="an encoder without a backend"),
        pytest.param(_renamed("model-x.safetensors"), _BOTH, id="any name that begins as mlx-lm wants"),
        pytest.param(vision_files(), _LM_ONLY, id="vision that mlx-lm knows as text"),
        pytest.param(vision_files(), _BOTH, id="vision that mlx-vlm does not know but mlx-lm does"),
        pytest.param(with_config(model_type="llama", auto_map=_CODE, **_MLX), _BOTH, id="code that is not used"),
        pytest.param(
            chat_files() | {"preprocessor_config.json": json_bytes({"auto_map": {"AutoProcessor": "x.X"}})},
            _BOTH,
            id="a processor of its own, which text does not need",
        ),
        pytest.param(_tokenizer(_CODE), _BOTH, id="a tokenizer of its own beside tokenizer.json"),
        pytest.param(
            _bare(_tokenizer({"AutoTokenizer": ["x.X", None]}, "LlamaTokenizerFast")),
            _BOTH,
            id="a tokenizer that transformers knows",
        ),
    ],
)
def test_a_compatible_model(files: Files, runtime: Runtime) -> None:
    assert _reason(files, runtime) is None


@pytest.mark.parametrize(
    ("files", "runtime", "reason"),
    [
        pytest.param(gguf_files(), _BOTH, "Framework GGUF not executable with mlx-lm (requires MLX)", id="GGUF"),
        pytest.param(
            pytorch_files(), _BOTH, "Framework PyTorch not executable with mlx-lm (requires MLX)", id="PyTorch"
        ),
        pytest.param(
            without(embedding_files(), "model.safetensors") | {"pytorch_model.bin": b"x"},
            _BOTH,
            "pytorch_model.bin is a pickle, which is not loaded (requires safetensors beside config.json)",
            id="an encoder in pickles",
        ),
        pytest.param(
            speech_files() | {"README.md": b"---\nlibrary_name: mlx\n---\n"},
            _BOTH,
            "Speech models are not executable with mlx-lm",
            id="speech",
        ),
        pytest.param(
            without(chat_files(), "model.safetensors") | {"weights.npz": b"x"},
            _BOTH,
            "Weights not executable with mlx-lm (requires model*.safetensors beside config.json)",
            id="old MLX weights",
        ),
        pytest.param(
            chat_files(),
            attrs.evolve(_BOTH, backend=False),
            "No MLX backend installed; on Linux install one with: pip install 'mlx[cpu]' (or cuda12, cuda13)",
            id="no backend",
        ),
        pytest.param(_chat(architectures=["X"]), _BOTH, "config.json names no model_type", id="no architecture"),
        pytest.param(
            _chat("lost"), _BOTH, "Model architecture 'lost' not supported by mlx-lm 0.27.1", id="renamed to nothing"
        ),
        pytest.param(
            _chat("hybrid", ["HybridV9"]),
            _BOTH,
            "Model architecture 'hybrid' not supported by mlx-lm 0.27.1",
            id="renamed for its class to nothing",
        ),
        pytest.param(
            _chat("nonsense"), _BOTH, "Model architecture 'nonsense' not supported by mlx-lm 0.27.1", id="unknown"
        ),
        pytest.param(
            _chat("qwen3_next"),
            _BOTH,
            "Model architecture 'qwen3_next' requires mlx-lm >= 0.28.0 (current: 0.27.1); "
            "upgrade with: pip install -U mlx-lm",
            id="too new",
        ),
        pytest.param(
            _chat("qwen3_next"),
            Runtime(backend=True),
            "Model architecture 'qwen3_next' requires mlx-lm >= 0.28.0 (not installed); "
            "install it with: pip install mlx-lm",
            id="mlx-lm is not installed",
        ),
        pytest.param(
            _embedding("nomic_bert"),
            _BOTH,
            "Embedding architecture 'nomic_bert' not supported (supported: bert, roberta, xlm-roberta, camembert, "
            "modernbert, qwen3, gemma3_text)",
            id="an encoder that is not built",
        ),
        pytest.param(
            embedding_files() | _modules("Transformer", "Pooling", "WordWeights"),
            _BOTH,
            "Module 'WordWeights' of modules.json not supported",
            id="a module that is not built",
        ),
        pytest.param(
            embedding_files() | _modules("Transformer", "Pooling", "Dense") | _DENSE,
            _BOTH,
            "2_Dense/pytorch_model.bin is a pickle, which is not loaded (requires safetensors in 2_Dense)",
            id="a linear layer in a pickle",
        ),
        pytest.param(
            embedding_files() | {"config.json": json_bytes({"model_type": "bert", "hidden_act": "mish"})},
            _BOTH,
            "Activation 'mish' not supported",
            id="an activation that is not built",
        ),
        pytest.param(
            embedding_files() | {"1_Pooling/config.json": json_bytes({"pooling_mode_max_tokens": True})},
            _BOTH,
            "Pooling 'pooling_mode_max_tokens' not supported",
            id="a pooling that is not built",
        ),
        pytest.param(
            without(embedding_files(), "tokenizer.json"),
            _BOTH,
            "Embeddings need tokenizer.json",
            id="an encoder with a vocabulary only",
        ),
        pytest.param(
            chat_files(model_type="mllama", vision_config={"a": 1}),
            _BOTH,
            "Model architecture 'mllama' not supported by mlx-lm 0.27.1; mlxk does not run models with mlx-vlm yet",
            id="vision that mlx-lm does not know",
        ),
        pytest.param(
            chat_files(model_type="gemma3n", vision_config={"a": 1}, audio_config={"a": 1}),
            attrs.evolve(_BOTH, mlx_lm=attrs.evolve(_LM, version="0.25.0")),
            "Model architecture 'gemma3n' requires mlx-lm >= 0.25.3 (current: 0.25.0); "
            "upgrade with: pip install -U mlx-lm",
            id="vision that a later mlx-lm knows",
        ),
        pytest.param(
            without(vision_files(), "model.safetensors") | {"weights.safetensors": chat_files()["model.safetensors"]},
            _BOTH,
            _UNLOADABLE,
            id="vision in weights that mlx-lm does not find",
        ),
        pytest.param(
            _chat("qwen3_next"),
            attrs.evolve(_BOTH, mlx_lm=attrs.evolve(_LM, version="0.28.0")),
            "Model architecture 'qwen3_next' not supported by mlx-lm 0.28.0",
            id="a version of the table that has lost it",
        ),
        pytest.param(
            _chat("qwen3_next"),
            attrs.evolve(_BOTH, mlx_lm=attrs.evolve(_LM, version="0.100.0.dev1")),
            "Model architecture 'qwen3_next' not supported by mlx-lm 0.100.0.dev1",
            id="versions are compared as numbers",
        ),
        pytest.param(_renamed("weights.00.safetensors"), _BOTH, _UNLOADABLE, id="weights of another name"),
        pytest.param(_renamed("adapters.safetensors"), _BOTH, _UNLOADABLE, id="an adapter only"),
        pytest.param(_renamed("sub/model.safetensors"), _BOTH, _UNLOADABLE, id="weights in a folder"),
        pytest.param(_renamed("consolidated.safetensors"), _BOTH, _UNLOADABLE, id="weights for another loader"),
    ],
)
def test_an_incompatible_model_has_a_reason(files: Files, runtime: Runtime, reason: str) -> None:
    assert _reason(files, runtime) == reason


def test_the_example_of_the_specification() -> None:
    reason = _reason(_chat("qwen3_next")) or ""
    assert reason.startswith("Model architecture 'qwen3_next' requires mlx-lm >= 0.28.0 (current: 0.27.1)")


def test_a_model_type_is_remapped_to_an_encoder_only_for_embedding_models() -> None:
    assert compatibility.knows(_LM, "mistral", ())
    assert not compatibility.knows(_VLM, "roberta", ())


_CLASSES = {"qwen2": "Qwen2Tokenizer", "phi3": "TokenizersBackend", "t5": "T5Tokenizer", "x": "GPT2Tokenizer"}
_KNOWN = attrs.evolve(_BOTH, tokenizers=_CLASSES)
_VOCABULARY = {"vocab.json": b"{}", "merges.txt": b""}


def _with_tokenizer(files: Files, tokenizer_class: object = None, model_type: str = "llama") -> Files:
    config = with_config(model_type=model_type, **_MLX)["config.json"]
    settings = json_bytes({"tokenizer_class": tokenizer_class})
    return without(chat_files(), "tokenizer.json") | {"config.json": config, "tokenizer_config.json": settings} | files


_UNREADABLE = "Tokenizer files not readable with transformers (requires tokenizer.json)"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        pytest.param(_with_tokenizer({"tokenizer.model": b"x"}), None, id="sentencepiece"),
        pytest.param(_with_tokenizer({"tekken.json": b"{}"}), None, id="tekken"),
        pytest.param(_with_tokenizer(_VOCABULARY, "GPT2TokenizerFast"), None, id="a vocabulary of a declared class"),
        pytest.param(_with_tokenizer(_VOCABULARY), _UNREADABLE, id="a vocabulary of no class"),
        pytest.param(_with_tokenizer(_VOCABULARY, 7), _UNREADABLE, id="a class that is no name"),
        pytest.param(_with_tokenizer(_VOCABULARY, "T5Tokenizer"), _UNREADABLE, id="a class that reads other files"),
        pytest.param(_with_tokenizer({"spiece.model": b"x"}, "T5Tokenizer"), None, id="sentencepiece of T5"),
        pytest.param(_with_tokenizer({"spiece.model": b"x"}), _UNREADABLE, id="sentencepiece of no class"),
        pytest.param(_with_tokenizer({"a.tiktoken": b"x"}, "GPT2Tokenizer"), _UNREADABLE, id="tiktoken"),
        pytest.param(_with_tokenizer({"rwkv_vocab_v1.txt": b"x"}), _UNREADABLE, id="rwkv"),
    ],
)
def test_tokenizer_files_that_transformers_reads(files: Files, reason: str | None) -> None:
    assert _reason(files, _KNOWN) == reason
    assert _reason(files, attrs.evolve(_BOTH, tokenizers={})) is None, "without transformers its classes are not known"


@pytest.mark.parametrize(("model_type", "reason"), [("qwen2", None), ("phi3", _UNREADABLE)])
def test_the_model_type_decides_on_the_tokenizer_class(model_type: str, reason: str | None) -> None:
    packages = attrs.evolve(_KNOWN, mlx_lm=attrs.evolve(_LM, architectures=frozenset({model_type})))
    assert _reason(_with_tokenizer(_VOCABULARY, "GPT2Tokenizer", model_type), packages) == reason


_MODEL_FILE = with_config(model_type="own", model_file="model.py", **_MLX) | {"model.py": b""}


@pytest.mark.parametrize(
    ("files", "key"),
    [
        pytest.param(_MODEL_FILE, "config.json: model_file", id="the architecture"),
        pytest.param(_bare(_tokenizer(_CODE)), "tokenizer_config.json: auto_map", id="the tokenizer"),
        pytest.param(
            _bare(_tokenizer(["tokenization.Own", None], "OwnTokenizer")),
            "tokenizer_config.json: auto_map",
            id="the tokenizer, named as older releases did",
        ),
        pytest.param(
            _bare(_tokenizer({"AutoTokenizer": "tokenization.Own"})),
            "tokenizer_config.json: auto_map",
            id="the tokenizer, named without a list",
        ),
    ],
)
def test_needed_code_of_a_repo_runs_only_where_the_user_allows_it(files: Files, key: str) -> None:
    assert _reason(files) == f"Needs code of its repo ({key}), which runs only with --allow-remote-code"
    assert _reason(files, allowed=True) is None


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        pytest.param(
            _bare(_tokenizer({"AutoTokenizer": ["org/other--tokenization.Own", None]})),
            "Needs code of another repo (tokenizer_config.json: auto_map), which mlxk does not run",
            id="another repo",
        ),
        *(
            pytest.param(
                with_config(model_type="llama", model_file=name, **_MLX),
                "Needs code of its repo (config.json: model_file), but the file it names is missing",
                id=f"{name!r} is no file",
            )
            for name in ("", "model.py", "../model.py", "/model.py", 7, ["model.py"], False)
        ),
        pytest.param(
            with_config(model_type="nonsense", auto_map=_CODE, **_MLX),
            "Model architecture 'nonsense' not supported by mlx-lm 0.27.1 "
            "(--allow-remote-code does not help: the code of its repo is for PyTorch)",
            id="an unknown architecture with code for PyTorch",
        ),
    ],
)
def test_code_that_cannot_run_is_refused_whatever_the_user_allows(files: Files, reason: str) -> None:
    assert _reason(files) == _reason(files, allowed=True) == reason


@pytest.mark.parametrize("value", [None, {}, "", False, 7, [None], {"AutoTokenizer": None}, {"AutoTokenizer": [7]}])
def test_an_empty_auto_map_needs_no_code(value: object) -> None:
    assert _reason(with_config(model_type="llama", auto_map=value, **_MLX)) is None
    assert _reason(_bare(_tokenizer(value))) is None


@pytest.mark.parametrize(
    ("package", "architecture", "version"),
    [
        ("mlx-lm", "qwen3_next", "0.28.0"),
        ("mlx-lm", "qwen3", "0.24.0"),
        ("mlx-lm", "nemotron-nas", "0.23.0"),
        ("mlx-lm", "llama", None),
        ("mlx-lm", "qwen", None),
        ("mlx-lm", "", None),
        ("mlx-vlm", "bert", "0.6.9"),
        ("mlx-vlm", "rf-detr", "0.4.3"),
    ],
)
def test_the_table_finds_the_first_version_by_the_whole_name(
    package: str, architecture: str, version: str | None
) -> None:
    assert first_version(package, architecture) == version
