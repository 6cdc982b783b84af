"""What is shown of texts from outside: answers on a terminal, and lines of the log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from mlxknife.cli.render.answer import AnswerPrinter
from mlxknife.domain.generation.values.answer import TextDelta, TextKind
from mlxknife.domain.text.rules.display import visible
from mlxknife.domain.text.rules.redaction import redacted
from tests.e2e.sandbox import is_plain
from tests.fuzz.campaign import Target
from tests.fuzz.text_targets import text_mutations

_PIECE = 37
_OWN = re.compile(r"\x1b\[[0-9;]*m|\r\x1b\[K|\x1b\[(?:\d*A|B|J|\?7[lh])")
"""What the program itself sends to a terminal; no mutation makes it."""
_ANSWER = """# Title

Some *text* with `code`, a [link](https://example.org "title") and ![image](data:x).

1. one
   - two
     > quoted **text**

| a | b |
|---|:-:|
| 1 | \u65e5\u672c |

```python
def main() -> None: ...
```

<b>html</b> &amp; a hard\\
break  
~~gone~~ <https://example.org>
***
Setext
======
"""  # noqa: W291 - two blanks are a line break
_LOG = (
    "POST /v1/chat/completions 422 hf_abcdefghijklmnop at /home/user/models, Authorization: Bearer sk-abcdefghijklm "
    "/Users/me%2Fx basic QWxhZGRpbjpvcGVu github_pat_11ABCDEFG /root/.cache /var/home/me model 'org/model' "
    "%3Dhf_abcdefghi"
)


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def targets(_folder: Path) -> Iterator[Target]:
    """Yield the targets. The terminal of the first must not be a dumb one."""
    yield Target("answers on a terminal", text_mutations(_ANSWER), _answer, share=100, largest=20_000)
    yield Target("lines of the log", text_mutations(_LOG), _log_line, share=200, largest=100_000)


def _answer(data: bytes) -> None:
    """Print an answer as it arrives. Its own control characters do not reach the terminal."""
    text = data.decode(errors="surrogateescape")
    stream = Terminal()
    printer = AnswerPrinter(stream, (TextKind.ANSWER, TextKind.REASONING))
    piece = max(_PIECE, len(text) // 50)
    for start in range(0, len(text), piece):
        printer.write(TextDelta(TextKind.ANSWER, text[start : start + piece]))
    printer.end()
    rest = _OWN.sub("", stream.getvalue())
    assert is_plain(rest), rest


def _log_line(data: bytes) -> None:
    text = redacted(data.decode(errors="replace"), ("s3cret",), ("/srv/people/me",))
    assert is_plain(visible(text))
