"""A machine with files outside of its cache, and checks that commands change nothing they should not."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import attrs
import pytest
from huggingface_hub import constants

import mlxknife
from mlxknife import App, Integrity
from mlxknife.adapters.hub.hub import HuggingFaceHub
from mlxknife.adapters.hub.retry import RetryPolicy
from mlxknife.cli.main import run_command_line
from tests.builder import chat_files, write_workspace
from tests.e2e.processes import Machine, Outcome
from tests.fake_hub import READER, FakeHub
from tests.fake_hub.contents import Bytes, Content
from tests.fake_hub.messages import Reply, Request
from tests.fakes.wiring import with_services

GOOD = "good/model"
NAME = "org/model"
DEFECT = "This is a defect"
"""The hint of every InternalError."""
ALLOWED = "\n\u00ad\u200c\u200d"
"""Line feeds, and the format characters that control nothing: the soft hyphen and the joiners of many scripts."""

Tree = dict[str, tuple[str, int, int, str]]


def tree(folder: Path, *, without: tuple[Path, ...] = ()) -> Tree:
    """Return every path below a folder with its kind, mode, modification time and content."""
    found: Tree = {".": _described(folder)}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(place, name) not in without]
        for name in (*folders, *files):
            path = Path(place, name)
            found[str(path.relative_to(folder))] = _described(path)
    return found


def _described(path: Path) -> tuple[str, int, int, str]:
    status = path.lstat()
    content = ""
    if stat.S_ISLNK(status.st_mode):
        content = str(path.readlink())
    elif stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return stat.filemode(status.st_mode), stat.S_IMODE(status.st_mode), status.st_mtime_ns, content


@attrs.frozen
class Answer:
    """A fault that replaces every right reply of the Hub by a given one."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    content: Content = attrs.field(factory=lambda: Bytes(b""))

    def apply(self, _request: Request, reply: Reply) -> Reply | None:
        return None if reply.replaced else Reply(self.status, self.headers, self.content, replaced=True)

    def at(self, place: Path) -> Answer:
        """Fill a path into the headers that have a ``{}``."""
        return attrs.evolve(self, headers={name: text.format(place) for name, text in self.headers.items()})


@attrs.frozen
class Sandbox:
    """A machine with a good model in its cache, and with files outside of the cache."""

    machine: Machine
    hub: FakeHub

    @classmethod
    def built(cls, root: Path, hub: FakeHub) -> Sandbox:
        """Put a model into the cache, and files into the home directory and other folders."""
        made = cls(Machine(root), hub)
        made.machine.cache.model(GOOD, chat_files(card=True))
        for folder in (made.outside, made.user, made.here):
            write_workspace(folder, chat_files(secret=folder.name) | {"inner/notes.txt": b"notes"})
        made.machine.home.mkdir()
        (root / "config").mkdir()
        return made

    @property
    def outside(self) -> Path:
        return self.machine.root / "outside"

    @property
    def user(self) -> Path:
        return self.machine.root / "user"

    @property
    def here(self) -> Path:
        """Return a working folder, so deep that a few ``..`` do not leave the sandbox."""
        return self.machine.root / "here/1/2/3/4/5/6/7/8"

    @property
    def repo(self) -> Path:
        return self.machine.hub / f"models--{NAME.replace('/', '--')}"

    def app(self, *, reads_config: bool = True) -> App:
        """Open the application with short timeouts for the Hub."""
        hub = HuggingFaceHub(self.hub.endpoint, READER, retry=RetryPolicy(2, 0.001, 0.01, 0.05))
        settings = {"XDG_CONFIG_HOME": str(self.machine.root / "config"), "MLXK_TEMP": os.environ["MLXK_TEMP"]}
        app = mlxknife.open_app(
            hub_cache=self.machine.hub,
            workspace_home=self.machine.home,
            environment=settings,
            reads_config=reads_config,
        )
        return with_services(app, puller=lambda: attrs.evolve(app.puller, hub=hub))

    def run(self, *words: str) -> Outcome:
        """Run a command line in this process."""
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = out, err = StringIO(), StringIO()
        try:
            code = run_command_line(list(words), self.app)
        finally:
            sys.stdout, sys.stderr = before
        return Outcome(code, out.getvalue(), err.getvalue())

    @contextmanager
    def unchanged(self, *touchable: Path) -> Iterator[None]:
        """Check that the block changes nothing except some folders of the cache."""
        without = (*touchable, self.machine.hub)
        outside, cached = tree(self.machine.root, without=without), self._cached(touchable)
        yield
        assert tree(self.machine.root, without=without) == outside
        assert self._cached(touchable) == cached

    def _cached(self, touchable: tuple[Path, ...]) -> Tree:
        """Describe the cache without the folders that may change."""
        found = tree(self.machine.hub, without=(*touchable, self.machine.hub / ".locks"))
        return {name: entry for name, entry in found.items() if name not in (".", "CACHEDIR.TAG")}

    def good_is_verified(self) -> bool:
        (verdict,) = self.app().health.check(GOOD, verify=True).entries
        return verdict.integrity is Integrity.VERIFIED


@contextmanager
def sandbox_at(root: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Make a sandbox for this process, and reset the Hub at the end."""
    made = Sandbox.built(root, hub)
    monkeypatch.setenv("HOME", str(made.user))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.chdir(made.here)
    yield made
    hub.heal()
    hub.reset()
    hub.repos.held.clear()
    subprocess.run(["rm", "-rf", str(made.machine.hub)], check=True)  # pytest cannot, where folders are too deep


def is_plain(text: str) -> bool:
    """Return whether a text has no control characters but the allowed ones."""
    controls = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return all(char in ALLOWED or unicodedata.category(char) not in controls for char in text)


def follows_contract(outcome: Outcome) -> bool:
    """Return whether the exit code and the output follow the contract: no defect, no control characters."""
    is_known = outcome.code in (0, 1, 2, 3) and DEFECT not in outcome.out + outcome.err
    return is_known and is_plain(outcome.out) and is_plain(outcome.err)
