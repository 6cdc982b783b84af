"""Untrusted model cards are parsed where they are simple, and never raise."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from mlxknife.domain.catalog.rules import model_card
from mlxknife.domain.models.values.info import ModelCard
from tests.property.strategies import strange_text

_word = st.from_regex(r"[a-z][a-zA-Z0-9_./-]{0,15}", fullmatch=True).filter(lambda word: word != "null")
_other_fields = st.lists(
    st.sampled_from(
        [
            "# a comment",
            "language: en",
            "language:\n- en\n- de",
            "widget:\n  - text: hello\n    tags: no",
            "model-index:\n- name: x\n  library_name: wrong",
            "pipeline_tag: text-generation",
            "extra_gated_prompt: >-\n  please: read\n  tags: this",
            "",
        ]
    ),
    max_size=3,
)


def _quoted(word: str, style: str) -> str:
    return f"{style}{word}{style}"


_scalar = st.tuples(_word, st.sampled_from(["", "'", '"'])).map(lambda pair: (pair[0], _quoted(*pair)))


@st.composite
def _list_field(draw: st.DrawFn, key: str) -> tuple[list[str], str]:
    items = draw(st.lists(_scalar, min_size=1, max_size=4))
    words, written = [word for word, _ in items], [text for _, text in items]
    style = draw(st.sampled_from(["flow", "block", "indented"]))
    if style == "flow":
        return words, f"{key}: [{', '.join(written)}]"
    indent = "  " if style == "indented" else ""
    return words, f"{key}:\n" + "\n".join(f"{indent}- {text}" for text in written)


@given(st.one_of(strange_text(200), strange_text(200).map("---\n{}".format)))
@example("---")
@example("---\n- a\n---")
@example("---\nbase_model:\n- \n---")
@example("---\ntags: [[[[]]]]\n---")
@example("---\ntags: " + "[" * 2_000 + "]" * 2_000 + "\n---")
def test_any_text_can_be_parsed(text: str) -> None:
    found = model_card.parse(text)
    assert all(isinstance(tag, str) for tag in found.tags)


@given(strange_text(200).filter(lambda text: not text.lstrip("\ufeff").startswith("---")))
def test_a_text_without_front_matter_is_an_empty_card(text: str) -> None:
    assert model_card.parse(text) == ModelCard()


@given(
    library=_scalar,
    license_=_scalar,
    tags=_list_field("tags"),
    base_models=_list_field("base_model"),
    others=_other_fields,
    rest=strange_text(50),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_simple_front_matter_is_parsed_as_written(  # noqa: PLR0913 - one argument a field
    *,
    library: tuple[str, str],
    license_: tuple[str, str],
    tags: tuple[list[str], str],
    base_models: tuple[list[str], str],
    others: list[str],
    rest: str,
    newline: str,
) -> None:
    fields = [f"library_name: {library[1]}", tags[1], *others, f"license: {license_[1]}", base_models[1]]
    text = "\n".join(["---", *fields, "---"]).replace("\n", newline)
    expected = ModelCard(
        library_name=library[0], tags=tuple(tags[0]), license=license_[0], base_models=tuple(base_models[0])
    )
    assert model_card.parse(f"{text}{newline}{rest}") == expected


@given(_scalar, _scalar)
def test_a_base_model_may_be_a_scalar_and_a_license_name_wins(base: tuple[str, str], name: tuple[str, str]) -> None:
    found = model_card.parse(f"---\nbase_model: {base[1]}\nlicense: other\nlicense_name: {name[1]}\n---\n")
    assert found == ModelCard(license=name[0], base_models=(base[0],))


@given(_list_field("tags"), _scalar)
def test_a_comment_after_a_value_is_not_part_of_it(tags: tuple[list[str], str], library: tuple[str, str]) -> None:
    found = model_card.parse(f"---\nlibrary_name: {library[1]}  # as is\n{tags[1]} # these\n---\n")
    assert found == ModelCard(library_name=library[0], tags=tuple(tags[0]))


@given(_scalar)
def test_front_matter_that_never_ends_is_no_front_matter(library: tuple[str, str]) -> None:
    assert model_card.parse(f"---\nlibrary_name: {library[1]}\n") == ModelCard()
