"""The messages of the domain that the messages of a chat body mean."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from mlxknife.domain.generation.values.request import Message
from mlxknife.domain.tools.values import ToolCall
from mlxknife.http.apis.openai.bodies import UNSUPPORTED_IN_MESSAGES, ContentPart, MessageBody
from mlxknife.http.apis.openai.decoding import refuse_unsupported
from mlxknife.http.core.errors import BadRequest, UnsupportedInput

_MEDIA_PARTS = ("image_url", "input_image", "input_audio", "audio_url", "video_url", "file", "input_file")
_SHOWN = 80
"""The characters of an id that an error shows."""


def messages(bodies: Sequence[MessageBody]) -> tuple[Message, ...]:
    """Return the messages. Raises BadRequest or UnsupportedInput, naming the field.

    The deprecated role ``function`` has no ids: such a message answers the last ``function_call`` before it.
    """
    found, call_id, known = list[Message](), None, set[str]()
    for index, body in enumerate(bodies):
        place = f"messages[{index}]"
        refuse_unsupported(body, UNSUPPORTED_IN_MESSAGES, f"{place}.")
        calls = _calls(body, index, place)
        if body.function_call is not None:
            call_id = calls[0].id
        answered = _answered(body, place, known)
        if body.role == "function":
            answered = call_id or _function_call_id(index)
        known |= {call.id for call in calls}
        content = _content(body, place)
        found.append(Message(_role(body), content, body.name, answered, body.reasoning_content, calls))
    return tuple(found)


def _role(body: MessageBody) -> str:
    return {"developer": "system", "function": "tool"}.get(body.role, body.role)


def _answered(body: MessageBody, place: str, known: AbstractSet[str]) -> str | None:
    """Return the id of the call that a message answers, after checking that it says which one.

    ``known`` has the ids of the calls before it. If it has none, the client has left out the begin of the conversation.
    """
    needed, given = {"tool": ("tool_call_id", body.tool_call_id), "function": ("name", body.name)}.get(
        body.role, ("", "")
    )
    if given is None:
        msg = f"{place}.{needed} is missing"
        raise BadRequest(msg, param=f"{place}.{needed}")
    if body.role == "tool" and body.tool_call_id and known and body.tool_call_id not in known:
        msg = f"{place}.tool_call_id is {body.tool_call_id[:_SHOWN]!r}, and no call before it has this id"
        raise BadRequest(msg, param=f"{place}.tool_call_id", hint="Send the id of the call that the message answers")
    return body.tool_call_id


def _calls(body: MessageBody, index: int, place: str) -> tuple[ToolCall, ...]:
    named = {"tool_calls": body.tool_calls or None, "function_call": body.function_call}
    given = [name for name, value in named.items() if value is not None]
    if given and body.role != "assistant":
        msg = f"{place}.{given[0]} is only for messages of the assistant"
        raise BadRequest(msg, param=f"{place}.{given[0]}")
    if len(given) > 1:
        msg = f"{place}.function_call cannot be combined with tool_calls"
        raise BadRequest(msg, param=f"{place}.function_call", hint="function_call is the old name: leave it out")
    if body.function_call is not None:
        return (ToolCall(_function_call_id(index), body.function_call.name, body.function_call.arguments),)
    return tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in body.tool_calls or ())


def _function_call_id(index: int) -> str:
    """Return an id for the call in a message; ``function_call`` has none."""
    return f"call_{index:024d}"


def _content(body: MessageBody, place: str) -> str:
    if body.content is None and body.role != "assistant":  # an assistant may only reason, or only call tools
        msg = f"{place}.content is missing"
        raise BadRequest(msg, param=f"{place}.content")
    if not isinstance(body.content, list):
        return body.content or ""
    return "".join(_text(part, f"{place}.content[{index}]") for index, part in enumerate(body.content))


def _text(part: ContentPart, place: str) -> str:
    if part.type in _MEDIA_PARTS:
        msg = f"{place}: no model here can take parts of type {part.type}"
        raise UnsupportedInput(msg, param=place, hint="Send text only")
    if part.type != "text":
        msg = f"{place}.type is unknown"
        raise BadRequest(msg, param=f"{place}.type", hint="Send parts of type text")
    if part.text is None:
        msg = f"{place}.text is missing"
        raise BadRequest(msg, param=f"{place}.text")
    return part.text
