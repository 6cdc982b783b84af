"""``run`` where its parts meet: a draft model, the file for the answer, a chat with options, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import attrs
import pytest

import mlxknife
from mlxknife.cli.commands import run
from mlxknife.cli.console import Console
from mlxknife.domain.errors import EngineError
from tests.builder import commit_of
from tests.e2e.breeding import endless_parrot, is_beginning
from tests.e2e.processes import BIN, Machine
from tests.e2e.processes import Outcome as Ending
from tests.e2e.test_run import STATISTICS, SUM, THOUGHT, Bird, rendered
from tests.fakes.clients import FakeClients, says
from tests.fakes.wiring import with_services
from tests.parrot import ANSWERS, parrot_4bit_folder, parrot_folder
from tests.parrot.answers import CAPITAL, ECHO, GREETING, LONG, REASONING

pytestmark = pytest.mark.timeout(1200)
_MUST_END = 60


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())


# --- a draft model


def test_a_draft_model_changes_no_letter(bird: Bird) -> None:
    for draft in (parrot_4bit_folder(), bird.folder):
        outcome = bird.run(LONG, "--draft-model", str(draft), "--verbose")
        assert (outcome.code, outcome.out) == (0, f"{ANSWERS[LONG]}\n")
        *notes, last = outcome.err.splitlines()
        assert notes[-1] == f"draft model: {draft}"
        assert STATISTICS.fullmatch(last)
    penalty = ("--repetition-penalty", "5", "--max-tokens", "40")
    assert bird.says(ECHO, *penalty, "--draft-model", str(bird.folder)) == bird.says(ECHO, *penalty)


def test_a_draft_model_is_for_the_model_that_it_was_named_for(bird: Bird) -> None:
    small = parrot_4bit_folder()
    lines = (CAPITAL, REASONING, f"/model {small}", CAPITAL)
    script = " ".join(f"'{line}'" for line in lines)
    talk = bird.shell(f"printf '%s\\n' {script} | mlxk run $BIRD --draft-model $BIRD --verbose")
    assert (talk.code, talk.out) == (0, f"{ANSWERS[CAPITAL]}\n{SUM}\n{ANSWERS[CAPITAL]}\n")
    assert talk.err.count("draft model: ") == 1
    assert f"now talking to {small}\n" in talk.err
    assert " cached)" in talk.err


def test_a_draft_model_that_is_not_there_is_named(bird: Bird) -> None:
    message = bird.run(CAPITAL, "--draft-model", "org/absent", "--json").error()
    assert (message["type"], "org/absent" in str(message["message"])) == ("model_not_found", True)


# --- the file for the answer


@pytest.mark.parametrize(
    ("place", "message"),
    [("missing/out.txt", "No such file or directory"), (".", "Is a directory")],
)
def test_a_file_that_cannot_be_is_told_before_any_work(bird: Bird, tmp_path: Path, place: str, message: str) -> None:
    outcome = attrs.evolve(bird, folder=tmp_path / "no model").run(CAPITAL, "--out", str(tmp_path / place))
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith(f"error: {tmp_path}")
    assert outcome.err.endswith(f": {message}\n")


def test_a_file_that_is_full_is_named(bird: Bird) -> None:
    outcome = bird.run(CAPITAL, "--out", "/dev/full", "--json")
    error = outcome.error()
    assert (outcome.code, error["type"]) == (3, "FilesystemError")
    assert error["message"] == "/dev/full: No space left on device"


def test_an_answer_that_is_nothing_makes_an_empty_file(bird: Bird, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    out.write_text("what was there before")
    assert bird.says(CAPITAL, "--stop", ANSWERS[CAPITAL][0], "--out", str(out)) == ""
    assert out.read_text() == ""


@pytest.mark.parametrize("no_stream", [False, True])
def test_what_was_said_before_a_failure_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, no_stream: bool
) -> None:
    out = tmp_path / "out.txt"
    clients = FakeClients(says("The bird ", "said", error=EngineError("out of memory")))
    real = mlxknife.open_app()
    app = with_services(real, sessions=lambda: attrs.evolve(real.sessions, clients=clients))
    options = run.RunOptions(str(parrot_folder()), ("Who?",), out=str(out), stream=not no_stream)
    with pytest.raises(EngineError, match="out of memory"):
        run.run(app, options, Console(as_json=False))
    assert (out.read_text(), capsys.readouterr().out) == ("The bird said", "The bird said\n")
    assert clients.client.is_closed


# --- what is asked


def test_a_system_text_that_says_nothing_is_none(bird: Bird) -> None:
    assert bird.data(CAPITAL, "--system", "")["usage"]["prompt_tokens"] == rendered(CAPITAL)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--stop", "END", "STOP", CAPITAL), 1, f"--stop took all of 'END', 'STOP', '{CAPITAL}'"),
        (("--in", "missing.txt", CAPITAL), 3, "missing.txt"),
    ],
)
def test_an_option_that_took_the_question_says_so(bird: Bird, words: tuple[str, ...], code: int, message: str) -> None:
    outcome = bird.run(*words)
    assert (outcome.code, outcome.out) == (code, "")
    first, hint = outcome.err.splitlines()
    assert message in first
    assert "Write the prompt before it, or after a --" in hint


def test_a_chat_may_begin_with_a_question(bird: Bird, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Eins")
    talk = bird.shell(f"echo '{GREETING}' | mlxk run $BIRD '{REASONING}' -c --no-stream --show-reasoning")
    assert (talk.code, talk.out, talk.err) == (0, f"{THOUGHT}\n\n{SUM}\n{ANSWERS[GREETING]}\n", "")
    talk = bird.shell(f"echo /show | mlxk run $BIRD -c '{CAPITAL}' --in {text}")
    assert f"[user] {text}:\n\nEins\n\n{CAPITAL}\n" in talk.err


def test_a_model_that_does_not_load_leaves_the_one_before(bird: Bird, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    bird.shell(
        f'cp -r $BIRD {broken}; sed -i \'s/"intermediate_size": 256/"intermediate_size": 128/\' {broken}/config.json'
    )
    talk = bird.shell(f"printf '%s\\n' '{CAPITAL}' '/model {broken}' '{GREETING}' | mlxk run $BIRD")
    assert (talk.code, talk.out) == (0, f"{ANSWERS[CAPITAL]}\n{ANSWERS[GREETING]}\n")
    first, second, _ = talk.err.splitlines()
    assert first == f"going back to {bird.folder}"
    assert second.startswith("error: The model could not be loaded: ")


# --- which revision


def test_a_revision_answers_with_its_own_model(bird: Bird, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    ask = (CAPITAL, "--max-tokens", "60")
    folders = {"v1": endless_parrot(tmp_path / "endless"), "main": bird.folder}
    commits = {}
    for ref, folder in folders.items():
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        built = machine.cache.model("flock/parrot", files, commit=commit_of(ref), ref=ref)
        commits[ref] = built.commit
    said = {ref: attrs.evolve(bird, folder=folder).data(*ask)["response"] for ref, folder in folders.items()}
    assert said["main"] == ANSWERS[CAPITAL]
    assert len(said["v1"]) > len(said["main"])
    specs = {f"@{ref}": ref for ref in folders} | {f"@{commit[:8]}": ref for ref, commit in commits.items()}
    for revision, ref in (specs | {"": "main"}).items():
        outcome = machine.run("run", f"flock/parrot{revision}", *ask, "--json", environment=_quiet(machine))
        assert (revision, outcome.data()["response"]) == (revision, said[ref])
    unknown = machine.run("run", "flock/parrot@v2", *ask, "--json", environment=_quiet(machine))
    error = unknown.error()
    assert (unknown.code, error["type"]) == (1, "model_not_found")
    assert set(commits.values()) == set(error["available_hashes"])  # type: ignore[call-overload] # a list of them


def _quiet(machine: Machine) -> dict[str, str]:
    return machine.environment(OPENBLAS_NUM_THREADS="1")


# --- Ctrl-C


def test_ctrl_c_ends_an_answer_silently(bird: Bird, tmp_path: Path) -> None:
    with subprocess.Popen(
        [str(BIN / "mlxk"), "run", str(endless_parrot(tmp_path / "endless")), LONG],
        env=bird.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        begun = process.stdout.read(1)
        os.kill(process.pid, signal.SIGINT)
        rest, message = process.communicate(timeout=_MUST_END)
    assert (begun, message, process.returncode) == (b"O", b"", 130)
    assert rest.endswith(b"\n")
    assert is_beginning((begun + rest).decode().removesuffix("\n"))


def test_ctrl_c_leaves_a_program_with_one_document_of_what_was_said(bird: Bird, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    with subprocess.Popen(
        [str(BIN / "mlxk"), "run", str(endless_parrot(tmp_path / "endless")), REASONING, "--json", "--out", str(out)],
        env=bird.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        while process.poll() is None and not (out.exists() and len(out.read_bytes()) > len(SUM)):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        document, message = process.communicate(timeout=_MUST_END)
    ending = Ending(process.returncode, document.decode(), message.decode()).document()
    assert (process.returncode, message) == (130, b"")
    data, error = ending["data"], ending["error"]
    assert isinstance(data, dict)
    assert (ending["status"], ending["command"], error) == (
        "error",
        "run",
        {"type": "interrupted", "message": "Interrupted by Ctrl-C"},
    )
    assert set(data) == {"model", "response", "reasoning", "finish_reason"}
    assert (data["model"], data["reasoning"], data["finish_reason"]) == (
        str(tmp_path / "endless"),
        THOUGHT,
        "cancelled",
    )
    assert data["response"].startswith(SUM)
    assert data["response"] == out.read_text()
