"""An importer that only notes what it is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from mlxknife.domain.errors import ValidationError


@attrs.define
class FakeImporter:
    """Fulfils ``ports.importer``: a file that begins with ``GGUF`` becomes a config and weights, as they are."""

    manners: list[Mapping[str, float]] = attrs.field(factory=list)
    """What was said of how the models are to answer."""

    def import_gguf(
        self, source: str, destination: str, generation_config: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        self.manners.append(generation_config)
        with open(source, "rb") as file:
            data = file.read()
        if not data.startswith(b"GGUF"):
            msg = "Not a valid GGUF file"
            raise ValidationError(msg)
        for name, content in (("config.json", b"{}"), ("model.safetensors", data)):
            with open(os.path.join(destination, name), "xb") as file:
                file.write(content)
