"""Prompts: a request becomes the text that the model reads, through its chat template where it has one."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mlxknife.domain.errors import ContextLengthExceeded, TemplateError, ValidationError
from mlxknife.domain.generation.rules import chat_history, context_window, conversations, options, prompts, reasoning
from mlxknife.domain.generation.rules.conversations import TemplateInput
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationRequest, Message
from mlxknife.domain.tools.rules import checks as tool_checks
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.ports.engines.templates import Templates
from mlxknife.ports.engines.text import TextModel


@attrs.frozen
class Prompt:
    """A prompt before tokenization."""

    text: str | tuple[int, ...]
    """The text, or its tokens where the client sent tokens."""
    has_special_tokens: bool = False
    """Whether the text is a rendered chat template."""
    markers: ReasoningMarkers | None = None
    mark: str = ""
    """The character that breaks the names of control tokens in the texts of messages, where there are any."""


class PromptRenderer:
    """Renders the prompts of one model. Any thread may use it."""

    def __init__(self, model: TextModel, templates: Templates, loaded: LoadRequest, family: ToolFamily) -> None:
        """Take a loaded model, what renders its chat template, what it was loaded with, and its tool family."""
        self._model = model
        self._templates = templates
        self._loaded = loaded
        self._tool_family = family

    def render(self, request: GenerationRequest) -> tuple[Prompt, ...]:
        """Return the prompts of a request as text.

        Raises ValidationError for invalid options or messages; ContextLengthExceeded, TemplateError, ServerBusy.
        """
        options.check(request.options, has_draft=self._loaded.draft is not None)
        tool_checks.check(request.tools, request.tool_choice)
        if request.tools and (request.prompts or not request.use_chat_template):
            msg = "tools need messages and the chat template of the model"
            raise ValidationError(msg, param="tools")
        if request.prompts:
            _check_echo(request)
            return tuple(Prompt(prompt) for prompt in request.prompts)
        prompts.check(request.messages)
        self.check_characters(prompts.message_texts(request.messages), "messages")
        if not request.use_chat_template:
            return (Prompt(conversations.plain(conversations.of(request.messages))),)
        template = self._model.chat_template
        forms = chat_history.forms(request.messages, request.shown_tools, self._tool_family, template or "")
        if template is None:
            conversation, mark = self._marked(forms[0], "")
            return (Prompt(conversations.plain(conversation), mark=mark),)
        text, mark = self._rendered(template, forms, request.messages)
        markers = reasoning.find_markers(self._model.tokenizer.vocabulary, template, text)
        return (Prompt(text, has_special_tokens=True, markers=markers, mark=mark),)

    def check_characters(self, texts: Sequence[str], field: str) -> None:
        """Raise ContextLengthExceeded, naming the field, for texts that are too long however they are tokenized."""
        try:
            context_window.check_characters(texts, self._model.tokenizer.vocabulary, self._loaded.context_length)
        except ContextLengthExceeded as exc:
            exc.param = field
            raise

    def _rendered(self, template: str, forms: Sequence[TemplateInput], messages: Sequence[Message]) -> tuple[str, str]:
        """Return the first form that the template takes as text, and the mark in it.

        Raises ValidationError for arguments that it does not take; TemplateError, ServerBusy.
        """
        failures = list[TemplateError]()
        for form in forms:
            conversation, mark = self._marked(form, template)
            tools = {"tools": conversation.tools} if conversation.tools else {}
            try:
                text = self._templates.render(template, conversation.messages, {**self._model.special_tokens, **tools})
            except TemplateError as exc:
                failures.append(exc)
            else:
                return (text.replace(conversations.escaped(mark), mark) if mark else text), mark
        chat_history.check_arguments(messages)
        failures[0].param = failures[0].param or "messages"
        raise failures[0]

    def _marked(self, conversation: TemplateInput, template: str) -> tuple[TemplateInput, str]:
        """Break the names of control tokens in a conversation, so that nothing in it can end or begin a turn.

        Returns the conversation and the mark that breaks them; most conversations have no such names, and need none.
        """
        mark = conversations.unused_mark(conversation, template)
        tokenizer = self._model.tokenizer
        marked = conversations.rewritten(
            conversation, lambda text, is_answer: tokenizer.mark_control_tokens(text, mark, is_answer=is_answer)
        )
        return (conversation, "") if marked == conversation else (marked, mark)


def _check_echo(request: GenerationRequest) -> None:
    if request.echo and request.options.top_logprobs is not None:
        msg = "logprobs and echo cannot be combined: the logprobs of a prompt are not computed"
        raise ValidationError(msg, param="logprobs")
