"""Errors: from the error tree to a status and the document that goes with it. The one place that maps them."""

from __future__ import annotations

import math
import os
from typing import TypeAlias

import attrs
import msgspec

from mlxknife.domain.errors import InternalError, KnifeError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.text.rules.redaction import redacted
from mlxknife.http.hints import hint_text
from mlxknife.http.refusals import Refusal
from mlxknife.http.wire.documents import ErrorDocument, ErrorObject

_MOMENT = 1.0
"""Seconds after which it is worth trying again, where nobody knows better."""


Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


@attrs.frozen
class Verdict:
    """How an error looks from outside."""

    status: int
    code: str
    """As OpenAI names it; ``type`` is the name that the command line gives it too."""
    is_retryable: bool = False
    param: str | None = None


VERDICTS = {
    "ValidationError": Verdict(400, "invalid_request"),
    "ambiguous_match": Verdict(400, "ambiguous_match", param="model"),
    "context_length_exceeded": Verdict(400, "context_length_exceeded"),
    "feature_disabled": Verdict(403, "feature_disabled"),
    "model_not_found": Verdict(404, "model_not_found", param="model"),
    "model_not_runnable": Verdict(422, "model_not_runnable", param="model"),
    "template_error": Verdict(422, "template_error"),
    "generation_failed": Verdict(500, "server_error"),
    "server_busy": Verdict(503, "server_busy", is_retryable=True),
    "worker_lost": Verdict(503, "worker_lost", is_retryable=True),
    "locks_present": Verdict(503, "model_locked", is_retryable=True),
    "insufficient_memory": Verdict(507, "insufficient_memory", param="model"),
}
"""What becomes of each error type; the types below it in the tree share its fate unless they stand here too."""

_MODEL_HINTS = {
    "model_not_found": "GET /v1/models lists what is there",
    "model_not_runnable": "GET /v1/models lists what can run here",
    "ValidationError": "GET /v1/models lists the names that can be asked for",
}
"""The hint for an error about a model, where a client cannot act on the hint of the error."""

_DEFECT = Verdict(500, "server_error")
_RETRYABLE = (408, 429, 503)


@attrs.frozen
class Failure:
    """An error as it is sent."""

    status: int
    document: ErrorDocument
    headers: Headers

    @property
    def body(self) -> bytes:
        """The document as it stands in the body."""
        return msgspec.json.encode(self.document)


def failure(error: Exception, request_id: str, secrets: tuple[str, ...] = ()) -> Failure:
    """Return what a client is told of an error: never a token, a folder of the user, or anything of a defect."""
    known = error if isinstance(error, KnifeError) else _defect()
    verdict = _verdict(known)
    said = ErrorObject(
        type=known.code,
        message=redacted(_sentence(known, _hint(known, verdict)), secrets, (os.path.expanduser("~"),)),
        param=known.param or verdict.param,
        code=verdict.code,
        retryable=verdict.is_retryable,
    )
    return Failure(verdict.status, ErrorDocument(error=said, request_id=request_id), _headers(known, verdict))


def _verdict(error: KnifeError) -> Verdict:
    if isinstance(error, Refusal):
        return Verdict(error.status, error.openai_code, error.status in _RETRYABLE)
    codes = (vars(kind).get("code") for kind in type(error).__mro__)
    return next((VERDICTS[code] for code in codes if code in VERDICTS), _DEFECT)


def _hint(error: KnifeError, verdict: Verdict) -> str | None:
    text = hint_text(error.hint)
    if text is not None or error.hint is None:
        return text
    return _MODEL_HINTS.get(error.code) if (error.param or verdict.param) == "model" else None


def _sentence(error: KnifeError, hint: str | None) -> str:
    more = ", ".join(error.matches or error.suggestions or ())
    ends = error.message if not more else f"{error.message} ({more})"
    return ends if not hint else f"{ends}. {hint}"


def _headers(error: KnifeError, verdict: Verdict) -> Headers:
    if verdict.status == 401:  # noqa: PLR2004 - the number is the name
        return ((b"www-authenticate", b"Bearer"),)
    if not verdict.is_retryable:
        return ()
    seconds = error.retry_after or _MOMENT
    return ((b"retry-after", str(max(1, math.ceil(seconds))).encode()),)


def _defect() -> InternalError:
    return InternalError("Something failed inside the server", hint=HintCode.SERVER_LOG)
