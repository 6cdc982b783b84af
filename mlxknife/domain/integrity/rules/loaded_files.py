"""Files that loaders read, by the family of a model, and which of them are gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.hashes import RecordedFile
from mlxknife.domain.models.values.snapshot import SnapshotFacts

_SAVED_WITH_TOKENIZER = frozenset({filenames.SPECIAL_TOKENS, "added_tokens.json", "chat_template.jinja"})
"""Files that transformers writes only together with tokenizer_config.json. So does mlx-lm."""
_TOKENIZER = frozenset(
    {
        filenames.TOKENIZER_CONFIG,
        filenames.TOKENIZER_JSON,
        filenames.SPECIAL_TOKENS,
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
    }
)
_IMAGES = frozenset({*filenames.PROCESSOR_CONFIGS, "video_preprocessor_config.json"})
_POOLING = frozenset({*filenames.POOLING_MARKERS, filenames.SENTENCE})
_WITH_CONFIG = ("Pooling", "Dense")
"""The modules of sentence-transformers that have a config in a folder of their own."""
_MLX = "mlx"


def gone_from_listing(
    facts: SnapshotFacts, listing: Mapping[str, RecordedFile], *, needs_tokenizer: bool, needs_processor: bool
) -> Iterator[str]:
    """Yield the files that the Hub lists, that a loader of this model reads, and that are not there.

    A pull may leave out other files on purpose: other formats of the weights, or a model card.
    """
    read = _POOLING
    if needs_tokenizer:
        read |= _TOKENIZER
    if needs_processor:
        read |= _IMAGES
    yield from sorted((read & listing.keys()) - facts.names())


def gone_from_family(facts: SnapshotFacts, *, needs_tokenizer: bool) -> Iterator[str]:
    """Yield the files that every model of this family has, and that are not there. No listing is needed for this."""
    names = facts.names()
    has_tokenizer = needs_tokenizer and filenames.TOKENIZER_JSON in names
    was_saved = not names.isdisjoint(_SAVED_WITH_TOKENIZER) or _is_mlx(facts)
    if has_tokenizer and was_saved and filenames.TOKENIZER_CONFIG not in names:
        yield filenames.TOKENIZER_CONFIG
    for folder in _module_folders(facts):
        if f"{folder}/{filenames.CONFIG}" not in names:
            yield f"{folder}/{filenames.CONFIG}"


def _is_mlx(facts: SnapshotFacts) -> bool:
    has_config = isinstance(facts.json_object(filenames.CONFIG).get("quantization"), Mapping)
    return has_config or any(head.metadata.get("format") == _MLX for head in facts.weights.values())


def _module_folders(facts: SnapshotFacts) -> Iterator[str]:
    document = facts.documents.get(filenames.MODULES)
    modules = document.value if document is not None else None
    for module in modules if isinstance(modules, list) else ():
        if isinstance(module, Mapping):
            folder, kind = module.get("path"), module.get("type")
            if isinstance(folder, str) and folder and isinstance(kind, str) and kind.endswith(_WITH_CONFIG):
                yield folder
