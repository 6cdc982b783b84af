"""Redaction removes every secret and leaves the rest unchanged."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.text.rules.redaction import HOME, MARK, redacted
from tests.property.strategies import strange_text

_TAILS = st.text(string.ascii_letters + string.digits, min_size=8, max_size=40)
_SIGNS = ["hf_", "sk-", "sk-proj-", "ghp_", "ghs_", "github_pat_", "glpat-", "hf%5F", "glpat%2d"]
_KEYS = st.text(string.ascii_uppercase + string.digits, min_size=16, max_size=16)
_TOKENS = st.one_of(
    st.builds("{}{}".format, st.sampled_from(_SIGNS), _TAILS),
    st.builds("{}{}".format, st.sampled_from(["AKIA", "ASIA"]), _KEYS),
)
_PLAIN_GAPS = [" ", "\n", "'", '"', "=", ":", "/", "?token=", "(", "\x1b", "Bearer ", "é"]
_GAPS = st.sampled_from([*_PLAIN_GAPS, "token%3D", "%3d", "%20", "%2F", "%253D", "%0A", "\\n"])
_NAMES = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=12)
_ROOTS = st.sampled_from(["/Users/", "/home/", "/var/home/", "/usr/home/", "/export/home/"])
_HOMES = st.one_of(st.builds("{}{}".format, _ROOTS, _NAMES), st.just("/root"), st.just("/var/root"))
_SCHEMES = ["Bearer", "bearer", "BEARER", "Basic", "BAS\u0130C", "Bas\u0131c", "Ba\u017fic"]
_SECRETS = st.text(string.ascii_letters + string.digits + "!$%/+.*()[]\\", min_size=4, max_size=30)


@given(strange_text(), _GAPS, _TOKENS, _GAPS, strange_text())
def test_no_token_remains(before: str, gap: str, token: str, other_gap: str, after: str) -> None:
    text = redacted(f"{before}{gap}{token}{other_gap}{after}")
    assert token not in text
    assert MARK in text


@given(strange_text(), _TAILS, st.sampled_from(_SCHEMES))
def test_no_authorization_value_remains(before: str, key: str, scheme: str) -> None:
    text = redacted(f"{before} {scheme} {key}Z9")
    assert f"{key}Z9" not in text
    assert MARK in text


@given(strange_text(), _SECRETS, strange_text())
def test_no_given_secret_remains(before: str, secret: str, after: str) -> None:
    text = redacted(f"{before} {secret} {after}", [secret])
    assert secret not in text.replace(MARK, "")


@given(
    _HOMES,
    st.sampled_from(["", "/", "/x/y", ":3", '"', " and"]),
    st.sampled_from(["", "at ", "file://", "'", "=", "path%3D", "%20", "path%253D"]),
)
def test_no_home_folder_remains(home: str, after: str, before: str) -> None:
    assert redacted(f"{before}{home}{after}") == f"{before}{HOME}{after}"
    for slash in ("%2F", "%2f"):
        assert redacted(f"{before}{home.replace('/', slash)}{after}") == f"{before}{HOME}{after}"


@given(_NAMES.map("/srv/{}x".format), st.sampled_from(["", "/a", " "]))
def test_no_given_home_folder_remains(home: str, after: str) -> None:
    assert redacted(f"in {home}{after}", homes=[home]) == f"in {HOME}{after}"
    assert redacted(f"in {home}other", homes=[home]) == f"in {home}other"
    assert redacted(f"in%20{home.replace('/', '%2F')}", homes=[home]) == f"in%20{HOME}"


@given(strange_text(200), st.lists(_SECRETS, max_size=3), st.lists(_HOMES, max_size=2))
def test_redacting_twice_changes_nothing(text: str, secrets: list[str], homes: list[str]) -> None:
    once = redacted(text, secrets, homes)
    assert redacted(once, secrets, homes) == once


@given(st.text(st.characters(categories=["L", "Zs", "P"], exclude_characters="/-_~")))
def test_plain_words_are_unchanged(text: str) -> None:
    said = f"the model {text.replace('earer', '').replace('asic', '')}"
    assert redacted(said) == said


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "part", ["bearer ", "bearer", " ", "hf_", "%2Fhome", "/home/", "/var/", "%3D", "\\n", "AKIA", "glpat-a"]
)
def test_the_time_is_linear_in_the_length(part: str) -> None:
    """A quadratic pattern would need more than an hour for a million characters."""
    for text in (part * 150_000, f"Bearer{part * 150_000}", f"/home/{part * 150_000}x", f"AKIA{part * 150_000}"):
        assert len(redacted(text, ["never there"], ["/srv/never"])) <= 2 * len(text)


def test_text_that_resembles_a_secret_stays() -> None:
    for said in ("AKIABCDEFGHIJKLMNOP", "xAKIA1234567890ABCDEF", "a/var/home/x", "/var/homes/x", "glpat-abc", "100%3D"):
        assert redacted(said) == said


def test_the_examples_of_the_documentation() -> None:
    said = "Using token hf_AbCdEfGhIjKlMnOpQrStUvWxYz123456 from /Users/john/models"
    assert redacted(said) == "Using token [REDACTED_TOKEN] from ~/models"
