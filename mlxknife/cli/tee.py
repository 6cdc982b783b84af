"""``mlx-tee``: the same input for several commands, and their answers one after the other."""

from __future__ import annotations

import io
import json
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from typing import TYPE_CHECKING

from mlxknife.cli import process
from mlxknife.cli.arguments import Parser, UsageError, command_parser, split_command
from mlxknife.cli.help_text import HelpFormatter
from mlxknife.version import __version__

if TYPE_CHECKING:
    from mlxknife.app import App
    from mlxknife.domain.tee.values import TeeCommand, TeePlan

PROGRAM = "mlx-tee"

_DESCRIPTION = """\
Give what comes on stdin to several commands, side by side, and print each answer whole, in the order of
the commands, under a header. Commands that run models which do not fit into the memory together run one
after the other.

  mlx-tee "mlxk run small -" "mlxk run large - 'Be brief.'" < question.txt
"""
_EPILOG = """\
Each CMD is one quoted command line, such as "mlxk run MODEL -". No shell runs it: | > && mean nothing,
$NAME and * stay as they are. Where you want one, write: "sh -c '...'"

With --ssh, "@HOST:CMD" or "@USER@HOST:CMD" runs CMD on another machine.

Exit code: the worst of the commands' own; 127 for one that is not there, 126 for one that cannot be
started, 128 and the signal for one that was killed. 130, 143: mlx-tee was ended, and ended them all.
1: the command line is wrong, and nothing was run.
"""


def run_tee(argv: list[str], open_app: Callable[[], App]) -> int:
    """Run one command line of ``mlx-tee`` and return its exit code; nothing that it started is left behind."""
    process.prepare_streams()
    process.end_on_signals()
    return process.finished(lambda: _told(argv, open_app), what="the answers")


def _told(argv: list[str], open_app: Callable[[], App]) -> int:
    try:
        return _run(argv, open_app)
    except OSError:  # what becomes of stdout is not the commands' fault
        raise
    except Exception as exc:  # noqa: BLE001 - the last stop before the user: everything becomes an error of the contract
        return _report(exc, argv)


def _run(argv: list[str], open_app: Callable[[], App]) -> int:
    options = _parser().parse_args(argv)
    if options.version:
        sys.stdout.write(f"{PROGRAM} {__version__}\n")
        return 0
    from mlxknife.domain.tee import rules as tee_rules  # noqa: PLC0415 - --version and --help need none of it

    jobs = [_with_models(job) for job in tee_rules.parse_commands(options.commands, may_ssh=options.ssh)]
    app = open_app()
    plan = app.tee.plan(jobs, side_by_side=options.side_by_side)
    if plan.note:
        _say(plan.note)
    if options.dry_run:
        return _show(plan, as_json=options.jsonl)
    return _tell(app, plan, as_json=options.jsonl, with_headers=options.headers)


def _tell(app: App, plan: TeePlan, *, as_json: bool, with_headers: bool) -> int:
    """Run the commands and tell what they answer; return the worst of their exit codes."""
    from mlxknife.cli.render.turns import Pages, Records, Teller  # noqa: PLC0415
    from mlxknife.domain.tee import rules as tee_rules  # noqa: PLC0415
    from mlxknife.domain.tee.values import OutputBegins, OutputChunk  # noqa: PLC0415

    teller: Teller = Records(sys.stdout) if as_json else Pages(sys.stdout, sys.stderr, with_headers=with_headers)
    statuses = []
    source = sys.stdin.buffer if sys.stdin is not None else None
    with closing(app.tee.run(plan, source)) as events:
        for event in events:
            if isinstance(event, OutputBegins):
                teller.turn(plan.commands[event.number])
            elif isinstance(event, OutputChunk):
                teller.hear(event)
            else:
                teller.end(event)
                statuses.append(event.status)
    return tee_rules.worst(statuses)


def _show(plan: TeePlan, *, as_json: bool) -> int:
    """Print the command lines that would run."""
    from mlxknife.cli.render.speech import safe  # noqa: PLC0415
    from mlxknife.cli.render.turns import write_line  # noqa: PLC0415
    from mlxknife.cli.wire_tee import JobObject  # noqa: PLC0415
    from mlxknife.domain.tee import rules as tee_rules  # noqa: PLC0415

    for job in plan.commands:
        argv = tee_rules.arguments(job)
        if as_json:
            write_line(JobObject(job.command, job.models[0] if job.models else None, job.host, argv), sys.stdout)
        else:
            line = shlex.join(argv)
            sys.stdout.write(f"{safe(line) if sys.stdout.isatty() else line}\n")
    return 0


def _with_models(job: TeeCommand) -> TeeCommand:
    """Note the models that a command of our own loads; what it cannot understand, it says itself."""
    import attrs  # noqa: PLC0415

    from mlxknife.domain.tee import rules as tee_rules  # noqa: PLC0415

    own = tee_rules.own_arguments(job.argv)
    _, command, words = split_command(list(own or ()))
    if command != "run":
        return job
    from mlxknife.cli.commands import run  # noqa: PLC0415

    parser = command_parser("run")
    run.add_arguments(parser)
    try:
        with redirect_stdout(io.StringIO()):  # what asks for help is helped when it runs
            given = vars(parser.parse_mixed(words))
    except (UsageError, SystemExit):
        return job
    models = tuple(given[key] for key in ("model", "draft_model") if given.get(key))
    return attrs.evolve(job, models=models, profile=given["cpu_profile"])


def _say(note: str) -> None:
    from mlxknife.cli.render.text import print_line  # noqa: PLC0415

    print_line((f"{PROGRAM}: {note}",), sys.stderr)


def _report(exc: Exception, argv: list[str]) -> int:
    """Tell the user about an error, as a line of JSON where lines are asked for; return the exit code."""
    from mlxknife.cli.errors import report  # noqa: PLC0415 - most runs have no error

    as_json = not {"--jsonl", "--json"}.isdisjoint(argv)
    with redirect_stdout(io.StringIO()) as document:
        code = report(exc, command="tee", as_json=as_json, debug="--debug" in argv or process.wants_tracebacks())
    if as_json:
        sys.stdout.write(json.dumps(json.loads(document.getvalue())) + "\n")
    return code


def _parser() -> ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [OPTIONS] CMD CMD...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("commands", metavar="CMD", nargs="*", help="a command line, quoted as one word")
    order = parser.add_mutually_exclusive_group()
    for flag, value, text in (
        ("--sequential", False, "one command after the other"),
        ("--parallel", True, "side by side, whatever the memory says"),
    ):
        order.add_argument(flag, dest="side_by_side", action="store_const", const=value, default=None, help=text)
    parser.add_argument("--jsonl", "--json", action="store_true", help="a line of JSON for each answer")
    parser.add_argument("--no-headers", dest="headers", action="store_false", help="nothing but the answers")
    parser.add_argument("--ssh", action="store_true", help="allow @HOST:CMD, which runs on another machine")
    parser.add_argument("--dry-run", action="store_true", help="print the command lines that would run")
    parser.add_argument("--debug", action="store_true", help="show tracebacks (also MLXK_DEBUG=1)")
    parser.add_argument("--version", action="store_true", help="tell the version")
    return parser
