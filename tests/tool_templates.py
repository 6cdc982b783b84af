"""Chat templates of tool families: short ones with the shape of the real ones, from which nothing is copied."""

from __future__ import annotations

import re

import attrs

from mlxknife.domain.tools.rules.families import ToolFamily

_TURN = "{{- '<|im_start|>' + m.role + '\n' + (m.content or '') }}"
_ANSWER = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
_LISTED = "{%- if tools %}{{- '<|im_start|>system\n' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}"


def _template(
    explained: str, call: str, result: str = "{{- '<|im_start|>tool\n' + m.content + '<|im_end|>\n' }}"
) -> str:
    """Return a template in which the tools come first; ``call`` renders the ``m.tool_calls`` of an answer."""
    return (
        f"{_LISTED}{{{{- '{explained}<|im_end|>\n' }}}}{{%- endif %}}"
        "{%- for m in messages %}{%- if m.role == 'tool' %}"
        f"{result}{{%- else %}}{_TURN}"
        f"{{%- if m.tool_calls %}}{call}{{%- endif %}}{{{{- '<|im_end|>\n' }}}}{{%- endif %}}{{%- endfor %}}{_ANSWER}"
    )


_EACH = "{%- for c in m.tool_calls %}{%- set f = c.function %}"
_HERMES = _template(
    '<tool_call>\\n{"name": <name>, "arguments": <object>}\\n</tool_call>',
    _EACH + '{{- \'\n<tool_call>\n{"name": "\' + f.name + \'", "arguments": \' + f.arguments | tojson'
    " + '}\n</tool_call>' }}{%- endfor %}",
    "{{- '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response><|im_end|>\n' }}",
)
_QWEN3_CODER = _template(
    "<tool_call>\\n<function=name>\\n<parameter=key>\\nvalue\\n</parameter>\\n</function>\\n</tool_call>",
    _EACH + "{{- '\n<tool_call>\n<function=' + f.name + '>\n' }}{%- for k, v in f.arguments | items %}"
    "{{- '<parameter=' + k + '>\n' }}{{- v if v is string else v | tojson }}{{- '\n</parameter>\n' }}{%- endfor %}"
    "{{- '</function>\n</tool_call>' }}{%- endfor %}",
)
_LLAMA_JSON = _template(
    'Respond in the format {"name": function name, "parameters": dictionary of argument names}.',
    "{%- if m.tool_calls | length != 1 %}{{- raise_exception('one call only') }}{%- endif %}"
    "{%- set f = m.tool_calls[0].function %}"
    "{{- '{\"name\": \"' + f.name + '\", \"parameters\": ' + f.arguments | tojson + '}' }}",
)
_LLAMA_PYTHON = _template(
    "[func_name1(name1=value1)]",
    "{{- '[' }}" + _EACH + "{{- f.name + '(' }}{%- for k, v in f.arguments | items %}{{- k + '=' + v | tojson }}"
    "{%- if not loop.last %}, {% endif %}{%- endfor %}{{- ')' }}{%- endfor %}{{- ']' }}",
)
_LFM2 = _template("<|tool_list_start|>", "")
_MISTRAL = _template(
    "",
    "{{- '[TOOL_CALLS] [' }}" + _EACH + "{%- if c.id | length != 9 %}{{- raise_exception('9 characters') }}{%- endif %}"
    '{{- \'{"name": "\' + f.name + \'", "arguments": \' + f.arguments | tojson + \', "id": "\' + c.id + \'"}\' }}'
    "{%- endfor %}{{- ']' }}",
    "{%- if m.tool_call_id | length != 9 %}{{- raise_exception('9 characters') }}{%- endif %}"
    "{{- '[TOOL_RESULTS]' + m.tool_call_id + m.content + '[/TOOL_RESULTS]' }}",
)
_MISTRAL_ARGS = _template(
    "",
    _EACH + "{{- '[TOOL_CALLS]' + f.name + '[CALL_ID]' + c.id + '[ARGS]' + f.arguments | tojson }}{%- endfor %}",
    "{{- '[TOOL_RESULTS]' + m.tool_call_id + '[TOOL_CONTENT]' + m.content + '[/TOOL_RESULTS]' }}",
)
_DEEPSEEK_V3 = _template(
    "",
    "{{- '<｜tool▁calls▁begin｜>' }}" + _EACH + "{{- '<｜tool▁call▁begin｜>' + c.type + '<｜tool▁sep｜>' + f.name"
    " + '\n```json\n' + f.arguments + '\n```<｜tool▁call▁end｜>' }}{%- endfor %}{{- '<｜tool▁calls▁end｜>' }}",
)
_DEEPSEEK_V31 = _template(
    "",
    "{{- '<｜tool▁calls▁begin｜>' }}" + _EACH + "{{- '<｜tool▁call▁begin｜>' + f.name + '<｜tool▁sep｜>' + f.arguments"
    " + '<｜tool▁call▁end｜>' }}{%- endfor %}{{- '<｜tool▁calls▁end｜>' }}",
)
_KIMI = _template(
    "",
    "{{- '<|tool_calls_section_begin|>' }}"
    + _EACH
    + "{{- '<|tool_call_begin|>' + c.id + '<|tool_call_argument_begin|>'"
    " + f.arguments | tojson + '<|tool_call_end|>' }}{%- endfor %}{{- '<|tool_calls_section_end|>' }}",
    "{{- '<|im_start|>tool\n## Return of ' + m.tool_call_id + '\n' + m.content + '<|im_end|>\n' }}",
)
_HARMONY = _template(
    "Calls go to the channel: <|channel|>commentary",
    "{%- set f = m.tool_calls[0].function %}{{- '<|start|>assistant to=functions.' + f.name"
    " + '<|channel|>commentary json<|message|>' + f.arguments | tojson + '<|call|>' }}",
)
_GLM45 = _template(
    "<tool_call>name\\n<arg_key>key</arg_key>\\n<arg_value>value</arg_value>\\n</tool_call>",
    _EACH + "{{- '\n<tool_call>' + f.name }}{%- for k, v in f.arguments.items() %}"
    "{{- '\n<arg_key>' + k + '</arg_key>\n<arg_value>' }}{{- v if v is string else v | tojson }}{{- '</arg_value>' }}"
    "{%- endfor %}{{- '\n</tool_call>' }}{%- endfor %}",
)
_GLM47 = _template(
    "<tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>",
    _EACH + "{{- '<tool_call>' + f.name }}{%- for k, v in f.arguments.items() %}"
    "{{- '<arg_key>' + k + '</arg_key><arg_value>' }}{{- v if v is string else v | tojson }}{{- '</arg_value>' }}"
    "{%- endfor %}{{- '</tool_call>' }}{%- endfor %}",
)
_MINIMAX = _template(
    "<minimax:tool_call>",
    "{{- '\n<minimax:tool_call>\n' }}" + _EACH + "{{- '<invoke name=\"' + f.name + '\">\n' }}"
    "{%- for k, v in f.arguments.items() %}{{- '<parameter name=\"' + k + '\">' }}"
    "{{- v if v is string else v | tojson }}{{- '</parameter>\n' }}{%- endfor %}{{- '</invoke>\n' }}{%- endfor %}"
    "{{- '</minimax:tool_call>' }}",
)
_GEMMA_FUNCTION = _template(
    "",
    _EACH + "{{- '<start_function_call>call:' + f.name + '{' }}{%- for k, v in f.arguments.items() %}"
    "{{- k + ':<escape>' + v | string + '<escape>' }}{%- endfor %}{{- '}<end_function_call>' }}{%- endfor %}",
    "{{- '<start_function_response>response:' + m.name + '{value:<escape>' + m.content + '<escape>}' }}",
)
_GEMMA4 = _template(
    "",
    _EACH + "{{- '<|tool_call>call:' + f.name + '{' }}{%- for k, v in f.arguments.items() %}"
    "{{- k + ':<|\"|>' + v | string + '<|\"|>' }}{%- endfor %}{{- '}<tool_call|>' }}{%- endfor %}",
    "{{- '<|tool_response>response:' + m.name + '{value:<|\"|>' + m.content + '<|\"|>}<tool_response|>' }}",
)
_PLAIN = (
    "{%- for m in messages %}{%- if loop.first and m.role == 'system' %}{{- raise_exception('no system role') }}"
    "{%- endif %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endfor %}"
) + _ANSWER


@attrs.frozen
class ToolTemplate:
    """A template and the family that it belongs to."""

    family: ToolFamily
    template: str


TOOL_TEMPLATES = (
    ToolTemplate(ToolFamily.HERMES, _HERMES),
    ToolTemplate(ToolFamily.QWEN3_CODER, _QWEN3_CODER),
    ToolTemplate(ToolFamily.LLAMA_JSON, _LLAMA_JSON),
    ToolTemplate(ToolFamily.LLAMA_PYTHON, _LLAMA_PYTHON),
    ToolTemplate(ToolFamily.LFM2, _LFM2),
    ToolTemplate(ToolFamily.MISTRAL, _MISTRAL),
    ToolTemplate(ToolFamily.MISTRAL_ARGS, _MISTRAL_ARGS),
    ToolTemplate(ToolFamily.DEEPSEEK_V3, _DEEPSEEK_V3),
    ToolTemplate(ToolFamily.DEEPSEEK_V31, _DEEPSEEK_V31),
    ToolTemplate(ToolFamily.KIMI, _KIMI),
    ToolTemplate(ToolFamily.HARMONY, _HARMONY),
    ToolTemplate(ToolFamily.GLM45, _GLM45),
    ToolTemplate(ToolFamily.GLM47, _GLM47),
    ToolTemplate(ToolFamily.LONGCAT, re.sub("(tool_call|arg_key|arg_value)>", r"longcat_\1>", _GLM45)),
    ToolTemplate(ToolFamily.MINIMAX, _MINIMAX),
    ToolTemplate(ToolFamily.GEMMA_FUNCTION, _GEMMA_FUNCTION),
    ToolTemplate(ToolFamily.GEMMA4, _GEMMA4),
    ToolTemplate(ToolFamily.GENERIC, _PLAIN),
)
"""One for each family; the generic one knows neither tools nor a system message."""
