"""Repos with the shape of real ones: the type of each, whether it is intact, and whether it runs."""

from __future__ import annotations

import attrs
import pytest

from mlxknife.adapters.packages.inventory import InstalledPackages
from tests.adapters.repos.forms import GGUFS, ODD, TORCHES
from tests.adapters.repos.parts import Repo, site_packages
from tests.adapters.repos.senses import HEARING, SEEING
from tests.adapters.repos.text import EMBEDDING, WRITING
from tests.adapters.stage import Stage

REPOS = WRITING + EMBEDDING + SEEING + HEARING + GGUFS + TORCHES + ODD


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> InstalledPackages:
    return InstalledPackages(folders=(str(site_packages(tmp_path_factory.mktemp("site-packages"))),))


@pytest.mark.parametrize("repo", REPOS, ids=lambda repo: repo.name)
def test_the_verdict_on_a_repo(stage: Stage, packages: InstalledPackages, repo: Repo) -> None:
    stage.model(repo.files, name=repo.name)
    (info,) = attrs.evolve(stage.app().catalog, inventory=packages).list()
    verdict = Repo(
        name=info.name,
        files=repo.files,
        framework=info.traits.framework.value,
        model_type=info.traits.model_type.value,
        capabilities=" ".join(one.value for one in info.traits.capabilities),
        reason=repo.reason if repo.reason is not None and repo.reason in (info.reason or "") else info.reason,
        integrity=info.integrity.value,
    )
    assert verdict == repo
    assert info.runtime_compatible is (repo.reason is None)


def test_the_verdict_is_the_same_beside_other_repos(stage: Stage, packages: InstalledPackages) -> None:
    for repo in REPOS:
        stage.model(repo.files, name=repo.name)
    listed = {info.name: info for info in attrs.evolve(stage.app().catalog, inventory=packages).list()}
    assert listed.keys() == {repo.name for repo in REPOS}
    runs = {name for name, info in listed.items() if info.runtime_compatible}
    assert runs == {repo.name for repo in REPOS if repo.reason is None}
