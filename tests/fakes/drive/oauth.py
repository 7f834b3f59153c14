"""Signing in: the token endpoint for service accounts, refresh tokens and the desktop flow, and the page where a person agrees.

https://developers.google.com/identity/protocols/oauth2/service-account and .../oauth2/native-app. A JWT's claims are checked;
its signature is not, for nobody here has the key.
"""

from __future__ import annotations

import base64
import json
import secrets
import urllib.parse
from typing import TYPE_CHECKING, Any

from tests.fakes.drive.errors import JSON
from tests.fakes.drive.settings import ME
from tests.fakes.http import Response

if TYPE_CHECKING:
    from tests.fakes.drive.accounts import Accounts
    from tests.fakes.drive.settings import Settings
    from tests.fakes.drive.store import Store
    from tests.fakes.http import Request

_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LONGEST = 3600


class Refused(Exception):  # noqa: N818 - named after the situation
    """The token endpoint says no."""


class TokenEndpoint:
    def __init__(self, store: Store, accounts: Accounts, settings: Settings) -> None:
        self._store = store
        self._accounts = accounts
        self._settings = settings
        self._codes: dict[str, tuple[str, tuple[str, ...]]] = {}

    async def token(self, request: Request) -> Response:
        form = dict(urllib.parse.parse_qsl((await request.body.read()).decode()))
        try:
            return _json(200, self._grant(form))
        except Refused as error:
            return _json(400, {"error": "invalid_grant", "error_description": str(error)})

    def _grant(self, form: dict[str, str]) -> dict[str, Any]:
        match form.get("grant_type"):
            case "refresh_token":
                user = self._accounts.refresh_tokens.get(form.get("refresh_token", ""))
                if user is None:
                    raise Refused("Token has been expired or revoked.")
                return self._issued(user, ())
            case "authorization_code":
                user, scopes = self._codes.pop(form.get("code", ""), ("", ()))
                if not user:
                    raise Refused("Malformed auth code.")
                refresh = "1//" + secrets.token_urlsafe(24)
                self._accounts.refresh_tokens[refresh] = user
                return self._issued(user, scopes) | {"refresh_token": refresh}
            case kind if kind == _JWT:
                return self._service_account(form.get("assertion", ""))
        raise Refused("Unsupported grant type.")

    def _service_account(self, assertion: str) -> dict[str, Any]:
        """`sub` is the person for whom the account acts, by domain-wide delegation."""
        try:
            payload = assertion.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            issuer, begins, ends, scope = claims["iss"], claims["iat"], claims["exp"], claims["scope"]
        except (IndexError, KeyError, ValueError):
            raise Refused("Invalid JWT: Failed to parse the assertion.") from None
        if ends - begins > _LONGEST or not begins - 300 <= self._store.clock() < ends:
            message = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
            raise Refused(message + "Check your iat and exp values in the JWT claim.")
        return self._issued(claims.get("sub") or issuer, tuple(scope.split()))

    def _issued(self, user: str, scopes: tuple[str, ...]) -> dict[str, Any]:
        return {
            "access_token": self._accounts.issue(user, scopes=scopes),
            "expires_in": int(self._settings.token_seconds),
            "token_type": "Bearer",
            "scope": " ".join(scopes),
        }

    def agree(self, request: Request) -> Response:
        """The page in the browser, where `login_hint` (or the usual user) agrees at once and is sent back with a code."""
        query = request.query
        code = "4/" + secrets.token_urlsafe(24)
        self._codes[code] = (query.get("login_hint", ME), tuple(query.get("scope", "").split()))
        answer = urllib.parse.urlencode({"state": query.get("state", ""), "code": code, "scope": query.get("scope", "")})
        return Response(302, [("Location", f"{query.get('redirect_uri', '')}?{answer}")])


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(status, [JSON], json.dumps(body).encode())
