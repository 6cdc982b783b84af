from __future__ import annotations

from collections.abc import Mapping
from math import prod

import pytest

from mlxknife.domain.memory import rules as memory
from mlxknife.domain.memory.rules import MemoryNeed
from mlxknife.domain.models.values.snapshot import SnapshotFacts
from tests.builder import chat_files, gguf_files, json_bytes, safetensors
from tests.unit.facts import facts_of

_ROWS, _COLUMNS = 1280, 4096
_COUNT = _ROWS * _COLUMNS
_GIB = 2**30
_Tensors = Mapping[str, tuple[str, tuple[int, ...]]]


def _packed(bits: int, name: str = "layer") -> _Tensors:
    """Return a matrix as MLX quantises it, in groups of 64."""
    return {
        f"{name}.weight": ("U32", (_ROWS, _COLUMNS * bits // 32)),
        f"{name}.scales": ("BF16", (_ROWS, _COLUMNS // 64)),
        f"{name}.biases": ("BF16", (_ROWS, _COLUMNS // 64)),
    }


def _facts(*shards: _Tensors, **config: object) -> SnapshotFacts:
    files = {f"model-{number}.safetensors": safetensors(shard) for number, shard in enumerate(shards)}
    return facts_of(files | {"config.json": json_bytes({"model_type": "llama"} | config)})


def _bytes(need: int) -> float:
    """Return an estimate without the overhead of the runtime."""
    return need / 1.1


@pytest.mark.parametrize("key", ["quantization", "quantization_config"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_packed_weights_count_each_and_their_scales_do_not(bits: int, key: str) -> None:
    need = memory.needed(_facts(_packed(bits), **{key: {"bits": bits, "group_size": 64}}))
    assert _bytes(need.unpacked) == pytest.approx(4 * _COUNT, abs=4)
    assert _bytes(need.least) == pytest.approx(_COUNT * bits / 8 + _ROWS * 2 * (_COLUMNS // 64) * 2, abs=4)


@pytest.mark.parametrize("bits", [3, 5, 6])
def test_bits_that_do_not_divide_a_word_are_counted_too(bits: int) -> None:
    need = memory.needed(_facts(_packed(bits), quantization={"bits": bits, "group_size": 64}))
    assert _bytes(need.unpacked) == pytest.approx(4 * _COUNT, abs=4)


def test_four_bits_are_assumed_where_the_config_declares_none() -> None:
    need = memory.needed(_facts(_packed(4)))
    assert _bytes(need.unpacked) == pytest.approx(4 * _COUNT, abs=4)


@pytest.mark.parametrize("odd", [None, "4", 0, -4, True, 4.0, 33, 10**9, [4]])
def test_invalid_bits_are_ignored(odd: object) -> None:
    need = memory.needed(_facts(_packed(4), quantization={"bits": odd}))
    assert _bytes(need.unpacked) == pytest.approx(4 * _COUNT, abs=4)


@pytest.mark.parametrize(("dtype", "size"), [("F16", 2), ("BF16", 2), ("F32", 4)])
def test_unpacked_weights_are_counted_as_stored(dtype: str, size: int) -> None:
    need = memory.needed(_facts({"layer.weight": (dtype, (_ROWS, _COLUMNS)), "norm.weight": (dtype, (_ROWS,))}))
    assert _bytes(need.least) == pytest.approx(size * (_COUNT + _ROWS), abs=4)
    assert _bytes(need.unpacked) == pytest.approx(4 * (_COUNT + _ROWS), abs=4)


def test_u32_tensors_without_scales_are_plain_weights() -> None:
    need = memory.needed(
        _facts({"ids": ("U32", (100,)), "lonely.weight": ("U32", (10, 10)), "x.scales": ("F32", (5,))})
    )
    assert _bytes(need.unpacked) == pytest.approx(4 * 205, abs=4)


def test_scales_without_biases_are_scales_too() -> None:
    tensors = {"layer.weight": ("U32", (8, 16)), "layer.scales": ("U8", (8, 4))}
    need = memory.needed(_facts(tensors, quantization={"bits": 4, "group_size": 32, "mode": "mxfp4"}))
    assert _bytes(need.unpacked) == pytest.approx(4 * 8 * 128, abs=4)


def test_shards_are_summed_even_if_scales_are_in_another_shard() -> None:
    whole = {**_packed(4, "a"), **_packed(4, "b")}
    halves = ({key: whole[key] for key in list(whole)[::2]}, {key: whole[key] for key in list(whole)[1::2]})
    assert memory.needed(_facts(*halves)) == memory.needed(_facts(whole))


def test_the_least_need_is_the_stored_size_plus_overhead() -> None:
    tensors = {"a": ("F16", (3, 5)), "b": ("F32", (7,))}
    stored = sum(prod(shape) * (2 if dtype == "F16" else 4) for dtype, shape in tensors.values())
    assert stored < memory.needed(_facts(tensors)).least <= 1.5 * stored


_SHAPE = {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576}
_KV_NUMBERS = 2 * 30 * 3 * 64
"""Numbers of one token: keys and values, 30 layers, 3 heads of 64."""


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("window", "tokens"), [(None, 4096), (8, 8), (100_000, 100_000)])
def test_the_kv_cache_counts(window: int | None, tokens: int, *, nested: bool) -> None:
    config: dict[str, object] = {"text_config": _SHAPE} if nested else dict(_SHAPE)
    need = memory.needed(_facts(**config), window)
    assert need == MemoryNeed(2 * _KV_NUMBERS * tokens, 4 * _KV_NUMBERS * tokens, 4 * _KV_NUMBERS * tokens)


def test_an_own_head_size_and_a_missing_number_of_kv_heads() -> None:
    config = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64}
    assert memory.needed(_facts(**config), 1).least == 2 * 2 * 2 * 4 * 16
    assert memory.needed(_facts(**config, head_dim=128), 1).least == 2 * 2 * 2 * 4 * 128


@pytest.mark.parametrize("odd", [None, "30", 0, -1, True, 3.0, [3], {}])
@pytest.mark.parametrize("key", _SHAPE)
def test_invalid_dimensions_are_ignored(key: str, odd: object) -> None:
    assert memory.needed(_facts(**(_SHAPE | {key: odd}))).least in (
        0,
        2 * _KV_NUMBERS * 4096,
        3 * 2 * _KV_NUMBERS * 4096,
    )


def test_headers_without_tensors_need_no_memory() -> None:
    assert memory.needed(SnapshotFacts()) == MemoryNeed(0, 0, 0)
    assert memory.needed(facts_of(gguf_files())) == MemoryNeed(0, 0, 0)
    broken = chat_files(num_hidden_layers=0) | {"model.safetensors": b"\xff" * 64}
    assert memory.needed(facts_of(broken)) == MemoryNeed(0, 0, 0)


@pytest.mark.parametrize(
    ("free", "profile"),
    [
        (None, "fast"),
        (4 * _GIB, "fast"),
        (4 * _GIB - 1, "compact"),
        (_GIB, "compact"),
        (_GIB - 1, "as-is"),
        (0, "as-is"),
    ],
)
def test_the_profile_follows_from_the_free_memory(free: int | None, profile: str) -> None:
    assert memory.profile(MemoryNeed(least=_GIB // 2, widened=_GIB, unpacked=2 * _GIB), free) == profile


def test_sixteen_bit_weights_double_when_widened() -> None:
    need = memory.needed(_facts({"a": ("F16", (1000,)), "b": ("BF16", (500,)), "c": ("F32", (100,))}))
    assert _bytes(need.least) == pytest.approx(3_400, abs=4)
    assert _bytes(need.widened) == pytest.approx(6_400, abs=4)
    assert [need.of(profile) for profile in memory.PROFILES] == [need.unpacked, need.widened, need.least]


def test_a_need_of_zero_is_fast_with_any_memory() -> None:
    assert memory.profile(MemoryNeed(0, 0, 0), 0) == "fast"
