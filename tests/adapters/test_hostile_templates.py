"""Hostile templates: each ends in a typed error or in a text within the bound, and leaves no process behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlxknife.adapters.jinja.templates import JinjaTemplates
from mlxknife.domain.errors import TemplateError
from tests.chat_families import turn

_MAX_TEXT = 16 * 1024 * 1024
_QUESTION = (turn("user", "Who are you?"),)
_REJECTED = "failed: The chat template of the model rejects the conversation: "
_LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
_ENDS = "{% endfor %}{% endfor %}{% endfor %}"
_NESTED = "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}"


def _children() -> list[str]:
    """Return the renderers of this process, zombies included."""
    listed = subprocess.run(["ps", "-A", "-o", "ppid=,command="], capture_output=True, text=True, check=True).stdout
    ours = [line.split(None, 1)[1] for line in listed.splitlines() if line.split(None, 1)[0] == str(os.getpid())]
    return [command for command in ours if "jinja" in command or "defunct" in command]


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    assert _children() == []


def _result_of(template: str, messages: tuple[dict[str, object], ...] = _QUESTION, seconds: float = 3) -> str:
    """Return the text of a template, or how it failed."""
    with closing(JinjaTemplates(seconds)) as templates:
        try:
            result = templates.render(template, messages, {"bos_token": "<s>"})
        except TemplateError as error:
            result = f"failed: {error.message}"
    assert len(result) <= (1000 if result.startswith("failed: ") else _MAX_TEXT)
    return result


@pytest.mark.parametrize(
    "template",
    [
        f"{_LOOPS}{_ENDS}",
        f"{_LOOPS}x{_ENDS}",
        "{{ 9 ** (9 ** 9) }}",
        "{% set n = namespace(x=3) %}{% for i in range(9999) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    ],
    ids=["loops", "loops with output", "a power", "squares", "a tree of macros"],
)
def test_an_endless_template_is_stopped(template: str) -> None:
    assert "took longer than 1 seconds" in _result_of(template, seconds=1)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 2000000000 }}",
        "{{ '%2000000000d' % 1 }}",
        "{{ '{:>2000000000}'.format(1) }}",
        "{{ 'a' | center(2000000000) }}",
        "{{ 10 ** (10 ** 7) }}",
        "{{ range(10 ** 9) | list }}",
        "{{ messages[0].content.replace('', 'a' * 100000000) }}",
        "{% set n = namespace(x='a') %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
        "{% for i in range(100) %}{{ 'a' * 1000000 }}{% endfor %}",
        "{{ 'a' * 33554432 }}",
        "{{ raise_exception('a' * 20000000) }}",
        _NESTED + "{{ n.x }}",
        _NESTED + "{{ n.x | tojson }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
        "{{ " + "not " * 20_000 + "1 }}",
        "{{ 1" + " + 1" * 20_000 + " }}",
        "{% if 1 %}" * 150 + "{% endif %}" * 150,
        "{% for i in [1] %}" * 50 + "{% endfor %}" * 50,
    ],
    ids=lambda template: template[:40],
)
def test_a_template_that_takes_too_much_fails(template: str) -> None:
    assert _result_of(template).startswith("failed: The chat template of the model ")


@pytest.mark.parametrize(
    "expressions",
    [
        ("''.__class__.__mro__", "''.__class__.__base__.__subclasses__()", "dict.mro()", "eval('1')"),
        ("'' | attr('__class__') | attr('__mro__')", "[''] | map(attribute='__class__.__mro__') | list"),
        ("'{0.__class__.__mro__}'.format('')", "'{x.__class__.__mro__}'.format_map({'x': ''})"),
        ("('{0.__class__.__mro__}' | string).format('')", "('{0.__class__}' | safe).format('')"),
        ("raise_exception.__globals__['sys'].modules['os']", "strftime_now.__globals__['resource']"),
        ("self.__init__.__globals__", "self._TemplateReference__context.environment", "__import__('os')"),
        ("cycler.__init__.__globals__.os", "lipsum.__globals__['os'].environ", "open('/etc/passwd').read()"),
        ("(lipsum | attr('__globals__'))['os']", "messages[0].__class__.__init__.__globals__"),
        ("namespace(__html__='{0.__class__}'.format) | escape", "messages | tojson(default='{0.__class__}'.format)"),
    ],
)
def test_a_template_cannot_leave_the_sandbox(expressions: tuple[str, ...]) -> None:
    for expression in expressions:
        result = _result_of(f"<{{{{ {expression} }}}}>")
        harmless = ("<>", '<[{"role": "user", "content": "Who are you?"}]>')
        assert result in harmless or result.startswith(_REJECTED), expression


@pytest.mark.parametrize(
    "expression",
    [
        "lipsum.__globals__['os'].mkdir('{}')",
        "strftime_now.__globals__['sys'].modules['os'].mkdir('{}')",
        "raise_exception.__code__.__class__.__base__.__subclasses__()[0]('{}')",
    ],
)
def test_a_template_cannot_write_to_the_disk(expression: str, tmp_path: Path) -> None:
    target = tmp_path / "made"
    assert _result_of("{{ " + expression.format(target) + " }}").startswith("failed: ")
    assert not target.exists()


@pytest.mark.parametrize("tag", ["include '{}'", "import 'os' as x", "from 'secret.txt' import x", "extends '{}'"])
def test_a_template_cannot_read_a_file(tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.txt").write_text("a secret text")
    (tmp_path / "jinja2.py").write_text("raise SystemExit('run by the renderer')")
    monkeypatch.chdir(tmp_path)
    result = _result_of("{% " + tag.format(tmp_path / "secret.txt") + " %}")
    assert result.startswith(_REJECTED)
    assert "secret text" not in result


@pytest.mark.parametrize("change", ["messages.append(1)", "messages.clear()", "messages[0].update({'content': 'x'})"])
def test_a_template_changes_the_conversation_of_its_own_rendering_only(change: str) -> None:
    template = "{{ messages[0].content }}{% if messages | length == 1 %}{{ " + change + " }}{% endif %}"
    with closing(JinjaTemplates()) as templates:
        conversation = (turn("user", "Who are you?"),)
        results = [templates.render(template, conversation, {}) for _ in range(2)]
    assert results == ["Who are you?None"] * 2
    assert conversation == (turn("user", "Who are you?"),)


def test_unusual_characters_reach_the_template() -> None:
    contents = ["\ud800", "a\udfffb", "\0\x1b[2J\u202e", "\ufeff", "\U0010ffff", "", "\r\n"]
    turns = tuple(turn("user", content) for content in contents)
    text = _result_of("{% for m in messages %}<{{ m.content }}>{% endfor %}", turns)
    assert text == "".join(f"<{content}>" for content in contents)


@pytest.mark.parametrize("template", ["\ud800{# \ud800 #}", "{{ '\ud800' }}", "{{ \ud800 }}"])
def test_unusual_characters_in_a_template_do_not_hang(template: str) -> None:
    result = _result_of(template)
    assert result == "\ud800" or result.startswith("failed: ")


def test_a_long_prompt_is_rendered_whole() -> None:
    content = "Ü\n" * 500_000
    text = JinjaTemplates().render("<{{ messages[0].content }}>", (turn("user", content),), {})
    assert text == f"<{content}>"


def test_many_messages_are_rendered() -> None:
    turns = tuple(turn("user", str(number)) for number in range(10_000))
    text = JinjaTemplates().render("{% for m in messages %}{{ m.content }} {% endfor %}", turns, {})
    assert text.split() == [message["content"] for message in turns]


def test_variables_cannot_replace_the_conversation() -> None:
    with pytest.raises(TemplateError):
        JinjaTemplates().render("{{ messages }}", _QUESTION, {"messages": "others"})
