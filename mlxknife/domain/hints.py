"""Hints: what a reader can do about an error, as codes.

Rules, services and adapters name a code. ``cli/hints.py`` words it for a terminal, ``http/core/hints.py`` for clients.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, auto

import attrs

from mlxknife.domain import reprs


class HintCode(StrEnum):
    """Every hint that an error can carry. A comment names the fields that its wording needs."""

    # options and values
    CHOICES = auto()  # values
    OMIT = auto()  # name
    OMIT_ONE = auto()  # name, other
    DID_YOU_MEAN = auto()  # name
    WRITE = auto()  # text
    PORT_RANGE = auto()
    OTHER_PORT = auto()
    UNPRIVILEGED_PORT = auto()
    LISTEN_ADDRESSES = auto()
    NULL_ORIGIN = auto()
    OMIT_API_KEY = auto()
    TURN_ON = auto()  # name, value
    URL_SCHEMES = auto()
    CONFIG_KEYS = auto()
    EDIT_CONFIG = auto()
    SET_EDITOR = auto()

    # names of models
    LIST_MODELS = auto()
    NO_MODELS = auto()
    SHOW_MODEL = auto()  # name
    PULL_MODEL = auto()  # name
    PULL_OR_STARTER = auto()  # name
    DID_YOU_MEAN_OR_PULL = auto()  # name, spec
    PULL_MISSING_FILES = auto()  # name
    FULL_NAMES = auto()
    PLAIN_NAME = auto()  # name
    NAME_NOT_PATH = auto()
    NAME_FORMS = auto()
    FOLDER_FORMS = auto()
    REPO_ID_FORM = auto()
    HUB_NAME = auto()
    LONGER_HASH = auto()
    REVISION_FORMS = auto()
    REVISION_ONCE = auto()
    WORKSPACE_NAME_FORM = auto()
    RENAME_OR_REMOVE = auto()  # name
    RENAME_FOLDER = auto()
    MODEL_FOLDER = auto()

    # removal
    FORCE = auto()
    FORCE_OR_FULL_NAME = auto()
    REMOVABLE_FOLDERS = auto()
    CHECK_AND_REPEAT = auto()
    WAIT_FOR_LOCK = auto()

    # disk
    FREE_DISK_SPACE = auto()
    REPLACE_LINK = auto()
    MOVE_AND_REPEAT = auto()
    OTHER_DISK = auto()
    CACHE_SETTINGS = auto()
    CACHE_PERMISSIONS = auto()
    CACHE_PERMISSIONS_OR_SETTINGS = auto()
    WORKSPACE_PERMISSIONS = auto()
    FOLDER_PERMISSIONS = auto()
    PRIVATE_FOLDER = auto()
    KERNEL_FOLDER = auto()
    FILE_IN_FOLDER = auto()
    FREE_FILE_NAME = auto()

    # indexes
    MAKE_INDEX = auto()
    NEW_INDEX = auto()
    OTHER_INDEX_FILE = auto()

    # Hub and package index
    UNSET_OFFLINE = auto()
    CHECK_NETWORK = auto()
    CHECK_ENDPOINT = auto()
    RESUME_DOWNLOAD = auto()
    REPEAT_DOWNLOAD = auto()
    REPORT_TO_OWNER = auto()
    RATE_LIMIT = auto()
    CHECK_TOKEN = auto()
    REQUEST_ACCESS = auto()
    REQUEST_ACCESS_AND_LOG_IN = auto()
    CHECK_NAME = auto()
    CHECK_NAME_OR_LOG_IN = auto()
    CHECK_PIP = auto()  # command
    CHECK_PIP_INDEX = auto()
    INSTALL_GGUF = auto()

    # prompts and texts
    WRITE_PROMPT = auto()
    WRITE_MESSAGE = auto()
    SHORTEN_PROMPT = auto()
    NONEMPTY_PROMPT = auto()
    NONEMPTY_STOP = auto()
    MODEL_TOKENS = auto()
    PIPE_TEXT = auto()
    SHORTEN_TEXT = auto()
    ALLOW_TRUNCATION = auto()
    CONVERT_TEXT = auto()
    IN_TAKES_EVERY_WORD = auto()
    CHAT_COMMANDS = auto()

    # tools
    TOOL_FUNCTIONS = auto()
    COPY_TOOLS = auto()
    ALLOW_CALLS = auto()

    # running models
    EMBEDDING_MODEL = auto()
    RERANKING_MODEL = auto()
    TEXT_MODEL = auto()
    SPEECH_MODEL = auto()
    SMALLER_DRAFT = auto()
    FREE_MEMORY = auto()
    VERIFY_FILES = auto()
    DEBUG = auto()
    DEBUG_OR_VERIFY = auto()
    SKIP_TEMPLATE = auto()
    REOPEN_MODEL = auto()
    UNIQUE_ROW = auto()
    RETRY_STARTS_PROCESS = auto()
    KILLED_FOR_MEMORY = auto()
    MEMORY_LIMIT = auto()
    PROCESS_LIMIT = auto()
    TRY_AGAIN = auto()
    SERVER_LOG = auto()
    REPORT_DEFECT = auto()

    # commands of mlx-tee
    QUOTE_COMMANDS = auto()
    QUOTE_OPERATOR = auto()  # operator
    ALLOW_SSH = auto()
    SSH_FORMS = auto()


@attrs.frozen(init=False)
class Hint:
    """A hint and the values that its wording needs."""

    code: HintCode
    fields: Mapping[str, str]

    __repr__ = reprs.fields

    def __init__(self, code: HintCode, **fields: str) -> None:
        """Hold a code and the fields that its wording names."""
        self.__attrs_init__(code, fields)
