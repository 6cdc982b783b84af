"""The tokenizer of a model: through the tokenizers library where it can, else through transformers."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlxknife.adapters.mlx.runtime.failures import library_errors, muted_transformers
from mlxknife.adapters.mlx.text import tokenizer_bounds
from mlxknife.adapters.mlx.text.control_tokens import ControlTokens, TextInTheMiddle, encoded
from mlxknife.adapters.mlx.text.detokenizer import DecodingDetokenizer, SpellingDetokenizer
from mlxknife.adapters.mlx.text.spelling import Spelling, named_byte, spelling
from mlxknife.adapters.mlx.text.token_cache import SplitTokens, TokenCache
from mlxknife.domain.errors import EngineError
from mlxknife.ports.engines.text import Detokenizer, Tokenizer

if TYPE_CHECKING:
    import tokenizers

_CANNOT_READ = "The tokenizer of the model cannot be read"
_CANNOT_ENCODE = "The tokenizer of the model cannot encode the text"
_CANNOT_DECODE = "The tokenizer of the model cannot decode its tokens"
_BEFORE = "\n"
"""A text that no tokenizer merges with what follows it."""


def load(path: Path, *, runs_code: bool = False) -> Any:  # noqa: ANN401 - transformers' own type
    """Return the tokenizer in a folder. Raises what transformers raises.

    Code of the folder runs only where ``runs_code`` allows it and no ``tokenizer.json`` makes it needless. mlx-lm's own
    loader is not used: it decodes a text before the bounds of the tokenizer are checked.
    """
    import mlx_lm.tokenizer_utils  # noqa: F401, PLC0415 - it registers a tokenizer of its own
    from transformers import AutoTokenizer, PreTrainedConfig  # noqa: PLC0415 - takes seconds

    config = _tokenizer_config(path)
    if "auto_map" not in config:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    if runs_code and not (path / "tokenizer.json").exists():
        _keep_copies_private()
        known = PreTrainedConfig.from_pretrained(path)  # so that the config of the repo needs no code
        return AutoTokenizer.from_pretrained(path, config=known, trust_remote_code=True)
    return _declared_class(path, config).from_pretrained(path)


def _keep_copies_private() -> None:
    """Make transformers copy the code that it runs to the folder for temporary files, not to the Hugging Face cache."""
    from transformers import dynamic_module_utils  # noqa: PLC0415 - transformers is loaded by now

    folder = os.environ.get("TMPDIR") or tempfile.gettempdir()
    vars(dynamic_module_utils)["HF_MODULES_CACHE"] = os.path.join(folder, "modules")


def _tokenizer_config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content if isinstance(content, dict) else {}


def _declared_class(path: Path, config: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the class that reads a tokenizer without the code that its config names.

    With ``tokenizer.json`` that is the class that reads this file as it is: ``AutoTokenizer`` would choose another one
    because of the ``auto_map``, and split texts in another way.
    """
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 - transformers is loaded by now
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name  # noqa: PLC0415

    declared = config.get("tokenizer_class")
    if (path / "tokenizer.json").exists() or not isinstance(declared, str):
        return PreTrainedTokenizerFast
    return tokenizer_class_from_name(declared) or PreTrainedTokenizerFast


def declared_ends(path: Path, loaded: Any) -> frozenset[int]:  # noqa: ANN401
    """Return the tokens that end a turn as the configs and the tokenizer of a folder declare them."""
    from mlx_lm.utils import load_config  # noqa: PLC0415 - mlx-lm is loaded by now

    ends = load_config(path).get("eos_token_id")
    declared = (*ends, loaded.eos_token_id) if isinstance(ends, list) else (ends, loaded.eos_token_id)
    return frozenset(token for token in declared if isinstance(token, int))


def wrapped(loaded: Any, template: str = "") -> Tokenizer:  # noqa: ANN401
    """Return a loaded tokenizer behind the port; ``template`` is the chat template that it is used with.

    Raises EngineError for a tokenizer that would make texts longer without bound.
    """
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None:
        return TransformersTokenizer(loaded, template)
    fast = FastTokenizer(backend, template)
    return TransformersTokenizer(loaded, template) if _changes_texts(loaded) else fast


def _changes_texts(loaded: Any) -> bool:  # noqa: ANN401
    """Whether Python code changes texts before the library encodes them, as in mlx-lm's ``NewlineTokenizer``."""
    from transformers import PreTrainedTokenizerBase  # noqa: PLC0415 - transformers is loaded by now

    return isinstance(loaded, PreTrainedTokenizerBase) and type(loaded).encode is not PreTrainedTokenizerBase.encode


def _clean(text: str) -> str:
    """Return a text without lone surrogates, which no tokenizer accepts."""
    return text.encode("utf-8", "replace").decode()


class TransformersTokenizer:
    """A tokenizer that only transformers can run, such as one of sentencepiece or tiktoken."""

    def __init__(self, loaded: Any, template: str = "") -> None:  # noqa: ANN401 - transformers' own type
        """Take what ``load`` returned, and the chat template."""
        self._loaded = loaded
        with library_errors(_CANNOT_READ):
            self._vocabulary: dict[str, int] = loaded.get_vocab()
            special, names = (
                [name for name in found if isinstance(name, str)]  # some vocabularies have bytes
                for found in (loaded.all_special_tokens, self._vocabulary)
            )
            self._added = {name: token for name, token in loaded.get_added_vocab().items() if isinstance(name, str)}
        self._names = {number: name for name, number in self._vocabulary.items()}
        self._bytes: dict[int, bytes] = {}
        self._control = ControlTokens(special, names, template)

    @property
    def vocabulary(self) -> Collection[str]:
        """See ``Tokenizer.vocabulary``."""
        return self._vocabulary.keys()

    @property
    def added_tokens(self) -> Mapping[str, int]:
        """See ``Tokenizer.added_tokens``."""
        return self._added

    def mark_control_tokens(self, text: str, mark: str, *, is_answer: bool) -> str:
        """See ``Tokenizer.mark_control_tokens``."""
        return self._control.marked(text, mark, is_answer=is_answer)

    def encode(self, text: str, *, add_special_tokens: bool, mark: str = "") -> tuple[int, ...]:
        """See ``Tokenizer.encode``."""
        if mark:
            return encoded(text, mark, self.encode, self._encode_rest, add_special_tokens=add_special_tokens)
        with library_errors(_CANNOT_ENCODE), muted_transformers():
            return tuple(self._loaded.encode(_clean(text), add_special_tokens=add_special_tokens, verbose=False))

    def _encode_rest(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text after another one: the library may put a space before a text."""
        before, both = (self.encode(one, add_special_tokens=False) for one in (_BEFORE, _BEFORE + text))
        return both[len(before) :] if both[: len(before)] == before else self.encode(text, add_special_tokens=False)

    def token_bytes(self, token: int) -> bytes:
        """See ``Tokenizer.token_bytes``."""
        if token not in self._names:
            return b""
        try:
            return self._bytes[token]
        except KeyError:
            return self._bytes.setdefault(token, self._spell(token))

    def detokenizer(self, after: Sequence[int] = ()) -> Detokenizer:
        """See ``Tokenizer.detokenizer``."""
        return DecodingDetokenizer(self._decoded, after)

    def _spell(self, token: int) -> bytes:
        """Return the bytes of a token, from its text after another token: at the start it may lose a space."""
        with suppress(EngineError):
            alone, twice = self._decoded([token]), self._decoded([token, token])
            text = twice.removeprefix(alone)
            is_whole = text and "\ufffd" not in text
            return text.encode() if is_whole else named_byte(self._names[token]) or text.encode()
        return b""

    def _decoded(self, tokens: list[int]) -> str:
        """Return the text of tokens. A model may have more tokens than its tokenizer names; those have no text."""
        named = [token for token in tokens if token in self._names]
        if not named:
            return ""
        with library_errors(_CANNOT_DECODE), muted_transformers():
            text = self._loaded.decode(named, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            return str(text)


class FastTokenizer:
    """A tokenizer of the tokenizers library. The bytes of a token are computed once."""

    def __init__(self, backend: tokenizers.Tokenizer, template: str = "") -> None:
        """Take what the library opened, and the chat template.

        Raises EngineError if it would make texts longer without bound.
        """
        with library_errors(_CANNOT_READ):
            tokenizer_bounds.check(*map(_parsed, (backend.normalizer, backend.decoder)))
            tokenizer_bounds.check_added_tokens(backend)
            backend.no_truncation()
            backend.no_padding()
            known = spelling(_parsed(backend.decoder))
            self._backend = backend
            self._vocabulary = backend.get_vocab()
            split = SplitTokens.of(backend)
            added = backend.get_added_tokens_decoder()
        self._spelling = known or Spelling()
        self.has_spelling = known is not None
        """Whether an answer is the bytes of its tokens, one after the other."""
        self._added = {token.content: number for number, token in added.items()}
        self._control = ControlTokens(
            [token.content for token in added.values() if token.special],
            [token.content for token in added.values() if not token.special],
            template,
        )
        self._tokens: dict[int, tuple[bytes, str | None]] = {}
        encode: Callable[[str], tokenizers.Encoding] = lambda text: backend.encode(text, add_special_tokens=False)  # noqa: E731
        self._rendered = TokenCache(encode, split)

    @property
    def vocabulary(self) -> Collection[str]:
        """See ``Tokenizer.vocabulary``."""
        return self._vocabulary.keys()

    @property
    def added_tokens(self) -> Mapping[str, int]:
        """See ``Tokenizer.added_tokens``."""
        return self._added

    @cached_property
    def _in_the_middle(self) -> TextInTheMiddle:
        return TextInTheMiddle(self._backend)

    def mark_control_tokens(self, text: str, mark: str, *, is_answer: bool) -> str:
        """See ``Tokenizer.mark_control_tokens``."""
        return self._control.marked(text, mark, is_answer=is_answer)

    def encode(self, text: str, *, add_special_tokens: bool, mark: str = "") -> tuple[int, ...]:
        """See ``Tokenizer.encode``."""
        with library_errors(_CANNOT_ENCODE):
            if mark:
                rest = self._in_the_middle.encode
                return encoded(_clean(text), mark, self.encode, rest, add_special_tokens=add_special_tokens)
            if not add_special_tokens:
                return self._rendered.tokens(_clean(text))
            return tuple(self._backend.encode(_clean(text)).ids)

    def token_bytes(self, token: int) -> bytes:
        """See ``Tokenizer.token_bytes``."""
        return self._spelled(token)[0]

    def detokenizer(self, after: Sequence[int] = ()) -> Detokenizer:
        """See ``Tokenizer.detokenizer``."""
        if not self.has_spelling:
            return DecodingDetokenizer(self._decoded, after)
        if after:
            return SpellingDetokenizer(self._spelled)
        return SpellingDetokenizer(self._spelled, self._first, self._spelling.stripped)

    def _spelled(self, token: int) -> tuple[bytes, str | None]:
        """Return the bytes of a token, and its text if they are whole characters."""
        try:
            return self._tokens[token]
        except KeyError:
            return self._spell(token)

    def _spell(self, token: int) -> tuple[bytes, str | None]:
        name = self._name(token)
        if name is None:
            return b"", ""
        data = self._spelling.spelled(name)
        text: str | None = None
        with suppress(UnicodeDecodeError):
            text = data.decode()
        self._tokens[token] = data, text
        return data, text

    def _first(self, token: int) -> bytes | None:
        """Return the bytes of a token at the start of an answer, or None for an unknown token."""
        name = self._name(token)
        return None if name is None else self._spelling.spelled(name, is_first=True)

    def _name(self, token: int) -> str | None:
        """Return the name of a token, or None: a model may have more tokens than its tokenizer names."""
        try:
            with library_errors(_CANNOT_DECODE):
                return self._backend.id_to_token(token)
        except EngineError:
            return None

    def _decoded(self, tokens: list[int]) -> str:
        with library_errors(_CANNOT_DECODE):
            return self._backend.decode(tokens, skip_special_tokens=False)


def _parsed(part: Any) -> dict[str, Any] | None:  # noqa: ANN401 - the library's parts have no common type
    """Return a part of a tokenizer as JSON."""
    return None if part is None else json.loads(part.__getstate__())
