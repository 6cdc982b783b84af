"""The arguments of ``mlxk run``: what is asked, and how it is to be answered."""

from __future__ import annotations

from argparse import ArgumentParser

from mlxknife.domain.generation.rules import options as wishes
from mlxknife.domain.memory import rules as memory

_EPILOG = """\
--in and --stop take every word behind them, up to the next option: write the prompt before
them, or behind a --.

Examples:
  mlxk run MODEL "Who was Ada Lovelace?"
  mlxk run MODEL - "Sum this up." < notes.txt
  mlxk run MODEL "What differs?" --in one.py two.py --out answer.md
  mlxk run MODEL                       (a chat; /help tells more)
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the model, the prompt and everything that shapes the answer."""
    parser.usage = "%(prog)s [OPTIONS] MODEL [PROMPT ...]"
    parser.epilog = _EPILOG
    parser.add_argument("model", metavar="MODEL", help="a model that is there, or a folder")
    parser.add_argument("prompt", metavar="PROMPT", nargs="*", default=[], help="what to ask; - reads it from stdin")
    parser.add_argument("-c", "--chat", action="store_true", help="talk to it; without a prompt that is what happens")
    parser.add_argument("--system", metavar="TEXT", help="a system text; @FILE takes it from a file")
    parser.add_argument(
        "--in",
        dest="files",
        metavar="FILE",
        nargs="+",
        action="extend",
        default=[],
        help="texts to put before the prompt",
    )
    parser.add_argument("--out", metavar="FILE", help="write the answer to a file, too")
    parser.add_argument(
        "--separator", metavar="S", default="\n\n", help="what stands between stdin and further words (a blank line)"
    )
    _add_generation(parser)
    parser.add_argument("--no-stream", action="store_true", help="show the answer when it is whole")
    parser.add_argument("--no-chat-template", action="store_true", help="give the model the prompt as it is")
    _add_reasoning(parser)
    parser.add_argument(
        "--cpu-profile", choices=memory.PROFILES, help="how a machine without GPU is used (the memory decides)"
    )
    parser.add_argument(
        "--draft-model",
        metavar="MODEL",
        help="a smaller one of the same family that guesses ahead: the same answer, sooner",
    )
    parser.add_argument("--verbose", action="store_true", help="say what was decided, and how long it took")


def _add_generation(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "how it answers", "Without these the model's own settings hold, then the product's."
    )
    group.add_argument("--max-tokens", type=int, metavar="N", help=f"the longest answer (default: {wishes.MAX_TOKENS})")
    group.add_argument("--temperature", type=float, metavar="T", help="0 is always the likeliest token")
    group.add_argument("--top-p", type=float, metavar="P", help="only the likeliest tokens that make up this share")
    group.add_argument("--top-k", type=int, metavar="K", help="only so many of the likeliest tokens")
    group.add_argument("--min-p", type=float, metavar="P", help="only tokens this likely against the likeliest")
    group.add_argument(
        "--repetition-penalty", type=float, metavar="R", help="above 1: what was said becomes less likely"
    )
    group.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same answer")
    group.add_argument(
        "--stop", metavar="S", nargs="+", action="append", default=[], help="end where such a text begins"
    )
    group.add_argument("--kv-bits", type=int, metavar="N", help="quantise what the model remembers: 2 3 4 5 6 8")
    group.add_argument("--kv-group-size", type=int, metavar="N", default=64, help="in groups of 32, 64 or 128 (64)")
    group.add_argument("--quantized-kv-start", type=int, metavar="N", default=0, help="from this token on (0)")
    group.add_argument("--max-kv-size", type=int, metavar="N", help="remember so many tokens, then forget the oldest")


def _add_reasoning(parser: ArgumentParser) -> None:
    choices = parser.add_mutually_exclusive_group()
    for flag, value, text in (
        ("--show-reasoning", "show", "show what the model thinks, in a pipe too"),
        ("--hide-reasoning", "hide", "show only the answer, on a terminal too"),
        ("--think-only", "only", "show only what the model thinks"),
    ):
        choices.add_argument(flag, dest="reasoning", action="store_const", const=value, default="auto", help=text)
