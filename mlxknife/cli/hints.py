"""Hints: the sentence that the command line prints for each hint code."""

from __future__ import annotations

from mlxknife.domain.hints import Hint, HintCode

_H = HintCode

WORDINGS = {
    # options and values
    _H.CHOICES: "Possible values: {values}",
    _H.OMIT: "Leave out {name}",
    _H.OMIT_ONE: "Leave out {name} or {other}",
    _H.DID_YOU_MEAN: "Did you mean {name}?",
    _H.WRITE: "Write {text}",
    _H.PORT_RANGE: "Choose a port from 1 to 65535; with 0 the system chooses one",
    _H.OTHER_PORT: "Choose another with --port, or end the program that uses it",
    _H.UNPRIVILEGED_PORT: "Choose one above 1023 with --port",
    _H.LISTEN_ADDRESSES: "127.0.0.1 serves this machine only, 0.0.0.0 its network too",
    _H.NULL_ORIGIN: "null stands for pages that are opened from a file",
    _H.OMIT_API_KEY: "Leave it out to accept every client that reaches the server",
    _H.TURN_ON: "Set {name} to {value}, or unset it",
    _H.URL_SCHEMES: "It begins with https:// or http://",
    _H.CONFIG_KEYS: "List the keys with: mlxk config",
    _H.EDIT_CONFIG: "Mend it with: mlxk config edit",
    _H.SET_EDITOR: "Set VISUAL or EDITOR to the command of an editor",
    # names of models
    _H.LIST_MODELS: "List the models with: mlxk list --all",
    _H.NO_MODELS: "There is no model yet. To get a small one: mlxk pull starter",
    _H.SHOW_MODEL: "See mlxk show {name}",
    _H.PULL_MODEL: "Download it with: mlxk pull {name}",
    _H.PULL_OR_STARTER: "Download it with: mlxk pull {name}",
    _H.DID_YOU_MEAN_OR_PULL: "Did you mean {name}? Otherwise download it with: mlxk pull {spec}",
    _H.PULL_MISSING_FILES: "Download the missing files with: mlxk pull {name}",
    _H.FULL_NAMES: "Use one of the full names",
    _H.PLAIN_NAME: "Use the plain name: {name}",
    _H.NAME_NOT_PATH: "Use the name of a model, not a path",
    _H.NAME_FORMS: "Write ORG/MODEL, the last part of a name, or ORG/MODEL@REVISION",
    _H.FOLDER_FORMS: "To name a folder, start with ./, ../, / or ~",
    _H.REPO_ID_FORM: "A name is ORG/MODEL, of letters, digits, '-', '_' and single '.'",
    _H.HUB_NAME: "Write ORG/MODEL, or MODEL for one of mlx-community",
    _H.LONGER_HASH: "Write more characters of the hash",
    _H.REVISION_FORMS: "A revision is a branch, a tag or a commit",
    _H.REVISION_ONCE: "Write either ORG/MODEL@REVISION or --revision",
    _H.WORKSPACE_NAME_FORM: "A name has no '/' and does not begin with '.'",
    _H.RENAME_OR_REMOVE: "Choose another name, or remove it: mlxk rm {name} --force",
    _H.RENAME_FOLDER: "Give one of the folders another name",
    _H.MODEL_FOLDER: "Name the folder that holds config.json",
    # removal
    _H.FORCE: "To remove it anyway, repeat with --force",
    _H.FORCE_OR_FULL_NAME: "Repeat with --force, or with the full name",
    _H.REMOVABLE_FOLDERS: "Only folders in the workspace home, or made by mlxk, are removed",
    _H.CHECK_AND_REPEAT: "Check the model, then repeat the command",
    _H.WAIT_FOR_LOCK: "Wait until it is done; a live lock is never overridden",
    # disk
    _H.FREE_DISK_SPACE: "Free some space, for example with mlxk rm, or mlxk rm --orphans",
    _H.REPLACE_LINK: "Nothing is changed through links: replace the link with the folder itself",
    _H.MOVE_AND_REPEAT: "Move it away, then repeat the command",
    _H.OTHER_DISK: "Set HF_HUB_CACHE to a folder of another disk",
    _H.CACHE_SETTINGS: "Check HF_HOME and HF_HUB_CACHE",
    _H.CACHE_PERMISSIONS: "Check the permissions of the cache",
    _H.CACHE_PERMISSIONS_OR_SETTINGS: "Check its permissions, or HF_HOME and HF_HUB_CACHE",
    _H.WORKSPACE_PERMISSIONS: "Check the permissions of the workspace home",
    _H.FOLDER_PERMISSIONS: "Check its permissions",
    _H.PRIVATE_FOLDER: "Remove it, or set MLXK_TEMP to a folder that only you can write to",
    _H.KERNEL_FOLDER: "Free some space there, or set MLXK_TEMP to a folder on another disk that can hold programs",
    _H.FILE_IN_FOLDER: "Name a file in a folder that exists",
    _H.FREE_FILE_NAME: "Name another file, or remove this one",
    # indexes
    _H.MAKE_INDEX: "Make it with: mlxk index INDEX PATH",
    _H.NEW_INDEX: "Make a new index in another file, or remove this one first",
    _H.OTHER_INDEX_FILE: "Name another file for the index",
    # Hub and package index
    _H.UNSET_OFFLINE: "Unset HF_HUB_OFFLINE, or pull.offline in mlxk config, to download it",
    _H.CHECK_NETWORK: "Check the network and HF_ENDPOINT, then try again: downloaded bytes are kept",
    _H.CHECK_ENDPOINT: "Is that a Hub, or the login page of a network? See HF_ENDPOINT",
    _H.RESUME_DOWNLOAD: "Try again later: downloaded bytes are kept",
    _H.REPEAT_DOWNLOAD: "Another program removed it: try again",
    _H.REPORT_TO_OWNER: "Try again later, or report it to the owner of the model",
    _H.RATE_LIMIT: "Wait a while; the limit is higher for logged-in users",
    _H.CHECK_TOKEN: "Check HF_TOKEN, or: hf auth login",
    _H.REQUEST_ACCESS: "Request access on its page at the Hub",
    _H.REQUEST_ACCESS_AND_LOG_IN: (
        "Request access on its page at the Hub, and set HF_TOKEN, or log in with: hf auth login"
    ),
    _H.CHECK_NAME: "Check the name",
    _H.CHECK_NAME_OR_LOG_IN: "Check the name; if it is private, set HF_TOKEN, or log in with: hf auth login",
    _H.CHECK_PIP: "Check the settings of pip. By hand: {command}",
    _H.CHECK_PIP_INDEX: "The index or a mirror serves another file: check the settings of pip",
    _H.INSTALL_GGUF: "Install support for more formats: pip install gguf",
    # prompts and texts
    _H.WRITE_PROMPT: "Write a prompt, or - to read it from stdin",
    _H.WRITE_MESSAGE: 'Write mlxknife.Message("user", "What is ...?")',
    _H.SHORTEN_PROMPT: "Shorten the prompt or its context, or choose a model with a longer context window",
    _H.NONEMPTY_PROMPT: "The model needs at least one token to continue from",
    _H.NONEMPTY_STOP: "Leave it out, or give it a text",
    _H.MODEL_TOKENS: "Use the token ids of this model's own tokenizer",
    _H.PIPE_TEXT: "Pipe a text into it: echo 'Hello' | mlxk ...",
    _H.SHORTEN_TEXT: "The text is held in memory: send only the part that matters",
    _H.ALLOW_TRUNCATION: "Use a shorter text, or allow to cut it",
    _H.CONVERT_TEXT: "Convert it, for example with iconv",
    _H.IN_TAKES_EVERY_WORD: "--in takes every word after it. Write the prompt before it, or after a --",
    _H.CHAT_COMMANDS: "/help lists the commands",
    # tools
    _H.TOOL_FUNCTIONS: "A tool is a public function with a type hint for each parameter",
    _H.COPY_TOOLS: "Read the file, and copy it to a folder of your own",
    _H.ALLOW_CALLS: "Allow every call with --yes",
    # running models
    _H.EMBEDDING_MODEL: "It makes embeddings: mlxk embed {name}",
    _H.RERANKING_MODEL: "It ranks documents: mlxk rerank {name}",
    _H.TEXT_MODEL: "It generates text: mlxk run {name}",
    _H.SPEECH_MODEL: "It is a speech model",
    _H.SMALLER_DRAFT: "Choose a smaller model of the same family",
    _H.FREE_MEMORY: "Close other programs, or choose a smaller or more quantised model",
    _H.VERIFY_FILES: "Check its files with: mlxk health --verify",
    _H.DEBUG: "--debug shows where",
    _H.DEBUG_OR_VERIFY: "--debug shows where; mlxk health --verify checks the files of the model",
    _H.SKIP_TEMPLATE: "Try --no-chat-template",
    _H.REOPEN_MODEL: "Open the model again",
    _H.UNIQUE_ROW: "Give each row its own id",
    _H.RETRY_STARTS_PROCESS: "The next request starts a new process",
    _H.KILLED_FOR_MEMORY: "The system kills processes when memory runs out; a smaller model needs less",
    _H.MEMORY_LIMIT: "This shell limits the memory of a process: see ulimit -v",
    _H.PROCESS_LIMIT: "The system allows no more processes or open files; close some",
    _H.TRY_AGAIN: "Try again in a moment",
    _H.SERVER_LOG: "The log of the server says why",
    _H.REPORT_DEFECT: "This is a defect; --debug shows where it happened",
    # commands of mlx-tee
    _H.QUOTE_COMMANDS: 'Quote each command with its arguments: mlx-tee "mlxk run MODEL -" "wc -w"',
    _H.QUOTE_OPERATOR: "Quote the {operator}, or let a shell run it: sh -c '...'",
    _H.ALLOW_SSH: "Allow it with --ssh",
    _H.SSH_FORMS: "Write @HOST:CMD or @USER@HOST:CMD; a port or an IPv6 address belongs in ~/.ssh/config",
}
"""Each code of ``HintCode``; the names in braces are the fields of the hint."""


def hint_text(hint: Hint | None) -> str | None:
    """Return the sentence for a hint, or None where there is no hint."""
    return None if hint is None else WORDINGS[hint.code].format_map(hint.fields)


def names_starter(hint: Hint | None) -> bool:
    """Return whether the starter model is another way, which a text names in a line of its own."""
    return hint is not None and hint.code is _H.PULL_OR_STARTER
