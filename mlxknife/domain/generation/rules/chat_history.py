"""Chat history: messages, calls and tools in the forms that the chat templates of tool families expect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import attrs

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import conversations
from mlxknife.domain.generation.rules.conversations import TemplateInput
from mlxknife.domain.generation.values.request import Message
from mlxknife.domain.tools.rules import generic_form
from mlxknife.domain.tools.rules.call_ids import CallIds
from mlxknife.domain.tools.rules.documents import json_object
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.values import Tool, ToolCall

_SYSTEM, _USER, _RESULT = "system", "user", "tool"
_CALLS = "tool_calls"
_ONE_CALL = (ToolFamily.LLAMA_JSON, ToolFamily.HARMONY)
"""Families whose templates render one call of a message, and reject or drop the others."""
_NO_CONTENT = re.compile(r"""assistant['"] and message(?:\.content|\[['"]content['"]\]) is none""")
"""By the lack of content, some templates know a message with calls."""
_NO_PARAMETERS = {"type": "object", "properties": {}}


def forms(
    messages: Sequence[Message], tools: Sequence[Tool], family: ToolFamily, template: str
) -> tuple[TemplateInput, ...]:
    """Return the forms of a conversation, the one to try first at the beginning.

    A template tells only by failing that it takes arguments as JSON texts, or no system message.
    """
    has_calls = any(message.tool_calls for message in messages)
    if family is ToolFamily.GENERIC and (tools or has_calls):
        return _generic(messages, tools)
    if not has_calls:
        return (_native(messages, tools, family, template, has_texts=False),)
    if family in _ONE_CALL:
        messages = tuple(_one_call_each(messages))
    return tuple(_native(messages, tools, family, template, has_texts=has_texts) for has_texts in (False, True))


def described(tools: Sequence[Tool]) -> tuple[Mapping[str, object], ...]:
    """Return tools in the form of OpenAI's API, which chat templates take."""
    return tuple(
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": json_object(tool.parameters) or _NO_PARAMETERS,
            },
        }
        for tool in tools
    )


def check_arguments(messages: Sequence[Message]) -> None:
    """Raise ValidationError, which names the field, for a call whose arguments are no JSON object."""
    for number, message in enumerate(messages):
        for place, call in enumerate(message.tool_calls):
            if call.arguments.strip() and json_object(call.arguments) is None:
                field = f"messages[{number}].tool_calls[{place}].function.arguments"
                msg = f"{field} is no JSON object, and the chat template of the model needs one"
                raise ValidationError(msg, param=field)


def _native(
    messages: Sequence[Message], tools: Sequence[Tool], family: ToolFamily, template: str, *, has_texts: bool
) -> TemplateInput:
    ids, names = CallIds(family), dict[str, str]()
    has_no_content = _NO_CONTENT.search(template) is not None
    turns = list[Mapping[str, object]]()
    for message in messages:
        shown = message if _CALLS in template else _with_calls_as_text(message, family)
        turn = conversations.turn(shown)
        names |= {call.id: call.name for call in message.tool_calls}
        if shown.tool_calls:
            turn["tool_calls"] = [_call(call, ids, has_text=has_texts) for call in shown.tool_calls]
            if has_no_content and not message.content:
                turn["content"] = None
        if message.tool_call_id is not None:
            turn["tool_call_id"] = ids.result(message.tool_call_id)
            if message.tool_call_id in names:
                turn.setdefault("name", names[message.tool_call_id])
        turns.append(turn)
    return TemplateInput(tuple(turns), described(tools))


def _call(call: ToolCall, ids: CallIds, *, has_text: bool) -> Mapping[str, object]:
    """Return a call of the history. Arguments that are no JSON object stay a text."""
    text = call.arguments if call.arguments.strip() else "{}"
    arguments = None if has_text else json_object(text)
    return {
        "id": ids.call(call.id, call.name),
        "type": "function",
        "function": {"name": call.name, "arguments": text if arguments is None else arguments},
    }


def _one_call_each(messages: Sequence[Message]) -> Iterator[Message]:
    """Yield messages with one call each, every call followed by its results."""
    waiting, results = list[Message](), list[Message]()
    for message in messages:
        if waiting and message.role == _RESULT:
            results.append(message)
            continue
        yield from _paired(waiting, results)
        waiting, results = [], []
        if len(message.tool_calls) > 1:
            waiting = [_with_call(message, number) for number in range(len(message.tool_calls))]
        else:
            yield message
    yield from _paired(waiting, results)


def _paired(calls: Sequence[Message], results: Sequence[Message]) -> Iterator[Message]:
    """Yield calls, each with its results; the results of other calls follow."""
    answers: dict[str | None, list[Message]] = {}
    for result in results:
        answers.setdefault(result.tool_call_id, []).append(result)
    for call in calls:
        yield call
        yield from answers.pop(call.tool_calls[0].id, ())
    for others in answers.values():
        yield from others


def _with_call(message: Message, number: int) -> Message:
    """Return a message with one of its calls; the first one keeps the texts."""
    calls = message.tool_calls[number : number + 1]
    return attrs.evolve(message, tool_calls=calls) if not number else Message(message.role, "", tool_calls=calls)


def _generic(messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[TemplateInput, ...]:
    """Return the conversation with calls and results as texts, and the tools in the system message.

    The second form has them in the first message of the user.
    """
    turns, follows_result = list[Message](), False
    for message in messages:
        turn, is_result = _as_text(message), message.role == _RESULT
        if turns and turn.role == turns[-1].role == _USER and (is_result or follows_result):
            turn = Message(_USER, f"{turns.pop().content}\n{turn.content}")  # templates demand that roles alternate
        turns.append(turn)
        follows_result = is_result
    if not tools:
        return (conversations.of(turns),)
    text = generic_form.instructions(described(tools))
    first, rest = turns[0], turns[1:]
    if first.role == _SYSTEM:
        return (conversations.of([Message(_SYSTEM, f"{first.content}\n\n{text}"), *rest]),)
    with_system = conversations.of([Message(_SYSTEM, text), *turns])
    if first.role != _USER:
        return (with_system,)
    return with_system, conversations.of([attrs.evolve(first, content=f"{text}\n\n{first.content}"), *rest])


def _as_text(message: Message) -> Message:
    """Return a message in which calls and results are text in the generic form."""
    if message.role == _RESULT:
        return Message(_USER, generic_form.result(message.content))
    return _with_calls_as_text(message, ToolFamily.GENERIC)


def _with_calls_as_text(message: Message, family: ToolFamily) -> Message:
    if not message.tool_calls:
        return message
    texts = (message.content, generic_form.calls(message.tool_calls, family))
    return attrs.evolve(message, content="\n".join(filter(None, texts)), tool_calls=())
