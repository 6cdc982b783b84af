"""Logs: lines of text or JSON on stderr, with the fields of the contract and without secrets."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mlxknife.domain.errors import KnifeError
from mlxknife.domain.serving.values import LoadingStarted, ModelCrashed, ModelNotLoaded, ModelReady, PoolEvent
from mlxknife.domain.text.rules.display import visible
from mlxknife.domain.text.rules.redaction import redacted
from mlxknife.http.core.hints import log_text

if TYPE_CHECKING:
    from mlxknife.http.core.context import RequestContext
    from mlxknife.http.options import Options

_LEVELS = {"CRITICAL": "ERROR", "WARNING": "WARN"}
_MAX_CHARACTERS = 4_000
"""The longest message; only tracebacks can be longer."""
_PLAIN_VALUE = re.compile(r"""[^\s"=\\]+""")
"""A value that needs no quotes: it cannot look like several words or like a field."""

_TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")

_LOG = logging.getLogger("mlxknife")
_ACCESS = logging.getLogger("mlxknife.access")


class LogLine(Struct, frozen=True):
    """A line of the JSON log."""

    ts: float
    level: str
    msg: str
    logger: str
    model: str | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    duration_ms: float | UnsetType = UNSET


class LineFormatter(logging.Formatter):
    """Formats a record as one line without secrets, whatever the record contains."""

    def __init__(self, secrets: Collection[str], homes: Collection[str], *, as_json: bool) -> None:
        """Hold the secrets and the home folders to redact."""
        super().__init__()
        self.secrets = tuple(secrets)
        self.homes = tuple(homes)
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = self._line(record)
        if self.as_json:
            return msgspec.json.encode(line).decode()
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.ts))
        named = (("model", line.model), ("request_id", line.request_id), ("detail", line.detail))
        fields = [f"{name}={_quoted(value)}" for name, value in named if isinstance(value, str)]
        if line.duration_ms is not UNSET:
            fields.append(f"duration_ms={line.duration_ms}")
        return " ".join([when, f"{line.level:<5}", line.logger, line.msg, *fields])

    def _line(self, record: logging.LogRecord) -> LogLine:
        detail = getattr(record, "detail", None)
        if detail is None and record.exc_info is not None and record.exc_info[0] is not None:
            detail = "".join(traceback.format_exception(*record.exc_info))
        duration = getattr(record, "duration_ms", None)
        return LogLine(
            ts=round(record.created, 3),
            level=_LEVELS.get(record.levelname, record.levelname),
            msg=self._message(record),
            logger=_short(record.name),
            model=self._field(getattr(record, "model", None)),
            request_id=self._field(getattr(record, "request_id", None)),
            detail=self._field(detail),
            duration_ms=UNSET if duration is None else duration,
        )

    def _message(self, record: logging.LogRecord) -> str:
        """Return the message. In the access log each value that a client sent is quoted where it needs to be."""
        if record.name != _ACCESS.name or not isinstance(record.args, tuple):
            return visible(self._clean(record.getMessage()))
        return record.msg % tuple(_quoted(self._clean(arg)) if isinstance(arg, str) else arg for arg in record.args)

    def _field(self, value: object) -> str | UnsetType:
        if value is None:
            return UNSET
        text = self._clean(str(value))
        return visible(text) if self.as_json else text

    def _clean(self, text: str) -> str:
        """Redact secrets before shortening: a part of a key is a secret, too."""
        shown = redacted(text, self.secrets, self.homes)
        return shown if len(shown) <= _MAX_CHARACTERS else f"{shown[:_MAX_CHARACTERS]}..."


def _quoted(text: str) -> str:
    """Return a value for a line of text: as it is where that is unambiguous, else quoted and escaped."""
    if _PLAIN_VALUE.fullmatch(text) and visible(text) == text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{visible(escaped)}"'


def set_up(options: Options) -> None:
    """Send the log of this process to stderr, as the options say."""
    secrets = [options.api_key, *map(os.environ.get, _TOKEN_VARIABLES)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        LineFormatter([secret for secret in secrets if secret], [os.path.expanduser("~")], as_json=options.log_json)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _LOG.setLevel(getattr(logging, options.log_level.upper(), logging.INFO))
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
        logger.setLevel(logging.ERROR)


def started(url: str, *, is_open: bool, is_printed: bool) -> None:
    """Log the address, unless it is printed on the same screen; warn where the network may use it without a key."""
    _LOG.log(logging.DEBUG if is_printed else logging.INFO, "MLX Knife serves on %s", url)
    if is_open:
        _LOG.warning("Every host that reaches this machine may use the server: there is no API key")


def stopping(reason: str) -> None:
    """Log that the server stops."""
    _LOG.info("MLX Knife stops (%s)", reason)


def model_event(event: PoolEvent) -> None:
    """Log what happens to a model."""
    fields: dict[str, object] = {"model": event.name}
    if isinstance(event, (ModelCrashed, ModelNotLoaded)):
        message = "%s crashed" if isinstance(event, ModelCrashed) else "%s is not loaded"
        _LOG.warning(message, event.name, extra={**fields, "detail": _reason(event.error)})
    elif isinstance(event, ModelReady):
        _LOG.info("%s is ready (%.1f s)", event.name, event.seconds, extra=fields)
    elif isinstance(event, LoadingStarted) and event.remote_code is not None:
        code = event.remote_code
        message = "loading %s, whose repo's code runs with the rights of the server: %s (%s)"
        _LOG.warning(message, event.name, code.file, code.key, extra=fields)
    else:
        _LOG.info("loading %s" if isinstance(event, LoadingStarted) else "%s was unloaded", event.name, extra=fields)


def access(context: RequestContext, status: int) -> None:
    """Log a request that has ended."""
    if _ACCESS.isEnabledFor(logging.INFO):
        _ACCESS.info("%s %s %d", context.method, context.path, status, extra=_fields(context))


def stream_failed(context: RequestContext) -> None:
    """Log a stream that ended with an error event."""
    _LOG.warning("A stream ended with an error", extra=_fields(context))


def defect(context: RequestContext, error: Exception) -> None:
    """Log an unexpected exception with its traceback."""
    detail = "".join(traceback.format_exception(error))
    _LOG.error("A request failed", extra={**_fields(context), "detail": detail})


def _fields(context: RequestContext) -> dict[str, object]:
    return {
        "model": context.model,
        "request_id": context.request_id,
        "detail": context.detail,
        "duration_ms": round(context.seconds * 1000, 1),
    }


def _reason(error: KnifeError) -> str:
    """Return the message, the hint and the notes of an error."""
    sentences = (error.message, log_text(error.hint), *getattr(error, "__notes__", ()))
    return ". ".join(sentence for sentence in sentences if sentence)


def _short(name: str) -> str:
    """Return the logger's name of the contract: a logger of this package, ``access``, or ``root`` for all others."""
    if name == _ACCESS.name:
        return "access"
    return name if name.startswith("mlxknife") else "root"
