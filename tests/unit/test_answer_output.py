"""What reaches stdout and the file of ``--out``: everything as it comes, or only the last answer if it is complete."""

from __future__ import annotations

import io
from collections.abc import Generator
from pathlib import Path

import pytest

from mlxknife.cli.answer_output import AnswerOutput
from mlxknife.cli.output_file import OutputFile
from mlxknife.cli.render.answer import AnswerPrinter
from mlxknife.domain.errors import WorkerLost
from mlxknife.domain.generation.values.answer import (
    FinishReason,
    GenerationResult,
    TextDelta,
    TextKind,
    Timings,
    Usage,
)
from mlxknife.domain.tools.values import ToolCall, ToolUse

_USE = ToolUse(ToolCall("1", "add", "{}"), "5")


def answer(*, fails: bool = False) -> Generator[TextDelta | ToolUse, None, GenerationResult]:
    yield TextDelta(TextKind.REASONING, "Hm.")
    yield TextDelta(TextKind.ANSWER, "I add.")
    yield _USE
    yield TextDelta(TextKind.ANSWER, "It is 5.")
    if fails:
        msg = "gone"
        raise WorkerLost(msg)
    return GenerationResult("It is 5.", "", FinishReason.STOP, Usage(1, 1), Timings(0.0, 0.0, 0.0))


def collected(
    folder: Path, *, wants: bool | None, holds: bool, fails: bool = False
) -> tuple[str, str | None, list[ToolUse]]:
    """Return what was printed, what the file has, and the calls that were shown."""
    out, shown = io.StringIO(), list[ToolUse]()
    printer = AnswerPrinter(out, (TextKind.ANSWER,), is_streaming=not holds)
    file = folder / "out.txt"
    is_wanted = None if wants is None else lambda _: bool(wants)
    output = AnswerOutput(printer, OutputFile(str(file)), shown.append, is_wanted, holds)
    if fails:
        with pytest.raises(WorkerLost):
            output.collect(answer(fails=True))
    else:
        assert output.collect(answer()).answer == "It is 5."
    return out.getvalue(), file.read_text() if file.exists() else None, shown


def test_on_a_terminal_everything_is_printed_as_it_comes(tmp_path: Path) -> None:
    assert collected(tmp_path, wants=True, holds=False) == ("I add.\nIt is 5.\n", "It is 5.", [_USE])


def test_a_pipe_and_a_file_get_the_last_answer_only(tmp_path: Path) -> None:
    assert collected(tmp_path, wants=True, holds=True) == ("It is 5.\n", "It is 5.", [_USE])


def test_an_answer_that_is_not_wanted_reaches_neither(tmp_path: Path) -> None:
    assert collected(tmp_path, wants=False, holds=True) == ("", None, [_USE])
    assert collected(tmp_path, wants=False, holds=False) == ("I add.\nIt is 5.\n", None, [_USE])


def test_after_a_failure_a_pipe_has_no_part_of_an_answer(tmp_path: Path) -> None:
    assert collected(tmp_path, wants=True, holds=True, fails=True) == ("", None, [_USE])
    assert collected(tmp_path, wants=True, holds=False, fails=True) == ("I add.\nIt is 5.\n", None, [_USE])


def test_without_conditions_a_failure_keeps_what_was_written(tmp_path: Path) -> None:
    printed, written, _ = collected(tmp_path, wants=None, holds=False, fails=True)
    assert (printed, written) == ("I add.\nIt is 5.\n", "I add.It is 5.")
