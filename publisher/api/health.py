"""The health pages. Asked by machines, so without credentials and with few words; they wait for nothing (publisher.health)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from publisher.api.replies import refusal, reply

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.exceptions import HTTPException

    from publisher.health import Health

OPEN_PATHS = ("/healthz", "/readyz")


class HealthViews:
    """The views of /healthz and /readyz; called by many threads at once."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def alive(self) -> Response:
        alive = self._health.alive
        return reply({"alive": alive}, 200 if alive else 503)

    def ready(self) -> Response:
        """What is missing is named, and in a word why where that is known; the log says more, since this page asks for no
        credentials.
        """
        missing, why = list(self._health.missing), self._health.why
        return reply({"ready": not missing, "missing": missing, **({"why": why} if why else {})}, 503 if missing else 200)


def create_health_app(health: Health) -> Flask:
    """The WSGI application of the health listener: the two pages and nothing else."""
    views = HealthViews(health)
    app = Flask("health", static_folder=None, template_folder=None)
    app.add_url_rule("/healthz", "alive", views.alive, methods=["GET"], provide_automatic_options=False)
    app.add_url_rule("/readyz", "ready", views.ready, methods=["GET"], provide_automatic_options=False)
    app.register_error_handler(404, _elsewhere)
    return app


def _elsewhere(_: HTTPException) -> Response:
    return refusal(404, "this port answers /healthz and /readyz; the API has its own")
