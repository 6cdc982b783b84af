"""The table: our value, those of the peers, the ratio that a target is about, and whether it is met."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from serving.idle_server import MODELS
from serving.measures import CHAT_PROMPT, LONG, SIZES
from serving.rounds import RAW, Found
from serving.servers import LM, OURS, OURS_MLX_BLAS, PEERS

_OF_RAW = {"at": {8: 0.75, 32: 0.75}, "starter at": dict.fromkeys(SIZES, 0.95)}
"""Our throughput as a share of the bare generator's, by model and number of clients."""
_OF_BEST = {8: 1.8, 32: 2.0}
_SECOND_OF_FIRST = 0.05
_HEAD = ("what", "against", OURS, RAW, *PEERS, "ratio", "target", "met")


@dataclass(frozen=True)
class Row:
    """One line. A value that could not be measured is None, and so is its ratio."""

    what: str
    against: str
    values: dict[str, float | None]
    ratio: float | None
    target: float | None
    is_floor: bool
    """Whether the target is a lower bound of the ratio."""
    digits: int = 0

    @property
    def met(self) -> bool | None:
        """Return whether the target is met; None without a target, False without a ratio."""
        if self.target is None:
            return None
        if self.ratio is None:
            return False
        return self.ratio >= self.target if self.is_floor else self.ratio <= self.target

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        shown = [self.values.get(who) for who in (OURS, RAW, *PEERS)]
        cells = ["" if value is None else f"{value:.{self.digits}f}" for value in shown]
        ratio = "" if self.ratio is None else f"{self.ratio:.3f}".rstrip("0").rstrip(".")
        target = "" if self.target is None else f"{'≥' if self.is_floor else '≤'} {self.target:g}"
        return (self.what, self.against, *cells, ratio, target, {None: "", True: "yes", False: "no"}[self.met])

    def record(self) -> dict[str, object]:
        """Return the values to save."""
        return asdict(self) | {"met": self.met}


def rows(found: Found) -> Iterator[Row]:
    """Yield the lines. A ratio is the median of the ratios of the rounds, a value the median of the rounds."""
    yield from _throughput(found, "at", "")
    yield from _throughput(found, "starter at", "starter, ")
    yield from _latency(found)
    resets = {who: _resets(found, who) for who in (OURS, *PEERS)}
    yield Row("connections reset in all rounds", "none", resets, resets[OURS], 0, is_floor=False)
    memory, listing = _median(found.of("memory", OURS)), _median(found.of("list", OURS), 1000)
    yield Row("server without a model, MB", "80", {OURS: memory}, _share(memory, 80), 1, is_floor=False)
    what = f"list of {MODELS} models, warm, ms"
    yield Row(what, "50", {OURS: listing}, _share(listing, 50), 1, is_floor=False, digits=1)


def _throughput(found: Found, key_of: str, model: str) -> Iterator[Row]:
    for size in SIZES:
        key = f"{key_of} {size} speed"
        values = {who: _median(found.of(key, who)) for who in (OURS, RAW, *PEERS)}
        what = f"{model}{size} {'client' if size == 1 else 'clients'}, tokens/s"
        yield Row(
            what, RAW, values, _ratio(found.of(key, OURS), found.of(key, RAW)), _OF_RAW[key_of].get(size), is_floor=True
        )
        if size in _OF_BEST and any(values[who] for who in PEERS):
            best = max(PEERS, key=lambda who: values[who] or 0.0)
            ratio = _ratio(found.of(key, OURS), found.of(key, best))
            yield Row(what, f"best: {best}", values, ratio, _OF_BEST[size], is_floor=True)


def _latency(found: Found) -> Iterator[Row]:
    def medians(key: str) -> dict[str, float | None]:
        return {who: _median(found.of(key, who), 1000) for who in (OURS, RAW, *PEERS)}

    ratio = _ratio(found.of("first busy", OURS), found.of("first idle", OURS))
    what = "first token of an idle server, ms"
    yield Row(what, "", medians("first idle"), None, None, is_floor=False, digits=1)
    what = "first token beside a stream, ms"
    yield Row(what, "idle", medians("first busy"), ratio, 2, is_floor=False, digits=1)
    for what, key, target in (
        (f"longest gap beside a prompt of {LONG}, ms", "long gap", 1 / 8),
        ("until that prompt's first token, ms", "long read", 1.3),
    ):
        ratio = _ratio(found.of(key, OURS), found.of(key, LM))
        yield Row(what, LM, medians(key), ratio, target, is_floor=False, digits=1)
    shares = {who: _ratio(found.of("turn second", who), found.of("turn cold", who)) for who in (OURS, RAW, *PEERS)}
    for what, key in (("first", "turn cold"), ("second", "turn second")):
        row = f"first token of the {what} turn of a chat of {CHAT_PROMPT}, ms"
        yield Row(row, "", medians(key), None, None, is_floor=False, digits=1)
    what = f"second turn of a chat of {CHAT_PROMPT}, share of the first"
    yield Row(what, "first turn", shares, shares[OURS], _SECOND_OF_FIRST, is_floor=False, digits=3)
    share = _ratio(found.of("turn second", OURS_MLX_BLAS), found.of("turn cold", OURS_MLX_BLAS))
    same_blas: dict[str, float | None] = {**{who: shares[who] for who in PEERS}, OURS: share}
    yield Row(
        f"{what}, all with MLX's BLAS", "first turn", same_blas, share, _SECOND_OF_FIRST, is_floor=False, digits=3
    )


def markdown(lines: Sequence[Row]) -> str:
    """Return the table as Markdown."""
    cells = [_HEAD, *(line.cells() for line in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, tuple("-" * width for width in widths))
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in cells)


def _resets(found: Found, who: str) -> float | None:
    keys = [f"at {size} resets" for size in SIZES]
    if not any(found.of(key, who) for key in keys):
        return None
    return sum(sum(found.of(key, who).values()) for key in keys)


def _median(values: Mapping[int, float], factor: float = 1.0) -> float | None:
    return statistics.median(values.values()) * factor if values else None


def _ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> float | None:
    """Return the median of the ratios of the rounds in which both were measured."""
    return _median({number: mine / theirs[number] for number, mine in ours.items() if theirs.get(number)})


def _share(value: float | None, whole: float) -> float | None:
    return None if value is None else value / whole
