"""What a description made from types cannot say by itself: fields that depend on one another, and values of a kind."""

from __future__ import annotations

from typing import Any, TypeAlias

from mlxknife.http.wire import chat_request, text_request

Json: TypeAlias = dict[str, Any]

_NULL: Json = {"type": "null"}
_ALL_ANSWERS = f"n times the number of prompts is at most {text_request.MAX_ANSWERS}"


def say_conditions(schemas: Json) -> None:
    """Let the schemas of requests refuse what their readers refuse, as far as a schema can."""
    for name, neutral in (
        ("ChatBody", chat_request.NOT_YET),
        ("TextBody", text_request.NOT_YET),
        ("TurnBody", chat_request.NOT_IN_MESSAGES),
    ):
        _say_what_does_not_work(schemas[name], neutral)
    schemas["ChatBody"]["allOf"] = [_needs("stream_options", "stream"), _needs("top_logprobs", "logprobs", 0)]
    schemas["TextBody"]["allOf"] = [_needs("stream_options", "stream"), _excludes("echo", "logprobs")]
    schemas["TextBody"]["properties"]["prompt"] = {**_prompt(), "description": f"What goes on; {_ALL_ANSWERS}"}
    schemas["TextBody"]["properties"]["n"]["description"] = f"How many answers there are to each prompt; {_ALL_ANSWERS}"
    schemas["ChatBody"]["properties"]["n"]["description"] = "How many answers there are"
    for name in ("ChatBody", "TextBody"):
        schemas[name]["properties"]["logit_bias"]["anyOf"][0]["propertyNames"] = {"pattern": "^[0-9]{1,9}$"}
    schemas["StreamOptions"]["properties"]["include_obfuscation"] = {"enum": [None, False]}
    schemas["TurnBody"]["anyOf"] = [
        {"properties": {"role": {"const": "assistant"}}},
        {"required": ["content"], "properties": {"content": {"not": _NULL}}},
    ]
    schemas["Part"] |= {
        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
        "required": ["type", "text"],
    }


def _say_what_does_not_work(schema: Json, neutral: dict[str, tuple[object, ...]]) -> None:
    """Name, for each field that does not work yet, the values that ask for nothing."""
    for name, values in neutral.items():
        schema["properties"][name] = {
            "enum": [None, *values],
            "description": "Does not work here yet: anything else is refused with 400",
        }


def _needs(field: str, other: str, *neutral: object) -> Json:
    """Say that a field is only taken where another one is true."""
    return {
        "anyOf": [
            {"properties": {field: {"enum": [None, *neutral]}}},
            {"required": [other], "properties": {other: {"const": True}}},
        ]
    }


def _excludes(field: str, other: str) -> Json:
    """Say that a field is not taken where another one is true."""
    return {"anyOf": [{"properties": {field: {"enum": [None, False]}}}, {"properties": {other: _NULL}}]}


def _prompt() -> Json:
    text: Json = {"type": "string", "minLength": 1}
    token: Json = {"type": "integer", "minimum": 0, "maximum": text_request.MAX_TOKEN}
    tokens: Json = {"type": "array", "items": token, "minItems": 1}
    several: Json = {"type": "array", "minItems": 1, "maxItems": text_request.MAX_ANSWERS}
    return {"anyOf": [text, tokens, {**several, "items": text}, {**several, "items": tokens}]}
