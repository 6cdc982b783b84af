"""The commands of a chat, as ``/help`` lists them and Tab completes them."""

from __future__ import annotations

from mlxknife.cli.chat.state import SETTINGS

HELP = (
    ("/help", "list the commands"),
    ("/system [TEXT]", "set the system prompt, or remove it"),
    ("/set [NAME [VALUE]]", f"show the settings, or set one, or return to its default: {', '.join(SETTINGS)}"),
    ("/show", "show the model, the system prompt, the settings and the messages"),
    ("/save FILE", "save the conversation to a file"),
    ("/load FILE", "load a saved conversation"),
    ("/clear", "remove all messages"),
    ("/model NAME", "switch to another model"),
    ("/stats", "show the token counts and times of the last answer"),
    ("/exit", "leave (also Ctrl-D)"),
)
"""Each command with its arguments, and its effect."""
HINTS = (
    'Ctrl-C stops an answer. Several lines: Alt-Enter for a break, or begin with """ and end with """. '
    "Tab completes commands, settings, files and models."
)
NAMES = tuple(usage[1:].partition(" ")[0] for usage, _ in HELP)
WITH_ARGUMENT = frozenset(usage[1:].partition(" ")[0] for usage, _ in HELP if " " in usage)
