from __future__ import annotations

import pytest

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.tee import rules as tee_rules
from mlxknife.domain.tee.values import TeeCommand


def refusal(*texts: str, may_ssh: bool = True) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        tee_rules.parse_commands(texts, may_ssh=may_ssh)
    return caught.value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wc", ("wc",)),
        (" mlxk  run a - ", ("mlxk", "run", "a", "-")),
        ("mlxk run a - 'Be brief.'", ("mlxk", "run", "a", "-", "Be brief.")),
        (r'grep "a|b" c\>d \&', ("grep", "a|b", "c>d", "&")),
        (r"""printf '%s\n' "it's \"1 < 2\"" """, ("printf", r"%s\n", 'it\'s "1 < 2"')),
        ("echo $HOME * ~ # no comment", ("echo", "$HOME", "*", "~", "#", "no", "comment")),
        ("sh -c 'cat | wc >file; true && echo $X &'", ("sh", "-c", "cat | wc >file; true && echo $X &")),
        ("mlxk run a -\n  'two lines'", ("mlxk", "run", "a", "-", "two lines")),
        ("echo ''", ("echo", "")),
        ("größe café", ("größe", "café")),
    ],
)
def test_a_command_line_is_split_as_a_shell_splits_it(text: str, words: tuple[str, ...]) -> None:
    assert tee_rules.parse_command(text, may_ssh=False) == TeeCommand(text.strip(), words)


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("cat > file", ">"),
        ("cat >>file", ">"),
        ("a|b", "|"),
        ("sleep 1 &", "&"),
        ("a; b", ";"),
        ("wc < x", "<"),
        ("echo 'a'|b", "|"),
        ('echo "a\\"" > \'b\'', ">"),
        (r"echo '\' > x", ">"),
        ("true && false", "&"),
    ],
)
def test_a_command_that_needs_a_shell_is_refused_with_the_operator(text: str, operator: str) -> None:
    error = refusal("true", text)
    assert error.message == f"No shell runs '{text}': its {operator} would have no effect"
    assert error.hint == Hint(HintCode.QUOTE_OPERATOR, operator=operator)


@pytest.mark.parametrize("text", ["echo 'x", 'echo "x', "echo x\\", "echo \"it's"])
def test_an_open_quotation_is_refused(text: str) -> None:
    assert "ends inside a quotation" in refusal(text).message


@pytest.mark.parametrize("text", ["", "  ", "-", "--sequential", "''", "@gpu:", "@gpu: -x"])
def test_an_invalid_command_is_refused(text: str) -> None:
    assert refusal("true", text).message == f"'{text}' is not a command"


def test_no_command_and_too_many_commands_are_refused() -> None:
    assert "No command" in refusal().message
    assert "101 commands" in refusal(*["true"] * 101).message
    assert len(tee_rules.parse_commands(["true"] * 100, may_ssh=False)) == 100


@pytest.mark.parametrize("host", ["gpu", "gpu-box.example.org", "10.0.0.7", "me@gpu", "me.too@gpu_2", "G1"])
def test_a_host_before_the_command_is_parsed(host: str) -> None:
    command = tee_rules.parse_command(f"@{host}: mlxk run 'a b' -", may_ssh=True)
    assert command == TeeCommand("mlxk run 'a b' -", ("mlxk", "run", "a b", "-"), host)
    assert command.title == f"@{host}:mlxk run 'a b' -"
    assert tee_rules.arguments(command) == ("ssh", host, "--", "mlxk run 'a b' -")


def test_a_local_command_starts_with_its_own_words() -> None:
    command = tee_rules.parse_command("echo 'a b' user@host:x", may_ssh=False)
    assert tee_rules.arguments(command) == ("echo", "a b", "user@host:x")
    assert command.title == "echo 'a b' user@host:x"


@pytest.mark.parametrize(
    "text",
    [
        "@-oProxyCommand=x:true",
        "@me@-x:true",
        "@-me@gpu:true",
        "@:true",
        "@gpu",
        "@gpu true",
        "@gpu box:true",
        "@$(x):true",
        "@a@b@c:true",
        "@.gpu:true",
        "@größe:true",
        "@gpu\n:true",
        "@[::1]:true",
    ],
)
def test_an_invalid_host_is_refused(text: str) -> None:
    error = refusal(text)
    assert error.message.endswith("does not name a machine")
    assert error.hint == Hint(HintCode.SSH_FORMS)


def test_another_machine_needs_the_ssh_option() -> None:
    error = refusal("true", "@gpu:true", may_ssh=False)
    assert "'@gpu:'" in error.message
    assert error.hint == Hint(HintCode.ALLOW_SSH)


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("mlxk run a -", ("run", "a", "-")),
        ("mlxk2 list", ("list",)),
        ("mlxk-json", ()),
        ("/usr/local/bin/mlxk run a", ("run", "a")),
        ("mlx-run a -", ("run", "a", "-")),
        (".venv/bin/mlx-run a", ("run", "a")),
        ("python -m mlxknife run a", ("run", "a")),
        ("/usr/bin/python3.11 -P -u -m mlxknife --debug run a", ("--debug", "run", "a")),
        ("mlx-tee 'mlxk run a'", None),
        ("python -m mlx_lm run a", None),
        ("python x.py -m mlxknife run a", None),
        ("python", None),
        ("pythonic -m mlxknife run a", None),
        ("mlxk/x run a", None),
        ("echo mlxk run a", None),
    ],
)
def test_own_programs_are_recognised_by_their_names(text: str, own: tuple[str, ...] | None) -> None:
    assert tee_rules.own_arguments(tee_rules.parse_command(text, may_ssh=False).argv) == own


@pytest.mark.parametrize(("statuses", "status"), [((), 0), ((0, 0), 0), ((1, 3, 2), 3), ((0, 127, 137), 137)])
def test_the_exit_code_is_the_highest_of_all_commands(statuses: tuple[int, ...], status: int) -> None:
    assert tee_rules.worst(statuses) == status
