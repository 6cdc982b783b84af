"""Every error a user can meet, as one tree.

::

    KnifeError                 code, message, fields, hint
    ├── ValidationError        the request itself is wrong           ValidationError
    ├── ModelNotFound          nothing answers to that name          model_not_found
    ├── AmbiguousMatch         several models answer to that name    ambiguous_match
    ├── LocksPresent           another process works on that model   locks_present
    ├── ConfirmationRequired   nobody is there to be asked           confirmation_required
    ├── FeatureDisabled        the user switched it off              feature_disabled
    ├── ModelNotRunnable       it is there, and nothing here runs it model_not_runnable
    ├── ContextLengthExceeded  the prompt is longer than the window  context_length_exceeded
    ├── NotEnoughMemory        the model does not fit                insufficient_memory
    ├── ServerBusy             what it takes is not to be had now    server_busy
    ├── EngineError            the runtime failed while it ran       generation_failed
    │   ├── TemplateError      ... or the model's chat template did  template_error
    │   └── WorkerLost         ... and its process with it           worker_lost
    ├── DownloadFailed         the Hub says no, or sends nonsense    download_failed
    │   ├── WrongBytes         other bytes came than were promised   download_failed
    │   ├── HubAccessDenied    this user may not have that model     access_denied
    │   ├── HubAuthError       the token is not accepted             auth_error
    │   └── NetworkError       nobody answers                        NetworkError
    │       └── HubOffline     ... because nobody is to be asked     NetworkError
    ├── StorageError           the disk would not do it              FilesystemError
    │   └── AccessDenied       ... because it is not allowed         PermissionError
    └── InternalError          a defect of ours                      InternalError

``code`` is the ``error.type`` of the JSON contract; each delivery side maps it once, to an exit code or a status.
"""

from __future__ import annotations

from typing import ClassVar

from mlxknife.domain.hints import Hint, HintCode


class KnifeError(Exception):
    """What every error of the product has: a code of the contract, a sentence, and where known the next step."""

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
        """Hold the sentence for the user and the fields that the contract lets an error carry."""
        super().__init__(message)
        self.message = message
        self.hint = Hint(hint) if isinstance(hint, HintCode) else hint
        self.param = param
        """The field or option that is wrong, where it is one."""
        self.matches = matches
        self.suggestions = suggestions
        self.available_hashes = available_hashes
        self.lock_files = lock_files
        self.retry_after = retry_after
        """In how many seconds it is worth another try, where that is known."""


class ValidationError(KnifeError):
    """The request cannot be right whatever is on the disk: a bad name, option or setting."""

    code = "ValidationError"


class ModelNotFound(KnifeError):
    """No model, or no such revision of it. Carries ``suggestions`` or ``available_hashes``."""

    code = "model_not_found"


class AmbiguousMatch(KnifeError):
    """Several models or revisions fit. Carries ``matches`` or ``available_hashes``."""

    code = "ambiguous_match"


class LocksPresent(KnifeError):
    """Another process holds a lock of the model. Carries ``lock_files``."""

    code = "locks_present"


class ConfirmationRequired(KnifeError):
    """Somebody should say yes first, and nobody can be asked. Carries what it is about as ``matches``."""

    code = "confirmation_required"


class FeatureDisabled(KnifeError):
    """A setting of the user says that this is not to be used."""

    code = "feature_disabled"


class ModelNotRunnable(KnifeError):
    """The model is there, and cannot be run: damaged, of another kind, or unknown to what is installed."""

    code = "model_not_runnable"


class ContextLengthExceeded(KnifeError):
    """The prompt leaves no room for an answer in what the model can read."""

    code = "context_length_exceeded"


class NotEnoughMemory(KnifeError):
    """The machine has not the memory that the model would take."""

    code = "insufficient_memory"


class ServerBusy(KnifeError):
    """Too much is asked for at once, or all is about to end; nothing is wrong with the request or the model."""

    code = "server_busy"

    def __init__(self, message: str, *, retry_after: float, hint: Hint | HintCode | None = None) -> None:
        """Hold the sentence, and when it is worth another try."""
        super().__init__(message, hint=hint, retry_after=retry_after)


class EngineError(KnifeError):
    """The runtime could not load the model, or failed while it answered."""

    code = "generation_failed"


class TemplateError(EngineError):
    """The chat template of the model failed, refused the conversation, or took too much."""

    code = "template_error"


class WorkerLost(EngineError):
    """The process of the model is gone, and what it was about to answer with it.

    The next request starts another, unless ``retry_after`` says that none is started for a while.
    """

    code = "worker_lost"


class DownloadFailed(KnifeError):
    """The Hub does not have it, does not give it, or answers what cannot be right."""

    code = "download_failed"


class WrongBytes(DownloadFailed):
    """A file came whole, and is not the one that was promised: its hash or its length is another."""


class HubAccessDenied(DownloadFailed):
    """The model is there, and this user may not have it: it is gated, or was taken out of service."""

    code = "access_denied"


class HubAuthError(DownloadFailed):
    """The Hub does not accept the token."""

    code = "auth_error"


class NetworkError(DownloadFailed):
    """Nobody answers, or the answer broke off again and again."""

    code = "NetworkError"


class HubOffline(NetworkError):
    """The user asked for no network, and the cache alone cannot answer."""


class StorageError(KnifeError):
    """The filesystem refused or failed: not a folder, an IO error, a full disk."""

    code = "FilesystemError"


class AccessDenied(StorageError):
    """The filesystem said that this user may not."""

    code = "PermissionError"


class InternalError(KnifeError):
    """A defect of the product, reported without a traceback unless debugging is on."""

    code = "InternalError"
