"""A malicious Hub: each false reply is refused with an error, and nothing outside the cache changes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import attrs
import pytest

from tests.builder import chat_files, git_sha1, sha256
from tests.e2e.sandbox import NAME, Answer, Sandbox, follows_contract, is_plain, sandbox_at, tree
from tests.fake_hub import (
    HOSTILE_HASHES,
    HOSTILE_NAMES,
    Body,
    Cut,
    EditJson,
    FakeHub,
    Fault,
    Flip,
    Generated,
    Headers,
    Redirect,
    Stall,
    Status,
    WrongLength,
    hang,
    recommitted,
    rehashed,
    web_page,
)
from tests.fake_hub.contents import Bytes
from tests.fake_hub.messages import Json

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

FILES = chat_files()
SMALL, LARGE = "config.json", "model.safetensors"
API, INFO, TREE, RAW, CDN, TOKEN = "/api/*", "*/revision/*", "*/tree/*", "*/resolve/*", "/cdn/*", "*/xet-read-token/*"
UNREACHABLE = "http://127.0.0.1:1/"
CONTROLS = "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe \u2028 \x9b31m"


@attrs.frozen
class FalseReply:
    """A false reply of the Hub and its URLs, or malicious files."""

    label: str
    faults: tuple[tuple[str, Fault], ...] = ()
    files: dict[str, bytes] = attrs.field(factory=dict)
    partial: bool = False
    """Whether a partial file exists, so that only the rest is requested."""
    xet: bool = False


def replies(label: str, path: str, *faults: Fault) -> Iterator[FalseReply]:
    place = path.strip("*/")
    return (FalseReply(f"{place} {label} {number}", ((path, fault),)) for number, fault in enumerate(faults))


def changed(name: str, **values: Json) -> EditJson:
    """Return a fault that changes values of an entry in the listing."""

    def edit(value: Json) -> Json:
        if not isinstance(value, list):
            return value
        return [entry | values if isinstance(entry, dict) and entry["path"] == name else entry for entry in value]

    return EditJson(edit)


def large(**values: Json) -> EditJson:
    right: dict[str, Json] = {"oid": sha256(FILES[LARGE]), "size": len(FILES[LARGE])}
    return changed(LARGE, lfs=right | values)


def linked(address: str) -> Headers:
    return Headers({"Link": f'<{address}>; rel="next"'})


NESTED = b"[" * 100_000
WORSE = (
    b"", b"{", b"7", b"null", b'"x"', b"{}", b"[7]", b"[[]]", NESTED, NESTED + b"]" * 100_000, b'{"a":' * 100_000,
    b'{"sha": NaN}', b"[NaN]", b'{"sha": "\xff\xfe"}', b'[{"path": "\xff"}]', "[]".encode("utf-16"), b"\xef\xbb\xbf[]",
    b"[] []", b'[{"path"', b"-", b"\0" * 1000, b'{"sha": "\\ud800"}', b"9" * 100_000,
)  # fmt: skip
COMMITS = (
    *HOSTILE_HASHES[:-2], "main", "a" * 39, "a" * 41, "a" * 39 + "\n", "\uff10" * 40, "../" * 13 + "a", CONTROLS,
    "\ud800" * 40, "g" * 40, "." * 40,
)  # fmt: skip
SIZES: tuple[Json, ...] = (
    -1, -(2**63), 2**51, 2**63, 2**64, 10**400, 1.5, 1e300, float("nan"), float("inf"), "5", "", None, [], {}, True,
)  # fmt: skip
ADDRESSES = (
    "file:///etc/passwd", "//127.0.0.1:1/x", "ftp://127.0.0.1/", "javascript:alert(1)", "data:text/html,x", "local:///",
    "http:///x", "http://127.0.0.1:x/", "http://127.0.0.1:99999/", "\u202e", "x" * 70_000, UNREACHABLE,
    "http://user:password@127.0.0.1:1/", "http://127.0.0.1:1\\@x/", "?", "..", "\0",
    "http://[",
)  # fmt: skip
STATUSES = (100, 101, 103, 199, 204, 205, 206, 226, 299, 300, 304, 305, 306, 402, 418, 451, 499, 599, 600, 999, 1000, 0)
SAID = (
    {"X-Error-Message": CONTROLS}, {"X-Error-Code": CONTROLS}, {"X-Error-Message": "x" * 50_000},
    {"X-Error-Message": "one\r\nX-Two: two\r\n three"}, {"X-Error-Message": "a\nb"}, {"X-Error-Code": "\0"},
    {"X-Error-Code": "GatedRepo", "X-Error-Message": "\udcff\udcfe"}, {"X-Huge": "x" * 100_000},
    {"X-Huge": "x" * 2_000_000}, {f"X-Many-{number}": "x" for number in range(5000)}, {"\x1b[2J": "x"}, {"": "x"},
)  # fmt: skip
RETRY_AFTER = (
    "-1",
    "soon",
    "1e9",
    "9" * 400,
    "\u0665",
    "Wed, 99 Foo 2026",
    "0x10",
    "",
    " 0 ",
    "nan",
    "inf",
    "1" * 5000,
)
LENGTHS = ("-1", "abc", "9" * 30, "1, 2", "0", "1", "\u0665", "1e3", "0x5", "+5")
RANGES = (
    "bytes 0-5/6", "bytes 10-", "bytes 10-20/9999", "bytes */5", "lines 10-20/21", "", "bytes 11-99/100",
    "bytes 10-9/0", "bytes \u0661\u0660-20/30", "bytes -10-5/20", "bytes 10-20/*", "x" * 5000,
)  # fmt: skip
BOMB = gzip.compress(bytes(100_000_000), 9)
PACKED = {"Content-Encoding": "gzip"}

LISTINGS = (
    *replies("commit", INFO, *map(recommitted, COMMITS)),
    *replies("info", INFO, *(Body(b'{"sha": %s}' % sha) for sha in (b"null", b"5", b"[]", b"{}", b"1e999"))),
    *replies("info body", INFO, *(Answer(200, {}, Bytes(body)) for body in WORSE)),
    *replies("tree body", TREE, *(Answer(200, {}, Bytes(body)) for body in WORSE)),
    *replies("small hash", TREE, *(rehashed(SMALL, text) for text in (*HOSTILE_HASHES[:-2], CONTROLS))),
    *replies("large hash", TREE, *(large(oid=text) for text in (*HOSTILE_HASHES[:-2], CONTROLS, "0" * 40, None, 7))),
    *replies("small size", TREE, *(changed(SMALL, size=size) for size in SIZES)),
    *replies("large size", TREE, *(large(size=size) for size in SIZES)),
    *replies("entry", TREE, *(changed(SMALL, type=kind) for kind in ("symlink", "commit", "", None))),
    *replies("odd entry", TREE, changed(SMALL, path=7), changed(SMALL, oid=None), changed(LARGE, lfs="x", xetHash=5)),
    *replies("twice", TREE, EditJson(lambda value: value + value if isinstance(value, list) else value)),
    *replies("next", TREE, *map(linked, ADDRESSES)),
    *replies("another next", TREE, *map(linked, ("/api/models/other", "http://127.0.0.2/", "http://[::1]:1/"))),
    *replies("redirect", API, *map(Redirect, ADDRESSES), Redirect(), web_page()),
    *replies("status", API, *(Status(status, message=CONTROLS) for status in STATUSES)),
    *replies("said", API, *(Status(403, headers) for headers in SAID)),
    *replies("retry", API, *(Status(status, {"Retry-After": text}) for status in (429, 503) for text in RETRY_AFTER)),
    *replies("packed", API, Headers(PACKED), Answer(200, PACKED, Bytes(BOMB)), Answer(200, {"Content-Encoding": "br"})),
    *replies("length", API, *(Headers({"Content-Length": text}) for text in LENGTHS)),
    *replies("endless", TREE, Answer(200, {}, Generated(80 << 20)), hang(), Cut(3), Cut(0, reset=True)),
    *(
        FalseReply(f"name {number}", files={name: b"escaped"})
        for number, name in enumerate(
            (*HOSTILE_NAMES[:-1], "a/..", "a/../b", ".git/..",
             "a/", "/", "//", "a. ", "a.", "a./b", "a /b", "...", "\u200e", "\ufeffx", "\x7f", "\x85", "../org/model",
             "refs/../../../x", "x" * 256, "\u00e9" * 128, "\\\\host\\x", "a/\0/b"),
        )
    ),
    FalseReply("clash", files={"config.json/child": b"x"}),
    FalseReply("clash deep", files={"a/b": b"x", "a/b/c/d": b"x"}),
    FalseReply("name too deep", files={"/".join("a" * 1000): b"x"}),
)  # fmt: skip

CONTENTS = (
    *replies("no such bytes", TREE, rehashed(SMALL, "0" * 40), large(oid="0" * 64)),
    *replies("another size", TREE, *(changed(SMALL, size=size) for size in (0, 1, 10**6, 2**50))),
    *replies("another large size", TREE, *(large(size=size) for size in (0, 1, 10**6, 2**50))),
    *replies("wrong byte", CDN, Flip(0), Flip(-1)),
    *replies("wrong byte", RAW, Flip(0), Body(b"", "text/plain"), web_page(), Answer(200, {}, Generated(5 << 20))),
    *replies("length", RAW, *(Headers({"Content-Length": text}) for text in LENGTHS)),
    *replies("length", CDN, WrongLength(-1), Cut(0), Stall(0), Cut(0, reset=True)),
    *replies("packed", RAW, Headers(PACKED), Headers({"Content-Encoding": "zstd, gzip, br, deflate"})),
    *replies("packed", CDN, Answer(200, PACKED, Bytes(BOMB)), Answer(200, PACKED, Bytes(gzip.compress(b"other")))),
    *replies("redirect", RAW, *map(Redirect, ADDRESSES), Redirect()),
    *replies("redirect", CDN, Redirect(UNREACHABLE), Redirect("file:///etc/passwd"), Redirect()),
    *replies(
        "status", RAW, *(Status(status, message=CONTROLS) for status in STATUSES if status not in (206, 226, 299))
    ),
    *replies("said", RAW, *(Status(403, headers) for headers in SAID)),
    *replies("said", CDN, *(Status(403, headers) for headers in SAID)),
    *replies("retry", CDN, *(Status(429, {"Retry-After": text}) for text in RETRY_AFTER)),
    *(
        FalseReply(f"range {number}", ((CDN, Headers({"Content-Range": text})),), partial=True)
        for number, text in enumerate(RANGES)
    ),
    FalseReply("range refused", ((CDN, Status(416, {"Content-Range": "bytes */-5"})),), partial=True),
    FalseReply("range packed", ((CDN, Headers(PACKED)),), partial=True),
)

PLACES = ("local:///{0}", "local://{0}", "file://{0}", "{0}", "memory://", "", "LOCAL://{0}", " local://{0}", "//{0}")
HARMLESS = (
    *replies("nothing false", API, Headers({"X-Whatever": CONTROLS})),
    *replies("weak", RAW, Headers({"ETag": 'W/"../../x"', "X-Linked-Etag": "/etc/passwd", "X-Linked-Size": "-1"})),
    *replies("header", RAW, Headers({"X-Repo-Commit": "../../x", "Content-Disposition": "attachment; filename=/x"})),
    *replies("type", API, Headers({"Content-Type": "text/html; charset=\udcff"}), Headers({"Content-Type": None})),
    *replies("xet", TREE, *(changed(LARGE, xetHash=text) for text in ("../../x", "local:///", "0" * 63, "", None))),
    *(
        FalseReply(f"way into a folder {number}", ((TOKEN, Answer(200, {
            "X-Xet-Cas-Url": place, "X-Xet-Access-Token": "x", "X-Xet-Token-Expiration": "9999999999"})),), xet=True)
        for number, place in enumerate(PLACES)
    ),
    FalseReply("no way", ((TOKEN, Status(500, {"X-Xet-Cas-Url": CONTROLS})),), xet=True),
    *(
        FalseReply(f"odd name {number}", files={name: b"odd"})
        for number, name in enumerate((
            "-rf", "~", "~root", "$HOME", "`id`", "a:b", "%2e%2e/%2e%2e/x", "?x=1", "#x", "con", ".git/config", "..a",
            ".mlxk/stamps.json", "refs/main", "blobs/x", "a;rm -rf", "\u65e5\u672c", "x" * 255, "/".join("a" * 20),
        ))
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def malicious_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        import_module("hf_xet")  # it logs to the home directory of the process that imports it
    with FakeHub() as hub:
        yield hub


@pytest.fixture
def sandbox(malicious_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with sandbox_at(tmp_path, malicious_hub, monkeypatch) as made:
        yield made


def install(sandbox: Sandbox, reply: FalseReply) -> None:
    """Make the Hub send the false reply."""
    sandbox.hub.add(NAME, FILES | reply.files)
    sandbox.hub.repo(NAME).xet = reply.xet
    if reply.partial:
        blobs = sandbox.repo / "blobs"
        blobs.mkdir(parents=True)
        (blobs / f"{sha256(FILES[LARGE])}.incomplete").write_bytes(FILES[LARGE][:10])
    for path, fault in reply.faults:
        sandbox.hub.fail(fault.at(sandbox.outside) if isinstance(fault, Answer) else fault, path)


def refused(sandbox: Sandbox) -> None:
    """Check that a pull ends with an error of the contract, and that its token was sent to the Hub only."""
    outcome = sandbox.run("pull", NAME)
    assert follows_contract(outcome), outcome
    assert outcome.code in (2, 3), outcome
    assert outcome.out == ""
    assert outcome.err.startswith("error: "), outcome
    assert not [seen for seen in sandbox.hub.requests() if seen.site == "cdn" and seen.authorized]


@pytest.mark.parametrize("reply", LISTINGS, ids=lambda reply: reply.label)
def test_a_false_listing_changes_nothing(sandbox: Sandbox, reply: FalseReply) -> None:
    install(sandbox, reply)
    before = tree(sandbox.machine.hub)
    with sandbox.unchanged():
        refused(sandbox)
    assert tree(sandbox.machine.hub) == before


@pytest.mark.parametrize("reply", CONTENTS, ids=lambda reply: reply.label)
def test_a_false_file_is_never_published(sandbox: Sandbox, reply: FalseReply) -> None:
    install(sandbox, reply)
    with sandbox.unchanged(sandbox.repo):
        refused(sandbox)
    assert not list(sandbox.repo.glob("snapshots/*"))
    for blob in sandbox.repo.glob("blobs/*"):
        assert blob.suffix == ".incomplete" or blob.name in (sha256(blob.read_bytes()), git_sha1(blob.read_bytes()))
    assert sandbox.good_is_verified()


@pytest.mark.parametrize("reply", HARMLESS, ids=lambda reply: reply.label)
def test_harmless_false_metadata_does_not_stop_a_pull(sandbox: Sandbox, reply: FalseReply) -> None:
    install(sandbox, reply)
    with sandbox.unchanged(sandbox.repo):
        outcome = sandbox.run("pull", NAME)
    assert outcome.code == 0, outcome
    assert follows_contract(outcome)
    (snapshot,) = sandbox.repo.glob("snapshots/*")
    assert {name: (snapshot / name).read_bytes() for name in FILES | reply.files} == FILES | reply.files
    assert bool(sandbox.hub.requests(path_part="xet-read-token")) is reply.xet
    with sandbox.unchanged(sandbox.repo):
        assert sandbox.run("rm", NAME, "--force").code == 0
    assert not sandbox.repo.exists()


SAMPLE = [
    reply for reply in (*LISTINGS, *CONTENTS) if reply.label in (
        "revision commit 1", "tree body 8", "tree small size 3", "tree large hash 0", "tree next 0", "api redirect 0",
        "api said 0", "cdn wrong byte 0", "resolve redirect 0", "resolve said 0", "name 0", "name 2", "clash",
    )
]  # fmt: skip


@pytest.mark.parametrize("reply", SAMPLE, ids=lambda reply: reply.label)
def test_a_real_process_reports_an_error_of_the_contract(sandbox: Sandbox, reply: FalseReply) -> None:
    install(sandbox, reply)
    places = {"HF_ENDPOINT": sandbox.hub.endpoint, "XDG_CONFIG_HOME": str(sandbox.machine.root / "config")}
    with sandbox.unchanged(sandbox.repo):
        outcome = sandbox.machine.run("pull", NAME, "--json", environment=sandbox.machine.environment(**places))
    document = outcome.document()
    assert isinstance(document["error"], dict)
    assert (outcome.code, document["status"]) == (2, "error")
    assert document["error"]["type"] in ("download_failed", "access_denied")
    assert outcome.out.isascii()
    assert is_plain(outcome.out + outcome.err)
    assert not list(sandbox.repo.glob("snapshots/*"))


def test_there_are_enough_cases() -> None:
    labels = [reply.label for reply in (*LISTINGS, *CONTENTS, *HARMLESS)]
    assert len(set(labels)) == len(labels) >= 400
