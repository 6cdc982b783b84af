"""Tables in HTML, of untrusted texts."""

from __future__ import annotations

import html
from collections.abc import Sequence

from mlxknife.domain.text.rules import display


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table. Markup, control characters and changes of the text direction are escaped."""
    head = "".join(f"<th>{_escaped(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{_escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _escaped(text: str) -> str:
    return html.escape(display.visible(text))
