"""Reads the settings once, at start: everything that is wrong is said together, and nothing is contacted before it is right."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import ValidationError

from common import settings_cdn, settings_classes, settings_s3, trust
from common import settings_checks as checks
from common.config import (
    ApiSettings,
    Aws,
    Cdn,
    Google,
    HealthSettings,
    LogSettings,
    PublisherSettings,
    QueueSettings,
    RedisSettings,
    Route,
    Settings,
    Shape,
    StoreOptions,
    WorkerSettings,
)
from common.errors import SettingsError
from common.settings_sources import Gathered, gather

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from pydantic_core import ErrorDetails

Need = Literal["routes", "queue", "redis", "api"]
EVERYTHING: frozenset[Need] = frozenset({"routes", "queue", "redis", "api"})

AnyShape = TypeVar("AnyShape", bound=Shape)

_NAMES = "letters, digits, '.', '_' and '-', a letter or digit first, at most 63"
_PATTERNS = {
    "name": _NAMES,
    "prefix": "1 to 32 letters, digits, '.', '_' and '-'",
    "drive_subject": "the e-mail address of a person of the domain",
    "storage_class": "the name of a class as S3 has it: STANDARD_IA",
    "key_id": "the id of the public key at CloudFront: K2JCJMDEHXQW5F",
    "private_key_env": "the name of the variable that holds the key, not the key",
}
_TEXTS = {
    "bool_parsing": "write true or false",
    "bool_type": "write true or false",
    "string_type": "write a text in quotes",
    "list_type": "write a list",
    "model_type": "write a table",
    "dict_type": "write a table",
}
_SHAPES_INSIDE: dict[str, type[Shape]] = {"source_options": StoreOptions, "destination_options": StoreOptions, "cdn": Cdn}


def load(environ: Mapping[str, str], config_path: Path | None, *, needs: AbstractSet[Need]) -> Settings:
    """The settings for what is to run. `needs` says what must not be missing; what is there is checked in any case,
    except the API's settings where no API is served.

    Raises SettingsError with every fault. `environ` is os.environ in the command and anything else in tests.
    """
    gathered = gather(environ, config_path)
    faults = [*gathered.faults, *trust.faults(environ), *settings_cdn.take_keys(gathered, environ)]
    log = gathered.sections.get("log", {})
    if isinstance(log.get("level"), str):
        log["level"] = log["level"].upper()
    aws = _section(gathered, faults, "aws", Aws)
    google = _section(gathered, faults, "google", Google)
    queue = _section(gathered, faults, "queue", QueueSettings)
    redis = _section(gathered, faults, "redis", RedisSettings)
    worker = _section(gathered, faults, "worker", WorkerSettings)
    publisher = _section(gathered, faults, "publisher", PublisherSettings)
    logs = _section(gathered, faults, "log", LogSettings)
    health = _section(gathered, faults, "health", HealthSettings)
    api = _api(gathered, faults, needed="api" in needs)
    routes = _routes(gathered, faults)

    faults += checks.aws(gathered, aws) if aws else []
    faults += checks.google(gathered, google) if google else []
    faults += checks.worker(gathered, worker) if worker else []
    if queue and "queue" in needs:
        faults += checks.queue(gathered, queue)
    if redis and ("redis" in needs or ("queue" in needs and queue and queue.kind == "redis")):
        faults += checks.redis(gathered, redis)
    if routes is not None:
        endpoints = {"s3": aws.endpoint if aws else None}
        if google:
            endpoints |= {"gs": google.storage_endpoint, "gdrive": google.drive_endpoint}
        faults += checks.routes(gathered, routes, endpoints)
        faults += settings_cdn.check(gathered, routes)
        faults += settings_s3.check(gathered, routes)
        faults += settings_classes.check(gathered, routes)
    if "routes" in needs and not gathered.routes and not gathered.faults:
        faults.append(
            "there is no route: set AWS_S3_BUCKET and GCP_BUCKET_NAME, or write brigade.toml with "
            '[[route]] name = "…", source = "s3://…", destination = "gs://…"'
        )
    if faults or not (aws and google and queue and redis and worker and publisher and logs and health):
        raise SettingsError(faults)
    return Settings(
        routes=tuple(routes or ()),
        aws=aws,
        google=google,
        queue=queue,
        redis=redis,
        worker=worker,
        publisher=publisher,
        api=api,
        log=logs,
        health=health,
    )


def _section(gathered: Gathered, faults: list[str], section: str, shape: type[AnyShape]) -> AnyShape | None:
    try:
        return shape.model_validate(gathered.sections.get(section, {}))
    except ValidationError as error:
        faults += [
            f"{_name(gathered, section, fault)}{text}" for fault, text in _explained(error, shape) if fault["type"] != "missing"
        ]
        faults += [
            f"{checks.missing(gathered, section, str(fault['loc'][0]))}: set it, the HTTP API asks for a name and a password"
            for fault in error.errors()
            if fault["type"] == "missing"
        ]
        return None


def _api(gathered: Gathered, faults: list[str], *, needed: bool) -> ApiSettings | None:
    if not needed:
        return None
    api = _section(gathered, faults, "api", ApiSettings)
    if api is not None and ":" in api.username:
        faults.append(
            f"{gathered.name('api', 'username')} holds a ':', which basic authentication cannot carry: write another name"
        )
    return api


def _routes(gathered: Gathered, faults: list[str]) -> list[Route] | None:
    """The routes, or None when one of them cannot be read."""
    routes: list[Route] = []
    for number, content in enumerate(gathered.routes, start=1):
        try:
            routes.append(Route.model_validate(content))
        except ValidationError as error:
            faults += [f"{_route_name(gathered, number, content, fault)}{text}" for fault, text in _explained(error, Route)]
    return routes if len(routes) == len(gathered.routes) else None


def _name(gathered: Gathered, section: str, fault: ErrorDetails) -> str:
    return gathered.name(section, str(fault["loc"][0])) if fault["loc"] else section


def _route_name(gathered: Gathered, number: int, content: Any, fault: ErrorDetails) -> str:
    setting = ".".join(str(part) for part in fault["loc"])
    if ("route", setting) in gathered.origins:
        return gathered.origins["route", setting]
    called = content.get("name") if isinstance(content, dict) else None
    route = f"route {called!r}" if isinstance(called, str) and called else f"route number {number}"
    return f"{gathered.file}: {route}{': ' if setting else ''}{setting}"


def _explained(error: ValidationError, shape: type[Shape]) -> Iterator[tuple[ErrorDetails, str]]:
    for fault in error.errors(include_url=False):
        if fault["type"] != "default_factory_not_called":
            yield fault, _explanation(fault, shape)


def _explanation(fault: ErrorDetails, shape: type[Shape]) -> str:
    """What is wrong and what to write instead; begins with the separator from the setting's name."""
    setting = str(fault["loc"][-1]) if fault["loc"] else ""
    if len(fault["loc"]) > 1:
        shape = _SHAPES_INSIDE.get(str(fault["loc"][0]), shape)
    context = fault.get("ctx", {})
    match fault["type"]:
        case "missing":
            text = " is missing"
        case "extra_forbidden":
            near = difflib.get_close_matches(setting, shape.model_fields, n=1)
            text = " is not a setting: " + (
                f"did you mean {near[0]!r}?" if near else f"known are {', '.join(shape.model_fields)}"
            )
        case "value_error":
            text = f": {context['error']}"
        case "literal_error":
            text = f" is {str(fault['input'])[:40]!r}: write one of {context['expected']}"
        case "string_pattern_mismatch":
            text = f" has characters that it cannot have: write {_PATTERNS.get(setting, _NAMES)}"
        case "string_too_short":
            text = f" is too short: write at least {context['min_length']} characters"
        case "string_too_long":
            text = f" is too long: write at most {context['max_length']} characters"
        case kind:
            text = f": {_TEXTS.get(kind) or _number(fault, shape) or fault['msg']}"
    return text


def _number(fault: ErrorDetails, shape: type[Shape]) -> str:
    """The range of a setting that is a number, in words; "" for any other."""
    field = shape.model_fields.get(str(fault["loc"][-1])) if fault["loc"] else None
    if field is None or field.annotation not in (int, float):
        return ""
    what = "a whole number" if field.annotation is int else "a number"
    for bound in field.metadata:
        if isinstance(bound, MultipleOf):
            what = f"a multiple of {bound.multiple_of}"
    for bound in field.metadata:
        match bound:
            case Ge(ge=value):
                what += f" from {value}"
            case Gt(gt=value):
                what += f" above {value}"
            case Le(le=value):
                what += f" up to {value}"
            case Lt(lt=value):
                what += f" below {value}"
    return f"{str(fault['input'])[:40]!r} is not possible here: write {what}"
