"""Files that are gone: no model of the zoo seems whole without one, unless nothing reads that file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.integrity.rules import integrity, verification
from mlxknife.domain.models.rules import configs
from mlxknife.domain.models.values.hashes import HashAlgorithm, RecordedFile, RecordedHash
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.models.values.stored_models import ModelEntry
from mlxknife.domain.models.values.verdict import Finding, Integrity, Proof
from tests.adapters.test_real_repos import REPOS
from tests.builder import Files, chat_files, embedding_files, json_bytes, sha256, sharded_files, vision_files
from tests.unit.facts import facts_of, without

ZOO = {repo.name: repo.files for repo in REPOS if repo.integrity == "structural"} | {
    "org/chat": chat_files(),
    "org/shards": sharded_files(),
    "org/vision": vision_files(),
    "org/embedder": embedding_files()
    | {
        "modules.json": json_bytes(
            [
                {"path": "", "type": "sentence_transformers.models.Transformer"},
                {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
            ]
        )
    },
}


def finding(name: str, files: Files, listed: Files | None = None) -> Finding | None:
    """Return the first problem of a model, with the listing of the Hub where there is one."""
    facts = facts_of(files)
    found = integrity.findings(
        facts,
        needs_tokenizer=configs.needs_tokenizer(name, facts),
        needs_processor=configs.needs_image_processor(facts),
        manifest=None if listed is None else listing_of(listed),
    )
    return next(found, None)


def listing_of(files: Files) -> dict[str, RecordedFile]:
    return {
        name: RecordedFile(len(data), RecordedHash(HashAlgorithm.SHA256, sha256(data))) for name, data in files.items()
    }


def proof(name: str, files: Files, listed: Files | None) -> Proof | None:
    """Return what matching hashes of a model would prove."""
    manifest = None if listed is None else listing_of(listed)
    entry = ModelEntry(name, cached=True, location=Location("/m", ("/m",)), modified=0.0, manifest=manifest)
    return verification.plan(entry, facts_of(files)).proof


@pytest.mark.parametrize("name", ZOO)
def test_a_whole_model_is_whole_with_and_without_a_listing(name: str) -> None:
    assert finding(name, ZOO[name]) is None
    assert finding(name, ZOO[name], ZOO[name]) is None
    assert proof(name, ZOO[name], ZOO[name]) is Proof.MANIFEST


@given(st.sampled_from(sorted(ZOO)), st.data())
def test_with_files_gone_the_listing_is_never_the_proof(name: str, data: st.DataObject) -> None:
    files = ZOO[name]
    gone = data.draw(st.lists(st.sampled_from(sorted(files)), min_size=1, unique=True))
    left = without(files, *gone)
    found = finding(name, left, files)
    assert found is None or found.integrity in (Integrity.INCOMPLETE, Integrity.CORRUPT)
    assert proof(name, left, files) is not Proof.MANIFEST


@given(st.sampled_from(sorted(ZOO)), st.data())
def test_a_listing_finds_whatever_is_found_without_it(name: str, data: st.DataObject) -> None:
    files = ZOO[name]
    left = without(files, *data.draw(st.lists(st.sampled_from(sorted(files)), unique=True)))
    if finding(name, left) is not None:
        assert finding(name, left, files) is not None


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("org/chat", "tokenizer_config.json"),
        ("org/shards", "tokenizer_config.json"),
        ("org/vision", "tokenizer_config.json"),
        ("org/vision", "preprocessor_config.json"),
        ("org/embedder", "1_Pooling/config.json"),
    ],
)
def test_a_file_that_every_model_of_the_family_has_is_missed_without_a_listing(name: str, gone: str) -> None:
    found = finding(name, without(ZOO[name], gone))
    assert found is not None
    assert found.integrity is Integrity.INCOMPLETE
    assert gone in found.reason


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("org/chat", "special_tokens_map.json"),
        ("org/vision", "special_tokens_map.json"),
        ("org/embedder", "modules.json"),
        ("org/embedder", "sentence_bert_config.json"),
    ],
)
def test_a_file_that_a_loader_reads_is_missed_with_a_listing(name: str, gone: str) -> None:
    files = ZOO[name]
    assert finding(name, without(files, gone), files) == Finding(
        Integrity.INCOMPLETE, f"file missing: {gone} (the Hub lists it)"
    )


def test_a_file_that_no_loader_reads_may_be_left_out_by_a_pull() -> None:
    files = chat_files(card=True) | {"original/model.pth": b"x", "generation_config.json": b"{}"}
    left = without(files, "README.md", "original/model.pth", "generation_config.json")
    assert finding("org/chat", left, files) is None
    assert proof("org/chat", left, files) is Proof.FILES


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["path", "type", "idx"]) | st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_any_modules_json_gives_a_verdict(modules: object) -> None:
    files = embedding_files() | {"modules.json": json_bytes(modules)}
    found = finding("org/embedder", files)
    assert found is None or isinstance(modules, list) or "modules.json" in found.reason
