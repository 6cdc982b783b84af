"""Reasoning: separates the reasoning of a model from its answer, by the markers of its template and tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

import attrs

from mlxknife.domain.generation.rules.stop_strings import StopMatcher
from mlxknife.domain.generation.values.answer import TextDelta, TextKind

_FAMILIES = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|think:start|>", "<|think:end|>"),
    ("<|channel>thought", "<channel|>"),
)
_RESPONSES = {"<|START_THINKING|>": ("<|START_RESPONSE|>", "<|END_RESPONSE|>")}
"""The markers around the answer, for a family that has them."""
_CHANNELS = ("<|channel|>", "<|message|>", "<|end|>", "<|start|>")
"""The markers of gpt-oss: each message has a header with its author, recipient, channel and format."""


@attrs.frozen
class ReasoningMarkers:
    """How a family of models marks reasoning."""

    begins: tuple[str, ...]
    end: str
    answers: tuple[str, ...] = ()
    """Markers that come before an answer; they belong to no text."""
    begins_inside: bool = False
    """Whether the prompt has already begun the reasoning."""


_HEADED = ReasoningMarkers(begins=("<|start|>", "<|channel|>", "<|message|>", "to="), end="<|end|>")
"""The texts that can begin a header (the prompt has begun the first one), and the end of a message."""
_HEADER_ENDS = "<|message|>"
_LONGEST_HEADER = 256
_CALL_ENDS = ("<|call|>", "<|end|>")
_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([A-Za-z0-9_.\-]+)")
_USER_CHANNELS = ("", "commentary", "final")
"""The channels for the user. Commentary is one of them unless its header names a tool."""


@attrs.frozen
class _Section:
    """A section of a text and the markers that end it; without one it is the rest of the text."""

    kind: TextKind
    ends: tuple[str, ...] = ()
    call: str = ""
    """The markup of a tool call before its arguments, if the section is one."""


_REST = _Section(TextKind.ANSWER)


def _no_call(name: str) -> str:
    del name
    return ""


def find_markers(vocabulary: Collection[str], template: str, prompt: str) -> ReasoningMarkers | None:
    """Return the markers of a model, or None for a model without reasoning.

    A marker counts if it is a token of the vocabulary or occurs in the chat template. A prompt that ends with a begin
    marker has begun the reasoning.
    """
    if all(mark in vocabulary for mark in _CHANNELS):
        return _HEADED
    for begin, end in _FAMILIES:
        mark = begin.removesuffix("thought")
        if (mark in vocabulary and end in vocabulary) or (begin in template and end in template):
            answers = _RESPONSES.get(begin, ())[:1]
            return ReasoningMarkers((begin,), end, answers, begins_inside=prompt.rstrip().endswith(begin))
    return None


def has_channels(markers: ReasoningMarkers) -> bool:
    """Whether each message has a header that names its channel, as with gpt-oss."""
    return markers == _HEADED


def response_end(begin: str) -> str:
    """Return the marker after an answer that begins with a marker."""
    return dict(_RESPONSES.values())[begin]


class ReasoningSplitter:
    """Splits text into reasoning and answer, and drops the markers.

    Reasoning begins at the start of the text or after another section, never in the middle of an answer. A blank line
    separates two sections of the same kind. A message of gpt-oss to a tool becomes markup in the answer.
    """

    def __init__(self, markers: ReasoningMarkers | None, call_markup: Callable[[str], str] = _no_call) -> None:
        """Take the markers, or None where all text is answer.

        ``call_markup`` returns the markup before the arguments of a call, or an empty text for an unknown tool.
        """
        self._markers = markers
        self._call_markup = call_markup
        self._section = _REST if markers is None else None
        """The current section, or None until the next one is known."""
        if markers is not None and markers.begins_inside:
            self._section = _Section(TextKind.REASONING, (markers.end,))
        self._held = ""
        self._trims = markers is not None
        self._seen: set[TextKind] = set()
        self._gap = ""

    @property
    def holds_text(self) -> bool:
        """Whether text is held back that may belong to a marker."""
        return bool(self._held)

    def feed(self, text: str) -> Iterator[TextDelta]:
        """Yield the deltas that are certain by now."""
        self._held += text
        while self._held and (delta := self._next()) is not None:
            if delta.text:
                yield delta

    def flush(self) -> Iterator[TextDelta]:
        """Yield the deltas that were held back, at the end of the answer."""
        text, self._held = self._held, ""
        if self._section is None and self._markers is not None and _begins_header(self._markers, text.lstrip()):
            return
        section = self._section or _REST
        delta = self._delta(section, text.rstrip() if section.kind is TextKind.REASONING else text)
        if delta.text:
            yield delta

    def _next(self) -> TextDelta | None:
        """Return the next delta, an empty one if only the state changed, or None if more text must come first."""
        if self._section is None:
            return self._opened(self._markers) if self._markers is not None else None
        if not self._section.ends:
            text, self._held = self._held, ""
            return self._delta(self._section, text)
        return self._within(self._section)

    def _within(self, section: _Section) -> TextDelta | None:
        stop = StopMatcher(section.ends)
        text = stop.feed(self._held)
        is_reasoning = section.kind is TextKind.REASONING
        if stop.has_stopped:
            self._held = self._held[len(text) :]
            end = next(end for end in section.ends if self._held.startswith(end))
            self._held = self._held[len(end) :]
            if section.call:
                text += _CALL_ENDS[0]
            delta = self._delta(section, text.rstrip() if is_reasoning else text)
            self._enter(None)
            return delta
        shown = text.rstrip() if is_reasoning else text  # blanks before the end marker are dropped
        self._held = self._held[len(shown) :]
        return self._delta(section, shown) if shown else None

    def _opened(self, markers: ReasoningMarkers) -> TextDelta | None:
        """Enter the section that begins here, once it is known."""
        start = self._held.lstrip()
        opening = _header(start, self._call_markup) if markers == _HEADED else _marker(markers, start)
        if opening is None:
            return None
        length, section = opening
        self._held = start[length:]
        self._enter(section)
        return TextDelta(section.kind, section.call)

    def _enter(self, section: _Section | None) -> None:
        self._section = section
        self._trims = True
        self._gap = "\n\n" if section is not None and section.kind in self._seen else ""

    def _delta(self, section: _Section, text: str) -> TextDelta:
        """Return a delta without blanks after its marker. A blank line separates it from an earlier one of its kind."""
        if section.call:
            return TextDelta(section.kind, text)
        if self._trims:
            text = text.lstrip()
            self._trims = not text
        if text:
            text, self._gap = self._gap + text, ""
            self._seen.add(section.kind)
        return TextDelta(section.kind, text)


def _marker(markers: ReasoningMarkers, start: str) -> tuple[int, _Section] | None:
    """Return the length of the marker at the start of a text and its section, or None if more text must come first."""
    kinds = dict.fromkeys(markers.begins, _Section(TextKind.REASONING, (markers.end,)))
    ends = {begin: (end,) for begin, end in _RESPONSES.values()}
    kinds |= {mark: _Section(TextKind.ANSWER, ends.get(mark, ())) for mark in markers.answers}
    for marker, section in kinds.items():
        if start.startswith(marker):
            return len(marker), section
    return None if any(mark.startswith(start) for mark in kinds) else (0, _REST)


def _header(start: str, call_markup: Callable[[str], str]) -> tuple[int, _Section] | None:
    """Return the length of the header at the start of a text and its section, or None if more text must come first."""
    place = start.find(_HEADER_ENDS, 0, _LONGEST_HEADER)
    if _begins_header(_HEADED, start) and place >= 0:
        return place + len(_HEADER_ENDS), _headed(start[:place], call_markup)
    may_begin = _begins_header(_HEADED, start) or any(mark.startswith(start) for mark in _HEADED.begins)
    return None if may_begin and len(start) < _LONGEST_HEADER else (0, _REST)


def _headed(header: str, call_markup: Callable[[str], str]) -> _Section:
    """Return the section of a header."""
    recipient = _RECIPIENT.search(header)
    if recipient is not None and _is_from_assistant(header) and (call := call_markup(recipient[1])):
        return _Section(TextKind.ANSWER, _CALL_ENDS, call)
    return _Section(TextKind.ANSWER if _is_for_user(header) else TextKind.REASONING, (_HEADED.end,))


def _begins_header(markers: ReasoningMarkers, start: str) -> bool:
    return markers == _HEADED and start.startswith(markers.begins)


def _is_for_user(header: str) -> bool:
    """Whether the author is the assistant, the channel is for the user, and the header names no recipient."""
    channel = re.split(r"[\s<]", header.partition(_CHANNELS[0])[2], maxsplit=1)[0]
    return _is_from_assistant(header) and channel in _USER_CHANNELS and re.search(r"\bto=", header) is None


def _is_from_assistant(header: str) -> bool:
    author = header.partition(_CHANNELS[0])[0]
    return not author.startswith("<|start|>") or re.match(r"<\|start\|>assistant\b", author) is not None
