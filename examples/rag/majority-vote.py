#!/usr/bin/env python3
"""Print the answer that most models give: ``mlx-tee "mlxk run A -" "mlxk run B -" "mlxk run C -" | majority-vote.py``.

Answers count as equal if they differ only in case, spaces and punctuation. The votes go to stderr. Without a majority
over every other answer, nothing is printed, and the exit code is 1.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator

HEADER = re.compile(r"==> .* <==\n?$")


def main() -> None:
    """Count the answers, and print the one with the most votes."""
    answers = [answer.strip() for answer in split(sys.stdin) if answer.strip()]
    votes = Counter(key(answer) for answer in answers)
    first = {key(answer): answer for answer in reversed(answers)}
    for vote, count in votes.most_common():
        sys.stderr.write(f"{count} of {len(answers)}: {' '.join(first[vote].split())[:100]}\n")
    best = votes.most_common(2)
    if not best or (len(best) > 1 and best[0][1] == best[1][1]):
        sys.stderr.write("majority-vote: no answer has more votes than all others\n")
        sys.exit(1)
    sys.stdout.write(f"{first[best[0][0]]}\n")


def split(lines: Iterable[str]) -> Iterator[str]:
    """Yield the answers: between the headers of mlx-tee, or from the lines of ``mlx-tee --jsonl``."""
    answer = ""
    for line in lines:
        output = jsonl_output(line)
        if HEADER.match(line) or output is not None:
            yield answer
            answer = output or ""
        else:
            answer += line
    yield answer


def jsonl_output(line: str) -> str | None:
    """Return the output in a line of ``--jsonl``; None for another line."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    is_result = isinstance(found, dict) and "command" in found and "output" in found
    return str(found["output"]) if is_result else None


def key(answer: str) -> str:
    """Return what equal answers have in common."""
    return " ".join(re.findall(r"\w+", answer.lower()))


if __name__ == "__main__":
    main()
