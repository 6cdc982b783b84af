"""``mlx-tee`` as an installed program: its output, how it runs commands, what it refuses."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from tests.e2e.processes import BIN, Machine
from tests.e2e.tee_machine import machine_with_starter, records, sh
from tests.parrot import ANSWERS
from tests.parrot.answers import CAPITAL, GREETING

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return machine_with_starter(tmp_path_factory.mktemp("starter"))


# --- output


def test_two_models_answer_one_question_each_under_its_header(starter: Machine) -> None:
    outcome = starter.shell(f"echo '{CAPITAL}' | mlx-tee 'mlxk run starter -' 'mlx-run starter {GREETING}' 'wc -w'")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        f"==> mlxk run starter - <==\n{ANSWERS[CAPITAL]}\n\n"
        f"==> mlx-run starter {GREETING} <==\n{ANSWERS[GREETING]}\n\n"
        f"==> wc -w <==\n{len(CAPITAL.split())}\n"
    )


def test_a_missing_model_is_an_error_under_its_header_and_the_others_answer(starter: Machine) -> None:
    outcome = starter.shell(f"echo '{CAPITAL}' | mlx-tee 'mlxk run nothere -' 'mlxk run starter -'")
    assert outcome.code == 1
    assert outcome.out == f"==> mlxk run nothere - <==\n\n==> mlxk run starter - <==\n{ANSWERS[CAPITAL]}\n"
    assert outcome.err == (
        "==> mlxk run nothere - <==\n"
        "error: No model found matching 'nothere'\n"
        "hint: Download it with: mlxk pull mlx-community/nothere\n"
        "hint: A small model that needs no Hub: mlxk pull starter\n"
    )


def test_stdout_and_stderr_to_one_file_get_one_header(starter: Machine) -> None:
    outcome = starter.shell(f"mlx-tee {sh('echo a; echo b >&2; echo c')} 'echo d' 2>&1 </dev/null")
    title = "sh -c 'echo a; echo b >&2; echo c'"
    assert sorted(outcome.out.partition("\n\n")[0].splitlines()) == sorted([f"==> {title} <==", "a", "b", "c"])
    assert outcome.out.endswith("\n\n==> echo d <==\nd\n")


def test_a_silent_failure_is_reported(starter: Machine) -> None:
    outcome = starter.shell(f"mlx-tee false {sh('kill -9 $$')} {sh('echo no >&2; exit 5')} </dev/null")
    assert outcome.code == 137
    assert outcome.err == (
        "mlx-tee: exit status 1: false\n"
        "mlx-tee: killed by SIGKILL: sh -c 'kill -9 $$'\n"
        "\n==> sh -c 'echo no >&2; exit 5' <==\nno\n"
    )


def test_a_header_starts_a_new_line_after_output_without_a_line_feed(starter: Machine) -> None:
    outcome = starter.shell("printf 'no end' | mlx-tee cat cat true cat")
    assert outcome.out == "==> cat <==\nno end\n\n==> cat <==\nno end\n\n==> true <==\n\n==> cat <==\nno end"


def test_answers_are_printed_whole_in_the_order_of_the_commands(starter: Machine) -> None:
    slow = "read x <go; for i in 1 2 3; do echo slow; done"
    quick = "for i in 1 2 3; do echo quick; done; echo >go"
    outcome = starter.shell(f"mkfifo go; mlx-tee --no-headers {sh(slow)} {sh(quick)} </dev/null; rm go")
    assert outcome.out.split() == ["slow"] * 3 + ["quick"] * 3


def test_the_output_of_the_first_command_is_printed_at_once(starter: Machine) -> None:
    with subprocess.Popen(
        [BIN / "mlx-tee", "cat", "wc -c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=starter.environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"==> cat <==\n"
        for line in (b"one\n", b"two\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        process.stdin.close()
        assert process.stdout.read().split() == b"==> wc -c <== 8".split()


def test_without_headers_only_the_answers_are_printed(starter: Machine) -> None:
    data = os.urandom(100_000)
    (starter.root / "data").write_bytes(data)
    starter.shell("mlx-tee --no-headers cat 'head -c 7' cat <data >copies")
    assert (starter.root / "copies").read_bytes() == data + data[:7] + data


def test_every_byte_is_copied_under_a_header(starter: Machine) -> None:
    data = b"\xff\x00\x1b[31m\r\n\xe2\x82" * 1000 + b"\n"
    (starter.root / "data").write_bytes(data)
    starter.shell(f"mlx-tee cat {sh('cat >&2')} <data >out 2>err")
    title = b"sh -c 'cat >&2'"
    assert (starter.root / "out").read_bytes() == b"==> cat <==\n" + data + b"\n==> " + title + b" <==\n"
    assert (starter.root / "err").read_bytes() == b"==> " + title + b" <==\n" + data


def test_json_lines_contain_output_error_exit_code_and_model(starter: Machine) -> None:
    script = f"echo '{CAPITAL}' | mlx-tee --jsonl 'mlxk run --seed 1 starter -' {sh('cat >&2; exit 4')} nosuch"
    outcome = starter.shell(script)
    assert (outcome.code, outcome.err) == (127, "")
    answers = records(outcome)
    assert all(isinstance(answer.pop("seconds"), float) for answer in answers)
    assert answers == [
        {
            "command": "mlxk run --seed 1 starter -",
            "model": "starter",
            "host": None,
            "output": f"{ANSWERS[CAPITAL]}\n",
            "error": "",
            "exit_code": 0,
        },
        {
            "command": "sh -c 'cat >&2; exit 4'",
            "model": None,
            "host": None,
            "output": "",
            "error": f"{CAPITAL}\n",
            "exit_code": 4,
        },
        {
            "command": "nosuch",
            "model": None,
            "host": None,
            "output": "",
            "error": "nosuch: command not found\n",
            "exit_code": 127,
        },
    ]


def test_json_lines_are_ascii_for_any_output(starter: Machine) -> None:
    outcome = starter.shell("printf 'gr\\303\\274n \\377\\033[31m\\n\\342\\202' | mlx-tee --json cat $'echo \\377'")
    assert outcome.out.isascii()
    assert [answer["output"] for answer in records(outcome)] == ["grün \\xff\x1b[31m\n\\xe2\\x82", "\\xff\n"]
    assert records(outcome)[1]["command"] == "echo \udcff"


# --- how commands are run


def test_parallel_commands_can_wait_for_each_other(starter: Machine) -> None:
    pair = f"{sh('echo one >ping; cat pong')} {sh('cat ping; echo two >pong')}"
    outcome = starter.shell(f"mkfifo ping pong; mlx-tee --no-headers {pair} </dev/null; rm ping pong")
    assert outcome.out == "two\none\n"


def test_sequential_commands_do_not_overlap(starter: Machine) -> None:
    first, second = "echo $$ >pid; cat", "kill -0 $(cat pid) 2>/dev/null && echo there || echo gone; cat"
    outcome = starter.shell(f"echo x | mlx-tee --sequential --no-headers {sh(first)} {sh(second)}")
    assert outcome.out == "x\ngone\nx\n"


@pytest.mark.parametrize("mode", ["--parallel", "--sequential"])
def test_ten_megabytes_reach_every_command(starter: Machine, mode: str) -> None:
    data = os.urandom(1 << 20) * 10
    (starter.root / "data").write_bytes(data)
    digest = f"{hashlib.sha256(data).hexdigest()}  -\n"
    idle = sh("exec <&-; exec sleep 0.2")
    script = f"cat data | mlx-tee {mode} --no-headers sha256sum 'head -c 0' true sha256sum {idle}"
    outcome = starter.shell(script)
    assert (outcome.code, outcome.out, outcome.err) == (0, digest * 2, "")


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        ("true true", 0),
        (f"true {sh('exit 3')} {sh('exit 2')}", 3),
        ("nosuch true", 127),
        ("./text true", 126),
        (f"nosuch {sh('kill -TERM $$')}", 143),
        (f"{sh('kill -KILL $$')} {sh('exit 200')}", 200),
    ],
)
@pytest.mark.parametrize("mode", ["", "--sequential", "--jsonl"])
def test_the_exit_code_is_the_highest_of_the_commands(starter: Machine, commands: str, code: int, mode: str) -> None:
    (starter.root / "text").write_text("no program")
    assert starter.shell(f"mlx-tee {mode} {commands} </dev/null").code == code


@pytest.mark.parametrize("mode", ["--parallel", "--sequential"])
def test_an_endless_stdin_is_not_buffered_for_a_command_that_does_not_read(starter: Machine, mode: str) -> None:
    outcome = starter.shell(f"ulimit -v 250000; mlx-tee {mode} 'sleep 1' 'head -c 3' </dev/zero")
    assert (outcome.code, outcome.err) == (0, "")


def test_a_closed_stdin_counts_as_empty(starter: Machine) -> None:
    outcome = starter.shell("mlx-tee --no-headers 'wc -c' cat <&-")
    assert (outcome.code, outcome.out.strip(), outcome.err) == (0, "0", "")


def test_an_unreadable_stdin_is_reported(starter: Machine) -> None:
    outcome = starter.shell("mlx-tee --no-headers cat cat 0>file")
    assert (outcome.code, outcome.out, outcome.err) == (3, "", "error: stdin cannot be read: Bad file descriptor\n")
    message = starter.shell("mlx-tee --jsonl cat cat 0>file")
    assert (message.code, records(message)[-1]["status"], records(message)[-1]["command"]) == (3, "error", "tee")


def test_mlxk_tee_is_mlx_tee(starter: Machine) -> None:
    assert starter.run("true", program="mlxk-tee").out == starter.run("true", program="mlx-tee").out == "==> true <==\n"


# --- wrong command lines


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "No command was given"),
        ("mlxk run starter -", "'-' is not a command"),
        ("'cat > file'", "its > would have no effect"),
        ('"echo \'x"', "ends inside a quotation"),
        ("--sequential --parallel true", "not allowed with argument"),
        ("--no-such-option true", "unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_runs(starter: Machine, words: str, message: str) -> None:
    outcome = starter.shell(f"mlx-tee {words} 'touch ran'") if words else starter.shell("mlx-tee")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: ")
    assert message in outcome.err.splitlines()[0]
    assert outcome.err.splitlines()[-1].startswith("hint: ") or "quotation" in message
    (line,) = records(starter.shell(f"mlx-tee --jsonl {words}"))
    assert (line["status"], line["command"], line["data"]) == ("error", "tee", None)
    assert not (starter.root / "ran").exists()


def test_help_and_version_import_no_heavy_package(starter: Machine) -> None:
    assert starter.run("--version", program="mlx-tee").out.startswith("mlx-tee ")
    shown = starter.run("--help", program="mlx-tee")
    assert (shown.code, shown.err) == (0, "")
    assert "No shell runs it" in shown.out
    for words in (["--version"], ["--help"], ["--dry-run", "mlxk run starter -", "mlxk run starter -"]):
        report = subprocess.run(
            [sys.executable, "-X", "importtime", BIN / "mlx-tee", *words],
            env=starter.environment(),
            capture_output=True,
            check=True,
            text=True,
        ).stderr
        modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in report.splitlines()}
        assert modules & {"mlx", "mlx_lm", "numpy", "transformers", "huggingface_hub", "prompt_toolkit"} == set()
        assert ("attrs" in modules) == (words[0] == "--dry-run")
