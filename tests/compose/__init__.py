"""Proof that the containers work: `python -m tests.compose` builds them, moves objects through them, and takes them down."""

from __future__ import annotations
