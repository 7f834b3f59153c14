"""Keys that have broken replicators: each is legal in S3, and each is taken for something else by some tool on the way.

They stand beside each other in one bucket: no key is a "directory" of another, so that a filesystem can hold those that are
paths.
"""

from __future__ import annotations

NASTY: dict[str, str] = {
    "spaces": "with spaces in it.txt",
    "leading space": " leading space",
    "trailing space": "trailing space ",
    "trailing dot": "trailing dot.",
    "plus": "red+flower+.jpg",
    "percent": "100% sure.txt",
    "encoded slash": "encoded%2Fslash%2f",
    "encoded twice": "encoded%252Ftwice",
    "encoded dots": "%2e%2e/encoded dots",
    "hash": "section#1.html",
    "question mark": "search?query=1&page=2;x=y",
    "equals": "year=2026/month=11/part.parquet",
    "colon": "5%3A00 or 5:00.log",
    "scheme": "https://example.com/a",
    "composed": "unicode/caf\u00e9",
    "decomposed": "unicode/cafe\u0301",
    "cyrillic": "unicode/\u0436\u0443\u0440\u043d\u0430\u043b",
    "cjk": "unicode/\u65e5\u672c\u8a9e",
    "right to left": "unicode/\u202etxt.exe",
    "zero width": "unicode/zero\u200bwidth",
    "byte order mark": "unicode/\ufeffmark",
    "line separator": "unicode/line\u2028separator",
    "next line": "unicode/next\u0085line",
    "emoji": "unicode/\U0001faa3\U0001f692",
    "above the surrogates": "unicode/\uffee and \U00010000",  # sorted by UTF-16 these two change places
    "first of the order": "unicode/\uffee",
    "second of the order": "unicode/\U00010000",
    "double slash": "double//slash",
    "many slashes": "many///slashes////here",
    "leading slash": "/leading/slash",
    "slash": "/",
    "two slashes": "//",
    "directory marker": "a/marker/",
    "one dot": "a/./dot",
    "two dots": "a/../dots",
    "escape": "../../../../escape",
    "dots only": "...",
    "only one dot": ".",
    "only two dots": "..",
    "ends in dots": "ends/..",
    "hidden": ".hidden",
    "acme": ".well-known/acme-challenge/token",
    "backslash": "back\\slash\\..\\up",
    "quotes": "\"double\" 'single' `back`",
    "brackets": "glob*[a-z]{1,2}?",
    "braces": "{hash}tag",
    "angles": "<Key>&amp;</Key>",
    "dollar": "$(reboot);${HOME}|`id`>x",
    "caret and tilde": "~user/^caret",
    "dash": "--option=value",
    "newline": "new\nline",
    "carriage return": "carriage\rreturn",
    "both": "both\r\n",
    "tab": "tab\tstop",
    "control": "control\x01\x02\x1f",
    "escape sequence": "\x1b[31mred\x1b[0m",
    "delete": "delete\x7f",
    "lower case": "case/readme",
    "upper case": "case/README",
    "case in the directory": "CASE/readme",
    "windows": "windows/CON.txt",
    "number": "0",
    "null": "null",
    "none": "None",
    "redis": "r:{default}:published:*",
    "longest, short segments": "/".join([f"segment-{number:03}" for number in range(86)])[:1024],
    "longest, one segment": "x" * 1024,
    "longest, unicode": "\u65e5" * 341 + "x",
    "segment of 255 bytes": "limit/" + "s" * 255,
    "segment of 256 bytes": "limit/" + "s" * 256,
    "one byte": "!",
}
"""What is odd about it, and the key. All are distinct, valid Unicode, and 1 to 1,024 bytes of UTF-8."""


def no_gcs_name(key: str) -> bool:
    """What GCS refuses: https://cloud.google.com/storage/docs/objects#naming"""
    return key in (".", "..") or "\n" in key or "\r" in key or key.startswith(".well-known/acme-challenge/")


def no_path(key: str) -> bool:
    """What cannot be the path of a file below a directory of Linux."""
    return any(segment in ("", ".", "..") or len(segment.encode()) > 255 for segment in key.split("/"))


IMPOSSIBLE: dict[str, str] = {
    "empty": "",
    "1,025 bytes": "y" * 1025,
    "1,026 bytes of Unicode": "\u65e5" * 342,
    "half a surrogate pair": "lone \ud800 surrogate",
}
"""Keys that no object store takes. Files may have the last two kinds: what lists them must not stumble."""
