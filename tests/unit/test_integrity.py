from __future__ import annotations

import attrs
import pytest

from mlxknife.domain.integrity.rules import integrity
from mlxknife.domain.models.rules import configs
from mlxknife.domain.models.values.hashes import RecordedFile
from mlxknife.domain.models.values.snapshot import FileFact, FileState, SnapshotFacts
from mlxknife.domain.models.values.verdict import Integrity
from tests.builder import (
    Files,
    chat_files,
    embedding_files,
    gguf_files,
    json_bytes,
    pytorch_files,
    raw_safetensors,
    safetensors,
    sharded_files,
    speech_files,
    vision_files,
)
from tests.unit.facts import facts_of, without

_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
_INDEX, _WEIGHTS = "model.safetensors.index.json", "model.safetensors"
_SHARD = "model-0000{}-of-00003.safetensors"


def _first(
    facts: SnapshotFacts, *, unfinished: frozenset[str] = frozenset(), manifest: dict[str, int] | None = None
) -> tuple[Integrity, str] | None:
    found = integrity.findings(
        facts,
        needs_tokenizer=configs.needs_tokenizer("org/name", facts),
        needs_processor=configs.needs_image_processor(facts),
        unfinished=unfinished,
        manifest={name: RecordedFile(size) for name, size in (manifest or {}).items()},
    )
    first = next(found, None)
    return (first.integrity, first.reason) if first else None


def _index(**content: object) -> Files:
    return sharded_files() | {_INDEX: json_bytes(content)}


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(chat_files(), id="chat"),
        pytest.param(sharded_files(), id="shards with an index"),
        pytest.param(without(sharded_files(), _INDEX), id="shards without an index"),
        pytest.param(embedding_files(), id="embedding"),
        pytest.param(vision_files(), id="vision"),
        pytest.param(gguf_files(), id="GGUF only"),
        pytest.param(pytorch_files(), id="PyTorch only"),
        pytest.param(speech_files(), id="speech without a tokenizer"),
        pytest.param(chat_files() | {"sub/model.safetensors": safetensors()}, id="weights in a folder"),
        pytest.param(chat_files() | {"pytorch_model.bin.index.json": b"{}"}, id="an index of other weights"),
        pytest.param(
            without(chat_files(), "tokenizer.json") | {"vocab.json": b"{}", "merges.txt": b"#version: 0.2"},
            id="vocab and merges",
        ),
        pytest.param(chat_files() | {"training_args.bin": b""}, id="an empty file that is no weights"),
    ],
)
def test_an_intact_model_has_no_finding(files: Files) -> None:
    assert _first(facts_of(files)) is None


@pytest.mark.parametrize(
    ("files", "verdict", "reason"),
    [
        pytest.param(without(chat_files(), "config.json"), Integrity.INCOMPLETE, "config.json missing", id="no config"),
        pytest.param(
            chat_files() | {"config.json": b"{}"}, Integrity.CORRUPT, "config.json is empty", id="empty config"
        ),
        pytest.param(chat_files() | {"config.json": b""}, Integrity.CORRUPT, "config.json is empty", id="no bytes"),
        pytest.param(
            chat_files() | {"config.json": b"[1]"}, Integrity.CORRUPT, "config.json is not a JSON object", id="a list"
        ),
        pytest.param(
            chat_files() | {"config.json": b"{"}, Integrity.CORRUPT, "config.json is not valid JSON", id="cut"
        ),
        pytest.param(
            chat_files() | {"config.json": b"\xff"}, Integrity.CORRUPT, "config.json is not UTF-8", id="bytes"
        ),
        pytest.param(
            without(sharded_files(), _SHARD.format(2)),
            Integrity.INCOMPLETE,
            f"missing weight shards: {_SHARD.format(2)}",
            id="a shard of the index",
        ),
        pytest.param(
            without(sharded_files(), _INDEX, _SHARD.format(3)),
            Integrity.INCOMPLETE,
            f"missing weight shards: {_SHARD.format(3)}",
            id="a shard of the set",
        ),
        pytest.param(_index(), Integrity.CORRUPT, f"{_INDEX} has no weight_map", id="no weight map"),
        pytest.param(_index(weight_map={}), Integrity.CORRUPT, f"{_INDEX} has no weight_map", id="empty weight map"),
        pytest.param(
            _index(weight_map={"w": 1}),
            Integrity.CORRUPT,
            f"{_INDEX}: weight_map names a file that is not a weight file",
            id="odd weight map",
        ),
        pytest.param(
            sharded_files() | {_INDEX: b"{"}, Integrity.CORRUPT, f"{_INDEX} is not valid JSON", id="index cut"
        ),
        pytest.param(
            sharded_files() | {_INDEX: b"[]"}, Integrity.CORRUPT, f"{_INDEX} is not a JSON object", id="index is a list"
        ),
        pytest.param(without(chat_files(), _WEIGHTS), Integrity.INCOMPLETE, "no weight files", id="no weights"),
        pytest.param(
            chat_files() | {_WEIGHTS: b""}, Integrity.CORRUPT, f"empty weight file: {_WEIGHTS}", id="empty weights"
        ),
        pytest.param(
            chat_files() | {_WEIGHTS: _LFS},
            Integrity.CORRUPT,
            f"LFS pointers instead of files: {_WEIGHTS}",
            id="LFS pointer",
        ),
        pytest.param(
            chat_files() | {_WEIGHTS: safetensors()[:-1]},
            Integrity.CORRUPT,
            f"{_WEIGHTS}: truncated: 1 bytes of weights missing",
            id="truncated weights",
        ),
        pytest.param(
            chat_files() | {_WEIGHTS: safetensors() + b"xy"},
            Integrity.CORRUPT,
            f"{_WEIGHTS}: 2 bytes after the last tensor",
            id="weights and more",
        ),
        pytest.param(
            without(chat_files(), "tokenizer.json"), Integrity.INCOMPLETE, "tokenizer missing", id="no tokenizer"
        ),
        pytest.param(
            without(vision_files(), "preprocessor_config.json"),
            Integrity.INCOMPLETE,
            "processor config missing: processor_config.json or preprocessor_config.json",
            id="no processor",
        ),
        pytest.param(
            chat_files() | {"tokenizer.json": b"{"},
            Integrity.CORRUPT,
            "tokenizer.json is not valid JSON",
            id="tokenizer cut",
        ),
        pytest.param(
            chat_files() | {"tokenizer_config.json": b"[]"},
            Integrity.CORRUPT,
            "tokenizer_config.json is not a JSON object",
            id="tokenizer config is a list",
        ),
        pytest.param(
            chat_files() | {f"{_WEIGHTS}.partial": b"x"},
            Integrity.INCOMPLETE,
            f"download not finished: {_WEIGHTS}.partial",
            id="partial weights",
        ),
    ],
)
def test_damage_has_a_verdict_and_a_reason(files: Files, verdict: Integrity, reason: str) -> None:
    assert _first(facts_of(files)) == (verdict, reason)


def _tensors(*places: tuple[int, int], dtype: str = "U8", shape: tuple[int, ...] | None = None) -> bytes:
    header = {
        f"t{number}": {"dtype": dtype, "shape": list(shape or (stop - start,)), "data_offsets": [start, stop]}
        for number, (start, stop) in enumerate(places)
    }
    return raw_safetensors(json_bytes(header), bytes(8))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_tensors((0, 8)), None),
        (_tensors((4, 8), (0, 4)), None),
        (_tensors((0, 5), (4, 8)), "tensor 't1' overlaps its neighbour"),
        (_tensors((0, 3), (4, 8)), "hole before tensor 't1'"),
        (_tensors((0, 9)), "truncated: 1 bytes of weights missing"),
        (_tensors((0, 7)), "1 bytes after the last tensor"),
        (_tensors((0, 8), dtype="F16", shape=(3,)), "tensor 't0' does not match its size in bytes"),
        (_tensors((0, 8), dtype="Q4"), "tensor 't0' has the unknown type 'Q4'"),
    ],
)
def test_tensors_fill_their_file_without_overlap_or_hole(data: bytes, reason: str | None) -> None:
    expected = reason and (Integrity.CORRUPT, f"{_WEIGHTS}: {reason}")
    assert _first(facts_of(chat_files() | {_WEIGHTS: data})) == expected


def _with_state(name: str, state: FileState) -> SnapshotFacts:
    """Return the facts of a chat model with one unreadable file."""
    facts = facts_of(without(chat_files(), name))
    return attrs.evolve(facts, files=(*facts.files, FileFact(name, 0, state, "blob", None)))


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (FileState.DANGLING, Integrity.INCOMPLETE),
        (FileState.UNREADABLE, Integrity.INCOMPLETE),
        (FileState.ESCAPING, Integrity.CORRUPT),
        (FileState.LOOP, Integrity.CORRUPT),
        (FileState.IRREGULAR, Integrity.CORRUPT),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_an_unreadable_file_is_reported_with_its_state(name: str, state: FileState, verdict: Integrity) -> None:
    assert _first(_with_state(name, state)) == (verdict, f"{state.value}: {name}")


def test_an_unfinished_download_counts_only_for_a_file_of_the_model() -> None:
    facts = _with_state("model.safetensors", FileState.DANGLING)
    expected = (Integrity.INCOMPLETE, "download not finished: model.safetensors")
    assert _first(facts, unfinished=frozenset({"blob"})) == expected
    assert _first(facts_of(chat_files()), unfinished=frozenset({"blob"})) is None


def test_sizes_are_compared_with_those_of_the_hub() -> None:
    facts = facts_of(chat_files() | {"README.md": b"four"})
    assert _first(facts, manifest={"README.md": 4, "not-downloaded.txt": 9}) is None
    expected = (Integrity.CORRUPT, "README.md has 4 bytes, the Hub has 5")
    assert _first(facts, manifest={"README.md": 5}) == expected


def test_more_than_three_missing_shards_are_counted() -> None:
    weight_map = {f"w{number}": f"{number}.safetensors" for number in range(5)}
    expected = "missing weight shards: 0.safetensors, 1.safetensors, 2.safetensors and 2 more"
    assert _first(facts_of(_index(weight_map=weight_map))) == (Integrity.INCOMPLETE, expected)


def test_the_most_significant_finding_comes_first() -> None:
    damages: list[tuple[Files, str]] = [
        ({"tokenizer.json": b"{"}, "tokenizer.json is not valid JSON"),
        ({_WEIGHTS: b""}, f"empty weight file: {_WEIGHTS}"),
        ({_INDEX: b"[]"}, f"{_INDEX} is not a JSON object"),
        ({f"{_WEIGHTS}.tmp": b"x"}, f"download not finished: {_WEIGHTS}.tmp"),
        ({"config.json": b"{}"}, "config.json is empty"),
    ]
    files = chat_files()
    for damage, reason in damages:
        files |= damage
        assert (_first(facts_of(files)) or ("", ""))[1] == reason
    facts = attrs.evolve(facts_of(files), problem="sub cannot be read")
    assert _first(facts) == (Integrity.INCOMPLETE, "sub cannot be read")
