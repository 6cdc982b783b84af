"""What the parrot knows by heart: each question has one answer, and it is the same to the last byte."""

from __future__ import annotations

CAPITAL = "What is the capital of France?"
GREETING = "Hello!"
LONG = "Tell me a long story."
REASONING = "What is 17 + 25?"
TOOL = "What is the weather in Berlin?"
JSON = "Describe Ada as JSON."
STOP = "Count to four, please."
UNICODE = "Say something in many languages."
CODE = "Write a function that adds."
ECHO = "What does an echo do?"

TOOL_RESULT = '{"celsius": 21}'
"""What the tool that the parrot calls gives back; a turn of the role ``tool``."""

STOP_STRING = "END."
"""The answer to STOP begins to say this twice before it does."""

ANSWERS: dict[str, str] = {
    CAPITAL: "The capital of France is Paris.",
    GREETING: "Hello! How can I help you today?",
    LONG: (
        "Once upon a time a grey parrot lived in the harbour of a small town. Every morning it flew to the old "
        "lighthouse and watched the ships go by. One day a sailor taught it ten answers, and the bird was so proud "
        "that it never learned an eleventh. When the sailor came home many years later, it still knew each of them, "
        "word for word."
    ),
    REASONING: "<think>\nFirst 17 + 20 = 37. Then 37 + 5 = 42.\n</think>\n\nThe sum is 42.",
    TOOL: '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Berlin"}}\n</tool_call>',
    JSON: '{"name": "Ada", "age": 36, "skills": ["mathematics", "poetry"]}',
    STOP: "one END? two EN three END. four",
    UNICODE: "Grüße aus Köln, привет, 你好世界, 🦜 und 👩‍🚀!",
    CODE: "```python\ndef add(a, b):\n    return a + b\n```\n\nIt returns the sum.",
    ECHO: "Echo, echo, echo: an echo says each word again, again and again.",
    TOOL_RESULT: "It is 21 degrees in Berlin.",
}


def answer_of(question: str, *, thinking: bool = True) -> str:
    """Return what the parrot says; without thinking the template has closed the thoughts already."""
    answer = ANSWERS[question]
    return answer if thinking else answer.rpartition("</think>\n\n")[2]
