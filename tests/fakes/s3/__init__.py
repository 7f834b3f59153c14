"""A stand-in for Amazon S3 that checks what the published ones take on trust, and fails on request."""

from __future__ import annotations

from tests.fakes.s3.faults import Fault, Faults, Kind
from tests.fakes.s3.server import ACCESS_KEY, REGION, SECRET_KEY, S3Server
from tests.fakes.s3.signatures import Identity

__all__ = ["ACCESS_KEY", "REGION", "SECRET_KEY", "Fault", "Faults", "Identity", "Kind", "S3Server"]
