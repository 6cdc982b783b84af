"""The composition root: the one place that names adapters. Nothing is wired at import time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

from mlxknife.adapters.folder.hashing import ThreadedHasher
from mlxknife.adapters.folder.reader import FolderReader
from mlxknife.adapters.hfcache.disposal import CacheDisposal
from mlxknife.adapters.hfcache.proofs import CacheProofs
from mlxknife.adapters.hfcache.store import HfCache
from mlxknife.adapters.jinja.templates import JinjaTemplates
from mlxknife.adapters.packages.inventory import InstalledPackages
from mlxknife.adapters.process.workers import ForkedWorkers, SerialWorkers
from mlxknife.adapters.system.accelerator import has_gpu
from mlxknife.adapters.system.machine import Machine
from mlxknife.adapters.system.surroundings import check_timeouts, checked_endpoint, settle
from mlxknife.adapters.workspaces.folders import LocalWorkspaces
from mlxknife.adapters.workspaces.workshop import LocalWorkshop
from mlxknife.app import App
from mlxknife.domain.model.settings import Settings
from mlxknife.domain.services.finder import Finder
from mlxknife.domain.services.inspector import Inspector
from mlxknife.ports.engine import Engine
from mlxknife.ports.hub import Hub
from mlxknife.ports.importer import Importer
from mlxknife.ports.intake import Intake
from mlxknife.ports.programs import Programs
from mlxknife.ports.starters import StarterSource


def open_app(
    *,
    hub_cache: str | os.PathLike[str] | None = None,
    workspace_home: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    may_fork: bool = False,
) -> App:
    """Open the product: the services over the real cache, workspaces and machine.

    ``hub_cache`` is the folder that huggingface_hub calls its cache (``~/.cache/huggingface/hub``), ``workspace_home``
    the folder of your workspaces; without them the environment and the config file decide, as they do for ``mlxk``.

    ``may_fork`` lets long listings use every processor through forked copies of the process; say so only where no other
    thread runs.

    Raises ValidationError or StorageError for a config file that is wrong or cannot be read.
    """
    settings = settle(
        os.environ if environment is None else environment,
        hub_cache=os.fspath(hub_cache) if hub_cache is not None else None,
        workspace_home=os.fspath(workspace_home) if workspace_home is not None else None,
    )
    return App(
        settings=settings,
        finder=Finder(
            store=HfCache(settings.hub_cache),
            workspaces=LocalWorkspaces(settings.workspace_home),
        ),
        inspector=Inspector(reader=FolderReader()),
        inventory=InstalledPackages(),
        hasher=ThreadedHasher(),
        proofs=CacheProofs(settings.hub_cache),
        workers=ForkedWorkers() if may_fork else SerialWorkers(),
        disposal=CacheDisposal(settings.hub_cache),
        open_hub=partial(_open_hub, settings),
        open_intake=partial(_open_intake, settings),
        open_engine=_open_engine,
        templates=JinjaTemplates(),
        open_starters=partial(_open_starters, settings),
        open_importer=_open_importer,
        workshop=LocalWorkshop(settings.workspace_home),
        system=Machine(),
        open_programs=_open_programs,
        has_gpu=has_gpu,
    )


def _open_starters(settings: Settings) -> StarterSource:
    from mlxknife.adapters.starter.wheels import WheelStarters  # noqa: PLC0415 - only pull starter needs it

    return WheelStarters(settings.wheels, is_offline=settings.is_offline)


def _open_importer() -> Importer:
    from mlxknife.adapters.mlx.gguf.importer import GgufImporter  # noqa: PLC0415 - brings numpy

    return GgufImporter()


def _open_engine() -> Engine:
    from mlxknife.adapters.mlx.text import MlxEngine  # noqa: PLC0415 - only what runs a model needs MLX

    return MlxEngine()


def _open_programs() -> Programs:
    from mlxknife.adapters.process.programs import LocalPrograms  # noqa: PLC0415 - only mlx-tee runs any

    return LocalPrograms()


def _open_hub(settings: Settings) -> Hub:
    endpoint = checked_endpoint(settings.hub_endpoint)  # huggingface_hub cannot even be imported with a wrong one,
    check_timeouts(os.environ)  # nor with these
    from mlxknife.adapters.hub.hub import HuggingFaceHub  # noqa: PLC0415 - it takes a fifth of a second

    return HuggingFaceHub(endpoint, settings.hub_token, is_offline=settings.is_offline)


def _open_intake(settings: Settings) -> Intake:
    from mlxknife.adapters.hfcache.intake import CacheIntake  # noqa: PLC0415 - only a pull takes anything in

    return CacheIntake(settings.hub_cache)
