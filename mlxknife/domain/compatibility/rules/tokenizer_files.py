"""Tokenizer files: whether transformers reads those of a model without code of its repo."""

from __future__ import annotations

from collections.abc import Iterator

from mlxknife.domain.compatibility.values import Runtime
from mlxknife.domain.models.rules import configs, filenames
from mlxknife.domain.models.values.snapshot import SnapshotFacts

GENERIC = frozenset({"TokenizersBackend", "PreTrainedTokenizer", "PythonBackend", "MistralCommonBackend"})
"""Classes that read tokenizer.json, or what they convert to it."""
_FOR_EVERY_CLASS = frozenset({filenames.TOKENIZER_JSON, "tokenizer.model", "tekken.json"})
"""Files that the generic classes read."""
_VOCABULARY = frozenset({"vocab.json", "merges.txt"})
_READERS_OF_VOCABULARIES = frozenset(
    "BlenderbotTokenizer CohereTokenizer DebertaTokenizer GPT2Tokenizer GPTNeoXTokenizer Qwen2Tokenizer "
    "RobertaTokenizer WhisperTokenizer".split()
)


def reasons(facts: SnapshotFacts, runtime: Runtime) -> Iterator[str]:
    """Yield why no tokenizer is loaded; nothing where the classes of transformers are not known."""
    names = facts.names()
    if not runtime.tokenizers or not names.isdisjoint(_FOR_EVERY_CLASS):
        return
    classes = _classes(facts, runtime)
    if names >= _VOCABULARY:
        is_read = not classes.isdisjoint(_READERS_OF_VOCABULARIES)
    else:
        is_read = bool(classes) and not any(name.endswith((".tiktoken", "tiktoken.model")) for name in names)
    if not is_read:
        yield "Tokenizer files not readable with transformers (requires tokenizer.json)"


def _classes(facts: SnapshotFacts, runtime: Runtime) -> frozenset[str]:
    """Return the classes that transformers may choose, without the generic ones."""
    by_type = runtime.tokenizers.get(configs.architecture(facts.json_object(filenames.CONFIG)) or "")
    declared = facts.json_object(filenames.TOKENIZER_CONFIG).get("tokenizer_class")
    known = frozenset(runtime.tokenizers.values()) - GENERIC
    if by_type in GENERIC:
        return frozenset()
    return known & {by_type or "", configs.tokenizer_name(declared) if isinstance(declared, str) else ""}
