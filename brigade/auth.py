"""`brigade auth gdrive`: a person signs in once on a desktop, and Drive is used as that person from then on.

The browser is sent to Google and comes back to a server of ours on the loopback interface, on a port that Google lets programs
of the type "Desktop app" choose (https://developers.google.com/identity/protocols/oauth2/native-app). What comes of it is a
file with a refresh token: GDRIVE_TOKEN names it to every other command.
"""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from brigade.invocation import FAILED, examples
from common.errors import SettingsError, Unauthenticated
from common.redaction import printable
from common.transport import google_token

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK = "127.0.0.1"
PATIENCE = 600
"""Seconds for a person to find the window and read it."""

_REMEDY = (
    "create an OAuth client of the type Desktop app (Google Cloud console, APIs & Services, Credentials) and download its JSON"
)
_NEEDED = ("client_id", "client_secret", "auth_uri", "token_uri")
_BROWSER = "brigade"
_THANKS = "Signed in. You can close this window and go back to the terminal."


class _Page(webbrowser.BaseBrowser):
    """Shows the address, and opens it where that is wanted. Google's own library would print it into a buffer."""

    def __init__(self, *, opens: bool) -> None:
        super().__init__(_BROWSER)
        self._opens = opens

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:  # noqa: FBT001, FBT002 - the library's signature
        click.echo(f"Open this page, allow access, and come back here:\n\n  {url}\n")
        return self._opens and webbrowser.open(url, new, autoraise)


@click.group(short_help="Sign in where no key of a service account is at hand.")
def auth() -> None:
    """Sign in where no key of a service account is at hand."""


@auth.command(
    short_help="Sign in to Google Drive.",
    epilog=examples(
        "brigade auth gdrive --credentials credentials.json",
        "brigade auth gdrive --credentials credentials.json --read-only --token /srv/brigade/token.json",
        "brigade auth gdrive --no-browser --port 8765      with ssh -L 8765:127.0.0.1:8765 HOST in another terminal",
    ),
)
@click.option(
    "--credentials",
    type=click.Path(path_type=Path),
    default=Path("credentials.json"),
    show_default=True,
    help="The OAuth client that you downloaded from the Google Cloud console.",
)
@click.option(
    "--token", type=click.Path(path_type=Path), default=Path("token.json"), show_default=True, help="The file to be written."
)
@click.option("--read-only", is_flag=True, help="Ask for reading only: enough where Drive is a source.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where the browser comes back to. [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening it.")
def gdrive(*, credentials: Path, token: Path, read_only: bool, port: int, no_browser: bool) -> int:
    """Sign in to Google Drive and keep the consent in a file that GDRIVE_TOKEN names.

    The file is written with mode 0600, and only when everything went well; it is as good as a password.
    """
    config = _client(credentials)
    if not token.absolute().parent.is_dir():
        raise SettingsError([f"--token: there is no directory {token.absolute().parent}: create it, or name another file"])
    scope = google_token.DRIVE_READ_SCOPE if read_only else google_token.DRIVE_SCOPE
    consent = _consent(config, scope, port=port, browser=not no_browser)
    try:
        google_token.write(token, consent)
    except OSError as error:
        click.echo(
            f"brigade: {printable(str(token))} cannot be written ({error.strerror}): name another file with --token", err=True
        )
        return FAILED
    click.echo(f"signed in; now set GDRIVE_TOKEN={printable(str(token.absolute()))}")
    return 0


def _client(path: Path) -> Mapping[str, Any]:
    """The OAuth client in the file. Raises SettingsError, saying what to download instead."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError([f"--credentials: {path} cannot be read ({error.strerror}): {_REMEDY}"]) from None
    except ValueError:
        raise SettingsError([f"--credentials: {path} is not JSON: {_REMEDY}"]) from None
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "service_account":
        raise SettingsError(
            [f"--credentials: {path} is the key of a service account: set GCP_CREDENTIALS to it, no sign-in is needed"]
        )
    if isinstance(content, dict) and "web" in content:
        raise SettingsError([f"--credentials: {path} is a client of the type Web application: {_REMEDY}"])
    installed = content.get("installed") if isinstance(content, dict) else None
    if not isinstance(installed, dict) or not all(isinstance(installed.get(name), str) for name in _NEEDED):
        raise SettingsError([f"--credentials: {path} is not an OAuth client: {_REMEDY}"])
    return {"installed": installed}


def _consent(config: Mapping[str, Any], scope: str, *, port: int, browser: bool) -> str:
    """The person's consent, as google-auth writes it. Raises Unauthenticated when there is none, SettingsError for the port."""
    from google_auth_oauthlib.flow import InstalledAppFlow, WSGITimeoutError  # noqa: PLC0415 - this command alone needs it
    from oauthlib.oauth2.rfc6749.errors import OAuth2Error  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415

    flow = InstalledAppFlow.from_client_config(config, [scope])
    webbrowser.register(_BROWSER, None, _Page(opens=browser))
    try:
        given = flow.run_local_server(
            host=LOOPBACK,
            port=port,
            browser=_BROWSER,
            authorization_prompt_message=None,
            success_message=_THANKS,
            timeout_seconds=PATIENCE,
            access_type="offline",
            prompt="consent",  # otherwise Google gives a refresh token to the first sign-in only
        )
    except WSGITimeoutError:
        raise Unauthenticated(
            f"nobody came back from the browser within {PATIENCE // 60} minutes: run the command again"
        ) from None
    except OSError as error:
        if isinstance(error, RequestException):
            raise Unauthenticated(
                f"Google does not answer ({type(error).__name__}): check the network, and sign in again"
            ) from None
        raise SettingsError(
            [f"--port: {LOOPBACK}:{port} cannot be listened on ({error.strerror}): choose another port"]
        ) from None
    except OAuth2Error as error:
        raise Unauthenticated(f"no consent was given ({error.error}): run the command again and allow access") from None
    except Warning:
        raise Unauthenticated(
            "not all that was asked for was allowed: run the command again and leave the boxes ticked"
        ) from None
    if not given.refresh_token:
        raise Unauthenticated(f"Google sent no refresh token, so that the consent would end within the hour: {_REMEDY}")
    return str(given.to_json())
