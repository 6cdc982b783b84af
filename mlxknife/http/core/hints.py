"""Hints: the sentence that a client of the server gets for each hint code that a client can act on.

A hint that names a command, an option or a path is of no use to a client: those codes have no wording here.
"""

from __future__ import annotations

from mlxknife.domain.hints import Hint, HintCode

_H = HintCode

WORDINGS = {
    _H.CHOICES: "Possible values: {values}",
    _H.OMIT: "Leave out {name}",
    _H.OMIT_ONE: "Leave out {name} or {other}",
    _H.DID_YOU_MEAN: "Did you mean {name}?",
    _H.WRITE: "Write {text}",
    _H.FULL_NAMES: "Use one of the full names",
    _H.PLAIN_NAME: "Use the plain name: {name}",
    _H.NAME_NOT_PATH: "Use the name of a model, not a path",
    _H.NAME_FORMS: "Write ORG/MODEL, the last part of a name, or ORG/MODEL@REVISION",
    _H.REPO_ID_FORM: "A name is ORG/MODEL, of letters, digits, '-', '_' and single '.'",
    _H.LONGER_HASH: "Write more characters of the hash",
    _H.WAIT_FOR_LOCK: "Wait until it is done",
    _H.SHORTEN_PROMPT: "Shorten the prompt or its context, or choose a model with a longer context window",
    _H.ALLOW_TRUNCATION: "Send a shorter text, or set truncate to true",
    _H.NONEMPTY_PROMPT: "The model needs at least one token to continue from",
    _H.NONEMPTY_STOP: "Leave it out, or give it a text",
    _H.MODEL_TOKENS: "Use the token ids of this model's own tokenizer",
    _H.EMBEDDING_MODEL: "It makes embeddings: POST /v1/embeddings",
    _H.RERANKING_MODEL: "It ranks documents: POST /v1/rerank",
    _H.TEXT_MODEL: "It generates text: POST /v1/chat/completions or /v1/completions",
    _H.SPEECH_MODEL: "It is a speech model",
    _H.FREE_MEMORY: "Choose a smaller or more quantised model",
    _H.UNIQUE_ROW: "Give each row its own id",
    _H.RETRY_STARTS_PROCESS: "The next request starts a new process",
    _H.KILLED_FOR_MEMORY: "The system kills processes when memory runs out; a smaller model needs less",
    _H.MEMORY_LIMIT: "The memory of the model process is limited on the server",
    _H.PROCESS_LIMIT: "The system allows no more processes or open files",
    _H.TRY_AGAIN: "Try again in a moment",
    _H.SERVER_LOG: "The log of the server says why, under the request_id",
}
"""The names in braces are the fields of the hint."""


def hint_text(hint: Hint | None) -> str | None:
    """Return the sentence for a client, or None for a hint that it cannot act on."""
    if hint is None or hint.code not in WORDINGS:
        return None
    return WORDINGS[hint.code].format_map(hint.fields)


def log_text(hint: Hint | None) -> str | None:
    """Return what the log says of a hint: its sentence, or its code where clients get none."""
    if hint is None:
        return None
    return hint_text(hint) or "hint: " + " ".join((hint.code, *hint.fields.values()))
