"""The child process that reads one PDF file: its bytes come on stdin, the text of each page goes to stdout as JSON."""

from __future__ import annotations

import io
import json
import resource
import sys
from contextlib import suppress

_CPU_SECONDS = 60
_MEMORY = 2 * 1000**3
_MOST_CHARACTERS = 4_000_000


def main() -> int:
    """Read stdin and write stdout; a file that cannot be read ends in a traceback and an exit code that is not 0."""
    for kind, limit in ((resource.RLIMIT_CPU, _CPU_SECONDS), (resource.RLIMIT_AS, _MEMORY)):
        with suppress(ValueError, OSError):  # macOS does not limit memory
            resource.setrlimit(kind, (limit, limit))
    import pypdf  # noqa: PLC0415 - within the limits

    pages, count = list[str](), 0
    for page in pypdf.PdfReader(io.BytesIO(sys.stdin.buffer.read())).pages:
        text = page.extract_text().encode(errors="replace").decode().replace("\0", "")
        count += len(text)
        if count > _MOST_CHARACTERS:
            return 1
        pages.append(text)
    sys.stdout.write(json.dumps(pages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
