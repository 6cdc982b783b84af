from __future__ import annotations

import contextlib
import importlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlxknife.cli.arguments import COMMANDS, UsageError, alias_options, command_parser, resolve_command
from mlxknife.cli.commands.run import RunOptions
from mlxknife.cli.commands.run_arguments import add_arguments


def _options(*words: str) -> RunOptions:
    parser = command_parser("run")
    add_arguments(parser)
    given = vars(parser.parse_mixed(words))
    return RunOptions(**{name: value for name, value in given.items() if name not in ("json", "debug")})


@pytest.mark.parametrize(
    ("words", "prompt"),
    [
        ("M", ()),
        ("M one two", ("one", "two")),
        ("M --seed 3 one two", ("one", "two")),
        ("--seed 3 M one two", ("one", "two")),
        ("M one --seed 3 two", ("one", "two")),
        ("M one two --seed 3", ("one", "two")),
        ("M --seed 3 - two", ("-", "two")),
        ("M - --seed 3 two", ("-", "two")),
        ("M --seed 3 -- -x --seed", ("-x", "--seed")),
        ("M -- -x --seed", ("-x", "--seed")),
        ("M -1 one", ("-1", "one")),
        ("M one --stop a b --seed 3 two", ("one", "two")),
        ("M --stop a b -- one", ("one",)),
        ("M --in a b -- -", ("-",)),
        ("--in a b -- M one", ("one",)),
        ("-- M --seed", ("--seed",)),
        ("--seed 3 -- M --json", ("--json",)),
        ("M one --seed=3 two -c three", ("one", "two", "three")),
        ("M --in a b - one", ("-", "one")),
        ("M one --in a -", ("one", "-")),
        ("M --in a - --in b - one", ("-", "-", "one")),
        ("M --in - one", ("-", "one")),
        ("M --stop a - one", ("-", "one")),
        ("M --stop - one -- two", ("two",)),
        ("M --seed 3 --in=a - one", ("-", "one")),
    ],
)
def test_options_may_be_anywhere(words: str, prompt: tuple[str, ...]) -> None:
    options = _options(*words.split())
    assert (options.model, options.prompt) == ("M", prompt)
    assert options.seed in (None, 3)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--draft-model", "--"), ("--system", "--"), ("--out", "--"), ("--stop", (("--",),)), ("--in", ("--",))],
)
def test_two_hyphens_after_an_equals_sign_are_a_value(option: str, value: object) -> None:
    options = _options("M", f"{option}=--", "one")
    field = "files" if option == "--in" else option.strip("-").replace("-", "_")
    assert (getattr(options, field), options.prompt) == (value, ("one",))


@pytest.mark.parametrize(
    ("words", "files"),
    [("M --in a b -", ("a", "b")), ("M --in a - --in b -", ("a", "b")), ("M --in -", ()), ("M - --in a", ("a",))],
)
def test_stdin_ends_a_list_of_files_and_is_none_of_them(words: str, files: tuple[str, ...]) -> None:
    assert _options(*words.split()).files == files


def test_the_options_of_mlx_knife_mean_the_same() -> None:
    assert _options("M", "--in", "a", "b", "--prompt", "one two").words == ("one two",)
    assert _options("M", "-", "--prompt", "one").words == ("-", "one")
    assert _options("M", "--no-reasoning").reasoning == "hide"
    assert _options("M", "-v").verbose


def test_a_prompt_may_begin_with_a_dash() -> None:
    assert _options("M", "--seed", "3", "- what is this?").prompt == ("- what is this?",)


def test_options_with_several_values_may_be_repeated() -> None:
    options = _options("M", "--stop", "a", "b", "--stop", "-1", "--in", "x", "y", "--in", "z", "--temperature", "-1")
    assert options.generation().stop == ("a", "b", "-1")
    assert options.files == ("x", "y", "z")
    assert options.temperature == -1


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("", "the following arguments are required: MODEL", "See mlxk run --help"),
        ("--seed 3", "the following arguments are required: MODEL", "See mlxk run --help"),
        ("M --temprature 3 one", "unrecognized arguments: --temprature", "Did you mean --temperature?"),
        ("M --max_tokens=3", "unrecognized arguments: --max_tokens=3", "Did you mean --max-tokens?"),
        ("M --zzz", "unrecognized arguments: --zzz", "See mlxk run --help"),
        ("M --seed -- 3", "argument --seed: expected one argument", "See mlxk run --help"),
        ("M --seed --chat 3", "argument --seed: expected one argument", "See mlxk run --help"),
        ("M --chat=yes", "argument -c/--chat: ignored explicit argument 'yes'", "See mlxk run --help"),
        ("M --seed", "argument --seed: expected one argument", "See mlxk run --help"),
        ("M --seed one", "argument --seed: invalid int value: 'one'", "See mlxk run --help"),
        ("M -z", "unrecognized arguments: -z", "See mlxk run --help"),
        ("M --temp 3", "unrecognized arguments: --temp", "Did you mean"),
        ("M --nostream", "unrecognized arguments: --nostream", "Did you mean --no-stream?"),
        ("M --hide-reasonin", "unrecognized arguments: --hide-reasonin", "Did you mean --hide-reasoning?"),
        ("M --chat-template", "unrecognized arguments: --chat-template", "See mlxk run --help"),
        ("M --no-seed", "unrecognized arguments: --no-seed", "See mlxk run --help"),
        ("M --ou a", "unrecognized arguments: --ou", "See mlxk run --help"),
    ],
)
def test_a_usage_error_names_the_argument(words: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        _options(*words.split())
    assert caught.value.message.startswith(message)
    assert (caught.value.hint or "").startswith(hint)


@settings(deadline=None)
@given(st.sampled_from(list(COMMANDS)), st.text("abcdefghinoprstuw-", min_size=1, max_size=14))
@example("run", "prompts")
@example("run", "no-stop")
@example("run", "show-reasonin")
@example("rm", "forced")
def test_a_suggestion_never_reverses_the_meaning_and_never_deletes_or_overwrites(command: str, word: str) -> None:
    parser = command_parser(command)
    importlib.import_module(f"mlxknife.cli.commands.{command}").add_arguments(parser)
    with contextlib.suppress(UsageError, SystemExit):
        parser.parse_mixed([f"--{word}"])
        return
    with pytest.raises((UsageError, SystemExit)) as caught:
        parser.parse_mixed([f"--{word}"])
    hint = (isinstance(caught.value, UsageError) and caught.value.hint) or ""
    if (option := hint.removeprefix("Did you mean ").removesuffix("?")) != hint:
        is_negative = [text.startswith(("--no", "--hide")) for text in (option, f"--{word}")]
        assert is_negative[0] == is_negative[1]
        assert option not in ("--out", "--force")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("rn", "Did you mean mlxk run?"),
        ("rum", "See mlxk --help"),
        ("rmm", "See mlxk --help"),
        ("lst", "Did you mean mlxk list?"),
        ("serv", "Did you mean mlxk serve?"),
        ("chatt", "Did you mean mlxk chat?"),
    ],
)
def test_an_unknown_command_suggests_none_that_deletes(word: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_command(word)
    assert caught.value.hint == hint


def test_aliases_of_commands() -> None:
    assert [resolve_command(word) for word in ("ls", "server", "chat")] == ["list", "serve", "run"]
    assert [alias_options(word) for word in ("ls", "chat", None)] == [(), ("--chat",), ()]


def test_the_loop_guard_is_on_unless_it_is_switched_off() -> None:
    assert _options("M", "hi").generation().has_loop_guard
    assert not _options("M", "hi", "--no-loop-guard").generation().has_loop_guard
