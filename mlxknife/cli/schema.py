"""The JSON Schema of every document, generated from its types. ``python -m mlxknife.cli.schema`` prints it."""

from __future__ import annotations

import json
import sys

from msgspec.json import schema_components

from mlxknife.cli.embed_documents import EmbedData
from mlxknife.cli.json_documents import (
    JSON_API_SPEC_VERSION,
    ConfigData,
    ErrorObject,
    HealthData,
    ListData,
    PullData,
    RmData,
    ServerData,
    ShowData,
    VersionData,
)
from mlxknife.cli.rerank_documents import RerankData
from mlxknife.cli.retrieval_documents import IndexData, SearchData
from mlxknife.cli.run_documents import RunData

DATA_TYPES = {
    "list": ListData,
    "show": ShowData,
    "health": HealthData,
    "pull": PullData,
    "rm": RmData,
    "run": RunData,
    "embed": EmbedData,
    "index": IndexData,
    "search": SearchData,
    "rerank": RerankData,
    "server": ServerData,
    "config": ConfigData,
    "version": VersionData,
}
"""The type of ``data`` for each command."""
_REF = "#/$defs/{name}"


def json_schema() -> dict[str, object]:
    """Return the schema: one envelope for each command that succeeds, and one for every failure."""
    refs, components = schema_components((*DATA_TYPES.values(), ErrorObject), ref_template=_REF)
    *data_refs, error_ref = refs
    answers = {f"{name}_answer": _success(name, data) for name, data in zip(DATA_TYPES, data_refs, strict=True)}
    envelopes = {**answers, "error_answer": _failure(error_ref)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"mlxk --json, specification {JSON_API_SPEC_VERSION}",
        "oneOf": [{"$ref": _REF.format(name=name)} for name in envelopes],
        "$defs": {**envelopes, **components},
    }


def _success(command: str, data: object) -> dict[str, object]:
    return _envelope({"const": "success"}, {"const": command}, data, {"type": "null"})


def _failure(error: object) -> dict[str, object]:
    commands: list[str | None] = [*DATA_TYPES, None]
    return _envelope({"const": "error"}, {"enum": commands}, {"type": ["object", "null"]}, error)


def _envelope(status: object, command: object, data: object, error: object) -> dict[str, object]:
    properties = {"status": status, "command": command, "data": data, "error": error}
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
