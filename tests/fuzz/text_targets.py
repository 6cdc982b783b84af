"""Parsers of JSON and text: configs, tokenizers, listings, cards, request bodies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mlxknife.adapters.folder import json_files
from mlxknife.adapters.folder.budget import ReadingBudget
from mlxknife.adapters.hfcache import stamps, trash, trees
from mlxknife.adapters.hub import api
from mlxknife.adapters.mlx.text import chat_format
from mlxknife.adapters.system.config_file import TomlConfigFile
from mlxknife.adapters.worker.protocol import Generate
from mlxknife.adapters.workspaces.workspaces import LocalWorkspaces
from mlxknife.domain.catalog.rules import model_card
from mlxknife.domain.errors import DownloadFailed, KnifeError, ValidationError
from mlxknife.domain.json_values import ValueLimits
from mlxknife.domain.text.rules.redaction import redacted
from mlxknife.domain.transfer import rules as transfer
from mlxknife.domain.transfer.values import RemoteCommit
from mlxknife.http.apis.openai.bodies import ChatCompletionBody, CompletionBody
from mlxknife.http.apis.openai.decoding import decode
from mlxknife.http.apis.openai.errors import error_response
from mlxknife.http.apis.openai.requests import chat_request, completion_request
from tests.builder import chat_files, json_bytes, sharded_files
from tests.e2e.fuzzing import CHAT, samples
from tests.fuzz.campaign import Mutation, Target
from tests.fuzz.mutations import as_json, misspelt, rewritten, scratched

MB = 10**6
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_SHA256 = _COMMIT + "0123456789abcdef01234567"
_CONFIG = {
    **json.loads(chat_files(vision_config={"depth": 2}, rope_scaling={"type": "yarn", "factor": 4.0})["config.json"]),
    "auto_map": {"AutoConfig": "configuration.Config"},
    "eos_token_id": [1, 2],
    "torch_dtype": "bfloat16",
}
_TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "added_tokens": [
        {
            "id": 0,
            "content": "</s>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
    ],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
    "model": {"type": "BPE", "unk_token": None, "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"], "dropout": None},
}
_TOKENIZER_CONFIG = {
    "chat_template": [
        {"name": "default", "template": "{{ messages }}"},
        {"name": "tool_use", "template": "{{ tools }}"},
    ],
    "added_tokens_decoder": {"0": {"content": "</s>", "special": True}},
    "eos_token": {"content": "</s>", "lstrip": False},
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_max_length": 1000000000000000019884624838656,
}
_TREE = {
    "format_version": 1,
    "files": {
        "config.json": {"size": 12, "blob_id": _COMMIT},
        "model.safetensors": {"size": 9, "blob_id": _COMMIT, "lfs_sha256": _SHA256, "lfs_size": 9, "xet_hash": _SHA256},
    },
}
_STAMPS = {"models--a--b/blobs/x": {"digest": _SHA256, "identity": [1, 2, 3, 4]}}
_NOTE = {"label": "org/model", "folder": "models--org--model", "commit": _COMMIT}
_SENTINEL = {"mlxk_version": "3.0", "managed": True, "source_repo": "org/model", "source_revision": _COMMIT}
_REVISION = {"sha": _COMMIT, "id": "org/model", "siblings": [{"rfilename": "config.json"}]}
_ENTRIES = [
    {"type": "file", "oid": _COMMIT, "size": 12, "path": "config.json"},
    {"type": "directory", "oid": _COMMIT, "size": 0, "path": "onnx"},
    {
        "type": "file",
        "oid": _COMMIT,
        "size": 99,
        "path": "onnx/model.safetensors",
        "xetHash": _SHA256,
        "lfs": {"oid": _SHA256, "size": 99, "pointerSize": 133},
    },
]
_HUB_ERRORS = (DownloadFailed, ValidationError)
_CARD = """---
license: apache-2.0
license_name: "own"
library_name: mlx  # a comment
base_model:
- org/base
- 'org/other'
tags: [chat, "mlx", 4bit]
model-index:
  - name: x
    results: {a: [1, 2]}
---
# A model
"""
_TOML = '[run]\ntemperature = 0.5\nstop = ["a", "b"]\n\n[serve]\nport = 8000\n# a comment\nhost = "127.0.0.1"\n'


def json_mutations(*documents: object) -> tuple[Mutation, ...]:
    """Return mutations of JSON documents: of their bytes, their values and their spelling."""
    texts = [as_json(document) for document in documents]
    return (
        lambda random: scratched(random.choice(texts), random),
        lambda random: rewritten(random.choice(documents), random),
        lambda random: misspelt(random.choice(documents), random),
    )


def text_mutations(text: str) -> tuple[Mutation, ...]:
    """Return mutations of a text."""
    data = text.encode()
    return (lambda random: scratched(data, random),)


def targets(folder: Path) -> Iterator[Target]:
    """Yield the targets; those that read files write them into the folder."""
    yield from _model_files(folder)
    yield from _cache_files(folder)
    yield from _bodies()
    answers = json_mutations(_REVISION, _ENTRIES, [{"id": "org/model"}, {"id": "other/model"}])
    yield Target("answers of the Hub", answers, _hub_answer, _HUB_ERRORS, share=700, largest=4 * MB)
    yield Target("model card", text_mutations(_CARD), _card, share=400, largest=MB)
    config = TomlConfigFile(str(folder / "config.toml"))
    yield Target("config file", text_mutations(_TOML), partial(_config_file, config), (ValidationError,), share=100)


def file_reader(path: Path, read: Callable[[str, int], object]) -> Callable[[bytes], object]:
    """Return a parser of bytes from a file. The file is never made empty: some disks take time for that."""

    def parse(data: bytes) -> object:
        overwrite(path, data)
        return read(str(path), len(data))

    return parse


def _of_one_model(read: Callable[[str, int, ReadingBudget], object]) -> Callable[[str, int], object]:
    return lambda path, size: read(path, size, ReadingBudget())


def overwrite(path: Path, data: bytes) -> None:
    with path.open("r+b" if path.exists() else "xb", buffering=0) as file:
        file.write(data)
        file.truncate()


def _model_files(folder: Path) -> Iterator[Target]:
    index = json.loads(sharded_files()["model.safetensors.index.json"])
    configs = json_mutations(_CONFIG, _TOKENIZER_CONFIG)
    path = folder / "read.json"
    yield Target("config JSON", configs, file_reader(path, _of_one_model(json_files.parse)), share=1000, largest=4 * MB)
    yield Target(
        "index of shards",
        json_mutations(index),
        file_reader(path, _of_one_model(json_files.parse_index)),
        share=400,
        largest=8 * MB,
    )
    yield Target(
        "checked JSON",
        json_mutations(_CONFIG),
        file_reader(path, _of_one_model(json_files.check)),
        share=300,
        largest=16 * MB,
    )
    yield Target(
        "tokenizer.json",
        json_mutations(_TOKENIZER, json.loads(chat_files()["tokenizer.json"])),
        file_reader(path, _of_one_model(json_files.check_tokenizer)),
        share=1000,
        largest=16 * MB,
    )
    home = folder / "templates"
    home.mkdir()
    templates = json_mutations(_TOKENIZER_CONFIG)
    parse = file_reader(home / "tokenizer_config.json", lambda *_: chat_format.chat_template(home))
    yield Target("chat templates", templates, parse, share=200)


def _cache_files(folder: Path) -> Iterator[Target]:
    yield Target("tree manifest", json_mutations(_TREE), trees.decode, share=600, largest=8 * MB)
    repo = folder / "models--org--model"
    (repo / stamps.OWN).mkdir(parents=True)
    read = file_reader(repo / stamps.OWN / stamps.STAMPS, lambda *_: stamps.load(str(repo.resolve())))
    yield Target("stamps", json_mutations(_STAMPS), read, share=200, largest=8 * MB)
    item = folder / "item"
    item.mkdir()
    read = file_reader(item / trash.NOTE, lambda *_: (trash.origin(str(item)), trash.describe(str(item))))
    yield Target("trash note", json_mutations(_NOTE), read, share=200, largest=MB)
    home = folder / "home"
    (home / "own").mkdir(parents=True)
    (home / "own/config.json").write_bytes(json_bytes(_CONFIG))
    workspaces = LocalWorkspaces(str(home))
    read = file_reader(home / "own/.mlxk_workspace.json", lambda *_: workspaces.at_home())
    yield Target("sentinel", json_mutations(_SENTINEL), read, share=200, largest=MB)


def _bodies() -> Iterator[Target]:
    chats = [body for path, body in samples("model") if path == CHAT]
    texts = [body for path, body in samples("model") if path != CHAT]
    for name, documents, parse, share in (
        ("chat body", chats, _chat_body, 1200),
        ("completion body", texts, _completion_body, 800),
    ):
        yield Target(name, json_mutations(*documents), parse, share=share, largest=4 * MB)
    yield Target("count of JSON values", json_mutations(*chats, *texts), _counted, share=300, largest=16 * MB)


def _chat_body(data: bytes) -> object:
    return _answered(lambda: chat_request(decode(data, ChatCompletionBody)))


def _completion_body(data: bytes) -> object:
    return _answered(lambda: completion_request(decode(data, CompletionBody)))


def _answered(read: Callable[[], Any]) -> object:
    """Return the request as the model process decodes it, or the error as the client reads it."""
    try:
        return Generate.of(1, read()).request()
    except KnifeError as exc:
        response = error_response(exc, "req_1", redacted)
        document = json.loads(response.body)
    assert 400 <= response.status < 500, document
    return document


def _counted(data: bytes) -> None:
    """Check that a text is refused where it has too many values, and only there, as far as it is JSON."""
    for limit in (1, 10, 100):
        ValueLimits(limit, 2 * limit).excess(data)


def _hub_answer(data: bytes) -> object:
    """Read an answer of the Hub as each of the answers that it may be. Raises the first error where it is none."""
    kinds = (_revision, _found, _listing)
    failures = list[Exception]()
    for read in kinds:
        try:
            read(data)
        except _HUB_ERRORS as exc:
            failures.append(exc)
    if len(failures) == len(kinds):
        raise failures[0]
    return len(failures)


def _revision(data: bytes) -> object:
    return api.checked_commit(api.decode(data, api.ApiRevision).sha)


def _found(data: bytes) -> object:
    return transfer.similar_models([model.id for model in api.decode(data, list[api.ApiModel])], "org/model")


def _listing(data: bytes) -> object:
    files = [api.remote_file(one) for one in api.decode(data, list[api.ApiTreeEntry]) if one.type == "file"]
    commit = RemoteCommit("org/model", _COMMIT, tuple(files))
    transfer.check_listing(commit)
    selected = transfer.select_files(commit.files, ("*.json", "onnx/*"), ("*.md",))
    assert trees.decode(trees.encode(commit)) is not None
    return selected


def _card(data: bytes) -> object:
    return model_card.parse(data.decode(errors="replace"))


def _config_file(config: TomlConfigFile, data: bytes) -> object:
    overwrite(Path(config.path), data)
    text = config.text() or ""
    return config.document(text)
