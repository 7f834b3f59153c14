r"""Keys that some destination may take for one: what they have in common.

SeaweedFS takes `a//b` for `a/b` and `c\d` for `c/d`; file systems of Windows and macOS take `A` for `a`, two spellings of an
umlaut for each other, and do without dots and blanks at the end of a name. Nobody tells beforehand.
"""

from __future__ import annotations

import unicodedata


def common_name(key: str) -> str:
    """The same for all keys that a destination may be expected to take for one; for most keys the key itself.

    It decides who waits for whom, and nothing else: where it is wrong two writers wait for each other in vain, or a fold is found
    out by the next look instead of the first.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", key).casefold())
    names = (name.rstrip(". ") for name in folded.replace("\\", "/").split("/"))
    return "/".join(name for name in names if name) or key
