"""The rule for safetensors agrees with the reference reader of the ``safetensors`` package, written in Rust."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from math import prod
from pathlib import Path

import pytest
import safetensors
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mlxknife.adapters.folder.snapshot_reader import FolderReader
from mlxknife.domain.integrity.rules import safetensors as rule
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.snapshot import Location, WeightFormat
from tests.builder import json_bytes, raw_safetensors
from tests.property.reference import read_by_the_reference

_W = b'"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}'
_DTYPES = [*rule.BITS, "F128", "f16", ""]

_shapes = st.lists(st.integers(0, 3), max_size=3)
_names = st.one_of(st.sampled_from(["w", "a.b", "", "model.layers.0"]), st.text(st.characters(), max_size=8))


def _accepted_by_us(data: bytes) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.safetensors").write_bytes(data)
        facts = FolderReader().read(Location(folder, (folder,)), filenames.READING_LIST)
    head = facts.weights["model.safetensors"]
    is_safetensors = head.format is WeightFormat.SAFETENSORS  # else it is empty or an LFS pointer
    return is_safetensors and head.problem is None and rule.problem(head) is None


def _accepted_by_the_reference(data: bytes) -> bool:
    try:
        read_by_the_reference(data)
    except safetensors.SafetensorError:
        return False
    return True


def _assert_agreement(data: bytes) -> None:
    assert _accepted_by_us(data) == _accepted_by_the_reference(data)


@st.composite
def _packed(draw: st.DrawFn) -> tuple[dict[str, dict[str, object]], int]:
    """Draw a header with contiguous tensors, in any order of names, and the size of its data."""
    header: dict[str, dict[str, object]] = {}
    end = 0
    for name in draw(st.lists(_names.filter(lambda name: name.isascii()), max_size=4, unique=True)):
        dtype, shape = draw(st.sampled_from([*rule.BITS])), draw(_shapes)
        bits = prod(shape) * rule.BITS[dtype]
        assume(bits % 8 == 0)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + bits // 8]}
        end += bits // 8
    order = draw(st.permutations(list(header)))
    return {name: header[name] for name in order}, end


@given(_packed(), st.none() | st.dictionaries(_names.filter(str.isascii), st.text("ab{", max_size=3), max_size=3))
def test_a_valid_file_is_accepted_by_both_readers(
    packed: tuple[dict[str, dict[str, object]], int], metadata: Mapping[str, str] | None
) -> None:
    header, size = packed
    extra = {} if metadata is None else {"__metadata__": metadata}
    data = raw_safetensors(json_bytes(extra | header), bytes(size))
    assert _accepted_by_the_reference(data)
    assert _accepted_by_us(data)


_odd_numbers = st.one_of(st.integers(-2, 40), st.sampled_from([2**31, 2**32, 2**63, 2**64 - 1, 2**64, 1.5, None, "1"]))
_odd_values: dict[str, st.SearchStrategy[object]] = {
    "dtype": st.one_of(st.sampled_from(_DTYPES), st.none(), st.just(16)),
    "shape": st.one_of(_shapes, st.lists(_odd_numbers, max_size=3), st.none(), st.just(2), st.just({})),
    "data_offsets": st.one_of(st.lists(_odd_numbers, max_size=3), st.lists(st.integers(0, 24), min_size=2, max_size=2)),
    "more": st.just([1, {"a": None}]),
}
_odd_metadata = st.one_of(
    st.none(), st.just({"a": 1}), st.just({"shape": "x"}), st.just({"data_offsets": "x"}), st.just([]), st.just("x")
)


@settings(max_examples=600)
@given(st.data(), _packed(), st.integers(-3, 3), st.sampled_from([b"", b"   "]))
def test_both_readers_refuse_the_same_headers(
    data: st.DataObject, packed: tuple[dict[str, dict[str, object]], int], slack: int, padding: bytes
) -> None:
    header: dict[str, object] = dict(packed[0])
    for name in data.draw(st.lists(st.sampled_from(sorted(header)), max_size=2)) if header else ():
        field = data.draw(st.sampled_from(sorted(_odd_values)))
        entry = dict(packed[0][name])
        if data.draw(st.integers(0, 5)) == 0:
            entry.pop(field, None)
        else:
            entry[field] = data.draw(_odd_values[field])
        header[name] = entry
    if data.draw(st.integers(0, 7)) == 0:
        header["__metadata__"] = data.draw(_odd_metadata)
    text = json.dumps(header).encode() + padding
    _assert_agreement(raw_safetensors(text, bytes(max(0, packed[1] + slack))))


@given(st.binary(max_size=80), st.integers(0, 80), st.integers(0, 200))
@example(b"", 0, 0)
def test_both_readers_judge_damaged_bytes_alike(junk: bytes, place: int, cut: int) -> None:
    whole = raw_safetensors(b"{" + _W + b"}", bytes(4))
    _assert_agreement(whole[:cut])
    _assert_agreement(whole[:place] + junk + whole[place + len(junk) :])
    _assert_agreement(whole[:place] + junk)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        pytest.param(b"{" + _W + b"}", 4, id="a plain tensor"),
        pytest.param(b" {" + _W + b"}\n", 4, id="white space around the header"),
        pytest.param(b"{}", 0, id="no tensors"),
        pytest.param(b"{}", 1, id="no tensors but data"),
        pytest.param(b"", 0, id="no header"),
        pytest.param(b"[]", 0, id="a list for a header"),
        pytest.param(b'{"__metadata__":null,' + _W + b"}", 4, id="null metadata"),
        pytest.param(b'{"__metadata__":{"shape":"x","data_offsets":"y","dtype":"z"},' + _W + b"}", 4, id="odd keys"),
        pytest.param(b'{"__metadata__":{"a":1},' + _W + b"}", 4, id="metadata that is no text"),
        pytest.param(b'{"__metadata__":{},"__metadata__":{},' + _W + b"}", 4, id="metadata twice"),
        pytest.param(b"{" + _W + b"," + _W + b"}", 4, id="a tensor twice"),
        pytest.param(b'{"w":{"dtype":"F16","dtype":"F16","shape":[2],"data_offsets":[0,4]}}', 4, id="a field twice"),
        pytest.param(b'{"w":{"dtype":"F32","data_offsets":[0,4]}}', 4, id="no shape"),
        pytest.param(b'{"w":{"dtype":"F32","shape":[0]}}', 0, id="no offsets"),
        pytest.param(b'{"w":{"shape":[2],"data_offsets":[0,4]}}', 4, id="no dtype"),
        pytest.param(b'{"w":{"dtype":"F16","shape":[2],"data_offsets":[-0,4]}}', 4, id="minus zero"),
        pytest.param(b'{"w":{"dtype":"F16","shape":[-2],"data_offsets":[0,4]}}', 4, id="a negative side"),
        pytest.param(b'{"w":{"dtype":"F16","shape":[-1,-2],"data_offsets":[0,4]}}', 4, id="two negative sides"),
        pytest.param(b'{"w":{"dtype":"F16","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}', 0, id="overflow"),
        pytest.param(b'{"w":{"dtype":"F16","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}', 0, id="none"),
        pytest.param(b'{"w":{"dtype":"F16","shape":[18446744073709551616,0],"data_offsets":[0,0]}}', 0, id="2^64"),
        pytest.param(b'{"w":{"dtype":"F16","shape":[0],"data_offsets":[5,5]}}', 0, id="nothing behind the end"),
        pytest.param(b'{"w":{"dtype":"F16","shape":[2%b],"data_offsets":[0,4]}}' % (b",1" * 40), 4, id="many sides"),
        pytest.param(b'{"w":{"dtype":"F16","shape":[2%b],"data_offsets":[0,4]}}' % (b",9" * 40), 4, id="huge"),
        pytest.param(b'{"__metadata__":{"a":"{\\"b\\":[]}\\\\"},' + _W + b"}", 4, id="metadata with braces"),
        pytest.param(b'{"__metadata__":{"a":"\\x"},' + _W + b"}", 4, id="metadata with a wrong escape"),
        pytest.param(b'{"w":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}', 2, id="half a byte"),
        pytest.param(b'{"w":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}', 3, id="six bits each"),
        pytest.param(b'{"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4],"x":1e999}}', 4, id="an endless number"),
        pytest.param(b'{"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4],"x":NaN}}', 4, id="no number"),
        pytest.param(
            b'{"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4],"x":' + b"[" * 200 + b"]" * 200 + b"}}", 4, id="deep"
        ),
        pytest.param(b'{"\\ud800":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}', 4, id="half a character"),
        pytest.param(b'{"\xff":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}', 4, id="no UTF-8"),
    ],
)
def test_both_readers_judge_corner_cases_alike(header: bytes, size: int) -> None:
    _assert_agreement(raw_safetensors(header, bytes(size)))


@pytest.mark.parametrize("declared", [0, 3, 1000, 100_000_001, 2**63, 2**64 - 1])
def test_both_readers_judge_a_wrong_header_length_alike(declared: int) -> None:
    _assert_agreement(raw_safetensors(b"{" + _W + b"}", bytes(4), declared=declared))
