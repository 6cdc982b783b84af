"""The processes of this machine: who started whom, and what is left of whom."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys


def processes() -> dict[int, tuple[int, str]]:
    """Return the parent and the command line of every process."""
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,command="], capture_output=True, check=True, text=True
    ).stdout
    found = dict[int, tuple[int, str]]()
    for line in listing.splitlines():
        number, parent, state, *command = line.split(None, 3)
        found[int(number)] = int(parent), "<defunct>" if "Z" in state else "".join(command)
    return found


def model_processes(parent: int) -> list[int]:
    """Return the model processes that a process has started."""
    return [number for number, (of, command) in processes().items() if of == parent and "--worker-fd" in command]


def descendants(ancestor: int) -> set[int]:
    """Return the children of a process and theirs."""
    found, listed = set[int](), processes()
    before = {-1}
    while before != found:
        before = set(found)
        found |= {number for number, (of, _) in listed.items() if of == ancestor or of in found}
    return found


def processes_with(home: str) -> set[int]:
    """Return the processes whose surroundings name a folder; none where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return set()
    found, mark = set[int](), home.encode()
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read():
                    found.add(int(name))
    return found
