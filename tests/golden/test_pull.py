"""The examples of seed 2 for ``pull``, asked of a Hub on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.e2e.processes import Outcome
from tests.fake_hub import READER, FakeHub
from tests.golden.examples import differences, example, validator
from tests.golden.stage import Desk, phi3_files

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PHI = "mlx-community/Phi-3-mini-4k-instruct-4bit"
BARE = "Phi-3-mini-4k-instruct-4bit"
ADDITIVE = {"revision", "total_bytes", "bytes_to_fetch", "files"}


@attrs.frozen
class Counter:
    """A desk that a Hub brings models to."""

    desk: Desk
    hub: FakeHub

    def asked(self, *words: str, **variables: str) -> Outcome:
        """Return the answer of ``mlxk pull``, which the schema accepts, and which is all that it says."""
        environment = self.desk.environment() | {"HF_ENDPOINT": self.hub.endpoint} | variables
        outcome = self.desk.machine.run("pull", *words, "--json", environment=environment)
        assert [error.message for error in validator().iter_errors(outcome.document())] == []
        assert outcome.err == ""
        return outcome

    def ask(self, *words: str) -> dict[str, Any]:
        return self.asked(*words).document()


@pytest.fixture
def counter(desk: Desk) -> Iterator[Counter]:
    with FakeHub() as hub:
        hub.add(PHI, phi3_files())
        yield Counter(desk, hub)


def beyond(expected: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    """Return where an answer is not the example plus what is known to come beside it."""
    data = {key: value for key, value in answer["data"].items() if key not in ADDITIVE}
    return differences(expected, answer | {"data": data})


def test_the_download_of_a_short_name(counter: Counter) -> None:
    answer = counter.ask(BARE)
    assert beyond(example("pull"), answer) == []
    assert answer["data"].keys() - example("pull")["data"].keys() == ADDITIVE
    assert {file["name"]: file["action"] for file in answer["data"]["files"]} == dict.fromkeys(phi3_files(), "fetch")


def test_the_download_of_a_full_name_expands_nothing(counter: Counter) -> None:
    expected = example("pull")
    expected["data"]["expanded_name"] = None
    assert beyond(expected, counter.ask(PHI)) == []


def test_the_model_that_exists_already(counter: Counter) -> None:
    counter.ask(PHI)
    answer = counter.ask(PHI)
    assert beyond(example("pull-already-exists"), answer) == []
    assert (answer["data"]["bytes_to_fetch"], {file["action"] for file in answer["data"]["files"]}) == (0, {"keep"})


def test_a_corrupted_model_is_repaired_instead_of_refused(counter: Counter) -> None:
    assert example("pull-corruption")["data"]["download_status"] == "already_exists"
    commit = counter.hub.repo(PHI).branches["main"]
    counter.desk.cache.model(PHI, phi3_files(), commit=commit).blob("config.json").unlink()
    assert counter.ask(PHI)["data"]["download_status"] == "success"


def test_the_dry_run_fits_the_schema(counter: Counter) -> None:
    assert counter.ask(PHI, "--dry-run")["data"]["download_status"] == "would_download"


def test_the_download_that_fails(counter: Counter) -> None:
    expected = example("pull-failed")
    outcome = counter.asked("nonexistent/model")
    answer: dict[str, Any] = outcome.document()
    seed = expected["error"].pop("message")
    ours = answer["error"].pop("message")
    assert seed.lower().startswith("repository not found")
    assert ours == "nonexistent/model: repository not found"
    assert (outcome.code, differences(expected, answer)) == (2, [])


def test_the_name_that_is_too_long(counter: Counter) -> None:
    outcome = counter.asked("a" * 105)
    assert (outcome.code, differences(example("pull-validation"), outcome.document())) == (1, [])


def test_the_name_of_several_models(counter: Counter) -> None:
    expected = example("pull-ambiguous")
    names = ["one/Llama", "two/Llama"]
    for name in names:
        counter.desk.cache.model(name)
    expected["error"]["matches"] = names  # the seed's would be found by a part of the name, which pull does not do
    outcome = counter.asked("Llama")
    assert (outcome.code, differences(expected, outcome.document())) == (1, [])


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ({}, "access_denied"),
        ({"HF_TOKEN": "hf_expired"}, "auth_error"),
        ({"HF_TOKEN": READER, "HF_HUB_OFFLINE": "1"}, "NetworkError"),
    ],
    ids=str,
)
def test_every_failure_has_the_data_of_the_failed_download(
    counter: Counter, variables: dict[str, str], kind: str
) -> None:
    counter.hub.repo(PHI).gated = True
    answer: dict[str, Any] = counter.asked(PHI, **variables).document()
    assert answer["data"] == example("pull-failed")["data"] | {"model": PHI}
    assert answer["error"]["type"] == kind
