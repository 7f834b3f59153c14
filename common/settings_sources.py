"""Where settings come from: one TOML file for what belongs to the system, the environment for what belongs to the machine.

The table ENVIRONMENT is the whole of what is read from the environment. A variable goes before the same setting in the file;
of several names for one setting the first that is set and not empty counts. An empty variable counts as not set, because
that is what compose files and shells make of a missing value. Each secret may also be in a file: NAME_FILE holds the path
(Kubernetes, Docker).
A `.env` file is not read: what a process gets is what its starter gave it.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.location import as_utf8

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_FILE = Path("brigade.toml")
CONFIG_NAME = "BRIGADE_CONFIG"
SOURCE_BUCKET = "AWS_S3_BUCKET"
DESTINATION_BUCKET = "GCP_BUCKET_NAME"
TABLES = ("route", "publisher", "worker", "queue", "redis", "api", "log", "health")
LARGEST_SECRET = 64 * 1024


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting that the environment may hold, under the first of `names` or an older one."""

    section: str
    setting: str
    names: tuple[str, ...]
    secret: bool = False


ENVIRONMENT = (
    Variable("aws", "access_key_id", ("AWS_ACCESS_KEY_ID",)),
    Variable("aws", "secret_access_key", ("AWS_SECRET_ACCESS_KEY",), secret=True),
    Variable("aws", "session_token", ("AWS_SESSION_TOKEN",), secret=True),
    Variable("aws", "region", ("AWS_REGION", "AWS_DEFAULT_REGION")),
    Variable("aws", "endpoint", ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")),
    Variable("google", "project", ("GCP_PROJECT_ID", "GOOGLE_CLOUD_PROJECT")),
    Variable("google", "credentials_file", ("GCP_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS")),
    Variable("google", "sa_key_b64", ("GCP_SA_KEY_B64",), secret=True),
    Variable("google", "storage_endpoint", ("STORAGE_EMULATOR_HOST",)),
    Variable("google", "drive_token_file", ("GDRIVE_TOKEN",)),
    Variable("google", "drive_subject", ("GDRIVE_SUBJECT",)),
    Variable("google", "drive_endpoint", ("GDRIVE_ENDPOINT",)),
    Variable("google", "drive_units", ("GDRIVE_UNITS_PER_MINUTE",)),
    Variable("queue", "kind", ("BRIGADE_QUEUE",)),
    Variable("queue", "topic", ("GCP_TOPIC_ID",)),
    Variable("queue", "subscription", ("GCP_SUBSCRIPTION_ID",)),
    Variable("queue", "error_topic", ("PUBSUB_ERROR_TOP_ID",)),
    Variable("queue", "error_subscription", ("PUBSUB_ERROR_SUBSCRIPTION_ID",)),
    Variable("queue", "emulator_host", ("GCP_PUBSUB_HOST", "PUBSUB_EMULATOR_HOST")),
    Variable("queue", "lease_seconds", ("BRIGADE_LEASE_SECONDS",)),
    Variable("queue", "error_retention_seconds", ("BRIGADE_ERROR_RETENTION_SECONDS",)),
    Variable("redis", "address", ("REDIS_ADDRESS",)),
    Variable("redis", "username", ("REDIS_USERNAME",)),
    Variable("redis", "password", ("REDIS_PASSWORD",), secret=True),
    Variable("redis", "ca_file", ("REDIS_CA_FILE",)),
    Variable("redis", "patience_seconds", ("BRIGADE_REDIS_PATIENCE",)),
    Variable("redis", "prefix", ("BRIGADE_REDIS_PREFIX",)),
    Variable("worker", "processes", ("BRIGADE_PROCESSES",)),
    Variable("worker", "slots", ("SYSTEM_MAX_WORKERS",)),
    Variable("worker", "large_slots", ("BRIGADE_LARGE_SLOTS",)),
    Variable("worker", "part_bytes", ("BRIGADE_PART_BYTES",)),
    Variable("worker", "buffer_bytes", ("BRIGADE_BUFFER_BYTES",)),
    Variable("worker", "attempts", ("RETRY_ATTEMPTS",)),
    Variable("worker", "backoff_seconds", ("RETRY_BACKOFF_SEC",)),
    Variable("worker", "deaths", ("BRIGADE_DEATHS",)),
    Variable("worker", "hold_after", ("BRIGADE_HOLD_AFTER",)),
    Variable("worker", "hold_seconds", ("BRIGADE_HOLD_SECONDS",)),
    Variable("worker", "hold_longest_seconds", ("BRIGADE_HOLD_LONGEST_SECONDS",)),
    Variable("worker", "unknown_seconds", ("BRIGADE_UNKNOWN_SECONDS",)),
    Variable("worker", "grace_seconds", ("BRIGADE_GRACE_SECONDS",)),
    Variable("publisher", "sweep_seconds", ("BRIGADE_SWEEP_SECONDS",)),
    Variable("publisher", "full_sweep_seconds", ("BRIGADE_FULL_SWEEP_SECONDS",)),
    Variable("publisher", "reconcile_seconds", ("BRIGADE_RECONCILE_SECONDS",)),
    Variable("publisher", "republish_after", ("BRIGADE_REPUBLISH_AFTER",)),
    Variable("publisher", "batch", ("BRIGADE_BATCH",)),
    Variable("publisher", "list_shards", ("BRIGADE_LIST_SHARDS",)),
    Variable("api", "host", ("BRIGADE_HTTP_HOST",)),
    Variable("api", "port", ("BRIGADE_HTTP_PORT",)),
    Variable("api", "health_port", ("BRIGADE_HEALTH_PORT",)),
    Variable("api", "username", ("SYSTEM_ADMIN_USERNAME",)),
    Variable("api", "password", ("SYSTEM_ADMIN_PASSWORD",), secret=True),
    Variable("health", "heartbeat_dir", ("BRIGADE_HEARTBEAT_DIR",)),
    Variable("log", "level", ("BRIGADE_LOG_LEVEL",)),
    Variable("log", "format", ("BRIGADE_LOG_FORMAT",)),
)
_KNOWN_NAMES = frozenset({CONFIG_NAME, *(name for variable in ENVIRONMENT for name in variable.names)})
_BY_SETTING = {(variable.section, variable.setting): variable for variable in ENVIRONMENT}


@dataclass(slots=True)
class Gathered:
    """What was written, not judged yet: sections of settings, the routes, and where each setting stands for the fault lines."""

    sections: dict[str, Any] = field(default_factory=dict)
    routes: list[Any] = field(default_factory=list)
    origins: dict[tuple[str, str], str] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)
    """Variables that are set to nothing: the fault says so instead of "missing"."""
    file: str = ""
    faults: list[str] = field(default_factory=list)

    def name(self, section: str, setting: str) -> str:
        """How to call the setting in a fault: where it was written, or where it would be."""
        variable = _BY_SETTING.get((section, setting))
        return self.origins.get((section, setting)) or (variable.names[0] if variable else f"{section}.{setting}")


def gather(environ: Mapping[str, str], config_path: Path | None) -> Gathered:
    """Everything that was written in the file and the environment. Raises nothing: faults are part of the answer."""
    gathered = Gathered()
    _read_file(gathered, environ, config_path)
    for variable in ENVIRONMENT:
        _read_variable(gathered, environ, variable)
    _default_route(gathered, environ)
    _misspelt(gathered, environ)
    project = gathered.sections.get("google", {}).get("project")
    queue = gathered.sections.setdefault("queue", {})
    if project and isinstance(queue, dict) and not queue.get("project"):
        queue["project"] = project
        gathered.origins["queue", "project"] = gathered.name("google", "project")
    return gathered


def _read_file(gathered: Gathered, environ: Mapping[str, str], config_path: Path | None) -> None:
    path = config_path or (Path(environ[CONFIG_NAME]) if environ.get(CONFIG_NAME) else None)
    if path is None:
        if not DEFAULT_FILE.exists():
            return
        path = DEFAULT_FILE
    gathered.file = str(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        gathered.faults.append(f"{path}: cannot be read ({error.strerror}): name a TOML file with --config or {CONFIG_NAME}")
    except UnicodeDecodeError:
        gathered.faults.append(f"{path}: is not UTF-8: save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        gathered.faults.append(f"{path}: is not TOML: {error}")
    else:
        _take_document(gathered, document)


def _take_document(gathered: Gathered, document: dict[str, Any]) -> None:
    for table, content in document.items():
        if table not in TABLES:
            gathered.faults.append(f"{gathered.file}: unknown table {table!r}{_advice(table)}")
        elif table == "route":
            _take_routes(gathered, content)
        elif not isinstance(content, dict):
            gathered.faults.append(
                f"{gathered.file}: {table} must be a table: write [{table}] with its settings on the lines below"
            )
        else:
            _take_section(gathered, table, content)


def _take_routes(gathered: Gathered, content: Any) -> None:
    if isinstance(content, list):
        gathered.routes = content
    else:
        gathered.faults.append(f"{gathered.file}: route must be a list of tables: write [[route]], with two brackets")


def _take_section(gathered: Gathered, table: str, content: dict[str, Any]) -> None:
    taken = dict(content)
    for setting in content:
        variable = _BY_SETTING.get((table, setting))
        if variable is not None and variable.secret:
            name = variable.names[0]
            gathered.faults.append(f"{gathered.file}: {table}.{setting} is a secret: take it out and set {name} or {name}_FILE")
            del taken[setting]
        else:
            gathered.origins[table, setting] = f"{gathered.file}: {table}.{setting}"
    gathered.sections[table] = taken


def _advice(table: str) -> str:
    if table in ("aws", "google", "gcp"):
        return ": keys, regions and projects are set in the environment (AWS_…, GCP_…)"
    near = difflib.get_close_matches(table, TABLES, n=1)
    return f": did you mean {near[0]!r}?" if near else f": known are {', '.join(TABLES)}"


def _read_variable(gathered: Gathered, environ: Mapping[str, str], variable: Variable) -> None:
    for name in variable.names:
        value = environ.get(name)
        origin = name
        if variable.secret and environ.get(f"{name}_FILE"):
            origin = f"{name}_FILE"
            if value:
                gathered.faults.append(f"{name} and {origin} are both set: keep one of them")
            value = _read_secret(gathered, origin, environ[origin])
        if value is not None and not value.strip():
            gathered.empty.add(origin)
        elif value is not None:
            gathered.sections.setdefault(variable.section, {})[variable.setting] = value.strip()
            gathered.origins[variable.section, variable.setting] = origin
            return


def _read_secret(gathered: Gathered, origin: str, path: str) -> str | None:
    try:
        with Path(path).open("rb") as file:
            return file.read(LARGEST_SECRET).decode("utf-8")
    except OSError as error:
        gathered.faults.append(f"{origin}: {path} cannot be read ({error.strerror}): name a file that holds the secret")
    except UnicodeDecodeError:
        gathered.faults.append(f"{origin}: {path} is not text: name a file that holds the secret and nothing else")
    return None


def _default_route(gathered: Gathered, environ: Mapping[str, str]) -> None:
    source, destination = (as_utf8(environ.get(name, "")).strip() for name in (SOURCE_BUCKET, DESTINATION_BUCKET))
    if gathered.routes or not (source or destination):
        return
    if not (source and destination):
        missing, present = (SOURCE_BUCKET, DESTINATION_BUCKET) if destination else (DESTINATION_BUCKET, SOURCE_BUCKET)
        state = "empty" if missing in environ else "missing"
        gathered.faults.append(f"{missing} is {state} although {present} is set: set both, or write [[route]] tables in a file")
        return
    route = {"name": "default", "source": f"s3://{source}", "destination": f"gs://{destination}"}
    gathered.routes = [route]
    gathered.origins["route", "source"] = SOURCE_BUCKET
    gathered.origins["route", "destination"] = DESTINATION_BUCKET


def _misspelt(gathered: Gathered, environ: Mapping[str, str]) -> None:
    """Only near misses: others (Kubernetes, a wrapper) may put variables of that prefix there for reasons of their own."""
    for name in sorted(environ):
        if name.startswith("BRIGADE_") and name not in _KNOWN_NAMES:
            near = difflib.get_close_matches(name, _KNOWN_NAMES, n=1, cutoff=0.9)
            if near:
                gathered.faults.append(f"{name} is not a setting: did you mean {near[0]}?")
