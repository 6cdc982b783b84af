"""``run`` and the chat with a model that is not there: the question, the pull, and the error without a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import pytest

import mlxknife
from mlxknife.cli import pull_offer
from mlxknife.cli.commands import run
from mlxknife.cli.console import Console
from mlxknife.domain.errors import ModelNotFound
from tests.e2e.processes import Machine
from tests.e2e.typing_keys import CTRL_C, typed
from tests.fake_hub import FakeHub
from tests.fakes.clients import FakeClients, says
from tests.fakes.wiring import with_services
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL, GREETING

pytestmark = [pytest.mark.timeout(1200), pytest.mark.allow_hosts(["127.0.0.1"])]

_QUESTION = "bird is not here. Pull mlx-community/bird? [Y/n] "
_PULL_HINT = "Download it with: mlxk pull mlx-community/bird"
_NOT_FOUND = (
    f"error: No model found matching 'bird'\nhint: {_PULL_HINT}\n"
    "hint: A small model that needs no Hub: mlxk pull starter\n"
)


@attrs.frozen
class Place:
    """An empty machine, and a Hub that has the parrot as ``mlx-community/bird``."""

    machine: Machine
    hub: FakeHub

    def environment(self) -> dict[str, str]:
        return self.machine.environment(
            HF_ENDPOINT=self.hub.endpoint, HF_HUB_DISABLE_XET="1", NO_COLOR="1", OPENBLAS_NUM_THREADS="1"
        )

    def run(self, *words: str) -> Any:  # noqa: ANN401 - an Outcome
        return self.machine.run("run", *words, environment=self.environment())

    def typed(self, *words: str, keys: Sequence[tuple[str, str]] = ()) -> tuple[int, str]:
        """Run on a terminal, and press keys after each of several texts. Return the exit code and what was shown."""
        return typed(("run", *words), self.environment(), self.machine.root, keys)

    def contacts(self) -> int:
        return len(self.hub.requests())


@pytest.fixture
def place(machine: Machine) -> Iterator[Place]:
    folder = parrot_folder()
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with FakeHub() as hub:
        hub.add("mlx-community/bird", files)
        yield Place(machine, hub)


def test_on_a_terminal_a_yes_pulls_and_answers(place: Place) -> None:
    code, shown = place.typed("bird", CAPITAL, keys=[(_QUESTION, "\n")])
    assert code == 0, shown
    assert _QUESTION in shown
    assert "Pulling mlx-community/bird: " in shown
    assert "Successfully downloaded model mlx-community/bird (" in shown
    assert shown.endswith(f"{ANSWERS[CAPITAL]}\n")
    again = place.run("bird", CAPITAL)
    assert (again.code, again.out, again.err) == (0, f"{ANSWERS[CAPITAL]}\n", "")


@pytest.mark.parametrize("keys", ["n\n", "no\n", "\x04", "what\n"])
def test_without_a_yes_nothing_is_contacted(place: Place, keys: str) -> None:
    code, shown = place.typed("bird", CAPITAL, keys=[(_QUESTION, keys)])
    assert (code, place.contacts()) == (1, 0)
    assert _NOT_FOUND in shown


def test_ctrl_c_at_the_question_ends_the_command(place: Place) -> None:
    code, shown = place.typed("bird", CAPITAL, keys=[(_QUESTION, CTRL_C)])
    assert (code, place.contacts(), "Traceback" in shown) == (130, 0, False)


def test_without_a_terminal_the_error_names_the_command(place: Place) -> None:
    outcome = place.run("bird", CAPITAL)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == _NOT_FOUND
    error = place.run("bird", CAPITAL, "--json").error()
    assert (error["type"], error["hint"]) == ("model_not_found", _PULL_HINT)
    assert place.contacts() == 0


def test_pull_pulls_without_asking_and_no_pull_never_asks(place: Place) -> None:
    code, shown = place.typed("bird", CAPITAL, "--no-pull")
    assert (code, place.contacts(), "[Y/n]" in shown) == (1, 0, False)
    data = place.run("bird", CAPITAL, "--pull", "--json").data()
    assert (data["model"], data["response"]) == ("mlx-community/bird", ANSWERS[CAPITAL])


def test_a_name_that_the_hub_does_not_have_gets_candidates(place: Place) -> None:
    outcome = place.run("birds-4bit", CAPITAL, "--pull")
    assert outcome.code == 2
    assert outcome.err.splitlines()[:2] == [
        "error: mlx-community/birds-4bit: repository not found",
        "hint: Check the name; if it is private, set HF_TOKEN, or log in with: hf auth login",
    ]
    outcome = place.run("bird-4bit", CAPITAL, "--pull")
    assert outcome.err == (
        "error: mlx-community/bird-4bit: repository not found\n"
        "The Hub has similar models:\n"
        "  mlx-community/bird\n"
        "hint: Check the name; if it is private, set HF_TOKEN, or log in with: hf auth login\n"
        "hint: A small model that needs no Hub: mlxk pull starter\n"
    )
    pulled = place.machine.run("pull", "bird-4bit", "--json", environment=place.environment())
    assert pulled.document()["error"]["suggestions"] == ["mlx-community/bird", "starter"]  # type: ignore[index] # JSON


@pytest.mark.parametrize("name", ["./bird", "not/on/any/hub", "bird\x1b[2J", "twin"])
def test_what_is_no_name_of_the_hub_or_ambiguous_is_not_offered(place: Place, name: str) -> None:
    for owner in ("one", "two"):
        place.machine.cache.model(f"{owner}/twin")
    code, shown = place.typed(name, CAPITAL)
    assert (code, place.contacts()) == (1, 0)
    assert "[Y/n]" not in shown
    assert "error: " in shown


def test_a_similar_model_that_is_here_is_named_and_enter_pulls_nothing(place: Place) -> None:
    place.machine.workspace("birdie")
    question = "birdy is not here. Pull mlx-community/birdy? [y/N] "
    code, shown = place.typed("birdy", CAPITAL, keys=[(question, "\n")])
    assert (code, place.contacts()) == (1, 0)
    assert f"Similar models here: birdie\n{question}" in shown
    hint = "Did you mean birdie? Otherwise download it with: mlxk pull mlx-community/birdy"
    assert shown.endswith(f"hint: {hint}\n")


def test_the_chat_offers_the_pull_too(place: Place) -> None:
    keys = (
        (_QUESTION, "y\n"),
        ("leaves)", ""),
        (">>>", f"{GREETING}\r"),
        (ANSWERS[GREETING], ""),
        (">>>", "/model none\r"),
        ("Pull mlx-community/none? [Y/n] ", "n\n"),
        ("mlxk pull starter", ""),
        (">>>", "\x04"),
    )
    code, shown = place.typed("bird", keys=keys)
    assert code == 0, shown
    assert ANSWERS[GREETING] in shown
    assert "error: No model found matching 'none'\nhint: Download it with: mlxk pull mlx-community/none\n" in shown


# --- sizes


class AskedConsole(Console):
    """A console of a terminal whose user answers questions."""

    def __init__(self, *answers: str) -> None:
        super().__init__(as_json=False)
        self.answers = list(answers)
        self.questions: list[str] = []

    @property
    def can_prompt(self) -> bool:
        return True

    def confirm(self, lines: object, question: str, *, default: bool = False) -> bool:
        del lines, default
        self.questions.append(question)
        return self.answers.pop(0) == "yes"


def _run(place: Place, monkeypatch: pytest.MonkeyPatch, console: Console, *, pull: bool | None = None) -> FakeClients:
    """Run in this process; every model counts as large."""
    monkeypatch.setattr(pull_offer, "LARGE", 10)
    clients = FakeClients(says("Hello"))
    real = mlxknife.open_app(
        hub_cache=place.machine.hub,
        workspace_home=place.machine.home,
        environment={"HF_ENDPOINT": place.hub.endpoint, "HF_HUB_DISABLE_XET": "1"},
    )
    app = with_services(real, sessions=lambda: attrs.evolve(real.sessions, clients=clients))
    run.run(app, run.RunOptions("bird", ("Hi",), pull=pull), console)
    return clients


def test_a_large_model_is_asked_for_once_more_with_its_size(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    console = AskedConsole("yes", "no")
    with pytest.raises(ModelNotFound):
        _run(place, monkeypatch, console)
    first, second = console.questions
    assert first == "bird is not here. Pull mlx-community/bird?"
    assert second.startswith("mlx-community/bird has ")
    assert place.hub.requests("GET", "/resolve/") == []
    console = AskedConsole("yes", "yes")
    assert len(_run(place, monkeypatch, console).load_requests) == 1


def test_with_pull_a_large_model_is_pulled_without_a_question(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    console = AskedConsole()
    assert len(_run(place, monkeypatch, console, pull=True).load_requests) == 1
    assert console.questions == []


def test_the_starter_is_offered_with_its_size(place: Place) -> None:
    code, shown = place.typed("starter", CAPITAL, keys=[("[Y/n] ", "n\n")])
    assert (code, place.contacts()) == (1, 0)
    assert "starter is not here. Pull it (92.9MB from the package index)? [Y/n] " in shown
    assert shown.endswith("hint: Download it with: mlxk pull starter\n")
