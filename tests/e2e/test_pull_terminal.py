"""The output of ``pull``: expanded names, errors, progress bars, Ctrl-C, tokens, and its JSON document."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
import unicodedata
from collections.abc import Callable, Iterator

import pytest

from tests.builder import chat_files, sha256
from tests.e2e.processes import BIN, MUST_END, Machine
from tests.e2e.test_pull import FILES, NAME, WEIGHTS, Site, failure
from tests.e2e.test_terminal import harmless
from tests.fake_hub import READER, STRANGER, FakeHub, Slow, Stall, Status, generated_safetensors

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

SIZE = 600_000
LARGE = FILES | {WEIGHTS: b"".join(generated_safetensors(SIZE).chunks(0, SIZE))}
STEP = re.compile(r"\x1b\[(\d*)([AJKm])|.", re.DOTALL)
DONE = f"Successfully downloaded model {NAME} (7 files, 600.6KB)"


@pytest.fixture
def site(machine: Machine) -> Iterator[Site]:
    with FakeHub() as hub:
        yield Site(machine, hub)


def screens(shown: str, columns: int) -> list[str]:
    """Return the content of the terminal before each erasure and at the end."""
    rows, row, column, seen = [""], 0, 0, []

    def next_row() -> None:
        nonlocal row, column
        row, column = row + 1, 0
        rows.extend([""] * (row + 1 - len(rows)))

    for step in STEP.finditer(shown):
        if step[2] == "J":
            seen.append("\n".join(rows))
            del rows[row + 1 :]
            rows[row] = rows[row][:column]
        elif step[2] == "K":
            rows[row] = rows[row][:column]
        elif step[2] == "A":
            row = max(0, row - int(step[1] or 1))
        elif step[0] in "\r\n":
            column = 0 if step[0] == "\r" else column
            if step[0] == "\n":
                next_row()
        elif not step[2]:
            cells = step[0] + "\0" * (unicodedata.east_asian_width(step[0]) in "WF")
            if column + len(cells) > columns:
                next_row()
            rows[row] = rows[row].ljust(column)[:column] + cells + rows[row][column + len(cells) :]
            column += len(cells)
    return [*seen, "\n".join(rows).replace("\0", "")]


def watched(
    site: Site, *words: str, columns: int = 80, then: Callable[[subprocess.Popen[bytes]], None] | None = None
) -> tuple[int, list[str]]:
    """Pull on a terminal of a width; return the exit code and the screens."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [str(BIN / "mlxk"), "pull", *words]
    with subprocess.Popen(
        command, env=site.environment(), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        if then is not None:
            then(process)
        shown = b"".join(iter(lambda: _read(mine), b""))
        code = process.wait(MUST_END)
    os.close(mine)
    return code, screens(shown.decode().replace("\r\n", "\n"), columns)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux reports the closed terminal as EIO
        return b""


# --- names


def test_a_bare_name_is_expanded_to_mlx_community_and_the_expansion_is_printed(site: Site) -> None:
    commit = site.hub.add("mlx-community/tiny", FILES)
    site.hub.tag("mlx-community/tiny", "v1")
    said = site.run("tiny", "--dry-run")
    assert said.err == "tiny resolves to mlx-community/tiny\n"
    data = site.pull("tiny@v1")
    assert (data["model"], data["expanded_name"]) == ("mlx-community/tiny", "mlx-community/tiny")
    assert site.refs("mlx-community/tiny") == {"v1": commit}
    assert site.pull("mlx-community/tiny@v1")["expanded_name"] is None


def test_a_bare_name_resolves_to_the_only_cached_model_of_that_name(site: Site) -> None:
    for name in (NAME, "mlx-community/tiny-chat", "mlx-community/tiny"):
        site.hub.add(name, FILES)
    site.pull(NAME)
    again = site.run("tiny-chat")
    assert (again.out, again.err) == (f"Model {NAME} already exists in cache\n", f"tiny-chat resolves to {NAME}\n")
    assert site.pull("tiny", "--dry-run")["model"] == "mlx-community/tiny"


def test_a_bare_name_of_several_cached_models_is_ambiguous_unless_one_is_from_mlx_community(site: Site) -> None:
    site.hub.add("mlx-community/twin", FILES)
    for owner in ("one", "two"):
        site.machine.cache.model(f"{owner}/twin")
    outcome = site.run("twin", "--json")
    error = failure(outcome)
    assert (outcome.code, error["type"], error["matches"]) == (1, "ambiguous_match", ["one/twin", "two/twin"])
    assert site.hub.requests() == []
    site.machine.cache.model("mlx-community/twin")
    assert site.pull("twin", "--dry-run")["model"] == "mlx-community/twin"


# --- what a stranger may write


def test_a_listing_that_cannot_be_stored_is_refused_before_any_write(site: Site) -> None:
    for name in ("../../escaped", "line\nbreak", "\x1b[2Jescape", "\u202egnp.exe", "c1\x9bcsi", "config.json/child"):
        site.hub.add(NAME, FILES | {name: b"x"})
        shown = site.run(NAME)
        harmless(shown)
        assert (shown.code, shown.out) == (2, ""), name
    assert site.fetched() == {}
    assert not site.machine.hub.exists()


def test_control_characters_from_the_hub_are_escaped(site: Site) -> None:
    site.hub.fail(Status(403, message="evil \x9b2J \x1b[31m \x07"), "/api/*")
    for words in ((NAME,), (NAME, "--json")):
        outcome = site.run(*words)
        harmless(outcome)
        assert (outcome.code, "evil" in outcome.out + outcome.err) == (2, True)


# --- progress


@pytest.mark.parametrize(("columns", "width"), [(60, 4), (80, 24), (120, 24)])
def test_a_terminal_shows_bars_for_files_and_total_and_clears_them(site: Site, columns: int, width: int) -> None:
    site.hub.add(NAME, LARGE)
    site.hub.fail(Slow(1_000_000), "/cdn/*")
    code, seen = watched(site, NAME, columns=columns)
    assert (code, seen[-1].replace("\n", "")) == (0, DONE)
    drawn = [screen.splitlines() for screen in seen if "downloading [" in screen]
    assert all(len(lines) > 1 and lines[-1].startswith("downloading [") for lines in drawn)
    totals = [
        re.fullmatch(rf"downloading \[[#.]{{{width}}}\] +(\d+)% of 600\.6KB, [\d.]+[KM]?B/s(, \d+s to go)?", lines[-1])
        for lines in drawn
    ]
    shares = [int(total[1]) for total in totals if total]
    assert len(shares) == len(drawn) > 0
    assert shares == sorted(shares)
    assert max(len(line) for lines in drawn for line in lines) + len("^C") < columns
    for line in (line for lines in drawn for line in lines if WEIGHTS in line):
        assert re.fullmatch(rf"  {WEIGHTS} +\[[#.]{{{width}}}\] +\d+% of 600KB", line)


def test_the_bar_of_a_file_name_with_wide_letters_is_cleared(site: Site) -> None:
    site.hub.add(NAME, chat_files() | {"\u6a21" * 40 + ".safetensors": LARGE[WEIGHTS]})
    site.hub.fail(Slow(1_000_000), "/cdn/*")
    code, seen = watched(site, NAME)
    assert "downloading [" in "".join(seen)
    assert (code, seen[-1]) == (0, f"Successfully downloaded model {NAME} (6 files, 600.6KB)\n")


@pytest.mark.parametrize("variables", [{"CI": "true"}, {"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=str)
def test_variables_turn_progress_and_colour_off(site: Site, variables: dict[str, str]) -> None:
    site.hub.add(NAME, LARGE)
    site.hub.fail(Slow(2_000_000), "/cdn/*")
    shown = site.machine.on_terminal("pull", NAME, HF_ENDPOINT=site.hub.endpoint, **variables).out
    assert ("downloading [" in shown) is ("NO_COLOR" in variables)
    assert (shown == f"{DONE}\n") is ("NO_COLOR" not in variables)
    assert not re.search(r"\x1b\[[\d;]*m", shown)


# --- Ctrl-C


@pytest.mark.parametrize("place", ["terminal", "json"])
def test_ctrl_c_keeps_partial_files_and_the_next_pull_resumes_them(site: Site, place: str) -> None:
    commit = site.hub.add(NAME, LARGE)
    blob = site.built(commit).repo / "blobs" / sha256(LARGE[WEIGHTS])
    partial = blob.with_name(f"{blob.name}.incomplete")
    site.hub.fail(Stall(after=SIZE // 2), "/cdn/*")

    def interrupt(process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + MUST_END
        while not (partial.exists() and partial.stat().st_size == SIZE // 2):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)

    words = (NAME, "--json") if place == "json" else (NAME,)
    code, seen = watched(site, *words, then=interrupt)
    message = seen[-1].strip()
    assert (code, json.loads(message)["error"]["type"] if place == "json" else message) == (
        130,
        "interrupted" if place == "json" else "stopped; the next pull continues from here",
    )
    assert partial.stat().st_size == SIZE // 2
    assert site.verified() == {NAME: "incomplete"}
    site.hub.heal()
    site.hub.reset()
    site.pull(NAME)
    assert [seen.range for seen in site.hub.requests(path_part="/cdn/")] == [f"bytes={SIZE // 2}-"]
    assert site.fetched()[WEIGHTS] == SIZE // 2
    assert site.verified() == {NAME: "verified"}
    assert not partial.exists()


# --- words and answers


@pytest.mark.parametrize(
    "words",
    [
        (),
        (NAME, "--include"),
        ("org/../model",),
        ("./folder",),
        ("org/a/b",),
        (f"{NAME}@",),
        (NAME, "--revision", ""),
        (NAME, "--revision", "a..b"),
        (f"{NAME}@v1", "--revision", "v2"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_refused_before_any_request(site: Site, words: tuple[str, ...]) -> None:
    site.hub.add(NAME, FILES)
    outcome = site.run(*words, "--json")
    assert (outcome.code, failure(outcome)["type"]) == (1, "ValidationError")
    assert site.hub.requests() == []
    assert not site.machine.hub.exists()


def test_patterns_that_match_nothing_are_an_error(site: Site) -> None:
    site.hub.add(NAME, FILES)
    outcome = site.run(NAME, "--include", "*.gguf")
    assert (outcome.code, outcome.out) == (1, "")
    assert "config.json" in outcome.err
    assert not site.machine.hub.exists()


def test_the_help_names_every_option(site: Site) -> None:
    options = {"--revision", "--include", "--exclude", "--force", "--dry-run", "--json"}
    assert options <= set(re.findall(r"--[a-z-]+", site.machine.run("pull", "--help").out))


# --- the token


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_TOKEN_PATH"])
def test_a_token_gives_access_to_private_models_and_is_sent_to_the_hub_only(site: Site, variable: str) -> None:
    site.hub.add(NAME, FILES, private=True)
    path = site.machine.root / "token"
    path.write_text(f"{READER}\n")
    value = str(path) if variable == "HF_TOKEN_PATH" else READER
    site.pull(NAME, **{variable: value})
    assert site.verified() == {NAME: "verified"}
    assert {seen.authorized for seen in site.hub.requests() if seen.site == "hub"} == {True}
    assert {seen.authorized for seen in site.hub.requests(path_part="/cdn/")} == {False}


@pytest.mark.parametrize(("token", "code"), [(READER, 0), (STRANGER, 2), ("hf_expired", 2)])
def test_a_token_is_never_printed(site: Site, token: str, code: int) -> None:
    site.hub.add(NAME, FILES, gated=True)
    outcome = site.run(NAME, "--debug", HF_TOKEN=token)
    assert (outcome.code, token in outcome.out + outcome.err) == (code, False)
    assert site.hub.requests()[0].headers["authorization"] == f"Bearer {token}"


@pytest.mark.parametrize("token", ["hf_two\nlines", "hf_\u00fcmlaut"], ids=ascii)
def test_a_malformed_token_is_refused_and_not_printed(site: Site, token: str) -> None:
    site.hub.add(NAME, FILES)
    outcome = site.run(NAME, "--json", HF_TOKEN=token)
    assert "hf_two" not in outcome.out
    assert failure(outcome)["type"] != "InternalError"


def test_a_malformed_endpoint_is_no_internal_error(site: Site) -> None:
    environment = site.environment() | {"HF_ENDPOINT": "http://127.0.0.1:port"}
    outcome = site.machine.run("pull", NAME, "--json", environment=environment)
    assert failure(outcome)["type"] != "InternalError"
