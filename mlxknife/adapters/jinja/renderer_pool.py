"""The renderer pool: one process for each recent template, and a spare one for the next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlxknife.adapters.jinja.renderer import Renderer
from mlxknife.domain.errors import ServerBusy, TemplateError
from mlxknife.domain.hints import HintCode

_JOBS = 1000
"""The jobs after which a renderer is replaced, so that its memory cannot grow without limit."""


class RendererPool:
    """Lends renderers, each to one thread at a time. At most ``max_processes`` exist at once."""

    def __init__(self, seconds: float, max_processes: int) -> None:
        """Take the limit of a job, which is also the limit of the wait for a renderer, in seconds."""
        self._seconds = seconds
        self._max_processes = max_processes
        self._changed = threading.Condition()
        self._idle: OrderedDict[str, Renderer] = OrderedDict()
        self._busy: dict[str, Renderer] = {}
        self._spare: Renderer | None = None
        self._is_closed = False

    def prepare(self) -> None:
        """Start a spare renderer if there is none and the limit allows it. Raises nothing."""
        with self._changed, suppress(OSError):
            if not self._is_closed and self._spare is None and len(self._idle) + len(self._busy) < self._max_processes:
                self._spare = Renderer(self._seconds)

    @contextmanager
    def borrowed(self, template: str) -> Iterator[Renderer]:
        """Lend the renderer of a template; an exception in the block ends the renderer.

        Raises ServerBusy if none is free in time, TemplateError if the pool is closed.
        """
        renderer = self._borrow(template)
        try:
            yield renderer
        except BaseException:
            self._return(template, renderer, is_usable=False)
            raise
        self._return(template, renderer, is_usable=True)

    def close(self) -> None:
        """End all renderers; running jobs fail."""
        with self._changed:
            self._is_closed = True
            ended = [*self._idle.values(), *([self._spare] if self._spare else [])]
            self._idle.clear()
            self._spare = None
            for renderer in self._busy.values():
                renderer.kill()
            self._changed.notify_all()
        for renderer in ended:
            renderer.close()

    def _borrow(self, template: str) -> Renderer:
        """Return the renderer bound to a template, else the spare one, else a new one, once the limit allows it."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_closed or self._is_free(template), self._seconds):
                msg = f"No renderer for the chat template was free for {self._seconds:g} seconds"
                raise ServerBusy(msg, retry_after=self._seconds, hint=HintCode.TRY_AGAIN)
            if self._is_closed:
                msg = "The template renderers are closed"
                raise TemplateError(msg)
            found = self._idle.pop(template, None)
            if found is None:
                found, self._spare = self._spare, None
            if found is not None and not found.is_alive:
                found.close()
                found = None
            self._busy[template] = found = found or self._started()
            return found

    def _is_free(self, template: str) -> bool:
        return template not in self._busy and self._is_available(template)

    def _is_available(self, template: str) -> bool:
        """Return whether a renderer can be had. The one that was idle longest is ended for it if necessary."""
        if template in self._idle or self._spare is not None or len(self._idle) + len(self._busy) < self._max_processes:
            return True
        if self._idle:
            self._idle.popitem(last=False)[1].close()
            return True
        return False

    def _started(self) -> Renderer:
        try:
            return Renderer(self._seconds)
        except OSError as exc:
            msg = f"No process could be started for the chat template: {exc.strerror or exc}"
            raise ServerBusy(msg, retry_after=self._seconds) from exc

    def _return(self, template: str, renderer: Renderer, *, is_usable: bool) -> None:
        with self._changed:
            del self._busy[template]
            stays = is_usable and not self._is_closed and renderer.jobs < _JOBS
            if stays:
                self._idle[template] = renderer
            self._changed.notify_all()
        if not stays:
            renderer.close()
            if is_usable:
                self.prepare()
