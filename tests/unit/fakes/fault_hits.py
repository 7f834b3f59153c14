"""Which of four uploads, of `part-0` to `part-3`, a planned fault hits: what every stand-in must do with its own operations."""

from __future__ import annotations

from typing import Any


def cases(writes: str, read: str) -> list[tuple[dict[str, Any], list[int]]]:
    """The fault's fields beside its kind, and how often each upload is hit. `writes` fits the uploads, `read` fits none."""
    return [
        ({}, [1, 0, 0, 0]),
        ({"nth": 2, "times": 2}, [0, 1, 1, 0]),
        ({"times": 0}, [1, 1, 1, 1]),
        ({"operation": writes}, [1, 0, 0, 0]),
        ({"operation": read}, [0, 0, 0, 0]),
        ({"method": "GET"}, [0, 0, 0, 0]),
        ({"key": "part-2"}, [0, 0, 1, 0]),
    ]
