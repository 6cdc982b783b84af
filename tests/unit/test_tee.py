from __future__ import annotations

from io import BytesIO

import pytest

from mlxknife.domain.memory import rules as memory
from mlxknife.domain.memory.rules import MemoryNeed
from mlxknife.domain.tee.services import Tee
from mlxknife.domain.tee.values import CommandEvent, CommandExited, OutputBegins, OutputChunk, TeeCommand, TeePlan
from tests.builder import Files, chat_files, safetensors
from tests.fakes.programs import FakePrograms
from tests.fakes.system import FakeSystem
from tests.unit.session_setup import make_catalog

_SIZE = 1100
"""The memory that one of the models needs."""
_FILES = chat_files(quantized=False, num_hidden_layers=0) | {"model.safetensors": safetensors({"w": ("F32", (250,))})}
_DAMAGED = chat_files(quantized=False, num_hidden_layers=0) | {
    "model.safetensors": safetensors({"w": ("F32", (250,))})[:-1]
}


def tee(
    available: int | None, files: Files = _FILES, *, has_gpu: bool = False, programs: FakePrograms | None = None
) -> Tee:
    """Return a tee over the models ``one`` and ``two``."""
    catalog = make_catalog(files)
    return Tee(catalog, programs or FakePrograms(), FakeSystem(available=available), lambda: has_gpu)


def command(*models: str, host: str | None = None, profile: str | None = None) -> TeeCommand:
    return TeeCommand("a command", ("a", "command"), host, models, profile)


ONE, TWO = command("one"), command("two")


def test_models_that_fit_into_memory_run_at_the_same_time() -> None:
    assert tee(2 * _SIZE).plan([ONE, TWO]) == TeePlan((ONE, TWO), side_by_side=True)


@pytest.mark.parametrize("available", [2 * _SIZE - 1, _SIZE])
def test_models_that_fit_only_alone_run_one_after_the_other_with_a_note(available: int) -> None:
    plan = tee(available).plan([ONE, TWO])
    assert (plan.commands, plan.side_by_side) == ((ONE, TWO), False)
    note = plan.note or ""
    assert note.startswith("The models need 2.2KB of memory at the same time, and ")
    assert note.endswith("KB are free: one command after the other")


def test_the_same_model_twice_counts_twice() -> None:
    assert not tee(2 * _SIZE - 1).plan([ONE, ONE]).side_by_side
    assert not tee(3 * _SIZE - 1).plan([ONE, TWO, ONE]).side_by_side


def test_a_command_with_two_models_counts_both() -> None:
    assert not tee(3 * _SIZE - 1).plan([command("one", "two"), TWO]).side_by_side
    assert tee(3 * _SIZE).plan([command("one", "two"), TWO]).side_by_side


@pytest.mark.parametrize("available", [_SIZE - 1, 0])
def test_a_model_that_does_not_fit_alone_does_not_count(available: int) -> None:
    assert tee(available).plan([ONE, TWO]) == TeePlan((ONE, TWO), side_by_side=True)


@pytest.mark.parametrize("spec", ["none", "o", "a//b", "@"])
def test_an_unknown_model_does_not_count(spec: str) -> None:
    assert tee(_SIZE).plan([ONE, command(spec)]).side_by_side


def test_a_damaged_model_does_not_count() -> None:
    assert tee(_SIZE, _DAMAGED).plan([ONE, TWO]).side_by_side


def test_models_of_another_machine_do_not_count() -> None:
    assert tee(_SIZE).plan([ONE, command("two", host="gpu")]).side_by_side


def test_commands_without_models_need_no_memory() -> None:
    assert tee(_SIZE).plan([ONE, command(), command()]).side_by_side


def test_unknown_memory_runs_everything_at_the_same_time() -> None:
    assert tee(None).plan([ONE, TWO]).side_by_side


@pytest.mark.parametrize("side_by_side", [True, False])
@pytest.mark.parametrize("available", [0, _SIZE, 2 * _SIZE])
def test_an_explicit_order_is_used_without_a_note(available: int, *, side_by_side: bool) -> None:
    plan = tee(available).plan([ONE, TWO], side_by_side=side_by_side)
    assert plan == TeePlan((ONE, TWO), side_by_side)


def test_without_a_gpu_a_model_needs_its_widened_size() -> None:
    files = chat_files(quantized=False, num_hidden_layers=0) | {
        "model.safetensors": safetensors({"w": ("F16", (500,))})
    }
    assert tee(2 * _SIZE, files, has_gpu=True).plan([ONE, TWO]).side_by_side
    assert not tee(2 * _SIZE, files).plan([ONE, TWO]).side_by_side
    as_is = [command("one", profile="as-is"), command("two", profile="as-is")]
    assert tee(2 * _SIZE, files).plan(as_is).side_by_side


@pytest.mark.parametrize(
    ("free", "chosen", "has_gpu", "size"),
    [
        (100, None, True, 10),
        (100, "fast", True, 10),
        (100, None, False, 40),
        (79, None, False, 20),
        (19, None, False, 10),
        (19, "compact", False, 20),
        (100, "as-is", False, 10),
        (None, None, False, 40),
    ],
)
def test_the_memory_of_a_model_follows_from_the_profile_of_its_command(
    free: int | None, chosen: str | None, size: int, *, has_gpu: bool
) -> None:
    assert memory.taken(MemoryNeed(10, 20, 40), free, chosen, has_gpu=has_gpu) == size


def test_output_is_in_the_order_of_the_commands() -> None:
    programs = FakePrograms(
        {("slow",): lambda data: (data * 2, b"hm", 0), ("quick",): lambda _: (b"ok", b"", 1)}, chunk=2
    )
    commands = (TeeCommand("slow", ("slow",)), TeeCommand("quick", ("quick",)))
    plan = TeePlan(commands, side_by_side=True)
    events = list(tee(None, programs=programs).run(plan, BytesIO(b"ab")))
    slow: list[OutputBegins | CommandEvent] = [
        OutputBegins(0),
        OutputChunk(0, b"ab"),
        OutputChunk(0, b"ab"),
        OutputChunk(0, b"hm", is_error=True),
        CommandExited(0, 0, 0.5),
    ]
    quick: list[OutputBegins | CommandEvent] = [OutputBegins(1), OutputChunk(1, b"ok"), CommandExited(1, 1, 0.5)]
    assert events == slow + quick
    assert programs.runs == [(b"ab", True)]


def test_a_command_of_another_machine_starts_through_ssh() -> None:
    programs = FakePrograms({("ssh", "gpu", "--", "wc 'a b'"): lambda _: (b"x", b"", 0)})
    plan = TeePlan((TeeCommand("wc 'a b'", ("wc", "a b"), "gpu"),), side_by_side=False)
    assert list(tee(None, programs=programs).run(plan, None)) == [
        OutputBegins(0),
        OutputChunk(0, b"x"),
        CommandExited(0, 0, 0.5),
    ]
    assert programs.runs == [(b"", False)]


def test_closing_the_run_ends_the_commands() -> None:
    programs = FakePrograms({("x",): lambda _: (b"long" * 9, b"", 0)})
    plan = TeePlan((TeeCommand("x", ("x",)), TeeCommand("x", ("x",))), side_by_side=True)
    events = tee(None, programs=programs).run(plan, None)
    assert [next(events), next(events)] == [OutputBegins(0), OutputChunk(0, b"lon")]
    assert programs.running == {0, 1}
    events.close()
    assert programs.running == set()
