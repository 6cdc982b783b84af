"""Logs: lines of text or JSON on stderr, with the fields of the contract and without anything secret."""

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
from mlxknife.domain.serving.values.processes import Began, Fallen, LeftOut, Ready, ResidentEvent
from mlxknife.domain.text.rules.display import visible
from mlxknife.domain.text.rules.redaction import redacted
from mlxknife.http.hints import log_text

if TYPE_CHECKING:
    from mlxknife.http.options import Options
    from mlxknife.http.visit import Visit

_LEVELS = {"CRITICAL": "ERROR", "WARNING": "WARN"}
_MOST = 4_000
"""Characters of a message: a traceback can be longer than is read, and nothing that a client sends is."""
_WORD = re.compile(r"""[^\s"=\\]+""")
"""What stands in a line of text as it is: nobody can take it for more than one word, or for a field."""

_LOG = logging.getLogger("mlxknife")
_ACCESS = logging.getLogger("mlxknife.access")


class Line(Struct, frozen=True):
    """A line of the log as JSON."""

    ts: float
    level: str
    msg: str
    logger: str
    model: str | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    duration_ms: float | UnsetType = UNSET


class Lines(logging.Formatter):
    """Writes records as lines; whatever is in them, a line stays one line and tells no secrets."""

    def __init__(self, secrets: Collection[str], homes: Collection[str], *, as_json: bool) -> None:
        """Know what is not to be told."""
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
        more = (("model", line.model), ("request_id", line.request_id), ("detail", line.detail))
        words = [f"{name}={_quoted(value)}" for name, value in more if isinstance(value, str)]
        if line.duration_ms is not UNSET:
            words.append(f"duration_ms={line.duration_ms}")
        return " ".join([when, f"{line.level:<5}", line.logger, line.msg, *words])

    def _line(self, record: logging.LogRecord) -> Line:
        detail = getattr(record, "detail", None)
        if detail is None and record.exc_info is not None and record.exc_info[0] is not None:
            detail = "".join(traceback.format_exception(*record.exc_info))
        duration = getattr(record, "duration_ms", None)
        return Line(
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
        """Return the sentence. That of a request is made of what a client sent, of which each part stays one word."""
        if record.name != _ACCESS.name or not isinstance(record.args, tuple):
            return visible(self._clean(record.getMessage()))
        return record.msg % tuple(_quoted(self._clean(arg)) if isinstance(arg, str) else arg for arg in record.args)

    def _field(self, value: object) -> str | UnsetType:
        if value is None:
            return UNSET
        text = self._clean(str(value))
        return visible(text) if self.as_json else text

    def _clean(self, text: str) -> str:
        """Take out what nobody may see, and only then cut: half a key is one, too."""
        shown = redacted(text, self.secrets, self.homes)
        return shown if len(shown) <= _MOST else f"{shown[:_MOST]}..."


def _quoted(text: str) -> str:
    """Return a text as one word of a line: as it is, or between quotes, with everything escaped that would end them."""
    if _WORD.fullmatch(text) and visible(text) == text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{visible(escaped)}"'


def set_up(options: Options, secrets: Collection[str] = ()) -> None:
    """Send everything that is logged in this process to stderr, as the options ask."""
    known = {*secrets, *([options.api_key] if options.api_key else [])}
    known |= {
        value
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")
        if (value := os.environ.get(name))
    }
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(known, [os.path.expanduser("~")], as_json=options.log_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _LOG.setLevel(getattr(logging, options.log_level.upper(), logging.INFO))
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
        logger.setLevel(logging.ERROR)


def started(url: str, *, is_open: bool, is_told: bool) -> None:
    """Say where the server is, unless that is read on the same screen already; loudly where anybody may use it."""
    _LOG.log(logging.DEBUG if is_told else logging.INFO, "MLX Knife serves on %s", url)
    if is_open:
        _LOG.warning("Anybody who reaches this machine may use the server: there is no API key")


def resident(event: ResidentEvent) -> None:
    """Say what becomes of a model."""
    of: dict[str, object] = {"model": event.name}
    if isinstance(event, (Fallen, LeftOut)):
        words = "%s fell" if isinstance(event, Fallen) else "%s is not loaded"
        _LOG.warning(words, event.name, extra={**of, "detail": _reason(event.error)})
    elif isinstance(event, Ready):
        _LOG.info("%s is ready (%.1f s)", event.name, event.seconds, extra=of)
    else:
        _LOG.info("loading %s" if isinstance(event, Began) else "%s was unloaded", event.name, extra=of)


def _reason(error: KnifeError) -> str:
    """Return all that is known of an error: this log is read by whoever can do something."""
    words = (error.message, log_text(error.hint), *getattr(error, "__notes__", ()))
    return ". ".join(word for word in words if word)


def stopping(reason: str) -> None:
    """Say that the server ends."""
    _LOG.info("MLX Knife stops (%s)", reason)


def exhausted(error: OSError, seconds: float) -> None:
    """Say that the system has no connection left to give."""
    _LOG.warning("Nobody can be let in for %g s: %s", seconds, error.strerror)


def access(visit: Visit, status: int) -> None:
    """Note a request that came to its end."""
    if not _ACCESS.isEnabledFor(logging.INFO):
        return
    _ACCESS.info("%s %s %d", visit.head.method, visit.head.path, status, extra=_of(visit))


def broken_off(visit: Visit) -> None:
    """Note a stream that ended with an error."""
    _LOG.warning("A stream ended with an error", extra=_of(visit))


def defect(visit: Visit, error: Exception) -> None:
    """Note a defect of ours, with all that helps to find it."""
    detail = "".join(traceback.format_exception(error))
    _LOG.error("A request failed", extra={**_of(visit), "detail": detail})


def _of(visit: Visit) -> dict[str, object]:
    return {
        "model": visit.model,
        "request_id": visit.request_id,
        "detail": visit.detail,
        "duration_ms": round(visit.seconds * 1000, 1),
    }


def _short(name: str) -> str:
    """Name a logger as the contract does: ours, its access log, or somebody else's."""
    if name == _ACCESS.name:
        return "access"
    return name if name.startswith("mlxknife") else "root"
