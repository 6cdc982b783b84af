"""What is secret is told nowhere, and the rest is told as it is."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.rules.redaction import HOME, MARK, redacted
from tests.property.strategies import strange_text

_TAILS = st.text(string.ascii_letters + string.digits, min_size=8, max_size=40)
_TOKENS = st.builds("{}{}".format, st.sampled_from(["hf_", "sk-", "sk-proj-", "ghp_", "github_pat_"]), _TAILS)
_GAPS = st.sampled_from([" ", "\n", "'", '"', "=", ":", "/", "?token=", "(", "\x1b", "Bearer ", "é"])
_NAMES = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=12)
_HOMES = st.one_of(st.builds("/Users/{}".format, _NAMES), st.builds("/home/{}".format, _NAMES), st.just("/root"))
_SECRETS = st.text(string.ascii_letters + string.digits + "!$%/+.*()[]\\", min_size=4, max_size=30)


@given(strange_text(), _GAPS, _TOKENS, _GAPS, strange_text())
def test_no_token_is_told(before: str, gap: str, token: str, other_gap: str, after: str) -> None:
    told = redacted(f"{before}{gap}{token}{other_gap}{after}")
    assert token not in told
    assert MARK in told


@given(strange_text(), _TAILS, st.sampled_from(["Bearer", "bearer", "BEARER", "Basic"]))
def test_nothing_that_stands_in_an_authorization_is_told(before: str, key: str, scheme: str) -> None:
    told = redacted(f"{before} {scheme} {key}Z9")
    assert f"{key}Z9" not in told
    assert MARK in told


@given(strange_text(), _SECRETS, strange_text())
def test_a_secret_that_is_named_is_not_told(before: str, secret: str, after: str) -> None:
    told = redacted(f"{before} {secret} {after}", [secret])
    assert secret not in told.replace(MARK, "")


@given(_HOMES, st.sampled_from(["", "/", "/x/y", ":3", '"', " and"]), st.sampled_from(["", "at ", "file://", "'", "="]))
def test_no_home_is_told(home: str, after: str, before: str) -> None:
    assert redacted(f"{before}{home}{after}") == f"{before}{HOME}{after}"


@given(_NAMES.map("/srv/{}x".format), st.sampled_from(["", "/a", " "]))
def test_a_home_somewhere_else_is_not_told_when_it_is_named(home: str, after: str) -> None:
    assert redacted(f"in {home}{after}", homes=[home]) == f"in {HOME}{after}"
    assert redacted(f"in {home}other", homes=[home]) == f"in {home}other"


@given(strange_text(200), st.lists(_SECRETS, max_size=3), st.lists(_HOMES, max_size=2))
def test_what_was_redacted_stays_as_it_is(text: str, secrets: list[str], homes: list[str]) -> None:
    once = redacted(text, secrets, homes)
    assert redacted(once, secrets, homes) == once


@given(st.text(st.characters(categories=["L", "Zs", "P"], exclude_characters="/-_~")))
def test_plain_words_are_left_alone(text: str) -> None:
    said = f"the model {text.replace('earer', '').replace('asic', '')}"
    assert redacted(said) == said


def test_the_examples_of_the_handbook_come_out_as_it_says() -> None:
    said = "Using token hf_AbCdEfGhIjKlMnOpQrStUvWxYz123456 from /Users/john/models"
    assert redacted(said) == "Using token [REDACTED_TOKEN] from ~/models"
