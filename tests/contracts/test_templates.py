"""The contract of ``Templates``, for the fake and for the renderer that bounds time and memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime

import pytest

from mlxknife.adapters.jinja.templates import JinjaTemplates
from mlxknife.domain.errors import TemplateError
from mlxknife.ports.engines.templates import Templates
from tests.chat_families import CHATML, GEMMA, LLAMA, turn
from tests.fakes.templates import FakeTemplates

_SYSTEM, _QUESTION = turn("system", " Speak Latin. "), turn("user", "Who are you?\n")
_ANSWER, _FOLLOW_UP = turn("assistant", "Nemo."), turn("user", "Really?")


@pytest.fixture(params=["real", "fake"])
def templates(request: pytest.FixtureRequest) -> Iterator[Templates]:
    if request.param == "fake":
        yield FakeTemplates()
    else:
        with closing(JinjaTemplates()) as made:
            yield made


def test_chatml(templates: Templates) -> None:
    assert templates.render(CHATML, (_QUESTION, _ANSWER, _FOLLOW_UP), {}) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho are you?\n<|im_end|>\n"
        "<|im_start|>assistant\nNemo.<|im_end|>\n<|im_start|>user\nReally?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert templates.render(CHATML, (_SYSTEM, _FOLLOW_UP), {}).startswith(
        "<|im_start|>system\n Speak Latin. <|im_end|>\n"
    )


def test_llama_3(templates: Templates) -> None:
    assert templates.render(LLAMA, (_SYSTEM, _QUESTION), {"bos_token": "<|begin_of_text|>"}) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n"
        "Speak Latin.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWho are you?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_gemma(templates: Templates) -> None:
    assert templates.render(GEMMA, (_QUESTION, _ANSWER, _FOLLOW_UP), {"bos_token": "<bos>"}) == (
        "<bos><start_of_turn>user\nWho are you?<end_of_turn>\n<start_of_turn>model\nNemo.<end_of_turn>\n"
        "<start_of_turn>user\nReally?<end_of_turn>\n<start_of_turn>model\n"
    )


def test_the_message_of_a_template_that_rejects_a_conversation_is_passed_on(templates: Templates) -> None:
    with pytest.raises(TemplateError, match="System role not supported"):
        templates.render(GEMMA, (_SYSTEM, _QUESTION), {"bos_token": "<bos>"})
    with pytest.raises(TemplateError, match="roles must alternate"):
        templates.render(GEMMA, (_QUESTION, _FOLLOW_UP), {})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for i in range(9) %}{% if i is even %}{% continue %}{% endif %}{{ i }}{% endfor %}", "1357"),
        ("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "012"),
        ("{{ messages[0] | tojson }}", '{"role": "user", "content": "<b> \'ü\' & \U0001f600"}'),
        ("{{ {'b': 1, 'a': [none, true]} | tojson(indent=2) }}", '{\n  "b": 1,\n  "a": [\n    null,\n    true\n  ]\n}'),
        ("{{ 'ü' | tojson(ensure_ascii=true) }}", '"\\u00fc"'),
        ("a{% generation %}{{ messages[0].role }}{% endgeneration %}z", "auserz"),
        ("{% for m in messages %}\n  {% generation %}\n{{ m.role }}\n  {% endgeneration %}\n{% endfor %}", "user\n"),
        ("{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "3"),
        ("{{ add_generation_prompt }} {{ tools }} {{ documents }} {{ nothing }}", "True None None "),
        ("{{ messages[0].tool_calls is defined }}{{ messages | length }}", "False1"),
        ("{% set n = namespace(a=[]) %}{% set _ = n.a.append(7) %}{{ n.a }}{{ n.a.pop(0) }}{{ n.a }}", "[7]7[]"),
        ("{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice('ab') }}", "abab"),
        ("{{ messages[0]['content'].split(' ')[1] }}{{ 'a.b'.split('.')[-1] }}", "'ü'b"),
        ("{{ bos_token }}|{{ eos_token }}", "<s>|</s>"),
        ("", ""),
    ],
)
def test_the_features_that_templates_use_work(templates: Templates, template: str, text: str) -> None:
    messages = (turn("user", "<b> 'ü' & \U0001f600"),)
    assert templates.render(template, messages, {"bos_token": "<s>", "eos_token": "</s>"}) == text


@pytest.mark.parametrize(
    ("options", "text"),
    [("separators=(',', ':')", '{"b":1,"a":2}'), ("sort_keys=true", '{"a": 2, "b": 1}')],
)
def test_tojson_takes_the_arguments_of_json_dumps(templates: Templates, options: str, text: str) -> None:
    assert templates.render(f"{{{{ {{'b': 1, 'a': 2}} | tojson({options}) }}}}", (), {}) == text


def test_strftime_now_gives_the_current_date(templates: Templates) -> None:
    before = datetime.now().astimezone()
    rendered = datetime.strptime(templates.render("{{ strftime_now('%Y-%m-%d %z') }}", (), {}), "%Y-%m-%d %z")
    assert before.date() <= rendered.date() <= datetime.now().astimezone().date()


def test_preparing_changes_nothing(templates: Templates) -> None:
    for _ in range(3):
        templates.prepare()
        assert templates.render("{{ messages[0].role }}", (_QUESTION,), {}) == "user"


def test_a_message_is_a_json_object_with_the_given_fields(templates: Templates) -> None:
    template = "{% for m in messages %}{{ m.name is defined }} {{ m.calls | tojson }} {% endfor %}"
    calls = [{"id": "x", "arguments": {"ü": [1, None, 0.5, True]}}]
    with pytest.raises(TemplateError):
        templates.render(template, (_QUESTION, turn("user", "", name="Ann", calls=calls)), {})
    assert templates.render(template, (turn("user", "", name="Ann", calls=calls),), {}) == (
        'True [{"id": "x", "arguments": {"ü": [1, null, 0.5, true]}}] '
    )
    assert templates.render("{{ messages[0].keys() | list }}", (_QUESTION,), {}) == "['role', 'content']"


def test_closing_raises_nothing(templates: Templates) -> None:
    templates.render("x", (), {})
    templates.close()
    templates.close()


def test_renderings_share_no_state(templates: Templates) -> None:
    template = (
        "{% set n = namespace(x=0, seen=[]) %}{% set n.seen = n.seen + [messages[0].content] %}"
        "{% macro count(held=namespace(y=1)) %}{% set held.y = held.y + 1 %}{{ held.y }}{% endmacro %}"
        "{% if late is defined %}{{ late }}{% endif %}{% set late = cycler('a', 'b') %}{% set n.x = n.x + 1 %}"
        "{{ late.next() }}{{ n.x }}{{ n.seen }}{{ count() }}{{ messages[0].late }}{{ given }}"
    )
    expected = "a1['Who are you?\\n']2" + "7"
    assert [templates.render(template, (_QUESTION,), {"given": 7}) for _ in range(3)] == [expected] * 3
    assert templates.render(template, (_FOLLOW_UP,), {}) == "a1['Really?']2"


def test_a_failed_rendering_does_not_affect_the_next(templates: Templates) -> None:
    template = "{{ raise_exception('No') if messages | length > 1 }}{{ messages[0].content }}"
    for _ in range(3):
        with pytest.raises(TemplateError, match="No"):
            templates.render(template, (_QUESTION, _ANSWER), {})
        assert templates.render(template, (_ANSWER,), {}) == "Nemo."


def test_several_threads_may_render_at_once(templates: Templates) -> None:
    forms = [f"{number}: {{{{ messages[0].content }}}}" for number in range(3)]
    jobs = [(form, str(number)) for number in range(20) for form in forms]
    with ThreadPoolExecutor(6) as threads:
        rendered = threads.map(lambda job: templates.render(job[0], (turn("user", job[1]),), {}), jobs)
        assert list(rendered) == [form.replace("{{ messages[0].content }}", content) for form, content in jobs]


def test_template_code_in_a_message_is_not_executed(templates: Templates) -> None:
    message = turn("user", "{{ 6 * 7 }}{% raw %}</s>")
    assert templates.render("{{ messages[0].content }}", (message,), {}) == message["content"]


def test_variables_of_the_caller_win_over_the_defaults(templates: Templates) -> None:
    template = "{% if add_generation_prompt %}<assistant>{% endif %}{{ tools | length }}"
    assert templates.render(template, (), {"add_generation_prompt": False, "tools": [1, 2]}) == "2"


@pytest.mark.parametrize(
    "template",
    [
        "{% for message in messages %}",
        "{{ messages",
        "{% nothing %}",
        "{{ messages | nothing }}",
        "{{ nothing() }}",
        "{{ nothing.at.all }}",
        "{{ messages[7].content }}",
        "{{ messages + 1 }}",
        "{{ 1 / 0 }}",
        "{{ {}['key'].deeper }}",
        "{{ 'a' | int(base=99) + [] }}",
        "{{ messages | tojson(indent=[]) }}",
        "{{ strftime_now }}{{ strftime_now() }}",
        "{{ raise_exception('') }}",
    ],
)
def test_a_template_that_fails_raises_template_error(templates: Templates, template: str) -> None:
    with pytest.raises(TemplateError) as caught:
        templates.render(template, (_QUESTION,), {})
    assert caught.value.code == "template_error"


def test_a_template_that_cannot_be_compiled_raises_template_error(templates: Templates) -> None:
    with pytest.raises(TemplateError, match="outside loop"):
        templates.render("{% break %}", (_QUESTION,), {})
