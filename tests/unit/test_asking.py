from __future__ import annotations

import pytest

from mlxknife.cli.arguments import UsageError, command_parser
from mlxknife.cli.commands.run import Options, add_arguments


def _options(*words: str) -> Options:
    parser = command_parser("run")
    add_arguments(parser)
    given = vars(parser.parse_mixed(words))
    return Options(**{name: value for name, value in given.items() if name not in ("json", "debug")})


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
    ],
)
def test_options_may_be_anywhere(words: str, prompt: tuple[str, ...]) -> None:
    options = _options(*words.split())
    assert (options.model, options.prompt) == ("M", prompt)
    assert options.seed in (None, 3)


def test_a_sentence_that_starts_with_a_dash_is_an_argument() -> None:
    assert _options("M", "--seed", "3", "- what is this?").prompt == ("- what is this?",)


def test_an_option_with_several_values_may_be_repeated() -> None:
    options = _options("M", "--stop", "a", "b", "--stop", "-1", "--in", "x", "y", "--in", "z", "--temperature", "-1")
    assert options.wish().stops == ("a", "b", "-1")
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
    ],
)
def test_an_invalid_argument_is_named(words: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        _options(*words.split())
    assert caught.value.message.startswith(message)
    assert (caught.value.hint or "").startswith(hint)
