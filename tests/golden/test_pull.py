"""The examples of seed 2 for ``pull``, with a Hub on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.e2e.processes import Outcome
from tests.fake_hub import READER, FakeHub
from tests.golden.examples import differences, example, validator
from tests.golden.machine import GoldenMachine, phi3_files

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PHI = "mlx-community/Phi-3-mini-4k-instruct-4bit"
BARE = "Phi-3-mini-4k-instruct-4bit"
ADDITIVE = {"revision", "total_bytes", "bytes_to_fetch", "files"}


@attrs.frozen
class GoldenHub:
    """A golden machine with a Hub to pull from."""

    golden: GoldenMachine
    hub: FakeHub

    def asked(self, *words: str, **variables: str) -> Outcome:
        """Return the outcome of ``mlxk pull``, after validating its document; stderr is empty."""
        environment = self.golden.environment() | {"HF_ENDPOINT": self.hub.endpoint} | variables
        outcome = self.golden.machine.run("pull", *words, "--json", environment=environment)
        assert [error.message for error in validator().iter_errors(outcome.document())] == []
        assert outcome.err == ""
        return outcome

    def ask(self, *words: str) -> dict[str, Any]:
        return self.asked(*words).document()


@pytest.fixture
def golden_hub(golden: GoldenMachine) -> Iterator[GoldenHub]:
    with FakeHub() as hub:
        hub.add(PHI, phi3_files())
        yield GoldenHub(golden, hub)


def beyond(expected: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    """Return the places where a document is not the example plus the additive fields of ``pull``."""
    data = {key: value for key, value in answer["data"].items() if key not in ADDITIVE}
    return differences(expected, answer | {"data": data})


def test_the_download_of_a_short_name(golden_hub: GoldenHub) -> None:
    answer = golden_hub.ask(BARE)
    assert beyond(example("pull"), answer) == []
    assert answer["data"].keys() - example("pull")["data"].keys() == ADDITIVE
    assert {file["name"]: file["action"] for file in answer["data"]["files"]} == dict.fromkeys(phi3_files(), "fetch")


def test_the_download_of_a_full_name_expands_nothing(golden_hub: GoldenHub) -> None:
    expected = example("pull")
    expected["data"]["expanded_name"] = None
    assert beyond(expected, golden_hub.ask(PHI)) == []


def test_the_model_that_exists_already(golden_hub: GoldenHub) -> None:
    golden_hub.ask(PHI)
    answer = golden_hub.ask(PHI)
    assert beyond(example("pull-already-exists"), answer) == []
    assert (answer["data"]["bytes_to_fetch"], {file["action"] for file in answer["data"]["files"]}) == (0, {"keep"})


def test_a_corrupted_model_is_repaired_instead_of_refused(golden_hub: GoldenHub) -> None:
    assert example("pull-corruption")["data"]["download_status"] == "already_exists"
    commit = golden_hub.hub.repo(PHI).branches["main"]
    golden_hub.golden.cache.model(PHI, phi3_files(), commit=commit).blob("config.json").unlink()
    assert golden_hub.ask(PHI)["data"]["download_status"] == "success"


def test_the_dry_run_fits_the_schema(golden_hub: GoldenHub) -> None:
    assert golden_hub.ask(PHI, "--dry-run")["data"]["download_status"] == "would_download"


def test_the_download_that_fails(golden_hub: GoldenHub) -> None:
    expected = example("pull-failed")
    outcome = golden_hub.asked("nonexistent/model")
    answer: dict[str, Any] = outcome.document()
    seed = expected["error"].pop("message")
    ours = answer["error"].pop("message")
    assert seed.lower().startswith("repository not found")
    assert ours == "nonexistent/model: repository not found"
    assert (outcome.code, differences(expected, answer)) == (2, [])


def test_the_name_that_is_too_long(golden_hub: GoldenHub) -> None:
    outcome = golden_hub.asked("a" * 105)
    assert (outcome.code, differences(example("pull-validation"), outcome.document())) == (1, [])


def test_the_name_of_several_models(golden_hub: GoldenHub) -> None:
    expected = example("pull-ambiguous")
    names = ["one/Llama", "two/Llama"]
    for name in names:
        golden_hub.golden.cache.model(name)
    expected["error"]["matches"] = names  # the seed's would be found by a part of the name, which pull does not do
    outcome = golden_hub.asked("Llama")
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
    golden_hub: GoldenHub, variables: dict[str, str], kind: str
) -> None:
    golden_hub.hub.repo(PHI).gated = True
    answer: dict[str, Any] = golden_hub.asked(PHI, **variables).document()
    assert answer["data"] == example("pull-failed")["data"] | {"model": PHI}
    assert answer["error"]["type"] == kind
