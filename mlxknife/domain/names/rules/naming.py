"""Names: which are valid, the cache folder of a name, and the models that a name matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from mlxknife.domain.errors import AmbiguousMatch, ValidationError
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.stored_models import ModelSpec
from mlxknife.domain.text.rules.display import is_unprintable

MAX_NAME = 96
MAX_REVISION = 255
MIN_COMMIT_PREFIX = 3
DEFAULT_OWNER = "mlx-community"
REPO_FOLDER_PREFIX = "models--"

_REPO_ID = re.compile(r"(?:[A-Za-z0-9_][\w.-]*/)*[A-Za-z0-9_][\w.-]*", re.ASCII)
_HUB_WORD = r"[A-Za-z0-9_](?:[A-Za-z0-9_]|-(?!-)|\.(?!\.))*(?<![.-])"
_HUB_ID = re.compile(rf"(?:{_HUB_WORD}/)?{_HUB_WORD}")
_URL = re.compile(rf"https?://(?:[^/]*/((?!datasets/|spaces/){_HUB_WORD}/{_HUB_WORD})(?=[/?#]|$))?")
_PATH_STARTS = ("./", "../", "/", "~")
_SUGGESTIONS = 3


def parse_spec(text: str) -> ModelSpec:
    """Return a user's name for a model, parsed into name and revision, or as a path.

    Raises ValidationError for an invalid name.
    """
    if "\0" in text:
        msg = "A model name cannot contain a NUL character"
        raise ValidationError(msg)
    if text in (".", "..") or text.startswith(_PATH_STARTS):
        return ModelSpec(name=text, is_path=True)
    url = _URL.match(text)
    if url is not None:
        msg = "A URL is not the name of a model"
        raise ValidationError(msg, hint=Hint(HintCode.WRITE, text=url[1] or "ORG/MODEL"))
    name, at, revision = text.partition("@")
    _check_text(name, "Model name", MAX_NAME)
    if at:
        _check_text(revision, "Revision", MAX_REVISION)
    return ModelSpec(name=name, revision=revision if at else None)


def _check_text(text: str, what: str, limit: int) -> None:
    if not text.strip():
        msg = f"{what} is empty"
        raise ValidationError(msg, hint=HintCode.NAME_FORMS)
    if len(text) > limit:
        msg = f"{what} too long: {len(text)}/{limit} characters"
        raise ValidationError(msg)
    if any(map(is_unprintable, text)):
        msg = f"{what} contains a control character: {text!a}"
        raise ValidationError(msg)
    if ".." in text or "//" in text or "\\" in text or text.startswith("/") or text.endswith("/"):
        msg = f"{what} is not allowed: {text!r} contains '..', '//', a backslash or a slash at an end"
        hint = HintCode.FOLDER_FORMS if limit == MAX_NAME else None
        raise ValidationError(msg, hint=hint)


def is_repo_id(name: str) -> bool:
    """Return whether a name is a valid repo id of the Hub."""
    return _HUB_ID.fullmatch(name) is not None and len(name) <= MAX_NAME and not name.endswith(".git")


def check_repo_id(name: str) -> None:
    """Raise ValidationError for a name that is not a valid repo id of the Hub."""
    if not is_repo_id(name):
        msg = f"No model on the Hub can be called {name!r}"
        raise ValidationError(msg, hint=HintCode.REPO_ID_FORM)


def check_revision(text: str) -> None:
    """Raise ValidationError for a revision that cannot be a branch, tag or commit."""
    _check_text(text, "Revision", MAX_REVISION)
    if any(part.startswith(".") or part.endswith((".", " ")) for part in text.split("/")):
        msg = f"Revision is not allowed: {text!r} has a part that begins or ends with a dot"
        raise ValidationError(msg)


def repo_folder(name: str) -> str:
    """Return the cache folder of a model of the Hub."""
    return REPO_FOLDER_PREFIX + name.replace("/", "--")


def name_on_hub(word: str, cached: Iterable[str]) -> str:
    """Return the full repo id of the model to pull.

    A name without an owner is the cached model of exactly that name, else a model of ``mlx-community``.

    Raises AmbiguousMatch when several cached models have that name, ValidationError for an invalid name.
    """
    names = frozenset(filter(is_repo_id, cached))
    if "/" not in word and word not in names:
        found = sorted(name for name in names if last_part(name) == word)
        preferred = f"{DEFAULT_OWNER}/{word}"
        if len(found) > 1 and preferred not in found:
            msg = f"Multiple models match '{word}'"
            raise AmbiguousMatch(msg, matches=tuple(found), hint=HintCode.FULL_NAMES)
        word = found[0] if len(found) == 1 else preferred
    check_repo_id(word)
    return word


def repo_name(folder: str) -> str:
    """Return the name of a cached repo from its folder, as huggingface_hub maps it.

    A folder that huggingface_hub would not create keeps its folder name, quoted where necessary. So every folder has
    exactly one name, and every name exactly one folder.
    """
    name = folder.removeprefix(REPO_FOLDER_PREFIX).replace("--", "/")
    plain = _REPO_ID.fullmatch(name) and ".." not in name and len(name) <= MAX_NAME
    if plain and REPO_FOLDER_PREFIX + name.replace("/", "--") == folder:
        return name
    return quoted_name(folder)


def quoted_name(folder: str) -> str:
    """Return a name that ``parse_spec`` accepts for a folder; different folders get different names."""
    quoted = "".join(char if _needs_no_quoting(char) else _quoted(char) for char in folder).replace("..", "%2E%2E")
    if quoted[:1] in ("~", ".", "-", " "):
        quoted = _quoted(quoted[0]) + quoted[1:]
    if quoted[-1:] == " ":
        quoted = quoted[:-1] + _quoted(" ")
    if len(quoted) <= MAX_NAME:
        return quoted
    import hashlib  # noqa: PLC0415 - rarely needed

    digest = hashlib.sha256(folder.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return f"{quoted[: MAX_NAME - len(digest) - 2]}%_{digest}"


def _needs_no_quoting(char: str) -> bool:
    return char == " " or not (char in "%@/\\" or char.isspace() or is_unprintable(char))


def _quoted(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))


def last_part(name: str) -> str:
    """Return the part after the owner."""
    return name.rpartition("/")[2]


def candidates(
    word: str, cached: Iterable[str], at_home: Iterable[str], has_revision: Callable[[str], bool] | None = None
) -> tuple[str, ...]:
    """Return the names that a user's name matches, by the first rule with a match: exact, last part, substring.

    Where a rule other than the first matches several names, ``has_revision`` keeps those that have the wanted revision,
    which may be none. Several names are ambiguous. The order of the inputs does not matter.
    """
    cached_names, home_names = frozenset(cached), frozenset(at_home)
    if word in cached_names or word in home_names:
        return (word,)
    by_last_part = tuple(sorted(name for name in cached_names if last_part(name) == word))
    found = by_last_part or matching(word, cached_names | home_names)
    if has_revision is not None and len(found) > 1:
        found = tuple(filter(has_revision, found))
    preferred = f"{DEFAULT_OWNER}/{word}"
    return (preferred,) if preferred in by_last_part and preferred in found else found


def matching(pattern: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that contain a pattern, ignoring case, sorted."""
    folded = pattern.casefold()
    return tuple(sorted({name for name in names if folded in name.casefold()}))


def is_owner(pattern: str) -> bool:
    """Return whether a pattern is an owner with a slash, ``org/``, which is never the name of a model."""
    return re.fullmatch(r"[\w.-]*[\w-]/", pattern, re.ASCII) is not None


def is_exact(word: str, name: str) -> bool:
    """Return whether a user's name is the full name, or its part after the owner."""
    return word in (name, last_part(name))


def fits(name: str, pattern: str) -> bool:
    """Return whether a name, or its last part, matches a pattern with ``*``, ignoring case."""
    regex = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL | re.IGNORECASE)
    return any(regex.fullmatch(candidate) for candidate in (name, last_part(name)))


def nearest(word: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the few names that are most similar to a name, best first. The end of a name may be left out."""
    import difflib  # noqa: PLC0415 - only after a name was not found

    by_spelling: dict[str, str] = {}
    names = sorted(names)
    for name in names:
        by_spelling.setdefault(name.casefold(), name)
        by_spelling.setdefault(last_part(name).casefold(), name)
    for name in names:
        by_spelling.setdefault(last_part(name).casefold()[: len(word)], name)
    close = difflib.get_close_matches(word.casefold(), by_spelling, n=2 * _SUGGESTIONS)
    return tuple(dict.fromkeys(by_spelling[spelling] for spelling in close))[:_SUGGESTIONS]


def matching_commits(revision: str, commits: Sequence[str]) -> tuple[str, ...]:
    """Return the commits that a revision of at least three characters abbreviates; an exact match wins."""
    if revision in commits:
        return (revision,)
    if len(revision) < MIN_COMMIT_PREFIX:
        return ()
    prefix = revision.lower()
    return tuple(sorted(commit for commit in commits if commit.lower().startswith(prefix)))
