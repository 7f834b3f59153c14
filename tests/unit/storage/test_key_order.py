"""A listing goes forward in some order, or it is not taken for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Unavailable
from common.storage.key_order import ORDERS, Forward, Tokens, leads_on, order
from common.storage.start_after import LAST, begins_anywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

keys = st.lists(st.text("ab/-.\u00e9\uffee\U00010000", min_size=1, max_size=6), unique=True, min_size=1, max_size=40)
SORTS: dict[str, Callable[[str], object]] = {
    "bytes": order,
    "segments": lambda key: [segment.encode() for segment in key.split("/")],
    "UTF-16": lambda key: key.encode("utf-16-be"),
}


@given(keys, st.sampled_from(sorted(SORTS)), st.integers(1, 9))
def test_each_order_that_services_have_is_taken_for_one(names: list[str], sort: str, size: int) -> None:
    # Given a service that sorts in its way
    listed = sorted(names, key=SORTS[sort])  # type: ignore[arg-type]
    assert SORTS.keys() == ORDERS.keys()
    forward = Forward("s3://b/")
    # When it is listed from page to page, then no page is refused
    for start in range(0, len(listed), size):
        assert forward.follows(listed[start : start + size])
        forward.page(listed[start : start + size])


@pytest.mark.parametrize(
    ("pages", "after"),
    [
        ([["a", "b"], ["a", "b"]], None),
        ([["a", "b"], ["b", "c"]], None),
        ([["a", "b"], ["c", "d"], ["a", "b"]], None),
        ([["a", "b"], ["d", "c"]], None),
        ([["a", "b"]], "b"),
        ([["a/c", "a-b"], ["b"], ["a-c"]], None),
        ([["b", "A", "c"], ["d", "b", "E"]], None),  # an order of its own, and a key twice
    ],
)
def test_a_page_that_goes_back_is_refused(pages: list[list[str]], after: str | None) -> None:
    forward = Forward("s3://b/", after)
    for page in pages[:-1]:
        forward.page(page)
    with pytest.raises(Unavailable, match=f"'s3://b/': page {len(pages)} "):
        forward.page(pages[-1])


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_a_service_with_an_order_of_its_own_that_goes_in_circles_is_noticed(length: int) -> None:
    # Given a service that sorts as it likes and comes back to where it was after some pages
    forward = Forward("s3://b/")
    with pytest.raises(Unavailable, match="for the second time"):  # noqa: PT012 - the loop is what raises
        for number in range(4 * length + 4):
            name = f"{number % length:03}"
            forward.page([f"z{name}", f"A{name}", f"m{name}"])
    assert not forward.by_bytes


@pytest.mark.parametrize("length", [1, 2, 3, 7, 100])
def test_tokens_that_go_in_circles_are_noticed(length: int) -> None:
    tokens = Tokens("s3://b/")
    with pytest.raises(Unavailable, match="followed before"):  # noqa: PT012 - the loop is what raises
        for number in range(4 * length + 4):
            tokens.came(str(number % length))


def service(names: Sequence[str], skips: Callable[[str, str], bool] = lambda text, key: False) -> Callable[[str], object]:
    async def first_key(text: str) -> str | None:
        return next((key for key in sorted(names, key=order) if order(key) > order(text) and not skips(text, key)), None)

    return first_key


NAMES = [f"dir{number // 10}/{number:03}" for number in range(30)]


@pytest.mark.parametrize(
    ("skips", "answer"),
    [
        (lambda text, key: False, True),
        (lambda text, key: key.startswith(f"{text}/"), False),  # SeaweedFS 4.48
        (lambda text, key: text not in NAMES and key.startswith(text), False),
        (lambda text, key: LAST in text and key < "dir2", False),
    ],
)
@pytest.mark.parametrize("after", [None, "dir0/000"])
async def test_a_service_that_begins_wrongly_behind_some_texts_is_found_out(
    skips: Callable[[str, str], bool], answer: bool, after: str | None
) -> None:
    listed = [name for name in NAMES if after is None or name > after]
    assert await begins_anywhere(service(NAMES, skips), after, listed) is answer  # type: ignore[arg-type]


async def test_one_that_ignores_where_it_is_to_begin_is_found_out() -> None:
    async def first_key(text: str) -> str | None:
        return NAMES[0]

    assert not await begins_anywhere(first_key, None, NAMES)


async def test_where_nothing_can_be_asked_nothing_is_certain() -> None:
    assert await begins_anywhere(service(["a", "b"]), None, ["a", "b"]) is None  # type: ignore[arg-type]


def test_a_token_that_answers_with_itself_leads_nowhere() -> None:
    assert leads_on("gdrive://x", None, None) is None
    assert leads_on("gdrive://x", "1", "2") == "2"
    with pytest.raises(Unavailable, match=r"'gdrive://x'.*does not say where"):
        leads_on("gdrive://x", "1", "1")
