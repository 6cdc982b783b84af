"""The user's files: what is taken, what is skipped and why, and hostile names and files."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mlxknife.adapters.documents import files as module
from mlxknife.adapters.documents.files import DiskFiles
from mlxknife.adapters.documents.pdf import PdfReader
from mlxknife.domain.errors import StorageError
from mlxknife.domain.retrieval.values import Document, FoundFile, SkippedFile, SkipReason

FILES = DiskFiles(PdfReader())


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def found(root: Path) -> dict[str, str]:
    """Return the names below a folder: taken, or the reason to skip them."""
    real = FILES.root(str(root))
    return {
        os.path.relpath(file.path, real): "taken" if isinstance(file, FoundFile) else file.reason.value
        for file in FILES.find(real)
    }


def test_hidden_and_ignored_files_are_skipped_and_a_folder_counts_once(tmp_path: Path) -> None:
    names = [".env", ".git/config", "a.md", "build/x.o", "build/y.o", "keep.log", "sub/a.log", "sub/b.txt", "sub/c.txt"]
    write(tmp_path, dict.fromkeys(names, "text"))
    write(tmp_path, {".gitignore": "build/\n*.log\n!keep.log\n[\n!\n", "sub/.gitignore": "b.txt\n"})
    assert found(tmp_path) == {
        ".env": "hidden",
        ".git": "hidden",
        ".gitignore": "hidden",
        "a.md": "taken",
        "build": "ignored",
        "keep.log": "taken",
        "sub/.gitignore": "hidden",
        "sub/a.log": "ignored",
        "sub/b.txt": "ignored",
        "sub/c.txt": "taken",
    }


def test_the_rules_of_the_repository_hold_in_its_folders(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "*.txt\n", "repo/.gitignore": "/sub/one\n*.log\n", "repo/.git/x": ""})
    write(tmp_path, dict.fromkeys(["repo/sub/one", "repo/sub/two", "repo/sub/a.log", "repo/sub/a.txt"], "text"))
    assert found(tmp_path / "repo" / "sub") == {
        "one": "ignored",
        "two": "taken",
        "a.log": "ignored",
        "a.txt": "taken",  # the rules of folders outside the repository do not count
    }


def test_a_named_file_is_taken_even_if_it_is_hidden_or_ignored(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "*", ".notes": "text"})
    (tmp_path / "link").symlink_to(".notes")
    assert found(tmp_path / ".notes") == {".": "taken"}
    assert found(tmp_path / "link") == {".": "taken"}
    assert FILES.root(str(tmp_path / "link")) == str(tmp_path / ".notes")
    with pytest.raises(StorageError, match="No such file"):
        FILES.root(str(tmp_path / "nothing"))


def test_links_and_special_files_are_skipped_and_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = write(tmp_path / "outside", {"secret.txt": "secret"})
    inside = write(tmp_path / "inside", {"a.txt": "text"})
    (inside / "link").symlink_to(outside / "secret.txt")
    (inside / "folder").symlink_to(outside)
    (inside / "loop").symlink_to("loop")
    (inside / "gone").symlink_to("nowhere")
    os.mkfifo(inside / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(inside)
        listener.bind("socket")
    assert found(inside) == {
        "a.txt": "taken",
        "folder": "link",
        "gone": "link",
        "link": "link",
        "loop": "link",
        "pipe": "special",
        "socket": "special",
    }
    for name in ("link", "pipe"):  # what a file has become after it was found
        outcome = FILES.read(str(inside / name))
        assert isinstance(outcome, SkippedFile)
        assert outcome.reason in (SkipReason.LINK, SkipReason.SPECIAL)


def test_odd_names_are_taken(tmp_path: Path) -> None:
    names = [b"new\nline.txt", b"\xff\xfe.txt", "\u202eevil.txt".encode(), b"-rf", b"'\"`$(x).txt"]
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(b"text")
    assert found(tmp_path) == {os.fsdecode(name): "taken" for name in names}
    for one in FILES.find(str(tmp_path)):
        assert isinstance(FILES.read(one.path), Document)


def test_a_very_deep_folder_is_read_as_far_as_the_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(60):
        os.mkdir("d" * 200)  # a path of 12,000 characters cannot be opened
        os.chdir("d" * 200)
    reasons = set(found(tmp_path).values())
    monkeypatch.chdir(tmp_path)
    assert reasons == {"unreadable"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"text\0", SkipReason.BINARY),
        (b"\xff\xfeh\0i\0", SkipReason.BINARY),
        (b"caf\xe9", SkipReason.NOT_UTF8),
        (b"x" * 33, SkipReason.TOO_LARGE),
    ],
    ids=str,
)
def test_what_is_no_text_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, reason: SkipReason
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 32)
    (tmp_path / "file").write_bytes(data)
    assert FILES.read(str(tmp_path / "file")) == SkippedFile(str(tmp_path / "file"), reason)


def test_a_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("\ufeffcafé\r\n".encode())
    document = FILES.read(str(path))
    assert isinstance(document, Document)
    assert (document.text, len(document.digest)) == ("café\r\n", 32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.write_text("longer text"), SkipReason.CHANGING),
        (lambda path: os.utime(path, ns=(1, path.stat().st_mtime_ns + 1)), SkipReason.CHANGING),
        (Path.touch, None),
    ],
    ids=["written", "touched", "once"],
)
def test_a_file_that_changes_while_it_is_read_is_read_again_and_then_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], reason: SkipReason | None
) -> None:
    path, real, changes = tmp_path / "file", module._read, list[int]()  # noqa: SLF001 - the moment between two calls
    path.write_text("text")
    os.utime(path, ns=(1, 1))

    def read(handle: int, limit: int) -> bytes:
        data = real(handle, limit)
        if reason is not None or not changes:
            changes.append(1)
            change(path)
        return data

    monkeypatch.setattr(module, "_read", read)
    outcome = FILES.read(str(path))
    assert isinstance(outcome, Document if reason is None else SkippedFile)
    assert isinstance(outcome, Document) or outcome.reason is reason
    assert len(changes) == (1 if reason is None else 2)


def test_a_file_that_is_gone_is_skipped(tmp_path: Path) -> None:
    outcome = FILES.read(str(tmp_path / "gone"))
    assert isinstance(outcome, SkippedFile)
    assert (outcome.reason, outcome.detail) == (SkipReason.UNREADABLE, "No such file or directory")


def test_a_pattern_that_takes_for_ever_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "*a" * 30 + "b\n*.log\n", "a" * 200: "text", "x.log": "text"})
    assert found(tmp_path) == {".gitignore": "hidden", "a" * 200: "taken", "x.log": "ignored"}


def test_a_pdf_file_is_read_page_by_page(tmp_path: Path) -> None:
    pytest.importorskip("pypdf", reason="the extra pdf is not installed here")
    path = tmp_path / "two.pdf"
    path.write_bytes(pdf("First page", "Second (page)"))
    document = FILES.read(str(path))
    assert isinstance(document, Document)
    assert (document.text.split("\n"), document.pages) == (["First page", "Second (page)"], (1, 1))
    path.write_bytes(b"%PDF-1.7\nnothing")
    outcome = FILES.read(str(path))
    assert outcome == SkippedFile(str(path), SkipReason.PDF, "it cannot be read")


def pdf(*pages: str) -> bytes:
    """Return a small PDF file."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        escaped = text.replace("(", r"\(").replace(")", r"\)")
        stream = f"BT /F1 12 Tf 72 700 Td ({escaped}) Tj ET"
        page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"{page} /Contents {5 + 2 * number} 0 R >>")
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    data, places = b"%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + f"xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()
