"""A stand-in for Google Cloud Storage that is right where the published emulators are not, and fails on request."""

from __future__ import annotations

from tests.fakes.gcs.faults import Fault, Faults, Kind
from tests.fakes.gcs.server import GcsServer

__all__ = ["Fault", "Faults", "GcsServer", "Kind"]
