"""The fake Hub itself: two listeners on loopback, one of them its CDN."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from tests.fake_hub.contents import Content
from tests.fake_hub.faults import Fault, Rule, Rules
from tests.fake_hub.listener import Listener, Service
from tests.fake_hub.log import Log, Seen
from tests.fake_hub.messages import Reply, Request, Site
from tests.fake_hub.repos import LFS_SUFFIXES, Gated, Repo, Repos
from tests.fake_hub.routes import Router


class FakeHub:
    """A Hub on loopback: ``with FakeHub() as hub``, then ``HF_ENDPOINT=hub.endpoint`` for a real client.

    Large files are redirected to another port, as the Hub redirects them to another host (``own_cdn=False``: to the
    same port). ``send_buffer`` limits what the operating system buffers, for tests that count bytes.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        page_size: int = 1000,
        own_cdn: bool = True,
        resolve_cache: bool = False,
        send_buffer: int | None = None,
    ) -> None:
        self.log = Log()
        self.rules = Rules()
        self.repos = Repos()
        self._closing = threading.Event()
        service = Service(self.answer, self.log, self._closing, send_buffer)
        self._listeners = [Listener(service, "hub", port)]
        if own_cdn:
            self._listeners.append(Listener(service, "cdn", 0))
        self.endpoint = self._listeners[0].url
        self.cdn_endpoint = self._listeners[-1].url
        self.router = Router(
            self.repos, self.endpoint, self.cdn_endpoint, page_size=page_size, resolve_cache=resolve_cache
        )

    def __enter__(self) -> Self:
        for listener in self._listeners:
            listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every connection and thread."""
        self._closing.set()
        for listener in self._listeners:
            listener.stop()

    # --- content

    def add(
        self,
        name: str,
        files: Mapping[str, bytes | Content],
        *,
        revision: str = "main",
        lfs: tuple[str, ...] = LFS_SUFFIXES,
        gated: Gated = False,
        private: bool = False,
    ) -> str:
        """Commit exactly these files to a branch of a repo, created where it is missing; return the hash."""
        repo = self.repos.make(name)
        repo.gated = gated or repo.gated
        repo.private = private or repo.private
        return repo.commit(files, revision, lfs)

    def repo(self, name: str) -> Repo:
        """Return a repo, to switch its flags or to read its commits."""
        return self.repos.held[name]

    def tag(self, name: str, tag: str, revision: str = "main") -> None:
        repo = self.repo(name)
        commit = repo.at(revision)
        if commit is None:
            raise KeyError(revision)
        repo.tags[tag] = commit.hash

    def rename(self, old: str, new: str) -> None:
        """Give a repo another name; the old one redirects."""
        self.repos.rename(old, new)

    def remove(self, name: str) -> None:
        del self.repos.held[name]

    # --- faults

    def fail(
        self,
        fault: Fault,
        path: str = "*",
        *,
        method: str | None = None,
        site: Site | None = None,
        times: int | None = None,
        skip: int = 0,
    ) -> Rule:
        """Add a fault for requests whose unquoted path matches the pattern (its ``*`` matches slashes)."""
        return self.rules.add(Rule(fault, path, method, site, times, skip))

    def heal(self, rule: Rule | None = None) -> None:
        """Remove a fault, or all."""
        self.rules.remove(rule)

    # --- the log

    def requests(self, method: str | None = None, path_part: str = "") -> list[Seen]:
        return self.log.requests(method, path_part)

    def bytes_sent(self, path_part: str = "") -> int:
        return sum(seen.bytes_sent for seen in self.requests(path_part=path_part))

    def reset(self) -> None:
        """Clear the log; faults and repos stay."""
        self.log.reset()

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for a condition on the log, such as ``lambda: hub.bytes_sent() > 1000``."""
        if not self.log.wait_until(condition, seconds):
            msg = f"not within {seconds} s"
            raise TimeoutError(msg)

    def answer(self, request: Request) -> Reply:
        """Return the reply to a request, faults included."""
        return self.rules.apply(request, self.router.answer(request))
