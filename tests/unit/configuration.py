"""What the tests of the settings are given to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from common.config import Route

SECRET = "hunter2-do-not-print"
COMPLETE = {
    "AWS_S3_BUCKET": "photos",
    "GCP_BUCKET_NAME": "photos-copy",
    "GCP_PROJECT_ID": "project",
    "REDIS_ADDRESS": "localhost:6379",
    "SYSTEM_ADMIN_USERNAME": "admin",
    "SYSTEM_ADMIN_PASSWORD": SECRET,
}
"""An environment with nothing missing."""


def written(tmp_path: Path, text: str) -> Path:
    """A brigade.toml."""
    path = tmp_path / "brigade.toml"
    path.write_text(text)
    return path


def route(tmp_path: Path, tables: str, source: str = "s3://photos", destination: str = "gs://copy") -> Route:
    """The only route of a brigade.toml, with these settings and tables of its own."""
    head = f'[[route]]\nname = "photos"\nsource = "{source}"\ndestination = "{destination}"\n'
    (read,) = load({}, written(tmp_path, f"{head}{tables}\n"), needs={"routes"}).routes
    return read
