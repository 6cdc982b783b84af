"""The routes that huggingface_hub uses for models, with the Hub's responses."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, quote, unquote, urlencode

import attrs

from tests.fake_hub.contents import Bytes, File
from tests.fake_hub.messages import Json, Reply, Request, json_reply, ranged, refusal
from tests.fake_hub.repos import Commit, Repo, Repos

READER = "hf_reader"
"""The token of a user with access to private and gated repos."""
STRANGER = "hf_stranger"
"""The token of a user who has access to nothing."""

_DATE = "2026-01-01T00:00:00.000Z"
_NAME = r"(?P<name>[^/]+?(?:/[^/]+?)??)"
_API = re.compile(
    rf"/api/models/{_NAME}(?:/(?P<kind>revision|tree|paths-info|refs)(?:/(?P<revision>[^/]+)(?:/(?P<path>.+))?)?)?"
)
_HARNESSES: Json = {"standardEnvVars": [], "harnesses": {}}
"""The client asks for them once a day, before its first request."""
_RESOLVE = re.compile(rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_RESOLVE_CACHE = re.compile(rf"/api/resolve-cache/models/{_NAME}/(?P<revision>[0-9a-f]{{40}})/(?P<path>.+)")
_CDN = re.compile(rf"/cdn/{_NAME}/(?P<revision>[0-9a-f]{{40}})/(?P<path>.+)")


class Refused(Exception):
    """The response is an error or a redirect."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@attrs.define
class Router:
    """Answers requests from the repos."""

    repos: Repos
    hub: str
    """The endpoint."""
    cdn: str
    page_size: int = 1000
    resolve_cache: bool = False

    def answer(self, request: Request) -> Reply:
        """Return the reply without faults."""
        try:
            return self._route(request)
        except Refused as refused:
            return refused.reply

    def _route(self, request: Request) -> Reply:
        if found := _CDN.fullmatch(request.raw_path):
            return self._cdn(request, found)
        if request.path in ("/api/agent-harnesses", "/api/models"):
            return self._search(request) if request.path == "/api/models" else json_reply(_HARNESSES)
        if request.site == "hub":
            if found := _RESOLVE_CACHE.fullmatch(request.raw_path):
                return self._file(request, *self._entry(request, found))
            if found := _RESOLVE.fullmatch(request.raw_path):
                return self._resolve(request, *self._entry(request, found))
            if found := _API.fullmatch(request.raw_path):
                return self._api(request, found)
        return refusal(404, None, "Sorry, we can't find the page you are looking for.")

    # --- access

    def _repo(self, request: Request, name: str) -> Repo:
        if request.token not in (None, READER, STRANGER):
            raise Refused(refusal(401, None, "Invalid credentials in Authorization header"))
        if name in self.repos.moved:
            target = request.target.replace(f"/{name}", f"/{self.repos.moved[name]}", 1)
            raise Refused(Reply(307, {"Location": target}))
        repo = self.repos.held.get(name)
        if repo is None or (repo.private and request.token != READER):
            # An anonymous client gets 401 also for a missing repo, so that private names are not revealed.
            raise Refused(refusal(401 if request.token is None else 404, "RepoNotFound", "Repository not found"))
        if repo.disabled:
            raise Refused(refusal(403, None, "Access to this resource is disabled."))
        return repo

    def _entry(self, request: Request, found: re.Match[str]) -> tuple[Repo, Commit, File]:
        repo = self._repo(request, unquote(found["name"]))
        if repo.gated and request.token != READER:
            status = 401 if request.token is None else 403
            raise Refused(refusal(status, "GatedRepo", f"Access to model {repo.name} is restricted."))
        commit = _commit(repo, unquote(found["revision"]))
        path = unquote(found["path"])
        if path not in commit.files:
            missing = refusal(404, "EntryNotFound", "Entry not found")
            raise Refused(missing.with_headers(X_Repo_Commit=commit.hash))
        return repo, commit, commit.files[path]

    # --- files

    def _resolve(self, request: Request, repo: Repo, commit: Commit, file: File) -> Reply:
        if not file.is_lfs and not self.resolve_cache:
            return self._file(request, repo, commit, file)
        headers = {"X-Repo-Commit": commit.hash, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if not file.is_lfs:
            place = f"/api/resolve-cache/models/{quote(repo.name)}/{commit.hash}/{quote(file.path)}"
            return Reply(307, headers | {"Location": f"{place}?{urlencode({request.path: '', 'etag': file.etag})}"})
        headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
        if repo.xet:
            token_route = f"{self.hub}/api/models/{repo.name}/xet-read-token/{commit.hash}"
            headers |= {"X-Xet-Hash": file.xet_hash, "Link": f'<{token_route}>; rel="xet-auth"'}
        place = f"/cdn/{quote(repo.name)}/{commit.hash}/{quote(file.path)}"
        query = urlencode({"X-Amz-Expires": "3600", "X-Amz-Signature": _signature(unquote(place))})
        return Reply(302, headers | {"Location": f"{self.cdn}{place}?{query}"}, Bytes(b"Found. Redirecting."))

    def _file(self, request: Request, _repo: Repo, commit: Commit, file: File) -> Reply:
        name = quote(file.path.rpartition("/")[2])
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Disposition": f"inline; filename*=UTF-8''{name}; filename=\"{name}\";",
            "ETag": f'"{file.etag}"',
            "X-Repo-Commit": commit.hash,
            "Accept-Ranges": "bytes",
        }
        return ranged(request, Reply(200, headers, file.content))

    def _cdn(self, request: Request, found: re.Match[str]) -> Reply:
        signature = parse_qs(request.raw_query).get("X-Amz-Signature")
        repo = self.repos.held.get(unquote(found["name"]))
        commit = repo.at(found["revision"]) if repo else None
        file = commit.files.get(unquote(found["path"])) if commit else None
        if commit is None or file is None or signature != [_signature(request.path)]:
            denied = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
            return Reply(403, {"Content-Type": "application/xml"}, Bytes(denied))
        headers = {"Content-Type": "binary/octet-stream", "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if self.cdn == self.hub:  # the client then treats it as the Hub, and expects its headers
            headers["X-Repo-Commit"] = commit.hash
        return ranged(request, Reply(200, headers, file.content))

    # --- the API

    def _api(self, request: Request, found: re.Match[str]) -> Reply:
        repo = self._repo(request, unquote(found["name"]))
        kind = found["kind"]
        if kind == "refs":
            return json_reply(_refs(repo))
        commit = _commit(repo, unquote(found["revision"] or "main"))
        if kind == "tree":
            return self._tree(request, repo, commit, unquote(found["path"] or ""))
        if kind == "paths-info":
            paths = parse_qs(request.body.decode()).get("paths", [])
            return json_reply([entry for entry in _entries(repo, commit) if entry["path"] in paths])
        return json_reply(_info(request, repo, commit))

    def _search(self, request: Request) -> Reply:
        if request.token not in (None, READER, STRANGER):
            return refusal(401, None, "Invalid credentials in Authorization header")
        text = request.query.get("search", [""])[-1].lower()
        limit = int(request.query.get("limit", ["1000"])[-1])
        found = [
            repo
            for repo in self.repos.held.values()
            if text in repo.name.lower() and (not repo.private or request.token == READER)
        ]
        return json_reply([{"id": repo.name, "modelId": repo.name, "private": repo.private} for repo in found[:limit]])

    def _tree(self, request: Request, repo: Repo, commit: Commit, folder: str) -> Reply:
        inside = f"{folder}/" if folder else ""
        entries = [entry for entry in _entries(repo, commit) if str(entry["path"]).startswith(inside)]
        if folder and not entries:
            return refusal(404, "EntryNotFound", f'{folder} does not exist on "{commit.hash}"')
        if not request.flag("recursive"):
            entries = [entry for entry in entries if "/" not in str(entry["path"])[len(inside) :]]
        start = int(request.query.get("cursor", ["0"])[0])
        stop = start + int(request.query.get("limit", [str(self.page_size)])[0])
        reply = json_reply([*entries[start:stop]])
        if stop >= len(entries):
            return reply
        kept = {name: values[-1] for name, values in request.query.items()}
        return reply.with_headers(
            Link=f'<{self.hub}{request.raw_path}?{urlencode(kept | {"cursor": str(stop)})}>; rel="next"'
        )


def _commit(repo: Repo, revision: str) -> Commit:
    commit = repo.at(revision)
    if commit is None:
        raise Refused(refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}"))
    return commit


def _signature(path: str) -> str:
    return hashlib.sha256(f"secret of the fake CDN {path}".encode()).hexdigest()


def _info(request: Request, repo: Repo, commit: Commit) -> Json:
    info: dict[str, Json] = {
        "_id": hashlib.sha1(repo.name.encode(), usedforsecurity=False).hexdigest()[:24],
        "id": repo.name,
        "modelId": repo.name,
        "author": repo.name.rpartition("/")[0] or None,
        "sha": commit.hash,
        "createdAt": _DATE,
        "lastModified": _DATE,
        "private": repo.private,
        "gated": "auto" if repo.gated is True else repo.gated,
        "disabled": repo.disabled,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "usedStorage": sum(file.size for file in commit.files.values()),
        "siblings": [_sibling(file, whole=request.flag("blobs")) for file in commit.files.values()],
    }
    expanded = request.query.get("expand")
    return {name: value for name, value in info.items() if not expanded or name in ("_id", "id", *expanded)}


def _sibling(file: File, *, whole: bool) -> Json:
    sibling: dict[str, Json] = {"rfilename": file.path}
    if whole:
        sibling |= {"size": file.size, "blobId": file.blob_id}
    if whole and file.is_lfs:
        sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    return sibling


def _entries(repo: Repo, commit: Commit) -> Iterator[dict[str, Json]]:
    folders = {"/".join(path.split("/")[:depth]) for path in commit.files for depth in range(1, path.count("/") + 1)}
    for path in sorted({*folders, *commit.files}):
        if path not in commit.files:
            tree = hashlib.sha1(f"{commit.hash} {path}".encode(), usedforsecurity=False).hexdigest()
            yield {"type": "directory", "oid": tree, "size": 0, "path": path}
            continue
        file = commit.files[path]
        entry: dict[str, Json] = {"type": "file", "oid": file.blob_id, "size": file.size, "path": path}
        if file.is_lfs:
            entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
        if file.is_lfs and repo.xet:
            entry["xetHash"] = file.xet_hash
        yield entry


def _refs(repo: Repo) -> Json:
    def named(refs: dict[str, str], folder: str) -> list[Json]:
        return [
            {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": commit}
            for name, commit in sorted(refs.items())
        ]

    return {
        "branches": named(repo.branches, "heads"),
        "tags": named(repo.tags, "tags"),
        "converts": [],
        "pullRequests": [],
    }
