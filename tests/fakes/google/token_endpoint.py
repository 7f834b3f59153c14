"""What stands for https://oauth2.googleapis.com/token."""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING, Any

from tests.fakes.http import HttpServer, Response

if TYPE_CHECKING:
    from tests.fakes.http import Request


class TokenEndpoint(HttpServer):
    """Sends `status` and `reply`, whatever is asked; `asked` is what the requests held."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.reply: dict[str, Any] = {"access_token": "fresh", "expires_in": 3600, "token_type": "Bearer"}
        self.asked: list[dict[str, str]] = []

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    async def handle(self, request: Request) -> Response:
        self.asked.append(dict(urllib.parse.parse_qsl((await request.body.read()).decode())))
        return Response(self.status, [("Content-Type", "application/json")], json.dumps(self.reply).encode())
