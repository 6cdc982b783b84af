"""The text of PDF files, which ``pypdf`` reads in a child process with bounded time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import attrs

_CHILD = "mlxknife.adapters.documents.pdf_child"
_SECONDS = 120
NOT_INSTALLED = "pypdf is not installed: pip install pypdf"


class PdfUnreadable(Exception):
    """The text of a PDF file cannot be had. The message says why."""


@attrs.frozen
class PdfReader:
    """Reads PDF files, one at a time."""

    def pages(self, data: bytes) -> tuple[str, ...]:
        """Return the text of each page. Raises PdfUnreadable."""
        if find_spec("pypdf") is None:
            raise PdfUnreadable(NOT_INSTALLED)
        try:
            done = subprocess.run(  # noqa: S603 - it is our own module
                [sys.executable, "-P", "-m", _CHILD],
                input=data,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            msg = "it takes too long to read" if isinstance(exc, subprocess.TimeoutExpired) else str(exc)
            raise PdfUnreadable(msg) from exc
        if done.returncode:
            msg = "it cannot be read"
            raise PdfUnreadable(msg)
        return tuple(json.loads(done.stdout))
