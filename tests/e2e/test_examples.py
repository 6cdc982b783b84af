"""The examples work: every command line of their pages, and their scripts, run in a real shell with a parrot."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import Machine, Outcome
from tests.e2e.test_run import CUT
from tests.parrot import ANSWERS, TOOL_RESULT, parrot_folder
from tests.parrot.answers import CAPITAL, GREETING, LONG, TOOL

pytestmark = pytest.mark.timeout(1200)

EXAMPLES = Path(__file__).parents[2] / "examples"
PIPES = EXAMPLES / "pipes"
RAG = EXAMPLES / "rag"
"""``test_examples_rag.py`` runs its blocks."""
PAGES = sorted(EXAMPLES.rglob("*.md"))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PREPARATION, *RECIPES = (text for _, text in FENCED.findall((PIPES / "README.md").read_text(encoding="utf-8")))
PARIS = f"{ANSWERS[CAPITAL]}\n"
OUTPUT_OF = {
    "cat sums.py": PARIS,
    "tee answer.txt": f"{PARIS}{ANSWERS[LONG]}\n",
    "PIPESTATUS": "6\n0 0\n6\n",
    "mlx-tee --sequential": f"==> mlxk run starter - <==\n{PARIS}",
    "uniq -c": f"      3 {PARIS}",
    "kept.txt": PARIS,
    "--dry-run": "mlxk run starter -\nssh gpu-box -- 'mlxk run starter -'\n",
}
"""The beginning of the output of each block that contains a certain text."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Make a machine whose starter model is a parrot that answers greedily."""
    machine = Machine(tmp_path_factory.mktemp("examples"))
    shutil.copytree(parrot_folder(), machine.home / "starter")
    (machine.home / "starter" / "generation_config.json").write_text(json.dumps({"temperature": 0.0}))
    return machine


def run(machine: Machine, folder: Path, script: str, **variables: str) -> Outcome:
    """Run lines of bash in a folder, up to the first that fails."""
    done = subprocess.run(
        ["bash", "-c", f"set -e\n{script}"],
        env=machine.environment(OPENBLAS_NUM_THREADS="1", **variables),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("block", RECIPES, ids=lambda block: block.partition("\n")[0][:50])
def test_every_command_of_the_page_on_pipes_works(machine: Machine, tmp_path: Path, block: str) -> None:
    if "jq " in block and shutil.which("jq") is None:
        pytest.skip("jq is not installed here")
    outcome = run(machine, tmp_path, PREPARATION + block)
    assert (outcome.code, CUT.sub("", outcome.err)) == (0, "")
    for output in (output for part, output in OUTPUT_OF.items() if part in block):
        assert outcome.out.startswith(output)
    files = re.findall(r"(?:>|--out|tee) ([\w.]+\.txt)", block)
    assert all((tmp_path / name).stat().st_size for name in files)
    assert outcome.out or ".txt" in block


def test_each_expected_output_belongs_to_one_block_of_the_page() -> None:
    assert {part: sum(part in block for block in RECIPES) for part in OUTPUT_OF} == dict.fromkeys(OUTPUT_OF, 1)


def test_every_fenced_block_of_the_pages_is_run() -> None:
    fences = [(page.name, kind) for page in PAGES for kind, _ in FENCED.findall(page.read_text(encoding="utf-8"))]
    assert fences == [("README.md", "sh")] * (len(RECIPES) + 1 + len(FENCED.findall((RAG / "README.md").read_text())))


def test_the_pages_link_to_existing_files_and_to_every_script() -> None:
    links = {page.parent / link for page in PAGES for link in re.findall(r"\]\(([^)#]+)\)", page.read_text())}
    assert [link for link in links if not link.exists()] == []
    assert links >= {*EXAMPLES.rglob("*.sh"), *EXAMPLES.rglob("*.py")}


def test_the_functions_of_the_example_are_called(machine: Machine, tmp_path: Path) -> None:
    tools = EXAMPLES / "tools" / "weather.py"
    outcome = run(machine, tmp_path, f"mlxk run starter '{TOOL}' --tools {tools} --yes")
    assert (outcome.code, outcome.out) == (0, f"{ANSWERS[TOOL_RESULT]}\n")
    assert outcome.err == f'call: get_weather {{"city": "Berlin"}}\n  -> {TOOL_RESULT}\n'
    assert tool_page().startswith(outcome.err.partition("\n")[0])


def tool_page() -> str:
    """Return the session of the documentation, from the call on."""
    page = (EXAMPLES.parent / "docs" / "run-and-chat.md").read_text(encoding="utf-8")
    return page.partition("--tools weather.py\n")[2]


def test_the_script_compare_asks_each_model(machine: Machine, tmp_path: Path) -> None:
    outcome = run(machine, tmp_path, f"{PIPES}/compare.sh '{GREETING}' starter starter")
    answer = f"==> mlxk run 'starter' - <==\n{ANSWERS[GREETING]}\n"
    assert (outcome.code, outcome.out, outcome.err) == (0, f"{answer}\n{answer}", "")
    assert run(machine, tmp_path, f"{PIPES}/compare.sh '{GREETING}'").err == "usage: compare.sh QUESTION MODEL...\n"


def test_the_script_review_sends_the_changes_to_a_model(machine: Machine, tmp_path: Path) -> None:
    git = "git -c user.name=me -c user.email=me@example.org -c init.defaultBranch=main"
    assert run(machine, tmp_path, f"{git} init -q . && {git} commit -q --allow-empty -m first").code == 0
    idle = run(machine, tmp_path, f"{PIPES}/review.sh")
    assert (idle.code, idle.out, idle.err) == (1, "", "nothing changed\n")
    staged = run(machine, tmp_path, f"{PREPARATION}{git} add sums.py\n{PIPES}/review.sh")
    assert (staged.code, staged.err) == (0, "")
    assert staged.out
    since = run(machine, tmp_path, f"{git} commit -q -m second\nMODEL={machine.home}/starter {PIPES}/review.sh HEAD~1")
    assert (since.code, since.out, since.err) == (0, staged.out, "")
