"""Serving: what a server needs to know of a model and of a request before its process is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache

import attrs

from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.catalog.services.runnable import Runnable, can_run, runnable
from mlxknife.domain.errors import AmbiguousMatch, KnifeError, ModelNotFound, StorageError, ValidationError
from mlxknife.domain.generation.rules import options as wishes
from mlxknife.domain.generation.rules import prompts, reasoning
from mlxknife.domain.generation.services.answer_stream import Narration
from mlxknife.domain.generation.values.generation import Message, Wish
from mlxknife.domain.generation.values.requests import ChatRequest, TextRequest, Wanted
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.hints import HintCode
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.names.rules import naming
from mlxknife.domain.serving.values.processes import HostedModel
from mlxknife.ports.engines.templates import Templates
from mlxknife.ports.engines.tokenizers import Tokenizer, Tokenizers
from mlxknife.ports.system.system import System

_SEEDS = 2**63
_MAX_TOKENIZERS = 8
_NEAR = 16
"""How many tokens of a text show how the next one is joined to it."""
_FRESH = 5.0
"""For how many seconds a look at the disk is good."""


@attrs.frozen
class Served:
    """A model that somebody wants to be answered by."""

    runnable: Runnable

    @property
    def info(self) -> ModelInfo:
        """What is known of it."""
        return self.runnable.info

    @property
    def key(self) -> str:
        """What tells it from every other model and revision."""
        return self.runnable.key

    @property
    def location(self) -> Location:
        """Where it is."""
        return self.runnable.location

    @cached_property
    def need(self) -> memory.MemoryNeed:
        """What it takes of the memory."""
        return memory.needed(self.runnable.facts)


@attrs.frozen
class Prepared:
    """A request as rows for a model: so many answers to each prompt, the answers to the first prompt first.

    A row's id is its place here; whoever sends it gives it another.
    """

    rows: tuple[Row, ...]
    narrations: tuple[Narration, ...]
    prompt_tokens: int
    """The tokens of all prompts, each counted once."""


@attrs.frozen
class _Own:
    """A model that the server was started with."""

    spec: str
    """Where it is looked for."""
    name: str
    """What it is called."""


@attrs.define
class Serving:
    """Blocks, but for ``known``: it reads files, renders templates and cuts texts."""

    catalog: Catalog
    """What clients may name: it knows no paths."""
    own_catalog: Catalog
    """What whoever starts the server may name."""
    templates: Templates
    tokenizers: Tokenizers
    system: System
    max_tokens: int | None = None
    """How long an answer may get where the client says nothing."""
    _listed: tuple[float, tuple[ModelInfo, ...]] | None = None
    _found: dict[str, tuple[float, Served]] = attrs.field(factory=dict)
    _own: dict[str, _Own] = attrs.field(factory=dict)
    """The models that the server was started with, by what they were called then, and by their names."""
    _tokenizer: Callable[[str], Tokenizer] = attrs.field(init=False)
    """Opens a tokenizer, which can take a second, or remembers one of the last."""

    @_tokenizer.default
    def _remembering(self) -> Callable[[str], Tokenizer]:
        return lru_cache(_MAX_TOKENIZERS)(self.tokenizers.open)

    def models(self) -> tuple[ModelInfo, ...]:
        """Return what can run; a look that is a few seconds old is good enough. Raises StorageError, AccessDenied."""
        now = self.system.ticks()
        if self._listed is None or now - self._listed[0] > _FRESH:
            own = (info for one in set(self._own.values()) if (info := self._info(one)) is not None)
            named = {info.name: info for info in (*self.catalog.list(), *own) if can_run(info)}
            self._listed = now, tuple(named[name] for name in sorted(named, key=lambda name: (name.casefold(), name)))
        return self._listed[1]

    def start_with(self, spec: str) -> Served:
        """Find a model for whoever starts the server, which clients may name from now on even if it is at a path.

        Raises what ``find`` raises.
        """
        found = runnable(self.own_catalog, spec)
        name = again = found.info.name
        asked = naming.parse_spec(spec)
        if asked.revision is not None:
            again = f"{name}@{asked.revision}"
        elif asked.is_path or naming.parse_spec(name).is_path:
            again = spec
        if naming.parse_spec(name).is_path:
            name = naming.quoted_name(naming.last_part(name))
        served = Served(attrs.evolve(found, info=attrs.evolve(found.info, name=name)))
        if name in self._own and self.find(name).key != served.key:
            msg = f"Two models would be called '{name}'"
            raise ValidationError(msg, hint=HintCode.RENAME_FOLDER)
        own = _Own(again, name)
        self._own |= {spec: own, name: own}
        self._found |= dict.fromkeys((spec, name), (self.system.ticks(), served))
        self._listed = None
        return served

    def known(self, spec: str) -> Served | None:
        """Return what ``find`` found a few seconds ago at most; this takes no time."""
        when, served = self._found.get(spec, (0.0, None))
        return served if served is not None and self.system.ticks() - when <= _FRESH else None

    def find(self, spec: str) -> Served:
        """Return the one model that a name means, as it was a few seconds ago at most.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable.
        """
        known = self.known(spec)
        if known is not None:
            return known
        now = self.system.ticks()
        known_ones = list(self._found.items())  # in one step: other threads add to it
        self._found = {name: value for name, value in known_ones if now - value[0] <= _FRESH}
        try:
            own = self._own.get(spec)
            served = Served(runnable(self.catalog, spec)) if own is None else self._look(own)
        except ValidationError as exc:
            exc.param = exc.param or "model"
            raise
        self._forget_before(served)
        self._found[spec] = now, served
        return served

    def _forget_before(self, served: Served) -> None:
        """Forget what was found in the same place before it changed, whatever it was called."""
        known_ones = list(self._found.items())
        self._found = {
            name: (seen, one)
            for name, (seen, one) in known_ones
            if one.location != served.location or one.key == served.key
        }

    def _look(self, own: _Own) -> Served:
        """Look at a model that the server was started with. Raises what ``find`` raises, without its path."""
        try:
            return Served(runnable(self.own_catalog, own.spec, own.name))
        except (ModelNotFound, AmbiguousMatch) as exc:
            msg = f"The model '{own.name}' is not there any more"
            raise ModelNotFound(msg) from exc
        except StorageError as exc:
            msg = f"The model '{own.name}' cannot be read"
            raise type(exc)(msg) from exc

    def _info(self, own: _Own) -> ModelInfo | None:
        """Return what is known of a model that the server was started with, or None where it cannot be run now."""
        try:
            return self._look(own).info
        except KnifeError:
            return None

    def prepare(self, served: Served, model: HostedModel, request: ChatRequest | TextRequest) -> Prepared:
        """Return what the process of a model is asked.

        Raises ValidationError, ContextLengthExceeded, TemplateError, ServerBusy, EngineError.
        """
        if isinstance(request, ChatRequest):
            return self._conversation(served, model, request)
        return self._texts(served, model, request)

    def _conversation(self, served: Served, model: HostedModel, request: ChatRequest) -> Prepared:
        prompts.check(request.messages)
        tokenizer = self._tokenizer(model.tokenizer)
        window = served.info.traits.context_length
        wishes.check_length(request.messages, tokenizer.vocabulary, window)
        template = model.chat_template
        if template is None:
            text, marks = prompts.plain(request.messages), None
        else:
            text = self.templates.render(template, request.messages, model.special_tokens)
            marks = reasoning.markers(tokenizer.vocabulary, template, text)
        tokens = tokenizer.tokens(text, is_rendered=template is not None)
        wanted = request.wanted
        rows = self._rows(served, model, tokens, wanted)
        narrations = [Narration(tokenizer, len(tokens), marks=marks, stops=wanted.stops) for _ in rows]
        return Prepared(tuple(rows), tuple(narrations), len(tokens))

    def _texts(self, served: Served, model: HostedModel, request: TextRequest) -> Prepared:
        wanted = request.wanted
        if request.echo and wanted.top_logprobs is not None:
            msg = "logprobs and echo do not go together: what a prompt's own tokens are worth is not computed"
            raise ValidationError(msg, param="logprobs")
        tokenizer = self._tokenizer(model.tokenizer)
        rows, narrations, count = list[Row](), list[Narration](), 0
        for prompt in request.prompts:
            tokens = self._cut(served, tokenizer, prompt) if isinstance(prompt, str) else prompt
            made = self._rows(served, model, tokens, wanted)
            echo = _echo(tokenizer, prompt) if request.echo else ""
            rows += made
            after = tokens[-_NEAR:]
            narrations += [Narration(tokenizer, len(tokens), stops=wanted.stops, echo=echo, after=after) for _ in made]
            count += len(tokens)
        return Prepared(tuple(rows), tuple(narrations), count)

    def _cut(self, served: Served, tokenizer: Tokenizer, prompt: str) -> tuple[int, ...]:
        wishes.check_length((Message("user", prompt),), tokenizer.vocabulary, served.info.traits.context_length)
        return tokenizer.tokens(prompt, is_rendered=False)

    def _rows(self, served: Served, model: HostedModel, tokens: tuple[int, ...], wanted: Wanted) -> list[Row]:
        wish = Wish(wanted.sampling, max_tokens=wanted.max_tokens or self.max_tokens, stops=wanted.stops)
        wishes.check(wish)
        window = served.info.traits.context_length
        settled = wishes.settled(wish, served.runnable.generation_config, tokens, window)
        seed = settled.sampling.seed
        rows = [
            Row(
                id=number,
                prompt=tokens,
                max_tokens=settled.max_tokens,
                sampling=attrs.evolve(settled.sampling, seed=None if seed is None else (seed + number) % _SEEDS),
                frequency_penalty=wanted.frequency_penalty,
                presence_penalty=wanted.presence_penalty,
                logit_bias=wanted.logit_bias,
                top_logprobs=wanted.top_logprobs,
            )
            for number in range(wanted.count)
        ]
        rows[0].check_vocabulary(model.vocabulary_size)
        return rows


def _echo(tokenizer: Tokenizer, prompt: str | Sequence[int]) -> str:
    if isinstance(prompt, str):
        return prompt
    joining = tokenizer.joining()
    return "".join([*(joining.feed(token) for token in prompt), joining.rest()])
