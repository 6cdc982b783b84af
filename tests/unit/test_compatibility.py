from __future__ import annotations

import attrs
import pytest

from mlxknife.domain.compatibility.rules import compatibility
from mlxknife.domain.compatibility.rules.architecture_versions import first_encoder_version, first_version
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
    architectures=frozenset({"bert", "gemma3n", "idefics3", "qwen3_embedding"}),
    encoders=frozenset({"bert", "qwen3_embedding"}),
    remapping={"lfm2-vl": "idefics3"},
    embedding_remapping={"roberta": "bert", "qwen3": "qwen3_embedding"},
)
_BOTH = Runtime(backend=True, mlx_lm=_LM, mlx_vlm=_VLM)
_LM_ONLY = attrs.evolve(_BOTH, mlx_vlm=None)
_MLX = {"quantization": {"group_size": 64, "bits": 4}}


def _reason(files: Files, runtime: Runtime = _BOTH, *, trusted: bool = False, name: str = "org/name") -> str | None:
    verdict = compatibility.judge(traits_of(files, name), facts_of(files), runtime, trusted=trusted)
    assert verdict.compatible is (verdict.reason is None)
    return verdict.reason


def _chat(model_type: str | None = None, architectures: object = None) -> Files:
    config = {"model_type": model_type, "architectures": architectures}
    return with_config(**{key: value for key, value in config.items() if value is not None}, **_MLX)


def _embedding(model_type: str) -> Files:
    return embedding_files() | {"config.json": json_bytes({"model_type": model_type})}


def _renamed(weights: str) -> Files:
    """Return a chat model whose weights have another name."""
    files = chat_files()
    return without(files, "model.safetensors") | {weights: files["model.safetensors"]}


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
        pytest.param(_embedding("roberta"), _BOTH, id="a renamed encoder"),
        pytest.param(_embedding("qwen3"), _BOTH, id="a decoder that embeds"),
        pytest.param(_renamed("model-x.safetensors"), _BOTH, id="any name that begins as mlx-lm wants"),
        pytest.param(vision_files(), _LM_ONLY, id="vision that mlx-lm knows as text"),
        pytest.param(vision_files(), _BOTH, id="vision that mlx-vlm does not know but mlx-lm does"),
        pytest.param(
            chat_files(model_type="gemma3n", vision_config={"a": 1}, audio_config={"a": 1}),
            _BOTH,
            id="vision and audio",
        ),
        pytest.param(chat_files(model_type="LFM2-VL", vision_config={"a": 1}), _BOTH, id="vision renamed in any case"),
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
            "Framework PyTorch not executable with mlx-vlm (requires safetensors)",
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
            "No MLX backend installed; on Linux install one with: pip install 'mlxknife[cpu]' (or cuda12, cuda13)",
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
            embedding_files(),
            _LM_ONLY,
            "Model architecture 'bert' requires mlx-vlm >= 0.6.9 (not installed); "
            "install it with: pip install 'mlxknife[embed]'",
            id="mlx-vlm is not installed",
        ),
        pytest.param(
            _embedding("mpnet"),
            _BOTH,
            "Model architecture 'mpnet' not supported by mlx-vlm 0.7.0",
            id="an unknown encoder",
        ),
        pytest.param(
            chat_files(model_type="qwen4_exp", vision_config={"a": 1}),
            attrs.evolve(_BOTH, mlx_vlm=attrs.evolve(_VLM, version="0.6.0")),
            "Model architecture 'qwen4_exp' requires mlx-vlm >= 0.6.17 (current: 0.6.0); "
            "upgrade with: pip install -U mlx-vlm",
            id="vision that is too new",
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
        pytest.param(
            _embedding("gemma3n"),
            _BOTH,
            "Model architecture 'gemma3n' not supported by mlx-vlm 0.7.0",
            id="an architecture that gives no embeddings",
        ),
        pytest.param(
            _embedding("llama"),
            _LM_ONLY,
            "Model architecture 'llama' requires mlx-vlm (not installed); "
            "install it with: pip install 'mlxknife[embed]'",
            id="an encoder that no release has",
        ),
        pytest.param(
            _embedding("xlm-roberta"),
            attrs.evolve(_BOTH, mlx_vlm=attrs.evolve(_VLM, version="0.6.8")),
            "Model architecture 'xlm-roberta' requires mlx-vlm >= 0.6.9 (current: 0.6.8); "
            "upgrade with: pip install -U mlx-vlm",
            id="an encoder that is too new",
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


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", {"auto_map": {"AutoModel": "modeling.Model"}}, "config.json: auto_map"),
        ("config.json", {"model_file": "model.py"}, "config.json: model_file"),
        ("config.json", {"custom_pipelines": {"x": 1}}, "config.json: custom_pipelines"),
        ("config.json", {"text_config": {"auto_map": {"AutoModel": "x"}}}, "config.json: auto_map"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["x", None]}}, "tokenizer_config.json: auto_map"),
        ("preprocessor_config.json", {"auto_map": {"AutoProcessor": "x"}}, "preprocessor_config.json: auto_map"),
        ("processor_config.json", {"auto_map": {"AutoProcessor": "x"}}, "processor_config.json: auto_map"),
    ],
)
def test_code_from_a_repo_runs_only_where_the_user_trusts_it(file: str, content: dict[str, object], said: str) -> None:
    config = content if file != "config.json" else {"model_type": "llama", **_MLX, **content}
    files = chat_files() | {file: json_bytes(config)}
    assert _reason(files) == f"Runs code from its repo ({said}), which mlxk does not allow: choose another model"
    assert _reason(files, trusted=True) is None


@pytest.mark.parametrize("value", [None, {}, "", False])
def test_an_empty_key_runs_no_code(value: object) -> None:
    assert _reason(with_config(model_type="llama", auto_map=value, **_MLX)) is None


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


@pytest.mark.parametrize(
    ("architecture", "version"),
    [("bert", "0.6.9"), ("qwen3", "0.6.9"), ("xlm-roberta", "0.6.9"), ("lfm2", "0.6.9"), ("mistral", None), ("", None)],
)
def test_the_table_finds_the_first_version_that_computes_embeddings(architecture: str, version: str | None) -> None:
    assert first_encoder_version(architecture) == version
