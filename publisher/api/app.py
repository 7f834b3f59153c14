"""The publisher's HTTP API: every path in one table, and what holds for all of them.

Every client is asked for credentials first, also for paths that do not exist; only the two health pages are open.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from common.errors import BrigadeError
from common.telemetry import get_logger
from publisher.api.auth import CHALLENGE, BasicAuth, Guesses
from publisher.api.cache import CacheViews
from publisher.api.health import OPEN_PATHS, HealthViews
from publisher.api.jobs import JobViews
from publisher.api.replies import ApiError, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.config import ApiSettings
    from publisher.api.desk import Desk
    from publisher.health import Health

log = get_logger(__name__)

LARGEST_BODY = 16 * 1024


def create_app(settings: ApiSettings, desk: Desk) -> Flask:
    """The WSGI application. Raises SettingsError when the credentials are empty."""
    auth, guesses = BasicAuth(settings), Guesses()
    cache, jobs, health = CacheViews(desk), JobViews(desk), HealthViews(desk.health)
    table: tuple[tuple[str, str, Callable[..., Response]], ...] = (
        ("GET", "/cache", cache.show_all),
        ("DELETE", "/cache", cache.forget_all),
        ("GET", "/cache/type", cache.show_kind),
        ("DELETE", "/cache/type", cache.forget_kind),
        ("GET", "/cache/name", cache.show_name),
        ("DELETE", "/cache/name", cache.forget_name),
        ("POST", "/jobs", jobs.request_scan),
        ("GET", "/jobs", jobs.show_recent),
        ("GET", "/jobs/<job>", jobs.show_one),
        ("GET", "/healthz", health.alive),
        ("GET", "/readyz", health.ready),
    )
    app = Flask("publisher", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.url_map.merge_slashes = False
    for method, path, view in table:
        app.add_url_rule(path, f"{method} {path}", view, methods=[method], provide_automatic_options=False)
    app.before_request(partial(_admit, auth, guesses, desk.health))
    app.after_request(_finish)
    app.register_error_handler(Exception, _explain)
    return app


def _admit(auth: BasicAuth, guesses: Guesses, health: Health) -> Response | None:
    """None for a request that may be answered. What cannot be answered now is refused before it takes a thread for long."""
    g.began = time.monotonic()
    if request.path in OPEN_PATHS:
        return None
    client, sent = request.remote_addr or "", request.headers.get("Authorization")
    if wait := guesses.barred(client):
        again = {"Retry-After": str(math.ceil(wait))}
        return refusal(429, "too many wrong passwords came from this address; try again later", again)
    if not auth.admits(sent):
        if sent is not None:  # a first request without any is how a browser asks what it needs
            guesses.wrong(client)
        return refusal(401, "send the user name and password of this API with Basic auth", {"WWW-Authenticate": CHALLENGE})
    guesses.right(client)
    if health.lacks("redis"):
        return refusal(503, "Redis does not answer; see /readyz, and try again", {"Retry-After": "5"})
    return None


def _explain(error: Exception) -> Response:
    """Every error as JSON; of those that are not the caller's doing, no more than that they happened."""
    if isinstance(error, ApiError):
        return refusal(error.status, str(error), error.headers)
    if isinstance(error, HTTPException):
        return _explain_http(error)
    if isinstance(error, BrigadeError):
        log.warning("a request could not be answered", action="http_unavailable", path=request.path, error=str(error))
        return refusal(503, "Redis or the queue does not answer; see /readyz, and try again", {"Retry-After": "5"})
    log.error(
        "a request failed by a fault of ours", action="http_failed", exc_info=error, method=request.method, path=request.path
    )
    return refusal(500, "internal error; the log of the publisher says more")


def _explain_http(error: HTTPException) -> Response:
    status = error.code or 500
    if error.response is not None:
        return refusal(status, error.name.lower())
    texts = {
        404: "no such path; there are /cache, /cache/type, /cache/name, /jobs, /healthz and /readyz",
        405: f"{request.path} does not know {request.method}",
        413: f"a body has at most {LARGEST_BODY} bytes here",
    }
    allow = {name: value for name, value in error.get_headers() if name == "Allow"}
    return refusal(status, texts.get(status, error.name.lower()), allow)


def _finish(response: Response) -> Response:
    """Headers for every answer, and a line in the log. The query stays out of it: it holds keys of any length and content."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    quiet = (request.path in OPEN_PATHS and response.status_code == 200) or response.status_code == 429
    (log.debug if quiet else log.info)(
        "request answered",
        action="http_request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        client=request.remote_addr,
        milliseconds=round((time.monotonic() - g.began) * 1000, 1),
    )
    return response
