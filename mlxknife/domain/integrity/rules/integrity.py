"""Integrity: whether the files of a model are complete and consistent (the contract's seven rules, in order)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from mlxknife.domain.integrity.rules import loaded_files, safetensors, tokenizers
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.hashes import RecordedFile
from mlxknife.domain.models.values.snapshot import (
    FileFact,
    FileState,
    SnapshotFacts,
    WeightFormat,
    WeightHeader,
)
from mlxknife.domain.models.values.verdict import Finding, Integrity

_NAMED_AT_MOST = 3
_NO_HEADER = WeightHeader(WeightFormat.OTHER)


def findings(
    facts: SnapshotFacts,
    *,
    needs_tokenizer: bool,
    needs_processor: bool,
    unfinished: frozenset[str] = frozenset(),
    manifest: Mapping[str, RecordedFile] | None = None,
) -> Iterator[Finding]:
    """Yield the problems of a model, most significant first; nothing for an intact model.

    ``unfinished`` are the blobs whose download is unfinished; ``manifest`` is the Hub's listing of the commit.
    """
    weights = [file for file in facts.files if filenames.is_weight(file.name)]
    if facts.problem is not None:
        yield _incomplete(facts.problem)
    yield from _config(facts, weights)
    yield from _links(facts, unfinished)
    if unfinished and manifest:
        yield from _unlinked(facts, unfinished, manifest)
    defining = _defining_indexes(facts)
    yield from _shards(facts, defining, weights)
    yield from _presence(defining, weights, unfinished)
    yield from _weight_files(facts, weights)
    if not _are_gguf(weights):
        yield from _text_and_images(facts, needs_tokenizer=needs_tokenizer, needs_processor=needs_processor)
        for name in loaded_files.gone_from_family(facts, needs_tokenizer=needs_tokenizer):
            yield _incomplete(f"file missing: {name}")
        for name in loaded_files.gone_from_listing(
            facts, manifest or {}, needs_tokenizer=needs_tokenizer, needs_processor=needs_processor
        ):
            yield _incomplete(f"file missing: {name} (the Hub lists it)")
    if manifest:
        yield from _sizes(facts, manifest)


def _incomplete(reason: str) -> Finding:
    return Finding(Integrity.INCOMPLETE, reason)


def _corrupt(reason: str) -> Finding:
    return Finding(Integrity.CORRUPT, reason)


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _are_gguf(weights: Sequence[FileFact]) -> bool:
    """Return whether all weights are GGUF files, which contain config and tokenizer."""
    return bool(weights) and all(file.name.endswith(filenames.GGUF) for file in weights)


def _config(facts: SnapshotFacts, weights: Sequence[FileFact]) -> Iterator[Finding]:
    document = facts.documents.get(filenames.CONFIG)
    if document is None:
        state = next(
            (file.state for file in facts.files if file.name == filenames.CONFIG),
            FileState.OK,
        )
        if state is not FileState.OK:
            yield _state_finding(state, filenames.CONFIG)
        elif not _are_gguf(weights):
            yield _incomplete("config.json missing")
    elif document.problem is not None:
        yield _corrupt(f"config.json {document.problem}")
    elif not isinstance(document.value, Mapping):
        yield _corrupt("config.json is not a JSON object")
    elif not document.value:
        yield _corrupt("config.json is empty")


def _state_finding(state: FileState, name: str) -> Finding:
    lost = state in (FileState.DANGLING, FileState.UNREADABLE)
    return (_incomplete if lost else _corrupt)(f"{state.value}: {name}")


def _links(facts: SnapshotFacts, unfinished: frozenset[str]) -> Iterator[Finding]:
    for file in facts.files if unfinished else ():
        if file.blob is not None and file.blob in unfinished:
            yield _incomplete(f"download not finished: {file.name}")
    for file in facts.files:
        if file.state is not FileState.OK:
            yield _state_finding(file.state, file.name)
    for file in facts.files:
        if filenames.is_unfinished_weight(file.name):
            yield _incomplete(f"download not finished: {file.name}")


def _unlinked(
    facts: SnapshotFacts, unfinished: frozenset[str], manifest: Mapping[str, RecordedFile]
) -> Iterator[Finding]:
    """Find files that a loader needs, whose download has started, and that have no link yet."""
    present = facts.names()
    for name, listed in manifest.items():
        if (
            name not in present
            and listed.hash is not None
            and listed.hash.digest in unfinished
            and _is_needed(name, present)
        ):
            yield _incomplete(f"download not finished: {name}")


def _is_needed(name: str, present: frozenset[str]) -> bool:
    """Return whether a listed file belongs to the model, and is not another format or an extra in a subfolder."""
    if name.endswith(filenames.SAFETENSORS):
        return True
    is_other_format = filenames.is_weight(name) and any(file.endswith(filenames.SAFETENSORS) for file in present)
    is_part = filenames.is_weight(name) or filenames.kind(name) in ("tokenizer", "config", "index")
    return "/" not in name and is_part and not is_other_format


def _defining_indexes(facts: SnapshotFacts) -> list[str]:
    """Return the indexes that define the shards: those of safetensors, else those of PyTorch."""
    indexes = [name for name in sorted(facts.documents) if name.endswith(filenames.INDEX_SUFFIX)]
    defining = [name for name in indexes if filenames.SAFETENSORS in name]
    if defining or any(file.name.endswith(filenames.SAFETENSORS) for file in facts.files):
        return defining
    return [name for name in indexes if ".bin" in name]


def _shards(facts: SnapshotFacts, defining: Sequence[str], weights: Sequence[FileFact]) -> Iterator[Finding]:
    for index in defining:
        yield from _index(facts, index, facts.names())
    if not defining:
        missing = list(islice(filenames.missing_shards(file.name for file in weights), _NAMED_AT_MOST))
        if missing:
            yield _incomplete(f"missing weight shards: {', '.join(missing)}")


def _presence(defining: Sequence[str], weights: Sequence[FileFact], unfinished: frozenset[str]) -> Iterator[Finding]:
    """Find missing weights: a loader looks beside config.json, or where an index there points."""
    has_index = any("/" not in name for name in defining)
    if _are_gguf(weights) or has_index or any("/" not in file.name for file in weights):
        return
    where = " beside config.json" if weights else ""
    started = ", a download has started" if unfinished else ""
    yield _incomplete(f"no weight files{where}{started}")


def _index(facts: SnapshotFacts, index: str, names: frozenset[str]) -> Iterator[Finding]:
    document = facts.documents[index]
    if document.problem is not None:
        yield _corrupt(f"{index} {document.problem}")
        return
    if not isinstance(document.value, Mapping):
        yield _corrupt(f"{index} is not a JSON object")
        return
    weight_map = document.value.get("weight_map")
    if not isinstance(weight_map, Mapping) or not weight_map:
        yield _corrupt(f"{index} has no weight_map")
        return
    shards = set(weight_map.values()) if set(map(type, weight_map.values())) == {str} else None
    if shards is None or not all(map(filenames.is_weight, shards)):
        yield _corrupt(f"{index}: weight_map names a file that is not a weight file")
        return
    folder = index.rpartition("/")[0]
    missing = sorted(shard for shard in shards if (f"{folder}/{shard}" if folder else shard) not in names)
    if missing:
        yield _incomplete(f"missing weight shards: {_listed(missing)}")
    yield from _misplaced(facts, index, weight_map, {shard: f"{folder}/{shard}".lstrip("/") for shard in shards})


def _misplaced(
    facts: SnapshotFacts, index: str, weight_map: Mapping[str, str], paths: Mapping[str, str]
) -> Iterator[Finding]:
    """Find a tensor that is in another shard than its index says, for example after two files were swapped.

    A tensor that is in no shard does not count: an index may be older than complete weights beside it.
    """
    tensors_of = {shard: facts.weights.get(path, _NO_HEADER).tensors for shard, path in paths.items()}
    elsewhere = [tensor for tensor, shard in weight_map.items() if tensor not in tensors_of[shard]]
    if not elsewhere:
        return
    found_in = {tensor: name for name, head in facts.weights.items() for tensor in head.tensors}
    for tensor in elsewhere:
        if tensor in found_in:
            shard = paths[weight_map[tensor]]
            yield _corrupt(f"{index} expects tensor {tensor!r} in {shard}, it is in {found_in[tensor]}")
            return


def _weight_files(facts: SnapshotFacts, weights: Sequence[FileFact]) -> Iterator[Finding]:
    for file in weights:
        if file.state is FileState.OK and file.size == 0:
            yield _corrupt(f"empty weight file: {file.name}")
    pointers = [
        name
        for name, head in facts.weights.items()
        if head.format is WeightFormat.LFS_POINTER
        and (filenames.is_weight(name) or filenames.kind(name) == "tokenizer")
    ]
    if pointers:
        yield _corrupt(f"LFS pointers instead of files: {_listed(sorted(pointers))}")
    for name, head in facts.weights.items():
        if head.problem is not None and filenames.is_weight(name):
            yield _corrupt(f"{name}: {head.problem}")
        elif head.format is WeightFormat.SAFETENSORS:
            fault = safetensors.problem(head) or (None if head.tensors else "contains no tensors")
            if fault is not None:
                yield _corrupt(f"{name}: {fault}")


def _text_and_images(facts: SnapshotFacts, *, needs_tokenizer: bool, needs_processor: bool) -> Iterator[Finding]:
    names = facts.names()
    if needs_tokenizer and not filenames.has_tokenizer(names):
        yield _incomplete("tokenizer missing")
    for file in facts.files:
        if file.state is FileState.OK and not file.size and filenames.kind(file.name) == "tokenizer":
            yield _corrupt(f"empty tokenizer file: {file.name}")
    if needs_processor and names.isdisjoint(filenames.PROCESSOR_CONFIGS):
        yield _incomplete("processor config missing: processor_config.json or preprocessor_config.json")
    yield from _documents(facts)
    if needs_tokenizer:
        yield from _tokenizer_settings(facts)


def _documents(facts: SnapshotFacts) -> Iterator[Finding]:
    for name, document in facts.documents.items():
        if name == filenames.CONFIG or name.endswith(filenames.INDEX_SUFFIX):
            continue
        if document.problem is not None:
            yield _corrupt(f"{name} {document.problem}")
        elif document.value is not None and not isinstance(document.value, _kinds_of_document(name)):
            yield _corrupt(f"{name} is not a JSON {'list' if name == filenames.MODULES else 'object'}")


def _kinds_of_document(name: str) -> type[object]:
    return list if name == filenames.MODULES else Mapping


def _tokenizer_settings(facts: SnapshotFacts) -> Iterator[Finding]:
    for name in (filenames.TOKENIZER_CONFIG, filenames.SPECIAL_TOKENS):
        needs_mark = name == filenames.TOKENIZER_CONFIG
        for fault in tokenizers.problems(facts.json_object(name), needs_mark=needs_mark):
            yield _corrupt(f"{name}: {fault}")


def _sizes(facts: SnapshotFacts, manifest: Mapping[str, RecordedFile]) -> Iterator[Finding]:
    for file in facts.files:
        listed = manifest.get(file.name)
        if listed is not None and file.state is FileState.OK and file.size != listed.size:
            yield _corrupt(f"{file.name} has {file.size} bytes, the Hub has {listed.size}")
