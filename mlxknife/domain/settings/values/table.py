"""The table of every setting: its key in the config file, its variables, its type, and the values that are valid.

The environment, the config file, ``mlxk config`` and docs/settings.md follow this table.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto

import attrs

SettingType = str | int | float | bool | tuple[str, ...] | None
"""The type of a value; None where nothing sets it."""

PREFIXES = ("MLXK_", "MLXK2_")
"""The prefixes of the product's variables. The first one wins."""


class Kind(Enum):
    """The type of a setting. The value is what a message calls it."""

    TEXT = "a string"
    INTEGER = "an integer"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    TEXTS = "a list of strings"


class Form(StrEnum):
    """The form that the text of a setting must have."""

    FREE = auto()
    NOT_EMPTY = auto()
    HOST_NAME = auto()
    ORIGIN = auto()
    KEY = auto()
    URL = auto()


class Source(StrEnum):
    """Where a value comes from."""

    VARIABLE = "variable"
    FILE = "file"
    DEFAULT = "default"


@attrs.frozen
class Setting:
    """One setting. ``key`` is ``table.name``, or ``name`` for one outside the tables."""

    key: str
    kind: Kind
    meaning: str
    default: SettingType = attrs.field(default=None, kw_only=True)
    unset: str = attrs.field(default="none", kw_only=True)
    """What holds where nothing sets it and there is no default."""
    variable: str | None = attrs.field(default=None, kw_only=True)
    """The variable of the product, without its prefix."""
    hub_variables: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    """The variables of huggingface_hub, which are read as it reads them."""
    low: float | None = attrs.field(default=None, kw_only=True)
    high: float | None = attrs.field(default=None, kw_only=True)
    choices: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    form: Form = attrs.field(default=Form.FREE, kw_only=True)
    field: str = attrs.field(kw_only=True)
    """The option or field of the product that gets the value."""
    is_secret: bool = attrs.field(default=False, kw_only=True)

    @field.default
    def _field(self) -> str:
        return self.name

    @property
    def table(self) -> str:
        """The table of the config file; empty for a setting outside the tables."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The key inside its table."""
        return self.key.rpartition(".")[2]

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that set it; the first one that is set wins."""
        own = () if self.variable is None else tuple(f"{prefix}{self.variable}" for prefix in PREFIXES)
        return (*self.hub_variables, *own)


@attrs.frozen
class SettingValue:
    """The value of a setting, and its source."""

    setting: Setting
    value: SettingType = attrs.field(repr=False)
    source: Source
    variable: str | None = None
    """The name of the variable that sets it."""


_MAX = 2**31 - 1
_PROFILES = ("fast", "compact", "as-is")
_OF_MODEL = "the model's, then mlxk's"
_OF_WINDOW = "what the context window leaves, up to 32768"

_GENERAL = (
    Setting(
        "hub_cache",
        Kind.TEXT,
        "the model cache, as huggingface_hub finds it",
        hub_variables=("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"),
        unset="~/.cache/huggingface/hub",
        form=Form.NOT_EMPTY,
    ),
    Setting(
        "workspace_home",
        Kind.TEXT,
        "the folder of your workspaces",
        variable="WORKSPACE_HOME",
        unset="in the data folder",
        form=Form.NOT_EMPTY,
    ),
    Setting(
        "temp",
        Kind.TEXT,
        "the folder that holds the private folder of model processes",
        variable="TEMP",
        unset="in the cache folder",
        form=Form.NOT_EMPTY,
    ),
    Setting("pipes", Kind.BOOLEAN, "reading from stdin with -", variable="ENABLE_PIPES", default=True),
)
_LIST = (
    Setting("list.all", Kind.BOOLEAN, "models of every framework and type (--all)", default=False),
    Setting("list.health", Kind.BOOLEAN, "a column with the health of each model (--health)", default=False),
    Setting("list.verbose", Kind.BOOLEAN, "full names and more columns (--verbose)", default=False),
)
_PULL = (
    Setting(
        "pull.endpoint",
        Kind.TEXT,
        "the URL of the Hub",
        hub_variables=("HF_ENDPOINT",),
        unset="https://huggingface.co",
        form=Form.URL,
    ),
    Setting(
        "pull.token",
        Kind.TEXT,
        "the token for the Hub (better: hf auth login)",
        hub_variables=("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"),
        unset="as hf auth login saved it",
        form=Form.KEY,
        is_secret=True,
    ),
    Setting(
        "pull.offline",
        Kind.BOOLEAN,
        "never contact the Hub",
        hub_variables=("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
        default=False,
    ),
    Setting(
        "pull.wheels",
        Kind.TEXT,
        "a folder that keeps the packages of starter models",
        variable="WHEELS",
        form=Form.NOT_EMPTY,
    ),
)
_RUN = (
    Setting("run.system", Kind.TEXT, "the system prompt; @FILE reads it from a file (--system)"),
    Setting("run.pull", Kind.BOOLEAN, "pull a model that is not here (--pull)", unset="asked on a terminal"),
    Setting("run.max_tokens", Kind.INTEGER, "the maximum length of an answer (--max-tokens)", unset=_OF_WINDOW),
    Setting("run.loop_guard", Kind.BOOLEAN, "end an answer that only repeats itself (--loop-guard)", default=True),
    Setting("run.temperature", Kind.NUMBER, "the randomness of sampling (--temperature)", unset=_OF_MODEL),
    Setting("run.top_p", Kind.NUMBER, "--top-p", unset=_OF_MODEL),
    Setting("run.top_k", Kind.INTEGER, "--top-k", unset=_OF_MODEL),
    Setting("run.min_p", Kind.NUMBER, "--min-p", unset=_OF_MODEL),
    Setting("run.repetition_penalty", Kind.NUMBER, "--repetition-penalty", unset=_OF_MODEL),
    Setting("run.seed", Kind.INTEGER, "the seed of sampling (--seed)", unset="random"),
    Setting(
        "run.separator", Kind.TEXT, "the text between stdin and the rest of the prompt (--separator)", default="\n\n"
    ),
    Setting("run.stream", Kind.BOOLEAN, "print the answer while it is generated (--stream)", default=True),
    Setting("run.plain", Kind.BOOLEAN, "print Markdown as it is written (--plain)", default=False),
    Setting("run.history", Kind.BOOLEAN, "keep what is typed in a chat (--history)", default=True),
    Setting(
        "run.reasoning",
        Kind.TEXT,
        "print the reasoning (--show-reasoning, --hide-reasoning, --think-only)",
        default="auto",
        choices=("auto", "show", "hide", "only"),
    ),
    Setting("run.verbose", Kind.BOOLEAN, "notes on the model and statistics (--verbose)", default=False),
    Setting(
        "run.cpu_profile",
        Kind.TEXT,
        "conversion of the weights without a GPU (--cpu-profile)",
        unset="by free memory",
        choices=_PROFILES,
    ),
    Setting("run.kv_bits", Kind.INTEGER, "--kv-bits", unset="not quantised"),
    Setting("run.kv_group_size", Kind.INTEGER, "--kv-group-size", default=64),
    Setting("run.quantized_kv_start", Kind.INTEGER, "--quantized-kv-start", default=0),
    Setting("run.max_kv_size", Kind.INTEGER, "--max-kv-size", unset="no limit"),
)
_SERVE = (
    Setting(
        "serve.host",
        Kind.TEXT,
        "the address to listen on (--host)",
        variable="HOST",
        default="127.0.0.1",
        form=Form.NOT_EMPTY,
    ),
    Setting("serve.port", Kind.INTEGER, "the port (--port)", variable="PORT", default=8000, low=0, high=65535),
    Setting(
        "serve.model",
        Kind.TEXTS,
        "the models to keep loaded (--model); the variable names one",
        variable="PRELOAD_MODEL",
        default=(),
        field="models",
    ),
    Setting(
        "serve.api_key",
        Kind.TEXT,
        "the key that clients must send (--api-key)",
        variable="API_KEY",
        form=Form.KEY,
        is_secret=True,
    ),
    Setting(
        "serve.allow_host",
        Kind.TEXTS,
        "additional host names (--allow-host)",
        default=(),
        form=Form.HOST_NAME,
        field="allowed_hosts",
    ),
    Setting(
        "serve.cors",
        Kind.TEXTS,
        "the origins whose pages may use the server (--cors)",
        default=(),
        form=Form.ORIGIN,
        field="cors_origins",
    ),
    Setting(
        "serve.max_tokens",
        Kind.INTEGER,
        "the maximum length of an answer (--max-tokens)",
        variable="MAX_TOKENS",
        unset=_OF_WINDOW,
        low=1,
        high=_MAX,
    ),
    Setting(
        "serve.max_loaded",
        Kind.INTEGER,
        "the maximum number of loaded models (--max-loaded)",
        unset="as many as fit into memory",
        low=1,
        high=_MAX,
    ),
    Setting(
        "serve.idle_unload",
        Kind.NUMBER,
        "unload models that many seconds after their last use (--idle-unload)",
        unset="never",
        low=0,
        high=_MAX,
        field="idle_seconds",
    ),
    Setting(
        "serve.cpu_profile",
        Kind.TEXT,
        "conversion of the weights without a GPU (--cpu-profile)",
        unset="by free memory",
        choices=_PROFILES,
        field="profile",
    ),
    Setting(
        "serve.log_level",
        Kind.TEXT,
        "the level of the log (--log-level)",
        variable="LOG_LEVEL",
        default="info",
        choices=("debug", "info", "warning", "error"),
    ),
    Setting("serve.log_json", Kind.BOOLEAN, "log as JSON (--log-json)", variable="LOG_JSON", default=False),
    Setting(
        "serve.reload",
        Kind.BOOLEAN,
        "restart when the program's code changes (--reload)",
        variable="RELOAD",
        default=False,
        field="reloads",
    ),
)

SETTINGS = {setting.key: setting for setting in (*_GENERAL, *_LIST, *_PULL, *_RUN, *_SERVE)}
"""Every setting that has a key."""
