"""``mlx-tee`` as it is installed: what it prints, how its commands are run, what it refuses."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from tests.e2e.processes import BIN, Machine
from tests.e2e.teeing import desk_at, records, spoken
from tests.parrot import ANSWERS
from tests.parrot.answers import CAPITAL, GREETING

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return desk_at(tmp_path_factory.mktemp("desk"))


# --- what is printed


def test_two_models_answer_one_question_each_under_its_header(desk: Machine) -> None:
    outcome = desk.shell(f"echo '{CAPITAL}' | mlx-tee 'mlxk run starter -' 'mlx-run starter {GREETING}' 'wc -w'")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        f"==> mlxk run starter - <==\n{ANSWERS[CAPITAL]}\n\n"
        f"==> mlx-run starter {GREETING} <==\n{ANSWERS[GREETING]}\n\n"
        f"==> wc -w <==\n{len(CAPITAL.split())}\n"
    )


def test_a_model_that_is_not_there_says_so_under_its_name_and_the_others_answer(desk: Machine) -> None:
    outcome = desk.shell(f"echo '{CAPITAL}' | mlx-tee 'mlxk run nothere -' 'mlxk run starter -'")
    assert outcome.code == 1
    assert outcome.out == f"==> mlxk run nothere - <==\n\n==> mlxk run starter - <==\n{ANSWERS[CAPITAL]}\n"
    assert outcome.err == (
        "==> mlxk run nothere - <==\n"
        "error: No model found matching 'nothere'\nhint: List the models with: mlxk list --all\n"
    )


def test_where_both_streams_are_one_place_a_name_stands_there_once(desk: Machine) -> None:
    outcome = desk.shell(f"mlx-tee {spoken('echo a; echo b >&2; echo c')} 'echo d' 2>&1 </dev/null")
    title = "sh -c 'echo a; echo b >&2; echo c'"
    assert sorted(outcome.out.partition("\n\n")[0].splitlines()) == sorted([f"==> {title} <==", "a", "b", "c"])
    assert outcome.out.endswith("\n\n==> echo d <==\nd\n")


def test_a_failure_without_a_word_is_told(desk: Machine) -> None:
    outcome = desk.shell(f"mlx-tee false {spoken('kill -9 $$')} {spoken('echo no >&2; exit 5')} </dev/null")
    assert outcome.code == 137
    assert outcome.err == (
        "mlx-tee: exit status 1: false\n"
        "mlx-tee: killed by SIGKILL: sh -c 'kill -9 $$'\n"
        "\n==> sh -c 'echo no >&2; exit 5' <==\nno\n"
    )


def test_a_header_begins_a_line_whatever_was_written_before(desk: Machine) -> None:
    outcome = desk.shell("printf 'no end' | mlx-tee cat cat true cat")
    assert outcome.out == "==> cat <==\nno end\n\n==> cat <==\nno end\n\n==> true <==\n\n==> cat <==\nno end"


def test_answers_come_in_their_order_and_whole_whoever_is_first(desk: Machine) -> None:
    slow = "read x <go; for i in 1 2 3; do echo slow; done"
    quick = "for i in 1 2 3; do echo quick; done; echo >go"
    outcome = desk.shell(f"mkfifo go; mlx-tee --no-headers {spoken(slow)} {spoken(quick)} </dev/null; rm go")
    assert outcome.out.split() == ["slow"] * 3 + ["quick"] * 3


def test_what_the_first_says_is_seen_at_once(desk: Machine) -> None:
    with subprocess.Popen(
        [BIN / "mlx-tee", "cat", "wc -c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=desk.environment()
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


def test_without_headers_there_is_nothing_but_the_answers(desk: Machine) -> None:
    data = os.urandom(100_000)
    (desk.root / "data").write_bytes(data)
    desk.shell("mlx-tee --no-headers cat 'head -c 7' cat <data >copies")
    assert (desk.root / "copies").read_bytes() == data + data[:7] + data


def test_under_a_header_every_byte_is_passed_on(desk: Machine) -> None:
    data = b"\xff\x00\x1b[31m\r\n\xe2\x82" * 1000 + b"\n"
    (desk.root / "data").write_bytes(data)
    desk.shell(f"mlx-tee cat {spoken('cat >&2')} <data >out 2>err")
    title = b"sh -c 'cat >&2'"
    assert (desk.root / "out").read_bytes() == b"==> cat <==\n" + data + b"\n==> " + title + b" <==\n"
    assert (desk.root / "err").read_bytes() == b"==> " + title + b" <==\n" + data


def test_json_lines_tell_everything(desk: Machine) -> None:
    script = f"echo '{CAPITAL}' | mlx-tee --jsonl 'mlxk run --seed 1 starter -' {spoken('cat >&2; exit 4')} nosuch"
    outcome = desk.shell(script)
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


def test_json_lines_are_ascii_whatever_was_written(desk: Machine) -> None:
    outcome = desk.shell("printf 'gr\\303\\274n \\377\\033[31m\\n\\342\\202' | mlx-tee --json cat $'echo \\377'")
    assert outcome.out.isascii()
    assert [answer["output"] for answer in records(outcome)] == ["grün \\xff\x1b[31m\n\\xe2\\x82", "\\xff\n"]
    assert records(outcome)[1]["command"] == "echo \udcff"


# --- how they are run


def test_side_by_side_they_can_wait_for_each_other(desk: Machine) -> None:
    pair = f"{spoken('echo one >ping; cat pong')} {spoken('cat ping; echo two >pong')}"
    outcome = desk.shell(f"mkfifo ping pong; mlx-tee --no-headers {pair} </dev/null; rm ping pong")
    assert outcome.out == "two\none\n"


def test_one_after_the_other_the_first_is_gone_when_the_next_begins(desk: Machine) -> None:
    first, second = "echo $$ >pid; cat", "kill -0 $(cat pid) 2>/dev/null && echo there || echo gone; cat"
    outcome = desk.shell(f"echo x | mlx-tee --sequential --no-headers {spoken(first)} {spoken(second)}")
    assert outcome.out == "x\ngone\nx\n"


@pytest.mark.parametrize("mode", ["--parallel", "--sequential"])
def test_ten_megabytes_reach_everybody(desk: Machine, mode: str) -> None:
    data = os.urandom(1 << 20) * 10
    (desk.root / "data").write_bytes(data)
    digest = f"{hashlib.sha256(data).hexdigest()}  -\n"
    deaf = spoken("exec <&-; exec sleep 0.2")
    script = f"cat data | mlx-tee {mode} --no-headers sha256sum 'head -c 0' true sha256sum {deaf}"
    outcome = desk.shell(script)
    assert (outcome.code, outcome.out, outcome.err) == (0, digest * 2, "")


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        ("true true", 0),
        (f"true {spoken('exit 3')} {spoken('exit 2')}", 3),
        ("nosuch true", 127),
        ("./text true", 126),
        (f"nosuch {spoken('kill -TERM $$')}", 143),
        (f"{spoken('kill -KILL $$')} {spoken('exit 200')}", 200),
    ],
)
@pytest.mark.parametrize("mode", ["", "--sequential", "--jsonl"])
def test_it_ends_as_the_worst_of_them(desk: Machine, commands: str, code: int, mode: str) -> None:
    (desk.root / "text").write_text("no program")
    assert desk.shell(f"mlx-tee {mode} {commands} </dev/null").code == code


@pytest.mark.parametrize("mode", ["--parallel", "--sequential"])
def test_a_stdin_without_end_does_not_fill_the_memory_of_a_command_that_never_reads(desk: Machine, mode: str) -> None:
    outcome = desk.shell(f"ulimit -v 250000; mlx-tee {mode} 'sleep 1' 'head -c 3' </dev/zero")
    assert (outcome.code, outcome.err) == (0, "")


def test_a_closed_stdin_is_an_empty_one(desk: Machine) -> None:
    outcome = desk.shell("mlx-tee --no-headers 'wc -c' cat <&-")
    assert (outcome.code, outcome.out.strip(), outcome.err) == (0, "0", "")


def test_a_stdin_that_cannot_be_read_is_told(desk: Machine) -> None:
    outcome = desk.shell("mlx-tee --no-headers cat cat 0>file")
    assert (outcome.code, outcome.out, outcome.err) == (3, "", "error: stdin cannot be read: Bad file descriptor\n")
    told = desk.shell("mlx-tee --jsonl cat cat 0>file")
    assert (told.code, records(told)[-1]["status"], records(told)[-1]["command"]) == (3, "error", "tee")


def test_the_other_name_starts_the_same_program(desk: Machine) -> None:
    assert desk.run("true", program="mlxk-tee").out == desk.run("true", program="mlx-tee").out == "==> true <==\n"


# --- what is wrong


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "No command was given"),
        ("mlxk run starter -", "'-' is not a command"),
        ("'cat > file'", "its > would have no effect"),
        ('"echo \'x"', "ends inside a quotation"),
        ("--sequential --parallel true", "not allowed with argument"),
        ("--no-such-option true", "unrecognized arguments"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(desk: Machine, words: str, told: str) -> None:
    outcome = desk.shell(f"mlx-tee {words} 'touch ran'") if words else desk.shell("mlx-tee")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: ")
    assert told in outcome.err.splitlines()[0]
    assert outcome.err.splitlines()[-1].startswith("hint: ") or "quotation" in told
    (line,) = records(desk.shell(f"mlx-tee --jsonl {words}"))
    assert (line["status"], line["command"], line["data"]) == ("error", "tee", None)
    assert not (desk.root / "ran").exists()


def test_help_and_version_cost_nothing(desk: Machine) -> None:
    assert desk.run("--version", program="mlx-tee").out.startswith("mlx-tee ")
    shown = desk.run("--help", program="mlx-tee")
    assert (shown.code, shown.err) == (0, "")
    assert "No shell runs it" in shown.out
    for words in (["--version"], ["--help"], ["--dry-run", "mlxk run starter -", "mlxk run starter -"]):
        report = subprocess.run(
            [sys.executable, "-X", "importtime", BIN / "mlx-tee", *words],
            env=desk.environment(),
            capture_output=True,
            check=True,
            text=True,
        ).stderr
        modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in report.splitlines()}
        assert modules & {"mlx", "mlx_lm", "numpy", "transformers", "huggingface_hub", "prompt_toolkit"} == set()
        assert ("attrs" in modules) == (words[0] == "--dry-run")
