"""The arguments of ``mlxk run``: the prompt, and the options of the answer."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction

from mlxknife.cli.arguments import add_remote_code
from mlxknife.domain.generation.rules import options as wishes
from mlxknife.domain.generation.services.tool_loop import MAX_ROUNDS
from mlxknife.domain.memory import rules as memory

_EPILOG = """\
--in and --stop take all arguments up to the next option or -: write the prompt before them,
or after a --.

Examples:
  mlxk run MODEL "Who was Ada Lovelace?"
  mlxk run MODEL - "Sum this up." < notes.txt
  mlxk run MODEL "What differs?" --in one.py two.py --out answer.md
  git diff | mlxk run MODEL --in style.md - "Does it follow the style?"
  mlxk run MODEL --context notes.index "When does the library open?"
  mlxk run MODEL --schema person.json "Describe Ada Lovelace." | jq .born
  mlxk run MODEL --tools weather.py "What is the weather in Berlin?"
  mlxk run MODEL                       (a chat; /help lists its commands)
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the model, the prompt and the options of the answer."""
    parser.usage = "%(prog)s [OPTIONS] MODEL [PROMPT ...]"
    parser.epilog = _EPILOG
    parser.add_argument("model", metavar="MODEL", help="a model in the cache, a workspace, or a path")
    parser.add_argument("prompt", metavar="PROMPT", nargs="*", default=[], help="the prompt; - reads stdin")
    parser.add_argument("--prompt", dest="prompt_text", metavar="TEXT", help="the prompt, or more of it, as an option")
    parser.add_argument("-c", "--chat", action="store_true", help="start a chat (the default without a prompt)")
    parser.add_argument("--system", metavar="TEXT", help="the system prompt; @FILE reads it from a file")
    parser.add_argument(
        "--in",
        dest="files",
        metavar="FILE",
        nargs="+",
        action="extend",
        default=[],
        help="text files to put before the prompt",
    )
    parser.add_argument(
        "--context", metavar="INDEX", help="put what an index of mlxk index has for the question before the prompt"
    )
    parser.add_argument("--out", metavar="FILE", help="write the answer to a file as well")
    parser.add_argument(
        "--separator",
        metavar="S",
        default="\n\n",
        help="the text between stdin and the rest of the prompt (default: a blank line)",
    )
    parser.add_argument(
        "--stream",
        action=BooleanOptionalAction,
        default=SUPPRESS,
        help="print the answer while it is generated (the default), or when it is complete",
    )
    parser.add_argument(
        "--plain",
        action=BooleanOptionalAction,
        default=SUPPRESS,
        help="print Markdown as it is written, on a terminal too",
    )
    parser.add_argument(
        "--pull",
        action=BooleanOptionalAction,
        default=SUPPRESS,
        help="pull a model that is not here, or do not; by default it is asked for on a terminal",
    )
    parser.add_argument(
        "--history",
        action=BooleanOptionalAction,
        default=SUPPRESS,
        help="keep what is typed in a chat for the next one (the default), or not",
    )
    parser.add_argument("--no-chat-template", action="store_true", help="send the prompt without the chat template")
    add_remote_code(parser)
    _add_reasoning(parser)
    parser.add_argument(
        "--cpu-profile",
        choices=memory.PROFILES,
        help="conversion of the weights on a machine without a GPU: fast (all to float32), compact (only half "
        "precision to float32), as-is (none); default: by the free memory",
    )
    parser.add_argument(
        "--draft-model",
        metavar="MODEL",
        help="a smaller model of the same family for speculative decoding: the same answer, sooner",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action=BooleanOptionalAction,
        default=SUPPRESS,
        help="print notes on the model and the statistics of the answer",
    )
    _add_form(parser)
    _add_tools(parser)
    _add_generation(parser)


def _add_form(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "form of the answer", "An answer that is cut before it has the form is an error; a pipe gets nothing then."
    )
    forms = group.add_mutually_exclusive_group()
    forms.add_argument("--schema", metavar="FILE|JSON", help="a JSON document that is valid under this JSON schema")
    forms.add_argument("--json-object", action="store_true", help="a JSON object")
    forms.add_argument("--regex", metavar="R", help="a text that this regular expression matches as a whole")
    forms.add_argument(
        "--choice",
        metavar="A,B,...",
        action="append",
        default=[],
        help="one of these texts; repeat the option for texts with commas: each is one text then",
    )


def _add_tools(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("tools", "The model may call Python functions on the way to its answer.")
    group.add_argument(
        "--tools",
        metavar="FILE.py",
        help="offer the functions of this file, whose code runs with your rights; each call is asked for",
    )
    group.add_argument("--yes", action="store_true", help="allow every call without a question")
    group.add_argument(
        "--tool-choice",
        metavar="CHOICE",
        default="auto",
        help="auto (the default), required, or the function to call first",
    )
    group.add_argument(
        "--max-tool-rounds",
        type=int,
        metavar="N",
        default=MAX_ROUNDS,
        help=f"after N answers with calls, the model must answer without one (default: {MAX_ROUNDS})",
    )


def _add_generation(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "generation options",
        "Unset options come from the model's generation_config.json, then from mlxk's defaults.",
    )
    group.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        help=f"the maximum length of the answer (default: what the context window leaves, up to {wishes.MAX_TOKENS})",
    )
    group.add_argument(
        "--temperature", type=float, metavar="T", help="the randomness of sampling; 0: always the most likely token"
    )
    group.add_argument(
        "--top-p", type=float, metavar="P", help="sample from the most likely tokens with a total probability of P"
    )
    group.add_argument("--top-k", type=int, metavar="K", help="sample from the K most likely tokens")
    group.add_argument(
        "--min-p", type=float, metavar="P", help="sample from tokens at least P times as likely as the most likely one"
    )
    group.add_argument(
        "--repetition-penalty", type=float, metavar="R", help="above 1: make tokens that occurred before less likely"
    )
    group.add_argument("--seed", type=int, metavar="N", help="the seed of sampling; it makes an answer repeatable")
    group.add_argument(
        "--stop", metavar="S", nargs="+", action="append", default=[], help="end the answer before any of these texts"
    )
    group.add_argument(
        "--loop-guard",
        action=BooleanOptionalAction,
        default=SUPPRESS,
        help="end an answer that only repeats itself (the default), or do not",
    )
    group.add_argument("--kv-bits", type=int, metavar="N", help="quantise the KV cache to 2, 3, 4, 5, 6 or 8 bits")
    group.add_argument(
        "--kv-group-size", type=int, metavar="N", default=64, help="its group size: 32, 64 or 128 (default: 64)"
    )
    group.add_argument(
        "--quantized-kv-start", type=int, metavar="N", default=0, help="quantise from this token on (default: 0)"
    )
    group.add_argument(
        "--max-kv-size", type=int, metavar="N", help="keep at most N tokens in the KV cache and drop the oldest"
    )


def _add_reasoning(parser: ArgumentParser) -> None:
    choices = parser.add_mutually_exclusive_group()
    for flags, value, text in (
        (("--show-reasoning",), "show", "print the reasoning, even in a pipe"),
        (("--hide-reasoning", "--no-reasoning"), "hide", "print only the answer, even on a terminal"),
        (("--think-only",), "only", "print only the reasoning"),
    ):
        choices.add_argument(*flags, dest="reasoning", action="store_const", const=value, default="auto", help=text)
