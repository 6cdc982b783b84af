"""``mlx-tee``: send stdin to several commands, and print their answers one after the other."""

from __future__ import annotations

import io
import json
import shlex
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from typing import TYPE_CHECKING

from mlxknife.cli.arguments import Parser, UsageError, command_parser, split_command
from mlxknife.cli.render.help import HelpFormatter
from mlxknife.cli.signals import exit_on_signals
from mlxknife.cli.streams import prepare_streams, run_to_exit_code
from mlxknife.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlxknife.app import App
    from mlxknife.domain.settings.values.table import SettingType
    from mlxknife.domain.tee.values import TeeCommand, TeePlan

PROGRAM = "mlx-tee"

_DESCRIPTION = """\
Send stdin to several commands and print the whole answer of each under a header, in the order of the
commands. They run in parallel. If they run models that do not fit into memory together, they run one
after the other.

  mlx-tee "mlxk run small -" "mlxk run large - 'Be brief.'" < question.txt
"""
_EPILOG = """\
Each CMD is one quoted command line, such as "mlxk run MODEL -". No shell runs it: | > && have no meaning,
and $NAME and * are not expanded. To use a shell, write: "sh -c '...'"

With --ssh, "@HOST:CMD" or "@USER@HOST:CMD" runs CMD on another machine.

Exit code: the highest exit code of the commands. 127: command not found, 126: it cannot be executed,
128 + N: signal N killed it. 130, 143: mlx-tee was interrupted or terminated, and ended all commands.
1: usage error, nothing was run.
"""


def run_tee(argv: list[str], open_app: Callable[[], App]) -> int:
    """Run one command line of ``mlx-tee`` and return its exit code. It leaves no process behind."""
    prepare_streams()
    exit_on_signals(signal.SIGTERM, signal.SIGHUP)
    return run_to_exit_code(lambda: _run_or_report(argv, open_app), output="the answers")


def tee_parser() -> ArgumentParser:
    """Return the parser of ``mlx-tee``."""
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [OPTIONS] CMD CMD...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("commands", metavar="CMD", nargs="*", help="a command line, quoted as one argument")
    order = parser.add_mutually_exclusive_group()
    for flag, value, text in (
        ("--sequential", False, "run the commands one after the other"),
        ("--parallel", True, "run the commands in parallel, without checking the free memory"),
    ):
        order.add_argument(flag, dest="side_by_side", action="store_const", const=value, default=None, help=text)
    parser.add_argument("--jsonl", "--json", action="store_true", help="print one JSON document per command")
    parser.add_argument("--no-headers", dest="headers", action="store_false", help="print the answers only")
    parser.add_argument("--ssh", action="store_true", help="allow @HOST:CMD, which runs CMD on another machine")
    parser.add_argument("--dry-run", action="store_true", help="print the command lines and run nothing")
    parser.add_argument("--debug", action="store_true", help="show tracebacks (also MLXK_DEBUG=1)")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    return parser


def _run_or_report(argv: list[str], open_app: Callable[[], App]) -> int:
    try:
        return _run(argv, open_app)
    except OSError:  # a failed write to stdout, which run_to_exit_code handles
        raise
    except Exception as exc:  # noqa: BLE001 - the last handler: every error is printed as the contract says
        return _report(exc, argv)


def _run(argv: list[str], open_app: Callable[[], App]) -> int:
    options = tee_parser().parse_args(argv)
    if options.version:
        sys.stdout.write(f"{PROGRAM} {__version__}\n")
        return 0
    from mlxknife.domain.tee import rules as tee_rules  # noqa: PLC0415 - --version and --help do not need it

    commands = tee_rules.parse_commands(options.commands, may_ssh=options.ssh)
    app = open_app()
    defaults = app.settings.command_options.get("run", {})
    jobs = [_with_models(command, defaults) for command in commands]
    plan = app.tee.plan(jobs, side_by_side=options.side_by_side)
    if plan.note:
        _print_note(plan.note)
    if options.dry_run:
        return _print_plan(plan, as_json=options.jsonl)
    return _run_plan(app, plan, as_json=options.jsonl, with_headers=options.headers)


def _run_plan(app: App, plan: TeePlan, *, as_json: bool, with_headers: bool) -> int:
    """Run the commands and print their output; return the highest of their exit codes."""
    from mlxknife.cli.render.tee import HeadedOutput, JsonLinesOutput, TeeOutput  # noqa: PLC0415
    from mlxknife.domain.tee import rules as tee_rules  # noqa: PLC0415
    from mlxknife.domain.tee.values import OutputBegins, OutputChunk  # noqa: PLC0415

    output: TeeOutput
    output = JsonLinesOutput(sys.stdout) if as_json else HeadedOutput(sys.stdout, sys.stderr, with_headers=with_headers)
    statuses = []
    source = sys.stdin.buffer if sys.stdin is not None else None
    with closing(app.tee.run(plan, source)) as events:
        for event in events:
            if isinstance(event, OutputBegins):
                output.begin(plan.commands[event.number])
            elif isinstance(event, OutputChunk):
                output.write(event)
            else:
                output.end(event)
                statuses.append(event.status)
    return tee_rules.worst(statuses)


def _print_plan(plan: TeePlan, *, as_json: bool) -> int:
    """Print the command lines that would run."""
    from mlxknife.cli.render.tee import write_json_line  # noqa: PLC0415
    from mlxknife.cli.render.text import terminal_safe  # noqa: PLC0415
    from mlxknife.cli.tee_documents import TeeJobObject  # noqa: PLC0415
    from mlxknife.domain.tee import rules as tee_rules  # noqa: PLC0415

    for job in plan.commands:
        argv = tee_rules.arguments(job)
        if as_json:
            model = job.models[0] if job.models else None
            write_json_line(TeeJobObject(job.command, model, job.host, argv), sys.stdout)
        else:
            line = shlex.join(argv)
            sys.stdout.write(f"{terminal_safe(line) if sys.stdout.isatty() else line}\n")
    return 0


def _with_models(job: TeeCommand, defaults: Mapping[str, SettingType]) -> TeeCommand:
    """Add the models that a ``mlxk run`` command loads; ``defaults`` are its options in the config file.

    A command that cannot be parsed reports that itself.
    """
    import attrs  # noqa: PLC0415

    from mlxknife.domain.tee import rules as tee_rules  # noqa: PLC0415

    own = tee_rules.own_arguments(job.argv)
    _, command, arguments = split_command(list(own or ()))
    if command not in ("run", "chat"):
        return job
    from mlxknife.cli.commands.run_arguments import add_arguments  # noqa: PLC0415

    parser = command_parser("run")
    add_arguments(parser)
    try:
        with redirect_stdout(io.StringIO()):  # --help prints when the command runs, not now
            parsed = vars(parser.parse_mixed(arguments))
    except (UsageError, SystemExit):
        return job
    models = tuple(parsed[key] for key in ("model", "draft_model") if parsed.get(key))
    return attrs.evolve(job, models=models, profile=parsed["cpu_profile"] or _text(defaults.get("cpu_profile")))


def _text(value: SettingType) -> str | None:
    return value if isinstance(value, str) else None


def _print_note(note: str) -> None:
    from mlxknife.cli.render.text import print_line  # noqa: PLC0415

    print_line((f"{PROGRAM}: {note}",), sys.stderr)


def _report(exc: Exception, argv: list[str]) -> int:
    """Print an error, with ``--jsonl`` as one line of JSON, and return the exit code."""
    from mlxknife.cli.errors import is_debug_enabled, report_error  # noqa: PLC0415 - only after an error

    as_json = not {"--jsonl", "--json"}.isdisjoint(argv)
    is_debug = "--debug" in argv or is_debug_enabled()
    with redirect_stdout(io.StringIO()) as document:
        code = report_error(exc, command="tee", as_json=as_json, debug=is_debug)
    if as_json:
        sys.stdout.write(json.dumps(json.loads(document.getvalue())) + "\n")
    return code
