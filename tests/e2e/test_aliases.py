"""Scripts of mlx-knife 2.0.8, and habits from other programs, keep working."""

from __future__ import annotations

import shutil

import pytest

import mlxknife
from tests.e2e.processes import Machine
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL, REASONING

pytestmark = pytest.mark.timeout(1200)

VERSION = f"mlxk {mlxknife.__version__}\n"
PARIS = f"{ANSWERS[CAPITAL]}\n"


@pytest.fixture(scope="module")
def parrot(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Make a machine with a parrot for each model name of seed 3."""
    made = Machine(tmp_path_factory.mktemp("aliases"))
    for name in ("phi-3", "model"):
        shutil.copytree(parrot_folder(), made.home / name)
    for name, text in (("prompt", CAPITAL), ("context", "MLX is fast."), ("system", "Be brief."), ("input", CAPITAL)):
        (made.root / f"{name}.txt").write_text(text)
    for path in ("docs/quantization.md", "examples/4bit.py", "log/stage1.txt"):
        (made.root / path).parent.mkdir(exist_ok=True)
        (made.root / path).write_text(f"This is {path}.\n")
    return made


@pytest.mark.parametrize("words", [("-V",), ("-v",), ("--version",)])
def test_the_version_has_short_options(machine: Machine, words: tuple[str, ...]) -> None:
    assert machine.run(*words).out == VERSION


def test_ls_is_list_and_chat_is_run_with_a_chat(parrot: Machine) -> None:
    assert parrot.run("ls", "--json").document()["command"] == "list"
    assert parrot.run("ls", "phi").out == parrot.run("list", "phi").out
    chat = parrot.shell(f"printf '{CAPITAL}\n' | mlxk chat phi-3")
    assert (chat.code, chat.out) == (0, PARIS)
    assert "usage: mlxk run" in parrot.run("chat", "--help").out


def test_options_of_run_keep_their_names(parrot: Machine) -> None:
    assert parrot.run("run", "phi-3", "--prompt", CAPITAL).out == PARIS
    assert parrot.run("run", "phi-3", "--no-reasoning", "--prompt", REASONING).out == "The sum is 42.\n"
    data = parrot.shell("mlxk run phi-3 - --prompt 'of France?' --json < <(echo 'What is the capital')").data()
    assert data["prompt"] == "What is the capital\n\nof France?"


def test_force_resume_is_accepted_by_pull(machine: Machine) -> None:
    outcome = machine.run(
        "pull", "org/x", "--force-resume", "--json", environment=machine.environment(HF_HUB_OFFLINE="1")
    )
    assert outcome.code == 2


ANY = "*"
EXAMPLES = [
    ('mlxk run phi-3 "test"', ANY),
    ("cat prompt.txt | mlxk run phi-3 -", PARIS),
    ('mlx-run phi-3 "test"', ANY),
    ("cat prompt.txt | mlx-run phi-3 -", PARIS),
    ("shopt -s expand_aliases; alias m='mlx-run'\ncat prompt.txt | m phi-3 -", PARIS),
    ("cat input.txt | mlx-run model --out log/1.txt - | mlx-run model --out log/2.txt - | mlx-run model -", ANY),
    ("cat input.txt | mlx-run model - | tee log/stage1.txt | mlx-run model >&2; cat log/stage1.txt", PARIS),
    ('mlx-run model "test" | cat', ANY),
]


@pytest.mark.parametrize(("script", "out"), EXAMPLES, ids=[script for script, _ in EXAMPLES])
def test_the_examples_of_the_appendices_of_seed_3(parrot: Machine, script: str, out: str) -> None:
    outcome = parrot.shell(f"set -eo pipefail; {script}", OPENBLAS_NUM_THREADS="1")
    assert outcome.code == 0
    assert "error" not in outcome.err
    assert outcome.out == out or (out == ANY and outcome.out.strip())


QUANTIZATION, FOUR_BIT = (f"{path}:\n\nThis is {path}." for path in ("docs/quantization.md", "examples/4bit.py"))
CONTEXT = "context.txt:\n\nMLX is fast."
PROMPTS = [
    (
        'echo "How does MLX quantization work?" | mlx-run model --in docs/quantization.md --in examples/4bit.py -',
        f"{QUANTIZATION}\n\n{FOUR_BIT}\n\nHow does MLX quantization work?",
    ),
    ('echo text | mlx-run model --system @system.txt --in context.txt - "query"', f"{CONTEXT}\n\ntext\n\nquery"),
    ('echo text | mlx-run model --in context.txt - "instruction"', f"{CONTEXT}\n\ntext\n\ninstruction"),
    ('cat context.txt | mlx-run model - "Answer this question"', "MLX is fast.\n\nAnswer this question"),
    ('cat context.txt | mlx-run model "Answer this question" -', "MLX is fast.\n\nAnswer this question"),
    (
        "echo text | mlx-run model --in context.txt context.txt - ",
        f"{CONTEXT}\n\n{CONTEXT}\n\ntext",
    ),
]


@pytest.mark.parametrize(("script", "prompt"), PROMPTS, ids=[script for script, _ in PROMPTS])
def test_the_prompts_of_the_appendices_of_seed_3(parrot: Machine, script: str, prompt: str) -> None:
    outcome = parrot.shell(f"{script} --json --max-tokens 1", OPENBLAS_NUM_THREADS="1")
    assert (outcome.code, outcome.data()["prompt"]) == (0, prompt)
