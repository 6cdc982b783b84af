"""Hypothesis strategies of the property tests."""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs
from hypothesis import strategies as st

from tests.builder import (
    Files,
    Layout,
    chat_files,
    embedding_files,
    gguf_files,
    pytorch_files,
    sharded_files,
    speech_files,
    vision_files,
)
from tests.builder import safetensors as safetensors_file
from tests.property.damage import Damage, Op

_MAX_FOLDER_BYTES = 255

_STRANGE = "-_.@%~ \\\u00ad\u200b\u200d\u200e\u202e\u2066\u2028\x1b\x07\n\r\tß\u212aé\u0301日🦙aB0"
_POSSIBLE = "abcXYZ019-_."


def strange_text(max_size: int = 40) -> st.SearchStrategy[str]:
    """Hostile text, and harmless text of any language."""
    return st.text(st.one_of(st.sampled_from(_STRANGE), st.characters()), max_size=max_size)


def _is_file_name(name: str) -> bool:
    is_possible = name not in ("", ".", "..") and not set("/\0") & set(name)
    return is_possible and len(os.fsencode(name)) <= _MAX_FOLDER_BYTES


def file_names(max_size: int = 120) -> st.SearchStrategy[str]:
    """Every file name of a POSIX disk as Python reads it: bytes that are not UTF-8 become lone surrogates."""
    return st.one_of(
        st.text(st.sampled_from(_POSSIBLE), min_size=1, max_size=max_size),
        st.text(st.sampled_from(_STRANGE), min_size=1, max_size=30),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
        st.binary(min_size=1, max_size=max_size).map(os.fsdecode),
    ).filter(_is_file_name)


def repo_folders() -> st.SearchStrategy[str]:
    """Folder names of a cache, usual and odd."""
    words = st.text(st.sampled_from(_POSSIBLE), min_size=1, max_size=12)
    usual = st.builds("models--{}--{}".format, words, words)
    return st.one_of(usual, file_names().map("models--{}".format)).filter(_is_file_name)


def repo_ids() -> st.SearchStrategy[str]:
    """Repo ids that the Hub allows."""
    word = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.]|-(?!-)){0,10}[A-Za-z0-9]", fullmatch=True)
    word = word.filter(lambda text: ".." not in text and "--" not in text)
    owner = st.one_of(st.just("mlx-community"), st.just("Org"), word)
    return st.one_of(word, st.builds("{}/{}".format, owner, word))


@attrs.frozen
class ModelPlan:
    """A model to build, and the damage to apply to it."""

    files: Files
    layout: Layout
    damages: tuple[Damage, ...]


_KINDS: tuple[Callable[[], Files], ...] = (
    chat_files,
    sharded_files,
    embedding_files,
    vision_files,
    gguf_files,
    pytorch_files,
    speech_files,
)


@st.composite
def good_plans(draw: st.DrawFn) -> ModelPlan:
    """Draw an intact model of any kind; its weights differ from those of every other model."""
    kind = draw(st.sampled_from(_KINDS))
    files, salt = kind(), draw(st.uuids()).hex
    for name in [name for name in files if name.endswith((".gguf", ".bin"))]:
        files[name] += salt.encode()
    if "model.safetensors" in files:
        metadata = draw(st.sampled_from([None, {"format": "mlx"}]))
        files["model.safetensors"] = safetensors_file({salt: ("F16", (2, 4))}, metadata)
        if metadata is not None:
            files.setdefault("tokenizer_config.json", b"{}")  # mlx-lm writes it with the weights
    if draw(st.booleans()):
        files["README.md"] = b"---\nlibrary_name: mlx\ntags: [a, b]\n---\n" + salt.encode()
    layouts = [layout for layout in Layout if layout is not Layout.SHARED or kind is not sharded_files]
    return ModelPlan(files=files, layout=draw(st.sampled_from(layouts)), damages=())


def damages() -> st.SearchStrategy[Damage]:
    """One damage."""
    return st.builds(
        Damage,
        op=st.sampled_from(Op),
        target=st.integers(0, 100),
        place=st.integers(0, 200),
        data=st.binary(max_size=24),
        weights_only=st.booleans(),
    )


def weight_damages() -> st.SearchStrategy[Damage]:
    """One damage to the bytes of weights."""
    return st.builds(
        Damage,
        op=st.sampled_from([Op.TRUNCATE, Op.EXTEND, Op.GARBAGE]),
        target=st.integers(0, 3),
        place=st.one_of(st.integers(0, 20), st.integers(0, 200)),
        data=st.binary(min_size=1, max_size=24),
        weights_only=st.just(value=True),
    )


def damaged_plans() -> st.SearchStrategy[ModelPlan]:
    """A model with changes that may or may not damage it."""
    hurt = st.lists(damages(), min_size=1, max_size=3).map(tuple)
    return st.builds(lambda plan, damages: attrs.evolve(plan, damages=damages), good_plans(), hurt)
