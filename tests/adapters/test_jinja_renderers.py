"""The renderer pool: which process renders which template, what a crash costs, and that none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from mlxknife.adapters.jinja.templates import JinjaTemplates
from mlxknife.domain.errors import ServerBusy, TemplateError
from tests.chat_families import turn

_PLAIN = "{{ messages[0].content }}"
_QUESTION = (turn("user", "Who?"),)
_ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
_SOMETIMES = f"{{% if messages | length > 1 %}}{_ENDLESS}{{% endif %}}{_PLAIN}"
_BUSY = "{{ 9 ** (9 ** 9) }}"
"""One operation of Python that takes minutes, during which it handles no signal."""


def _processes() -> dict[int, tuple[int, str]]:
    """Return the parent and the command of each process."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,command="], capture_output=True, text=True, check=True)
    rows = (line.split(None, 2) for line in listed.stdout.splitlines())
    return {int(row[0]): (int(row[1]), row[2] if row[2:] else "") for row in rows}


def _renderers(parent: int | None = None) -> set[int]:
    """Return the renderers of a process, zombies included."""
    parent = os.getpid() if parent is None else parent
    return {
        pid
        for pid, (above, command) in _processes().items()
        if above == parent and ("jinja" in command or "<de" in command)
    }


def _becomes_true(condition: Callable[[], bool], seconds: float = 20) -> bool:
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        time.sleep(0.02)
    return condition()


@pytest.fixture
def templates() -> Iterator[JinjaTemplates]:
    with closing(JinjaTemplates(seconds=20)) as made:
        yield made
    assert _renderers() == set()


def _rendered(templates: JinjaTemplates, template: str = _PLAIN) -> str:
    return templates.render(template, _QUESTION, {})


def test_one_process_renders_all_jobs_of_a_template(templates: JinjaTemplates) -> None:
    _rendered(templates)
    first = _renderers()
    assert len(first) == 1
    for _ in range(20):
        assert _rendered(templates) == "Who?"
    assert _renderers() == first


def test_each_template_has_a_process_of_its_own(templates: JinjaTemplates) -> None:
    for number in range(3):
        _rendered(templates, f"{number}{_PLAIN}")
    assert len(_renderers()) == 3


def test_the_prepared_renderer_renders_the_first_template(templates: JinjaTemplates) -> None:
    templates.prepare()
    templates.prepare()
    spare = _renderers()
    assert len(spare) == 1
    assert _rendered(templates) == "Who?"
    assert _renderers() == spare


def test_the_least_recently_used_renderer_is_ended_at_the_limit() -> None:
    with closing(JinjaTemplates(max_processes=2)) as templates:
        _rendered(templates, "a")
        (oldest,) = _renderers()
        _rendered(templates, "b")
        _rendered(templates, "a")
        _rendered(templates, "c")
        assert oldest in _renderers()
        assert len(_renderers()) == 2
        templates.prepare()
        assert len(_renderers()) == 2


def test_more_templates_than_processes_wait() -> None:
    with closing(JinjaTemplates(max_processes=2)) as templates, ThreadPoolExecutor(6) as threads:
        texts = list(threads.map(lambda number: _rendered(templates, str(number % 6)), range(36)))
        assert texts == [str(number % 6) for number in range(36)]
        assert len(_renderers()) == 2


def test_a_renderer_is_replaced_after_many_jobs(monkeypatch: pytest.MonkeyPatch, templates: JinjaTemplates) -> None:
    monkeypatch.setattr("mlxknife.adapters.jinja.renderer_pool._JOBS", 3)
    seen = set[int]()
    for _ in range(9):
        assert _rendered(templates) == "Who?"
        seen |= _renderers()
    assert len(_renderers()) == 1
    assert len(seen) == 4


def test_a_renderer_killed_between_two_jobs_costs_no_job(templates: JinjaTemplates) -> None:
    _rendered(templates)
    (pid,) = _renderers()
    os.kill(pid, signal.SIGKILL)
    assert _becomes_true(lambda: "<de" in _processes()[pid][1])
    assert _rendered(templates) == "Who?"
    assert pid not in _renderers()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_renderer_killed_during_a_job_costs_only_that_job(templates: JinjaTemplates, number: int) -> None:
    _rendered(templates, _SOMETIMES)
    (pid,) = _renderers()
    with ThreadPoolExecutor(2) as threads:
        lost = threads.submit(templates.render, _SOMETIMES, _QUESTION * 2, {})
        assert threads.submit(_rendered, templates).result() == "Who?"
        time.sleep(0.1)
        os.kill(pid, number)
        with pytest.raises(TemplateError, match=f"status -{int(number)}"):
            lost.result()
    assert _rendered(templates, _SOMETIMES) == "Who?"


def test_a_renderer_that_hangs_costs_only_its_job() -> None:
    with closing(JinjaTemplates(seconds=1)) as templates:
        with pytest.raises(TemplateError, match="took longer than 1 seconds"):
            templates.render(_SOMETIMES, _QUESTION * 2, {})
        assert _renderers() == set()
        assert _rendered(templates, _SOMETIMES) == "Who?"


def test_the_wait_for_a_busy_renderer_is_limited() -> None:
    with closing(JinjaTemplates(seconds=1)) as templates, ThreadPoolExecutor(8) as threads:
        lost = [threads.submit(templates.render, _BUSY, _QUESTION, {}) for _ in range(8)]
        assert [_rendered(templates) for _ in range(20)] == ["Who?"] * 20
        errors = [future.exception(20) for future in lost]
    assert {(type(error), str(error)) for error in errors} <= {
        (TemplateError, "The chat template of the model took longer than 1 seconds"),
        (ServerBusy, "No renderer for the chat template was free for 1 seconds"),  # the template is not at fault
    }
    busy = [error for error in errors if isinstance(error, ServerBusy)]
    assert len(busy) >= 5
    assert {error.retry_after for error in busy} == {1}  # the limit of a job


def test_a_stopped_renderer_is_ended() -> None:
    with closing(JinjaTemplates(seconds=1)) as templates:
        _rendered(templates)
        (pid,) = _renderers()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(TemplateError, match="took longer than 1 seconds"):
            templates.render(_PLAIN, (turn("user", "long" * 1_000_000),), {})
        assert _renderers() == set()
        assert _rendered(templates) == "Who?"


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense" * 100, b"t" + b"\xff" * 8, b"t" + bytes(7) + b"\x02\xff\xff", b"x" + bytes(8)]
)
def test_an_invalid_answer_of_a_renderer_raises_template_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    script = f"#!{sys.executable}\nimport os\nos.read(1, 99999)\nos.write(1, {answer!r})\n"
    (tmp_path / "python").write_text(script)
    (tmp_path / "python").chmod(0o755)
    with closing(JinjaTemplates()) as templates:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(tmp_path / "python"))
            with pytest.raises(TemplateError):
                _rendered(templates)
        assert _rendered(templates) == "Who?"


def test_a_renderer_that_cannot_be_started_raises_server_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with closing(JinjaTemplates()) as templates:
        templates.prepare()
        with pytest.raises(ServerBusy, match="No process could be started"):
            _rendered(templates)


def test_a_closed_pool_renders_nothing() -> None:
    templates = JinjaTemplates()
    _rendered(templates)
    templates.close()
    templates.close()
    templates.prepare()
    assert _renderers() == set()
    with pytest.raises(TemplateError, match="closed"):
        _rendered(templates)


def test_closing_ends_running_jobs() -> None:
    templates = JinjaTemplates(seconds=60)
    with ThreadPoolExecutor(2) as threads:
        lost = [threads.submit(templates.render, _BUSY, _QUESTION, {}) for _ in range(2)]
        assert _becomes_true(lambda: bool(_renderers()))
        templates.close()
        for future in lost:
            with pytest.raises(TemplateError):
                future.result(20)
    assert _renderers() == set()


def test_renderers_end_with_the_object_that_started_them() -> None:
    templates = JinjaTemplates()
    _rendered(templates)
    templates.prepare()
    del templates
    assert _renderers() == set()


def test_a_renderer_outlives_the_thread_that_started_it(templates: JinjaTemplates) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(_rendered, templates).result()
    first = _renderers()
    assert _rendered(templates) == "Who?"
    assert _renderers() == first


def test_a_forked_copy_of_the_process_does_not_end_renderers(templates: JinjaTemplates) -> None:
    _rendered(templates)
    first = _renderers()
    forked = os.fork()
    if not forked:
        templates.close()
        os._exit(0)
    assert os.waitpid(forked, 0)[1] == 0
    assert _rendered(templates) == "Who?"
    assert _renderers() == first


def test_a_renderer_inherits_no_descriptor(templates: JinjaTemplates) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("only Linux lists the descriptors of a process")
    ours, other = os.pipe()
    os.set_inheritable(other, True)  # noqa: FBT003 - os takes no names
    try:
        _rendered(templates)
        _rendered(templates, "another")
        for pid in _renderers():
            assert f"pipe:[{os.fstat(other).st_ino}]" not in [
                str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()
            ]
            assert len(list(Path(f"/proc/{pid}/fd").iterdir())) == 4
    finally:
        os.close(ours)
        os.close(other)


_PARENT_CODE = """
import sys, threading
from mlxknife.adapters.jinja.templates import JinjaTemplates
templates = JinjaTemplates(seconds=int(sys.argv[1]))
templates.render("x", (), {})
templates.prepare()
print("ready", flush=True)
"""


def _parent_process(code: str, seconds: int = 60) -> subprocess.Popen[str]:
    """Start a process that has two renderers, and runs some code."""
    code = _PARENT_CODE + textwrap.dedent(code)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _are_gone(pids: set[int]) -> bool:
    running = _processes()
    return not any(pid in running and "jinja" in running[pid][1] for pid in pids)


@pytest.mark.parametrize("work", ["9 ** (9 ** 9)", "range(99999) | map('string') | list and 'a' * 0"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_renderers_end_with_a_parent_that_is_killed(work: str, number: int) -> None:
    process = _parent_process(f"""
        threading.Thread(target=templates.render, args=("{{{{ {work} }}}}", (), {{}}), daemon=True).start()
        threading.Event().wait()
    """)
    with process:
        assert _becomes_true(lambda: len(_renderers(process.pid)) == 2)
        pids = _renderers(process.pid)
        time.sleep(0.3)
        process.send_signal(number)
        process.wait(10)
        assert _becomes_true(lambda: _are_gone(pids))


def test_a_job_ends_at_its_limit_even_if_the_parent_is_stopped() -> None:
    process = _parent_process('templates.render("{{ 9 ** (9 ** 9) }}", (), {})', seconds=2)
    with process:
        pids = _renderers(process.pid)
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        assert _becomes_true(lambda: any(_are_gone({pid}) for pid in pids))
        process.kill()
        assert _becomes_true(lambda: _are_gone(pids))


def test_ctrl_c_ends_a_rendering_without_further_output() -> None:
    process = _parent_process("""
        try:
            templates.render("{{ 9 ** (9 ** 9) }}", (), {})
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    assert _becomes_true(lambda: len(_renderers(process.pid)) == 2)
    pids = _renderers(process.pid)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20) == ("interrupted\n", "")
    assert process.returncode == 0
    assert _are_gone(pids)


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "raise KeyboardInterrupt"])
def test_renderers_end_with_a_parent_that_exits(ending: str) -> None:
    process = _parent_process(f"sys.stdin.readline()\n{ending}")
    pids = _renderers(process.pid)
    assert len(pids) == 2
    out, err = process.communicate("\n", timeout=20)
    assert out == ""
    assert "Warning" not in err
    assert _are_gone(pids)
