"""Chunking of Markdown and of code: where it cuts, and which title a chunk has."""

from __future__ import annotations

from textwrap import dedent

from mlxknife.domain.retrieval.rules import chunking
from mlxknife.domain.retrieval.values import Chunk, Document


def chunks(name: str, text: str) -> list[tuple[int, int, str]]:
    found = chunking.chunks(Document(f"/{name}", b"", dedent(text)))
    return [(chunk.first_line, chunk.last_line, chunk.title) for chunk in found]


def test_markdown_is_cut_at_headings_and_has_them_as_titles() -> None:
    text = """\
        intro
        # Server
        text

        ## Ports ##
        more
        ```sh
        # no heading
        ```
        ## Names
        last
        # C#
        ####### none
        #
    """
    assert chunks("a.md", text) == [
        (1, 1, ""),
        (2, 3, "Server"),
        (5, 9, "Server > Ports"),
        (10, 11, "Server > Names"),
        (12, 13, "C#"),
        (14, 14, ""),
    ]


def test_a_text_is_cut_at_paragraphs() -> None:
    paragraph = "word " * 60 + "\n"
    assert chunks("a.txt", f"{paragraph}\n{paragraph}\n\n{paragraph}\n") == [(1, 3, ""), (6, 6, "")]


def test_python_is_cut_at_definitions_with_their_decorators_and_comments() -> None:
    text = """\
        import os

        VALUE = 1

        # about f
        @cache
        def f(x):
            return x

        class A(Base):
            def method(self):
                pass

        async def g():
            pass
    """
    assert chunks("a.py", text) == [
        (1, 3, ""),
        (5, 8, "def f(x):"),
        (10, 12, "class A(Base):"),
        (14, 15, "async def g():"),
    ]


def test_a_long_class_is_cut_at_its_methods() -> None:
    method = "    @property\n    def {name}(self):\n" + "        value = 'some words here'\n" * 15 + "\n"
    text = "class A:\n" + "".join(method.format(name=name) for name in "abc")
    assert chunks("a.py", text) == [(1, 18, "class A:"), (20, 36, "class A:"), (38, 54, "class A:")]


def test_other_languages_are_cut_at_their_definitions() -> None:
    rust = "use std::io;\n\n/// Reads.\npub fn read() {\n}\n\nimpl Thing {\n}\n"
    assert chunks("a.rs", rust) == [(1, 1, ""), (3, 5, "pub fn read() {"), (7, 8, "impl Thing {")]
    script = "const a = 1;\nexport default function run() {\n}\nexport const go = async (x) => {\n}\n"
    assert chunks("a.ts", script) == [
        (1, 1, ""),
        (2, 3, "export default function run() {"),
        (4, 5, "export const go = async (x) => {"),
    ]
    c = "#include <a.h>\n\nstatic int add(int a, int b) {\n  return a;\n}\n\nstruct pair {\n};\n"
    assert chunks("a.c", c) == [(1, 1, ""), (3, 5, "static int add(int a, int b) {"), (7, 8, "struct pair {")]


def test_a_long_line_is_cut_at_spaces_and_keeps_its_number() -> None:
    found = chunking.chunks(Document("/a.txt", b"", "one\n" + "word " * 400))
    assert [(chunk.first_line, chunk.last_line) for chunk in found] == [(1, 2), (2, 2), (2, 2)]
    assert "".join(chunk.text for chunk in found) == "one\n" + "word " * 400


def test_the_title_is_embedded_once() -> None:
    assert chunking.titled_text(Chunk(1, 2, "def f():\n  pass\n", "def f():")) == "def f():\n  pass"
    assert chunking.titled_text(Chunk(1, 1, "text", "Server > Ports")) == "Server > Ports\ntext"
