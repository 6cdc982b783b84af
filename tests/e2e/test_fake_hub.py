"""The fake Hub is a Hub to the real client, and each of its faults can be seen from outside."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import attrs
import pytest

import mlxknife
from tests.builder import chat_files, git_sha1, sha256, sharded_files, write_workspace
from tests.fake_hub import (
    HOSTILE_NAMES,
    READER,
    STRANGER,
    Body,
    Cut,
    Delay,
    FakeHub,
    Flip,
    Generated,
    Gzip,
    Headers,
    IgnoreRange,
    Redirect,
    Slow,
    Stall,
    Status,
    WrongLength,
    generated_safetensors,
    hang,
    rate_limited,
    recommitted,
    rehashed,
    renamed,
    resized,
    web_page,
)

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

ROOT = Path(__file__).parents[2]
NAME = "org/tiny-chat"
FILES = chat_files(card=True) | {"extra/notes.txt": b"notes\n" * 100}
WEIGHTS = "model.safetensors"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@attrs.frozen
class Client:
    """The real client, in a process and with a home of its own."""

    home: Path
    endpoint: str

    @property
    def cache(self) -> Path:
        return self.home / "hub"

    def run(self, *command: str, **environment: str) -> str:
        surroundings = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "HF_HOME": str(self.home),
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }
        done = subprocess.run(
            command, env=surroundings | environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def python(self, program: str, **environment: str) -> str:
        return self.run(sys.executable, "-c", f"from huggingface_hub import *\n{program}", **environment)

    def outcome(self, call: str, **environment: str) -> str:
        """Return the name of the error that a call raises."""
        program = f"try:\n    {call}\n    print('no error')\nexcept Exception as e:\n    print(type(e).__name__)"
        return self.python(program, **environment).strip()


@pytest.fixture
def client(hub: FakeHub, tmp_path: Path) -> Client:
    return Client(tmp_path / "home", hub.endpoint)


@attrs.frozen
class Got:
    """What a plain client is received."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    url: str, *, method: str = "GET", follow: bool = True, seconds: float = 5, headers: Mapping[str, str] | None = None
) -> Got:
    """Ask once with http.client, which repairs nothing; ``follow`` goes one redirect far."""
    place = urllib.parse.urlsplit(url)
    with closing(http.client.HTTPConnection(place.netloc, timeout=seconds)) as connection:
        connection.request(method, place._replace(scheme="", netloc="").geturl(), headers=dict(headers or {}))
        with connection.getresponse() as response:
            got = Got(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    if follow and got.status in (302, 307) and "location" in got.headers:
        return ask(
            urllib.parse.urljoin(url, got.headers["location"]),
            method=method,
            follow=False,
            seconds=seconds,
            headers=headers,
        )
    return got


def resolve(hub: FakeHub, path: str = WEIGHTS, revision: str = "main", name: str = NAME) -> str:
    return f"{hub.endpoint}/{name}/resolve/{revision}/{path}"


def info(hub: FakeHub, name: str = NAME) -> str:
    return f"{hub.endpoint}/api/models/{name}?blobs=True"


def tree(hub: FakeHub, name: str = NAME) -> str:
    return f"{hub.endpoint}/api/models/{name}/tree/main?recursive=True&expand=False"


# --- the real client


@pytest.mark.parametrize("own_cdn", [True, False])
@pytest.mark.parametrize("resolve_cache", [True, False])
def test_a_snapshot_of_the_real_client_is_a_healthy_model(
    tmp_path: Path, *, own_cdn: bool, resolve_cache: bool
) -> None:
    with FakeHub(own_cdn=own_cdn, resolve_cache=resolve_cache) as hub:
        commit = hub.add(NAME, FILES)
        client = Client(tmp_path, hub.endpoint)
        folder = Path(client.python(f"print(snapshot_download({NAME!r}))").strip())
        assert hub.bytes_sent(WEIGHTS) >= len(FILES[WEIGHTS])
    assert folder.name == commit
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == FILES
    assert (folder / WEIGHTS).resolve().name == sha256(FILES[WEIGHTS])
    assert (folder / "config.json").resolve().name == git_sha1(FILES["config.json"])
    (entry,) = mlxknife.open_app(hub_cache=client.cache, environment={}).health.check().entries
    assert entry.name == NAME
    assert entry.integrity is mlxknife.Integrity.STRUCTURAL


def test_hf_download_works(hub: FakeHub, client: Client) -> None:
    hub.add(NAME, sharded_files())
    hf = Path(sys.executable).with_name("hf")
    client.run(str(hf), "download", NAME)
    (entry,) = mlxknife.open_app(hub_cache=client.cache, environment={}).health.check().entries
    assert entry.integrity is mlxknife.Integrity.STRUCTURAL


def test_the_api_agrees_with_the_content(hub: FakeHub, client: Client) -> None:
    hub.add(NAME, {"old.txt": b"old"})
    hub.tag(NAME, "v1")
    commit = hub.add(NAME, FILES)
    received = json.loads(
        client.python(f"""
import json
api = HfApi()
info = api.model_info({NAME!r}, files_metadata=True)
narrow = api.model_info({NAME!r}, expand=["sha"])
tree = [f for f in api.list_repo_tree({NAME!r}, recursive=True, revision=info.sha) if hasattr(f, "blob_id")]
flat = [f.path for f in api.list_repo_tree({NAME!r})]
inner = [f.path for f in api.list_repo_tree({NAME!r}, "extra")]
refs = api.list_repo_refs({NAME!r})
paths = api.get_paths_info({NAME!r}, ["config.json", "nowhere"])
head = get_hf_file_metadata(hf_hub_url({NAME!r}, {WEIGHTS!r}))
print(json.dumps({{
    "sha": info.sha, "narrow": [narrow.sha, narrow.siblings],
    "siblings": {{s.rfilename: [s.size, s.blob_id, s.lfs and s.lfs.sha256] for s in info.siblings}},
    "tree": {{f.path: [f.size, f.blob_id, f.lfs and f.lfs.sha256] for f in tree}},
    "flat": flat, "inner": inner, "paths": [p.path for p in paths],
    "refs": [[b.name, b.target_commit] for b in refs.branches] + [t.name for t in refs.tags],
    "head": [head.commit_hash, head.etag, head.size],
}}))""")
    )
    assert received["sha"] == commit
    assert received["narrow"] == [commit, None]
    assert received["tree"] == received["siblings"]
    assert {path: size for path, (size, _, _) in received["tree"].items()} == {
        p: len(data) for p, data in FILES.items()
    }
    assert received["tree"]["config.json"][1:] == [git_sha1(FILES["config.json"]), None]
    assert received["tree"][WEIGHTS][2] == sha256(FILES[WEIGHTS])
    assert "extra" in received["flat"]
    assert "extra/notes.txt" not in received["flat"]
    assert received["inner"] == ["extra/notes.txt"]
    assert received["paths"] == ["config.json"]
    assert received["refs"] == [["main", commit], "v1"]
    assert received["head"] == [commit, sha256(FILES[WEIGHTS]), len(FILES[WEIGHTS])]


def test_a_long_tree_comes_in_pages(tmp_path: Path) -> None:
    with FakeHub(page_size=4) as hub:
        hub.add(NAME, {f"{number:02d}.txt": b"x" for number in range(10)})
        client = Client(tmp_path, hub.endpoint)
        listed = client.python(f"print(len(list(HfApi().list_repo_tree({NAME!r}, recursive=True))))")
        assert listed.strip() == "10"
        assert len(hub.requests("GET", "/tree/")) == 3


def test_errors_are_those_of_the_hub(hub: FakeHub, client: Client) -> None:
    for name in ("org/gated", "org/private", "org/disabled", NAME):
        hub.add(name, FILES, gated="manual" if name == "org/gated" else False, private=name == "org/private")
    hub.repo("org/disabled").disabled = True
    program = """
import json, sys
def outcome(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None
file = lambda name, **more: outcome(lambda: hf_hub_download(name, "config.json", **more))
print(json.dumps([
    outcome(lambda: snapshot_download("org/gated")), outcome(lambda: snapshot_download("org/private")),
    file("org/gated"), file("org/private"), file("org/disabled"), file("org/nowhere"),
    outcome(lambda: HfApi().model_info("org/disabled")), file(NAME, revision="nowhere"),
    outcome(lambda: hf_hub_download(NAME, "nowhere.txt"))]))
""".replace("NAME", repr(NAME))
    refused = ["GatedRepoError", "RepositoryNotFoundError"]
    common = ["LocalEntryNotFoundError", "RepositoryNotFoundError", "DisabledRepoError"]
    common += ["RevisionNotFoundError", "RemoteEntryNotFoundError"]
    assert json.loads(client.python(program)) == [*refused, *refused, *common]
    assert json.loads(client.python(program, HF_TOKEN=STRANGER)) == [*refused, *refused, *common]
    assert json.loads(client.python(program, HF_TOKEN=READER)) == [None] * 4 + common


def test_statuses_of_refusals(hub: FakeHub) -> None:
    hub.add("org/gated", FILES, gated=True)
    hub.add("org/private", FILES, private=True)

    def received(url: str, token: str | None) -> tuple[int, str | None]:
        got = ask(url, headers={"Authorization": f"Bearer {token}"} if token else {})
        return got.status, got.headers.get("x-error-code")

    gated, private = resolve(hub, name="org/gated"), resolve(hub, name="org/private")
    assert [received(gated, token) for token in (None, STRANGER)] == [(401, "GatedRepo"), (403, "GatedRepo")]
    assert [received(private, token) for token in (None, STRANGER)] == [(401, "RepoNotFound"), (404, "RepoNotFound")]
    assert received(gated, "hf_expired") == (401, None)
    assert received(info(hub, "org/gated"), None) == (200, None)
    assert [request.authorized for request in hub.requests()] == [False, True, False, True, True, False]


def test_the_token_does_not_reach_the_cdn(hub: FakeHub, client: Client) -> None:
    hub.add("org/private", FILES, private=True)
    client.python("snapshot_download('org/private')", HF_TOKEN=READER)
    cdn = hub.requests(path_part="/cdn/")
    assert {(seen.method, seen.site, seen.authorized) for seen in cdn} == {("GET", "cdn", False)}
    assert ask(f"{hub.cdn_endpoint}/cdn/org/private/{hub.repo('org/private').branches['main']}/{WEIGHTS}").status == 403


def test_the_old_name_of_a_repo_leads_to_the_new_one(hub: FakeHub, client: Client) -> None:
    hub.add("org/old", FILES)
    hub.rename("org/old", "org/new")
    folder = client.python("print(HfApi().model_info('org/old').id); print(snapshot_download('org/old'))").splitlines()
    assert folder[0] == "org/new"
    assert "models--org--old" in folder[1]
    assert ask(resolve(hub, "config.json", name="org/old"), follow=False).status == 307


def test_the_real_client_repairs_a_cut_by_itself_and_takes_a_wrong_byte(hub: FakeHub, client: Client) -> None:
    hub.add(NAME, {WEIGHTS: generated_safetensors(3 << 20)})
    cut = hub.fail(Cut(after=2 << 20), "*.safetensors", times=1)
    flip = hub.fail(Flip(at=-1), "*.safetensors")
    folder = client.python(f"print(snapshot_download({NAME!r}))").strip()
    assert (cut.hits, flip.hits) == (1, 2)
    first, second = hub.requests("GET", "/cdn/")
    assert (first.bytes_sent, first.range) == (2 << 20, None)
    # It buffers 10 MiB before it counts a byte as received, so it goes on from the start.
    assert (second.bytes_sent, second.range) == (3 << 20, None)
    assert sha256((Path(folder) / WEIGHTS).read_bytes()) != (Path(folder) / WEIGHTS).resolve().name


@pytest.mark.parametrize("fault", [Headers({"X-Repo-Commit": None}), Status(503), web_page()])
def test_the_real_client_gives_up_at(fault: Body | Headers | Status, hub: FakeHub, client: Client) -> None:
    hub.add(NAME, FILES)
    hub.fail(fault, "/api/*")
    hub.fail(fault, "*/resolve/*", method="HEAD", times=1)
    assert client.outcome(f"snapshot_download({NAME!r})") != "no error"


# --- what a plain client sees


def test_a_range_goes_on_where_a_download_ended(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    whole = FILES[WEIGHTS]

    def part(wanted: str, **more: str) -> tuple[int, bytes]:
        asked = urllib.request.Request(resolve(hub), headers={"Range": wanted, **more})
        with urllib.request.urlopen(asked, timeout=5) as response:
            return response.status, response.read()

    assert part("bytes=0-9") == (206, whole[:10])
    assert part("bytes=10-") == (206, whole[10:])
    assert part("bytes=-7") == (206, whole[-7:])
    assert part("bytes=10-", **{"If-Range": f'"{sha256(whole)}"'}) == (206, whole[10:])
    assert part("bytes=10-", **{"If-Range": '"another"'}) == (200, whole)
    assert ask(resolve(hub), headers={"Range": "bytes=10-19"}).headers["content-range"] == f"bytes 10-19/{len(whole)}"
    with pytest.raises(urllib.error.HTTPError) as refused:
        part(f"bytes={len(whole)}-")
    with refused.value:
        assert (refused.value.code, refused.value.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")


def test_revisions_are_branches_tags_and_commits(hub: FakeHub) -> None:
    first = hub.add(NAME, {"a.txt": b"first"})
    hub.tag(NAME, "v1")
    second = hub.add(NAME, {"a.txt": b"second"})
    side = hub.add(NAME, {"a.txt": b"side"}, revision="try/this")
    assert len({first, second, side}) == 3
    revisions = {
        "main": b"second",
        "refs%2Fheads%2Fmain": b"second",
        "v1": b"first",
        first: b"first",
        "try%2Fthis": b"side",
    }
    assert {name: ask(resolve(hub, "a.txt", name)).body for name in revisions} == revisions


def test_one_connection_carries_many_requests(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    with closing(http.client.HTTPConnection(hub.endpoint.removeprefix("http://"), timeout=5)) as connection:
        for method in ("HEAD", "GET", "GET"):
            connection.request(method, f"/{NAME}/resolve/main/config.json")
            with connection.getresponse() as response:
                assert int(response.headers["Content-Length"]) == len(FILES["config.json"])
                assert response.read() == (FILES["config.json"] if method == "GET" else b"")
    assert {seen.connection for seen in hub.requests()} == {0}
    assert [(seen.method, seen.status, seen.bytes_sent) for seen in hub.requests("HEAD")] == [("HEAD", 200, 0)]
    assert hub.bytes_sent("config.json") == 2 * len(FILES["config.json"])
    hub.reset()
    assert hub.requests() == []


def test_a_large_file_takes_no_memory_and_is_always_the_same(hub: FakeHub) -> None:
    file = Generated(100 << 30, seed=7)
    hub.add(NAME, {"huge.txt": file, WEIGHTS: generated_safetensors(1 << 20)}, lfs=())
    at = (100 << 30) - 5
    assert ask(resolve(hub, WEIGHTS)).body[256:] == ask(resolve(hub, WEIGHTS)).body[256:]
    assert b"".join(file.chunks(at - (1 << 20), at + 5))[-5:] == b"".join(file.chunks(at, at + 5))
    assert len(b"".join(Generated(3_000_000, head=b"head").chunks(2, 2_999_999))) == 2_999_997


def test_a_cut_ends_the_connection(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    hub.fail(Cut(after=10), "*/config.json", times=2)
    for _ in range(2):
        with pytest.raises(http.client.IncompleteRead) as cut:
            ask(resolve(hub, "config.json"))
        assert cut.value.partial == FILES["config.json"][:10]
    assert ask(resolve(hub, "config.json")).body == FILES["config.json"]
    assert [(seen.bytes_sent, seen.finished) for seen in hub.requests()][:2] == [(10, False)] * 2


def test_a_reset_is_an_error_of_the_connection(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    hub.fail(Cut(after=0, reset=True), "*/config.json")
    with pytest.raises(ConnectionResetError):
        ask(resolve(hub, "config.json"))


def test_a_flipped_byte_is_at_its_place_in_every_range(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    rule = hub.fail(Flip(at=20), "*.safetensors", skip=1)
    whole = FILES[WEIGHTS]
    assert ask(resolve(hub)).body == whole
    wrong = ask(resolve(hub)).body
    assert [at for at in range(len(whole)) if whole[at] != wrong[at]] == [20]
    assert ask(resolve(hub), headers={"Range": "bytes=20-"}).body[0] == whole[20] ^ 0xFF
    assert ask(resolve(hub), headers={"Range": "bytes=21-"}).body == whole[21:]
    assert rule.hits == 2


def test_a_wrong_length_is_declared(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    whole = FILES["config.json"]
    more = hub.fail(WrongLength(by=5), "*/config.json")
    with pytest.raises(http.client.IncompleteRead):
        ask(resolve(hub, "config.json"))
    hub.heal(more)
    hub.fail(WrongLength(by=-5), "*/config.json")
    assert ask(resolve(hub, "config.json")).body == whole[:-5]


def test_errors_come_in_turn(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    hub.fail(rate_limited(retry_after=3), "/api/*", times=2)
    hub.fail(Status(500), "/api/*", times=1)
    got = [ask(info(hub)) for _ in range(4)]
    assert [(one.status, one.headers.get("retry-after")) for one in got] == [(429, "3")] * 2 + [
        (500, None),
        (200, None),
    ]


def test_slowness_is_felt(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    start = time.monotonic()
    hub.fail(Slow(bytes_per_second=2000), "*/notes.txt")
    assert ask(resolve(hub, "extra/notes.txt")).body == FILES["extra/notes.txt"]
    slow = time.monotonic()
    hub.fail(Delay(0.3), "/api/*")
    ask(info(hub))
    assert slow - start > 0.25
    assert time.monotonic() - slow > 0.3


def test_a_hang_ends_with_the_hub(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    hub.fail(hang(), "/api/*")
    hub.fail(Stall(after=100), "*/config.json")
    for url in (info(hub), resolve(hub, "config.json")):
        with pytest.raises(TimeoutError):
            ask(url, seconds=0.3)
    hub.wait_until(lambda: hub.bytes_sent("config.json") == 100)


def test_a_range_may_be_ignored_and_a_body_compressed(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    hub.fail(IgnoreRange(), "*/config.json")
    got = ask(resolve(hub, "config.json"), headers={"Range": "bytes=5-"})
    assert (got.status, got.body) == (200, FILES["config.json"])
    hub.fail(Gzip(), "*/notes.txt")
    got = ask(resolve(hub, "extra/notes.txt"), headers={"Accept-Encoding": "gzip"})
    assert got.headers["content-encoding"] == "gzip"
    assert gzip.decompress(got.body) == FILES["extra/notes.txt"]
    assert ask(resolve(hub, "extra/notes.txt"), headers={"Accept-Encoding": "identity"}).body == gzip.decompress(
        got.body
    )


def test_headers_lie(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    hub.fail(Headers({"etag": '"../../x"', "X-Repo-Commit": "../../y", "Accept-Ranges": None}), "*/resolve/*")
    got = ask(resolve(hub, "config.json"), method="HEAD").headers
    assert (got["etag"], got["x-repo-commit"], got.get("accept-ranges")) == ('"../../x"', "../../y", None)


@pytest.mark.parametrize("url", [info, tree])
def test_the_api_lies(hub: FakeHub, url: type) -> None:
    hub.add(NAME, FILES)
    for lie in (
        renamed("config.json", "../../x"),
        resized(WEIGHTS, 1 << 60),
        rehashed("README.md", "../../z"),
        recommitted("../../c"),
    ):
        hub.fail(lie)
    text = ask(url(hub)).body.decode()
    assert all(lie in text for lie in ("../../x", str(1 << 60), "../../z"))
    assert '"config.json"' not in text
    assert ("../../c" in text) is (url is info)


def test_hostile_names_are_listed_and_served(hub: FakeHub) -> None:
    hub.add(NAME, dict.fromkeys(HOSTILE_NAMES, b"x"))
    listed = {entry["path"] for entry in json.loads(ask(tree(hub)).body) if entry["type"] == "file"}
    assert listed == set(HOSTILE_NAMES)
    assert ask(resolve(hub, "../../escaped")).body == b"x"


def test_the_api_talks_nonsense(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    hub.fail(Body(b'{"id": '), "*/tree/*")
    hub.fail(web_page(), f"/api/models/{NAME}")
    assert ask(tree(hub)).body == b'{"id": '
    page = ask(info(hub))
    assert (page.status, page.headers["content-type"]) == (200, "text/html")


def test_redirects_go_in_circles_or_away(hub: FakeHub) -> None:
    hub.add(NAME, FILES)
    hub.fail(Redirect(), "*/config.json")
    hub.fail(Redirect("http://elsewhere.invalid/x"), "*/README.md")
    assert ask(resolve(hub, "config.json")).headers["location"] == f"/{NAME}/resolve/main/config.json"
    with pytest.raises(urllib.error.HTTPError, match="infinite loop") as looped:
        urllib.request.urlopen(resolve(hub, "config.json"), timeout=5)
    looped.value.close()
    assert ask(resolve(hub, "README.md"), follow=False).headers["location"] == "http://elsewhere.invalid/x"


def test_what_a_client_that_went_away_never_got_is_not_counted() -> None:
    with FakeHub(send_buffer=16 << 10) as hub:
        hub.add(NAME, {"large.txt": Generated(8 << 20)})
        place = urllib.parse.urlsplit(hub.endpoint)
        with closing(socket.create_connection((place.hostname, place.port), timeout=5)) as leaving:
            leaving.sendall(f"GET /{NAME}/resolve/main/large.txt HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            hub.wait_until(lambda: hub.bytes_sent("large.txt") > 100_000)
        assert hub.bytes_sent("large.txt") < 8 << 20
        assert not hub.requests("GET", "large.txt")[0].finished


# --- as a program


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_a_folder_as_a_program(stop: signal.Signals, tmp_path: Path) -> None:
    write_workspace(tmp_path / "models" / NAME, FILES)
    command = [sys.executable, "-m", "tests.fake_hub", str(tmp_path / "models")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        endpoint = program.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", endpoint)
        assert ask(f"{endpoint}/{NAME}/resolve/main/{WEIGHTS}").body == FILES[WEIGHTS]
        Client(tmp_path / "home", endpoint).python(f"snapshot_download({NAME!r})")
        program.send_signal(stop)
        assert program.communicate(timeout=10) == ("", "")
    assert program.returncode == 0
    (entry,) = mlxknife.open_app(hub_cache=tmp_path / "home" / "hub", environment={}).health.check().entries
    assert entry.integrity is mlxknife.Integrity.STRUCTURAL
