"""``--verify`` is right: no generated damage is verified, and no intact model is corrupt.

``make stress`` runs the full numbers with new seeds, and stores its seeds and counts.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import mlxknife
from mlxknife import Integrity
from mlxknife.domain.integrity.values import ModelHealth
from mlxknife.domain.models.values.verdict import Proof
from tests.builder import (
    BuiltModel,
    CacheBuilder,
    Files,
    Layout,
    chat_files,
    embedding_files,
    gguf_files,
    pytorch_files,
    safetensors,
    sha256,
    sharded_files,
    vision_files,
)
from tests.scorecard import Scorecard

SEED = 20_261_121
KINDS: tuple[Callable[[], Files], ...] = (
    chat_files, sharded_files, embedding_files, vision_files, gguf_files, pytorch_files,
)  # fmt: skip


def health(hub: Path) -> ModelHealth:
    app = mlxknife.open_app(hub_cache=hub, workspace_home=hub / "none", environment={"XDG_CONFIG_HOME": str(hub)})
    (entry,) = app.health.check(verify=True).entries
    return entry


def verdict(hub: Path) -> Integrity:
    return health(hub).integrity


def salted(files: Files, rng: random.Random) -> Files:
    """Give a model random weights, which no other model has."""
    for name in [name for name in files if name.endswith(".safetensors")]:
        whole = bytearray(files[name])
        header = 8 + int.from_bytes(whole[:8], "little")
        whole[header:] = rng.randbytes(len(whole) - header)
        files[name] = bytes(whole)
    return files


def write_listing(model: BuiltModel, files: Files) -> None:
    """Write the tree manifest that huggingface_hub leaves."""
    entries = {
        name: {"size": len(data), "blob_id": "0" * 40, "lfs_sha256": sha256(data)} for name, data in files.items()
    }
    path = model.repo / "trees" / f"{model.commit}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"format_version": 1, "files": entries}))


def flip(model: BuiltModel, rng: random.Random) -> None:
    path = rng.choice([file for file in files_of(model) if file.stat().st_size])
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def truncate(model: BuiltModel, rng: random.Random) -> None:
    path = rng.choice([file for file in files_of(model) if file.stat().st_size])
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def grow(model: BuiltModel, rng: random.Random) -> None:
    path = rng.choice(files_of(model))
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randint(1, 9)))


def zero(model: BuiltModel, rng: random.Random) -> None:
    path = rng.choice([file for file in files_of(model) if any(file.read_bytes())])
    path.write_bytes(bytes(path.stat().st_size))


def swap_blobs(model: BuiltModel, rng: random.Random) -> None:
    one, other = rng.sample(files_of(model), 2)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def swap_links(model: BuiltModel, rng: random.Random) -> None:
    one, other = rng.sample([link for link in links_of(model) if link.parent == model.snapshot], 2)
    first, second = one.readlink(), other.readlink()
    one.unlink()
    other.unlink()
    one.symlink_to(second)
    other.symlink_to(first)


def wrong_link(model: BuiltModel, rng: random.Random) -> None:
    one, other = rng.sample([link for link in links_of(model) if link.parent == model.snapshot], 2)
    one.unlink()
    one.symlink_to(other.readlink())


def drop_shard(model: BuiltModel, rng: random.Random) -> None:
    weights = [file for file in model.snapshot.iterdir() if file.name.endswith((".safetensors", ".bin", ".gguf"))]
    rng.choice(weights).unlink()


def drop_blob(model: BuiltModel, rng: random.Random) -> None:
    rng.choice(files_of(model)).unlink()


def drop_link(model: BuiltModel, rng: random.Random) -> None:
    rng.choice(links_of(model)).unlink()


def drop_many(model: BuiltModel, rng: random.Random) -> None:
    links = links_of(model)
    for link in rng.sample(links, rng.randint(1, len(links))):
        link.unlink()


DAMAGES = (
    flip, truncate, grow, zero, swap_blobs, swap_links, wrong_link, drop_shard, drop_blob, drop_link, drop_many,
)  # fmt: skip
REMOVALS = (drop_link, drop_many)
"""A file that is gone without a trace, and that no loader needs, does not make the others wrong."""
NEEDS_LISTING = (swap_links,)
"""Only the structure or a listing shows that two valid files were swapped."""


def links_of(model: BuiltModel) -> list[Path]:
    return sorted(path for path in model.snapshot.rglob("*") if path.is_symlink())


def files_of(model: BuiltModel) -> list[Path]:
    """Return the paths of the bytes of a model, each once."""
    return sorted({path.resolve() for path in model.snapshot.rglob("*") if path.is_file()})


def damage_many(count: int, seed: int, hub: Path) -> Counter[str]:
    verdicts: Counter[str] = Counter()
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        make, layout, damage = rng.choice(KINDS), rng.choice((Layout.LINKS, Layout.SHARED)), rng.choice(DAMAGES)
        files = salted(make(), rng)
        if damage in (swap_blobs, swap_links, wrong_link) and len(files) < 2:
            files = salted(sharded_files(), rng)
        model = CacheBuilder(hub).model("org/model", files, layout=layout)
        if damage in NEEDS_LISTING or rng.random() < 0.3:
            write_listing(model, files)
        damage(model, rng)
        found = health(hub)
        where = f"{damage.__name__} on {make.__name__}, {layout}, number {number} of seed {seed}"
        assert found.proof is not Proof.MANIFEST, where
        if damage not in REMOVALS:
            assert found.integrity is not Integrity.VERIFIED, where
        verdicts[found.integrity.value if found.proof is None else f"verified ({found.proof.value})"] += 1
        shutil.rmtree(hub)
    return verdicts


def keep_many(count: int, seed: int, hub: Path) -> Counter[str]:
    verdicts: Counter[str] = Counter()
    for number in range(count):
        rng = random.Random(f"{seed}/intact/{number}")
        make, layout = rng.choice(KINDS), rng.choice(list(Layout))
        files = salted(make(), rng)
        model = CacheBuilder(hub).model("org/model", files, layout=layout)
        listed = rng.random() < 0.5
        if listed:
            write_listing(model, files)
        found = health(hub)
        hashed = listed or layout is not Layout.PLAIN
        expected = Integrity.VERIFIED if hashed else Integrity.STRUCTURAL
        proof = Proof.MANIFEST if listed else Proof.FILES if hashed else None
        assert (found.integrity, found.proof) == (expected, proof), (
            f"{make.__name__}, {layout}, number {number} of seed {seed}"
        )
        verdicts[found.integrity.value if found.proof is None else f"verified ({found.proof.value})"] += 1
        shutil.rmtree(hub)
    return verdicts


def test_damage_is_never_verified(tmp_path: Path) -> None:
    assert damage_many(400, SEED, tmp_path / "hub").total() == 400


def test_an_intact_model_is_never_corrupt(tmp_path: Path) -> None:
    assert keep_many(150, SEED, tmp_path / "hub").total() == 150


@pytest.mark.stress(part="damaged-caches")
def test_ten_thousand_damages(tmp_path: Path, scorecard: Scorecard) -> None:
    verdicts = damage_many(10_000, scorecard.seed, tmp_path / "hub")
    scorecard.record(counts={"damaged": verdicts.total(), **dict(sorted(verdicts.items()))})


@pytest.mark.stress(part="damaged-caches")
def test_two_thousand_intact_caches(tmp_path: Path, scorecard: Scorecard) -> None:
    verdicts = keep_many(2_000, scorecard.seed, tmp_path / "hub")
    scorecard.record(counts={"intact": verdicts.total(), **dict(sorted(verdicts.items()))})


def test_an_index_that_points_to_the_wrong_shard_is_corrupt(tmp_path: Path) -> None:
    files = sharded_files(2)
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    files[one], files[two] = files[two], files[one]
    CacheBuilder(tmp_path).model("org/model", files)
    assert verdict(tmp_path) is Integrity.CORRUPT


def test_a_stale_index_beside_complete_weights_is_not_damage(tmp_path: Path) -> None:
    files = sharded_files(2)
    files["model-00001-of-00002.safetensors"] = safetensors({"renamed": ("F16", (2, 2))})
    CacheBuilder(tmp_path).model("org/model", files)
    assert verdict(tmp_path) is Integrity.VERIFIED
