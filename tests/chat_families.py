"""The chat templates of families of models, as short as their peculiarities allow, and their control tokens."""

from __future__ import annotations

from functools import cache

import attrs
from tokenizers import AddedToken, Tokenizer

from mlxknife.adapters.mlx.text.tokenizer import FastTokenizer
from tests.parrot.tokens import TEMPLATE
from tests.tokenizer_files import tokenizer_json

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython" }}{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
QWEN = """\
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set content = message.content %}
        {%- set reasoning = message.reasoning_content or '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content }}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'tool' %}"
    "{{ '[TOOL_RESULTS]' + ({'content': message.content} | tojson) + '[/TOOL_RESULTS]' }}"
    "{% elif message.role == 'assistant' %}{{ ' ' + message.content | trim + '</s>' }}"
    "{% else %}{{ '[INST] ' + message.content + '[/INST]' }}{% endif %}{% endfor %}"
)
ESCAPING = (
    "{% for message in messages %}{{ '<|user|>' + (message.content | tojson(ensure_ascii=true)) + '<|end|>' }}"
    "{% endfor %}<|assistant|>"
)
"""A template that escapes what is not ASCII."""


@attrs.frozen
class Family:
    """A family of models."""

    name: str
    template: str
    special: tuple[str, ...]
    """The names of its special tokens."""
    markup: tuple[str, ...] = ()
    """The names of added tokens that are not special, and that its template uses."""
    base: str = "byte-level"
    """The kind of its tokenizer in ``tokenizer_files``."""
    has_system: bool = True
    has_tools: bool = True

    @property
    def variables(self) -> dict[str, str]:
        return {"bos_token": self.special[0]}

    def backend(self) -> Tokenizer:
        return _backend(self)

    def tokenizer(self) -> FastTokenizer:
        return FastTokenizer(_backend(self), self.template)


FAMILIES = (
    Family("chatml", CHATML, ("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
    Family(
        "qwen",
        QWEN,
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        ("<think>", "</think>", "<tool_response>", "</tool_response>"),
    ),
    Family(
        "llama",
        LLAMA,
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|reserved_special_token_1|>"),
    ),
    Family(
        "gemma", GEMMA, ("<bos>", "<start_of_turn>", "<end_of_turn>"), base="gemma", has_system=False, has_tools=False
    ),
    Family("mistral", MISTRAL, ("<s>", "</s>", "[INST]", "[/INST]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"), base="gemma"),
    Family("escaping", ESCAPING, ("<|user|>", "<|assistant|>", "<|end|>")),
    Family("parrot", TEMPLATE, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), ("<think>", "</think>", "<tool_call>")),
)


def turn(role: str, content: str, **fields: object) -> dict[str, object]:
    """Return a message as a chat template takes it."""
    return {"role": role, "content": content} | fields


@cache
def _backend(family: Family) -> Tokenizer:
    if family.name == "parrot":
        return Tokenizer.from_str(tokenizer_json("parrot"))
    backend = Tokenizer.from_str(tokenizer_json(family.base))
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in family.special])
    backend.add_tokens([AddedToken(name, special=False, normalized=False) for name in family.markup])
    return backend
