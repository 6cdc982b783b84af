"""Every error that a user can meet, as one tree.

::

    KnifeError                 base class
    ├── ValidationError        the request itself is invalid         ValidationError
    ├── ModelNotFound          no model or revision has that name    model_not_found
    ├── AmbiguousMatch         several models or revisions match     ambiguous_match
    ├── LocksPresent           another process uses the model        locks_present
    ├── ConfirmationRequired   the user must confirm, and no         confirmation_required
    │                          terminal is there to ask on
    ├── FeatureDisabled        a setting disables the feature        feature_disabled
    ├── ModelNotRunnable       the model exists but cannot run here  model_not_runnable
    ├── UnsupportedCapability  the model lacks what the request needs unsupported_capability
    ├── ContextLengthExceeded  the prompt exceeds the context window context_length_exceeded
    ├── IndexNotUsable         the file is no index, or damaged      index_not_usable
    │   └── IndexModelMismatch the index has another model           index_model_mismatch
    ├── NotEnoughMemory        the model does not fit into memory    insufficient_memory
    ├── ServerBusy             the server cannot take it now         server_busy
    ├── EngineError            loading or generating failed          generation_failed
    │   ├── TemplateError      the chat template failed              template_error
    │   └── WorkerLost         the model process ended               worker_lost
    ├── DownloadFailed         the Hub refused or sent invalid data  download_failed
    │   ├── RepoNotFound       the Hub has no such model             download_failed
    │   ├── WrongBytes         the bytes differ from the listed hash download_failed
    │   ├── HubAccessDenied    the user has no access to the model   access_denied
    │   ├── HubAuthError       the Hub rejects the token             auth_error
    │   └── NetworkError       the Hub cannot be reached             NetworkError
    │       └── HubOffline     offline mode is on                    NetworkError
    ├── StorageError           the filesystem failed                 FilesystemError
    │   └── AccessDenied       the filesystem denied permission      PermissionError
    └── InternalError          a defect of the product               InternalError

The right column is ``code``, the ``error.type`` of the JSON contract. ``cli/errors.py`` maps it to an exit code, each
HTTP API to a status. An error carries facts and a hint code; the delivery sides word the hint for their reader.
"""

from __future__ import annotations

from typing import ClassVar

from mlxknife.domain import reprs
from mlxknife.domain.hints import Hint, HintCode


class KnifeError(Exception):
    """The base of all errors: a code of the contract, a message, and fields that the contract lets an error carry."""

    code: ClassVar[str] = "OperationError"

    def __init__(  # noqa: PLR0913 - they are the fields of the contract
        self,
        message: str,
        *,
        hint: Hint | HintCode | None = None,
        param: str | None = None,
        matches: tuple[str, ...] | None = None,
        suggestions: tuple[str, ...] | None = None,
        available_hashes: tuple[str, ...] | None = None,
        lock_files: tuple[str, ...] | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Create an error; a hint without fields can be given as its code."""
        super().__init__(message)
        self.message = message
        self.hint = Hint(hint) if isinstance(hint, HintCode) else hint
        """What the user can do about it."""
        self.param = param
        """The field or option that is invalid."""
        self.matches = matches
        """The names that match, or that the user must confirm."""
        self.suggestions = suggestions
        """Existing names that look like the one that was not found, and models that can be had instead."""
        self.available_hashes = available_hashes
        """The commits that match, or that exist."""
        self.lock_files = lock_files
        """The lock files that another process holds."""
        self.model: str | None = None
        """The full name of the model, where an action on several models failed with one of them."""
        self.retry_after = retry_after
        """The seconds after which a retry may succeed."""

    def __repr__(self) -> str:
        """Return the message, and the fields that are set; both are cut if they are long."""
        fields = {name: value for name, value in vars(self).items() if value is not None and name[0] != "_"}
        return reprs.call(self, **fields)


class ValidationError(KnifeError):
    """The request is invalid whatever the disk holds: a bad name, option or setting."""

    code = "ValidationError"


class ModelNotFound(KnifeError):
    """No model has that name, or the model has no such revision. Carries ``suggestions`` or ``available_hashes``."""

    code = "model_not_found"


class AmbiguousMatch(KnifeError):
    """Several models or revisions match. Carries ``matches`` or ``available_hashes``."""

    code = "ambiguous_match"


class LocksPresent(KnifeError):
    """Another process holds a lock of the model. Carries ``lock_files``."""

    code = "locks_present"


class ConfirmationRequired(KnifeError):
    """The user must confirm, and there is no terminal to ask on. Carries the affected names as ``matches``."""

    code = "confirmation_required"


class FeatureDisabled(KnifeError):
    """A setting of the user disables this feature."""

    code = "feature_disabled"


class ModelNotRunnable(KnifeError):
    """The model exists but cannot run: it is damaged, of another kind, or unknown to the installed runtime."""

    code = "model_not_runnable"


class UnsupportedCapability(KnifeError):
    """The model runs, but it lacks what the request needs."""

    code = "unsupported_capability"


class ContextLengthExceeded(KnifeError):
    """The prompt leaves no space for an answer in the context window."""

    code = "context_length_exceeded"


class IndexNotUsable(KnifeError):
    """The file is not an index of this version, or it is damaged. Nothing overwrites it."""

    code = "index_not_usable"


class IndexModelMismatch(IndexNotUsable):
    """The index holds vectors of another embedding model."""

    code = "index_model_mismatch"


class NotEnoughMemory(KnifeError):
    """The model needs more memory than the machine has free."""

    code = "insufficient_memory"


class ServerBusy(KnifeError):
    """Too many requests at once, or the server is stopping; request and model are fine."""

    code = "server_busy"

    def __init__(self, message: str, *, retry_after: float, hint: Hint | HintCode | None = None) -> None:
        """Create an error with the seconds after which the client may retry."""
        super().__init__(message, hint=hint, retry_after=retry_after)


class EngineError(KnifeError):
    """The runtime failed to load the model, or failed while it generated."""

    code = "generation_failed"


class TemplateError(EngineError):
    """The chat template failed, rejected the conversation, or exceeded its limits."""

    code = "template_error"


class WorkerLost(EngineError):
    """The model process ended, and its unfinished answers with it.

    The next request starts a new process, unless ``retry_after`` says how long none is started.
    """

    code = "worker_lost"


class DownloadFailed(KnifeError):
    """The Hub does not have the file, refuses it, or sends invalid data."""

    code = "download_failed"


class RepoNotFound(DownloadFailed):
    """The Hub has no such model, or does not show it to this user. Carries ``suggestions``."""


class WrongBytes(DownloadFailed):
    """A file was downloaded completely, but its hash or length differs from the listing."""


class HubAccessDenied(DownloadFailed):
    """The model exists, but this user has no access: it is gated or disabled."""

    code = "access_denied"


class HubAuthError(DownloadFailed):
    """The Hub rejects the token."""

    code = "auth_error"


class NetworkError(DownloadFailed):
    """The server cannot be reached, or the connection broke repeatedly."""

    code = "NetworkError"


class HubOffline(NetworkError):
    """Offline mode is on, and the cache alone cannot satisfy the request."""


class StorageError(KnifeError):
    """The filesystem failed: not a folder, an IO error, a full disk."""

    code = "FilesystemError"


class AccessDenied(StorageError):
    """The filesystem denied permission."""

    code = "PermissionError"


class InternalError(KnifeError):
    """A defect of the product, reported without a traceback unless debugging is on."""

    code = "InternalError"
