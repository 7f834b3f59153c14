"""Google's own client of Cloud Storage, made to leave nothing behind."""

from __future__ import annotations

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage


def client(project: str = "p", endpoint: str | None = None) -> storage.Client:
    """Without the cache of bucket metadata: that looks buckets up in threads which outlive the client, try servers that are long
    gone for minutes, and draw from the global `random` meanwhile; Hypothesis fails a test over that.
    """
    options = {"api_endpoint": endpoint} if endpoint else None
    made = storage.Client(project=project, credentials=AnonymousCredentials(), client_options=options)
    made._bucket_metadata_cache = None
    return made
