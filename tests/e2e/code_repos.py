"""Sixty models that carry code: each would leave a trace on the disk if any of its code ran."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.builder import gguf_files

Json = dict[str, Any]
Arm = Callable[[Path, Path], None]
"""Puts code into the folder of a model, which writes to the trace when it runs."""

_SHADOWED = """json sitecustomize usercustomize mlx mlx_lm transformers tokenizers safetensors numpy jinja2 msgspec
    attrs starlette uvicorn huggingface_hub mlxknife conftest __init__ setup""".split()
"""Modules that Python would find in the working folder."""
_ESCAPES = (
    "{{{{ cycler.__init__.__globals__.os.system({command!r}) }}}}",
    "{{{{ lipsum.__globals__['os'].system({command!r}) }}}}",
    "{{{{ self.__init__.__globals__.__builtins__.__import__('os').system({command!r}) }}}}",
    "{{{{ ''.__class__ }}}}{{{{ joiner.__init__.__globals__['os'].system({command!r}) }}}}",
    "{{{{ (messages | attr('__class__')).__base__ }}}}{{{{ joiner.__init__.__globals__.os.system({command!r}) }}}}",
    "{{{{ raise_exception.__globals__['__builtins__']['exec']({python!r}) }}}}",
    "{{{{ strftime_now.__globals__['__builtins__']['eval']({expression!r}) }}}}",
)
"""Templates that escape an environment without a sandbox."""


class _Pickled:
    """Runs code when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return exec, (python(self._trace),)


def python(trace: Path) -> str:
    """Return code that leaves the trace."""
    return f"with open({os.fspath(trace)!r}, 'a') as file: file.write('ran ')\n"


def pickled(trace: Path) -> bytes:
    """Return a pickle that leaves the trace."""
    return pickle.dumps(_Pickled(trace))


def escapes(trace: Path) -> list[str]:
    """Return templates that leave the trace, where no sandbox holds them."""
    command = f"echo ran >> {trace}"
    expression = f"__import__('os').system({command!r})"
    return [one.format(command=command, python=python(trace), expression=expression) for one in _ESCAPES]


def arms() -> Mapping[str, Arm]:
    """Return the ways to arm a model, by the name of the model."""
    found = {**_architectures(), **_tokenizers(), **_weights(), **_templates(), **_others()}
    found |= {f"module-{name.strip('_')}": _shadowing(name) for name in _SHADOWED}
    return found


def _change(folder: Path, name: str, **values: object) -> None:
    path = folder / name
    document: Json = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(document | values))


def _code(folder: Path, trace: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{python(trace)}from mlx_lm.models.llama import Model, ModelArgs\nOwn = Model\n")


def _configured(*files: str, name: str = "config.json", **values: object) -> Arm:
    """Return an arm that writes code files and has a config name them."""

    def arm(folder: Path, trace: Path) -> None:
        _code(folder, trace, *files)
        _change(folder, name, **values)

    return arm


def _shadowing(module: str) -> Arm:
    return lambda folder, trace: _code(folder, trace, f"{module}.py", f"{module}/__init__.py")


def _architectures() -> dict[str, Arm]:
    classes = {"AutoConfig": "configuration.Own", "AutoModelForCausalLM": "modeling.Own", "AutoModel": "modeling.Own"}
    files = ("configuration.py", "modeling.py")
    return {
        "model-file": _configured("own.py", model_type="own", model_file="own.py"),
        "model-file-of-known-type": _configured("own.py", model_file="own.py"),
        "model-file-in-folder": _configured("deep/own.py", model_type="own", model_file="deep/own.py"),
        "model-file-outside": _configured("../own.py", model_type="own", model_file="../own.py"),
        "model-file-empty": _configured("own.py", model_type="own", model_file=""),
        "model-file-list": _configured("own.py", model_type="own", model_file=["own.py"]),
        "auto-map": _configured(*files, auto_map=classes),
        "auto-map-of-unknown-type": _configured(*files, auto_map=classes, model_type="own"),
        "auto-map-of-other-repo": _configured(*files, auto_map={"AutoConfig": "org/other--configuration.Own"}),
        "auto-map-trusted": _configured(*files, auto_map=classes, trust_remote_code=True),
        "model-type-is-path": _configured("own.py", model_type="../own"),
        "model-type-is-module": _configured("own.py", model_type="llama.own"),
        "architecture-is-code": _configured("own.py", architectures=["__import__('own')"]),
        "quantizer": _configured("own.py", quantization_config={"quant_method": "own", "modules": "own.Own"}),
    }


def _tokenizers() -> dict[str, Arm]:
    own = {"auto_map": {"AutoTokenizer": ["tokenization.Own", "tokenization.Own"]}, "tokenizer_class": "OwnTokenizer"}
    name = "tokenizer_config.json"

    def without_json(folder: Path, trace: Path) -> None:
        _configured("tokenization.py", name=name, **own)(folder, trace)
        (folder / "tokenizer.json").rename(folder / "spiece.model")

    def pickled_vocabulary(folder: Path, trace: Path) -> None:
        (folder / "tokenizer.json").unlink()
        for file in ("tokenizer.model", "tokenizer.pkl", "vocab.pkl"):
            (folder / file).write_bytes(pickled(trace))
        _change(folder, name, tokenizer_class="LlamaTokenizer")

    processor = {"auto_map": {"AutoProcessor": "processing.Own", "AutoImageProcessor": "processing.Own"}}
    return {
        "tokenizer": _configured("tokenization.py", name=name, **own),
        "tokenizer-needed": without_json,
        "tokenizer-class": _configured("tokenization_own.py", "own.py", name=name, tokenizer_class="own.Own"),
        "tokenizer-trusted": _configured("tokenization.py", name=name, **own, trust_remote_code=True),
        "tokenizer-pickled": pickled_vocabulary,
        "tool-parser": _configured("own.py", name=name, tool_parser_type="..own"),
        "tool-parser-is-path": _configured("own.py", name=name, tool_parser_type="/own"),
        "chat-template-type": _configured("own.py", name=name, chat_template_type="own"),
        "processor": _configured("processing.py", name="preprocessor_config.json", **processor),
        "processor-config": _configured("processing.py", name="processor_config.json", **processor),
        "custom-generate": _configured(
            "custom_generate/generate.py", name="generation_config.json", custom_generate="custom_generate"
        ),
    }


def _weights() -> dict[str, Arm]:
    def beside(*names: str) -> Arm:
        def arm(folder: Path, trace: Path) -> None:
            for name in names:
                (folder / name).write_bytes(pickled(trace))

        return arm

    def instead(*names: str) -> Arm:
        def arm(folder: Path, trace: Path) -> None:
            (folder / "model.safetensors").unlink()
            beside(*names)(folder, trace)

        return arm

    def zipped(folder: Path, trace: Path) -> None:
        (folder / "model.safetensors").unlink()
        with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
            archive.writestr("archive/data.pkl", pickled(trace))

    def arrays(folder: Path, trace: Path) -> None:
        (folder / "model.safetensors").unlink()
        with zipfile.ZipFile(folder / "weights.npz", "w") as archive:
            head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
            archive.writestr("w.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + pickled(trace))

    return {
        "pickles-beside": beside("pytorch_model.bin", "optimizer.pt", "training_args.bin", "rng_state.pth"),
        "pickle-instead": instead("pytorch_model.bin"),
        "pickle-as-safetensors": instead("model.safetensors"),
        "pickle-as-model-pt": instead("model.pt", "consolidated.00.pth"),
        "pickle-zipped": zipped,
        "pickled-arrays": arrays,
    }


def _templates() -> dict[str, Arm]:
    def text(file: str, number: int) -> Arm:
        def arm(folder: Path, trace: Path) -> None:
            (folder / "chat_template.jinja").unlink(missing_ok=True)
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(escapes(trace)[number])

        return arm

    def config(file: str, number: int, *, named: bool = False) -> Arm:
        def arm(folder: Path, trace: Path) -> None:
            (folder / "chat_template.jinja").unlink(missing_ok=True)
            template = escapes(trace)[number]
            _change(folder, file, chat_template=[{"name": "default", "template": template}] if named else template)

        return arm

    return {
        "template": text("chat_template.jinja", 0),
        "template-globals": text("chat_template.jinja", 1),
        "template-of-many": text("additional_chat_templates/default.jinja", 2),
        "template-in-config": config("tokenizer_config.json", 3),
        "template-named": config("tokenizer_config.json", 4, named=True),
        "template-of-processor": config("processor_config.json", 5),
        "template-json": config("chat_template.json", 6),
    }


def _others() -> dict[str, Arm]:
    def file(name: str, text: Callable[[Path], str]) -> Arm:
        def arm(folder: Path, trace: Path) -> None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text(trace))
            (folder / name).chmod(0o755)

        return arm

    def gguf(folder: Path, trace: Path) -> None:
        for name, data in gguf_files().items():
            (folder / name).write_bytes(data + pickled(trace))

    def shell(trace: Path) -> str:
        return f"#!/bin/sh\necho ran >> {trace}\n"

    return {
        "card": file("README.md", lambda trace: f"---\nlicense: !!python/object/apply:os.system ['{trace}']\n---\n"),
        "hook": file(".git/hooks/post-checkout", shell),
        "requirements": file("requirements.txt", lambda trace: f"-e {trace}\n"),
        "settings": file("config.toml", lambda _: "allow_remote_code = true\n[run]\nallow_remote_code = true\n"),
        "modules": file("modules.json", lambda _: json.dumps([{"idx": 0, "name": "0", "path": "", "type": "own.Own"}])),
        "gguf-beside": gguf,
    }
