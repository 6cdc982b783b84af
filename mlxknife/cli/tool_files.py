"""The functions of a Python file, which ``run --tools`` offers to a model."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import TypeGuard

from mlxknife.cli import prompt_input
from mlxknife.cli.streams import stdout_to_stderr
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import HintCode
from mlxknife.domain.settings.values.settings import Settings

_MODULE = "mlxk_tools"
"""The name of the module that the file becomes."""


def read_tools(path: str, settings: Settings, on_skipped: Callable[[str], None]) -> tuple[FunctionType, ...]:
    """Run a file of the user, and return the functions that it offers.

    These are the functions in its list ``TOOLS``; otherwise those that ``__all__`` names; otherwise the public
    functions that it defines and whose parameters all have type hints. ``on_skipped`` gets the name of each public
    function without them.

    Raises ValidationError for a file that is in a folder of models, is not Python, fails or has no such function;
    OSError for one that cannot be read.
    """
    if not path.endswith(".py"):
        msg = f"{path} is not a .py file, and --tools runs the code of its file"
        raise ValidationError(msg)
    _refuse_models(path, settings)
    source = prompt_input.read_file(path)
    module = ModuleType(_MODULE)
    module.__file__ = os.path.abspath(path)
    sys.modules[_MODULE] = module  # dataclasses and type hints look for it there
    with _failures(path), stdout_to_stderr():
        exec(compile(source, module.__file__, "exec"), module.__dict__)  # noqa: S102 - the user names the file to run
    functions = tuple(_offered(path, module, on_skipped))
    if not functions:
        msg = f"{path} defines no function for a model"
        raise ValidationError(msg, hint=HintCode.TOOL_FUNCTIONS)
    return functions


def _offered(path: str, module: ModuleType, on_skipped: Callable[[str], None]) -> Iterator[FunctionType]:
    listed = getattr(module, "TOOLS", None)
    if listed is None and hasattr(module, "__all__"):
        listed = [getattr(module, name, name) for name in module.__all__]
    if listed is None:
        for name, value in vars(module).items():
            if _is_own(value, name, module):
                if _has_hints(value):
                    yield value
                else:
                    on_skipped(name)
        return
    for value in listed if isinstance(listed, Sequence) else (listed,):
        if not isinstance(value, FunctionType):
            msg = f"{path} lists what is no function: {value!r:.100}"
            raise ValidationError(msg, hint=HintCode.TOOL_FUNCTIONS)
        yield value


def _is_own(value: object, name: str, module: ModuleType) -> TypeGuard[FunctionType]:
    """Whether the file defines a public function under its own name."""
    is_function = isinstance(value, FunctionType) and value.__module__ == module.__name__
    return is_function and name == value.__name__ and not name.startswith("_")  # type: ignore[attr-defined] # a function


def _has_hints(function: FunctionType) -> bool:
    return all(one.annotation is not one.empty for one in inspect.signature(function).parameters.values())


@contextmanager
def _failures(path: str) -> Iterator[None]:
    """Raise ValidationError for whatever the code of a file raises."""
    try:
        yield
    except SyntaxError as exc:
        msg = f"{path} is not valid Python: {exc.msg} (line {exc.lineno})"
        raise ValidationError(msg) from exc
    except (Exception, SystemExit) as exc:  # the code is the user's, and may raise anything
        msg = f"{path} failed: {type(exc).__name__}: {exc}"
        raise ValidationError(msg) from exc


def _refuse_models(path: str, settings: Settings) -> None:
    """Raise ValidationError for a file that may have come with a model."""
    for place in (os.path.abspath(path), os.path.realpath(path)):
        folder = os.path.dirname(place)
        roots = [os.path.realpath(root) for root in (settings.hub_cache, settings.workspace_home)]
        while folder != os.path.dirname(folder):
            if os.path.realpath(folder) in roots or _is_model(folder):
                msg = f"{path} is in a folder of models, and no code of a model becomes a tool"
                raise ValidationError(msg, hint=HintCode.COPY_TOOLS)
            folder = os.path.dirname(folder)


def _is_model(folder: str) -> bool:
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return "config.json" in names and any(name.endswith((".safetensors", ".gguf")) for name in names)
