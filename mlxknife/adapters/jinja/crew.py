"""The renderers that are there: one for each template of late, and maybe a spare one that waits for its first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlxknife.adapters.jinja.renderer import Renderer
from mlxknife.domain.errors import ServerBusy, TemplateError
from mlxknife.domain.hints import HintCode

_JOBS = 1000
"""After how many a renderer is replaced, so that what it may gather in its memory goes with it."""


class Crew:
    """Lends renderers, one thread at a time each. At most ``most`` processes are there at once."""

    def __init__(self, seconds: float, most: int) -> None:
        """Take how long a job may last, and how long one may wait for its turn."""
        self._seconds = seconds
        self._most = most
        self._changed = threading.Condition()
        self._idle: OrderedDict[str, Renderer] = OrderedDict()
        self._busy: dict[str, Renderer] = {}
        self._spare: Renderer | None = None
        self._is_closed = False

    def prepare(self) -> None:
        """Start a spare renderer if there is none and there is room. Raises nothing."""
        with self._changed, suppress(OSError):
            if not self._is_closed and self._spare is None and len(self._idle) + len(self._busy) < self._most:
                self._spare = Renderer(self._seconds)

    @contextmanager
    def lent(self, template: str) -> Iterator[Renderer]:
        """Lend the renderer of a template; what raises within costs the renderer.

        Raises ServerBusy where none is to be had, TemplateError where none will be any more.
        """
        renderer = self._taken(template)
        try:
            yield renderer
        except BaseException:
            self._give_back(template, renderer, is_sound=False)
            raise
        self._give_back(template, renderer, is_sound=True)

    def close(self) -> None:
        """End all renderers; those at work fail. Nothing is lent any more."""
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

    def _taken(self, template: str) -> Renderer:
        """Return the renderer that is bound to a template, else the spare one, else a new one, once there is room."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_closed or self._is_free(template), self._seconds):
                msg = f"The chat template of the model was not free for {self._seconds:g} seconds"
                raise ServerBusy(msg, retry_after=self._seconds, hint=HintCode.TRY_AGAIN)
            if self._is_closed:
                msg = "The renderers of templates are closed"
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
        return template not in self._busy and self._has_room(template)

    def _has_room(self, template: str) -> bool:
        """Tell whether no process more is needed, or one may be had; whoever was idle longest makes room."""
        if template in self._idle or self._spare is not None or len(self._idle) + len(self._busy) < self._most:
            return True
        if self._idle:
            self._idle.popitem(last=False)[1].close()
            return True
        return False

    def _started(self) -> Renderer:
        try:
            return Renderer(self._seconds)
        except OSError as exc:
            msg = f"No process can be started for the chat template: {exc.strerror or exc}"
            raise ServerBusy(msg, retry_after=self._seconds) from exc

    def _give_back(self, template: str, renderer: Renderer, *, is_sound: bool) -> None:
        with self._changed:
            del self._busy[template]
            stays = is_sound and not self._is_closed and renderer.jobs < _JOBS
            if stays:
                self._idle[template] = renderer
            self._changed.notify_all()
        if not stays:
            renderer.close()
            if is_sound:
                self.prepare()
