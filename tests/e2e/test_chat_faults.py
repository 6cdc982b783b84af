"""A conversation that no terminal holds, with what is no text, no file or no end in it."""

from __future__ import annotations

import pytest

from tests.e2e.processes import Machine
from tests.e2e.test_run import SUM, Bird
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Bird:
    return Bird(Machine(tmp_path_factory.mktemp("bird")), parrot_folder())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("< <(printf 'a\\0b\\nHello\\n')", "a line of stdin is binary, not text"),
        ("< <(printf 'caf\\xe9\\n/save s\\n')", "a line of stdin is not UTF-8 text"),
        ("< <(head -c 100000001 /dev/zero | tr '\\0' a)", "a line of stdin is longer than 100MB"),
        ("<$(command -v bash)", "a line of stdin is binary, not text"),
        ("<&-", "stdin is closed"),
    ],
)
def test_what_is_no_text_ends_the_conversation(bird: Bird, source: str, message: str) -> None:
    before = set(bird.machine.root.iterdir())
    outcome = bird.shell(f"mlxk run $BIRD {source}")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[0] == f"error: {message}"
    assert set(bird.machine.root.iterdir()) - before <= {bird.machine.root / "user"}


def test_what_was_text_before_is_answered(bird: Bird) -> None:
    outcome = bird.shell(f"printf '\\xef\\xbb\\xbf{CAPITAL}\\r\\n\\xff\\n{CAPITAL}\\n' | mlxk run $BIRD")
    assert (outcome.code, outcome.out) == (1, f"{ANSWERS[CAPITAL]}\n")
    assert outcome.err.splitlines()[0] == "error: a line of stdin is not UTF-8 text"


@pytest.mark.parametrize("end", ["", "\\n", '"""', '"""\\n'])
def test_the_end_of_all_ends_a_question_of_several_lines(bird: Bird, end: str) -> None:
    outcome = bird.shell(f'printf \'"""What is\\n17 + 25?{end}\' | mlxk run $BIRD')
    assert (outcome.code, outcome.out, outcome.err) == (0, f"{SUM}\n", "")


def test_a_question_that_was_only_begun_asks_nothing(bird: Bird) -> None:
    outcome = bird.shell('printf \'"""\' | mlxk run $BIRD')
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_what_cannot_be_saved_leaves_nothing_behind(bird: Bird) -> None:
    (bird.machine.root / "folder").mkdir()
    outcome = bird.shell("printf '%s\\n' '/save folder' '/save none/kept' '/save folder/kept' | mlxk run $BIRD")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.splitlines() == [
        "error: folder is a folder",
        "hint: Name a file in a folder that exists",
        "error: No such file or directory: none/kept",
        "saved in folder/kept",
    ]
    assert not list(bird.machine.root.glob("*.new"))
    assert [path.name for path in (bird.machine.root / "folder").iterdir()] == ["kept"]


def test_the_help_fits_a_narrow_terminal_and_a_setting_has_a_name(bird: Bird) -> None:
    outcome = bird.shell("printf '%s\\n' /help '/set x 1' | mlxk run $BIRD", COLUMNS="60")
    *helped, message, _ = outcome.err.splitlines()
    assert max(map(len, helped)) <= 60
    assert "/set [NAME [VALUE]]  show the settings, or set one, or" in helped
    assert message == "error: There is no setting 'x'"
