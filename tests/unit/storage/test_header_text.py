"""Text in headers of HTTP: what can be decoded is, what cannot is what it says; names of files are told as browsers read them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.storage.header_text import decoded, disposition, encoded, encoding, is_plain, is_unicode


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        ("plain", "plain"),
        ("=?UTF-8?B?WmXDqw==?=", "Zeë"),
        ("=?utf-8?q?Ze=C3=AB_too?=", "Zeë too"),
        ("=?ISO-8859-1?Q?caf=E9?=", "café"),
        ("=?utf-8*de?B?WmXDqw==?=", "Zeë"),
        ("=?UTF-8?B?Wm8=?= =?UTF-8?Q?=C3=AB?=", "Zoë"),
        ("=?UTF-8?B?Wm/D?= =?UTF-8?B?qw==?=", "Zoë"),  # cut within a letter
        ("=?UTF-8?B??=", ""),
        # Not of that form, or not text
        ("=?unknown-8bit?B?Y2Fm6Q==?=", "=?unknown-8bit?B?Y2Fm6Q==?="),
        ("=?utf-8?B?6Q==?=", "=?utf-8?B?6Q==?="),
        ("=?utf-8?B?not base64?=", "=?utf-8?B?not base64?="),
        ("=?utf-8?B?abc?=", "=?utf-8?B?abc?="),
        ("=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
        ("=?utf-8?B?WmXDqw==?= and more", "=?utf-8?B?WmXDqw==?= and more"),
        ("=?a?=", "=?a?="),
        ("=?\x00?B?YQ==?=", "=?\x00?B?YQ==?="),
        ("=?base64?B?YQ==?=", "=?base64?B?YQ==?="),  # a codec of Python's, and no charset
        ("ZoÃ«", "Zoë"),
        ("Zo\xeb", "Zo\xeb"),
    ],
)
def test_what_can_be_decoded_cleanly_is(wire: str, text: str) -> None:
    assert decoded(wire) == text


@pytest.mark.parametrize("text", ["=?unknown-8bit?B?Y2Fm6Q==?=", "=?utf-8?B?6Q==?=", "=?a?=", "=?", "x"])
def test_what_is_no_encoded_text_is_sent_as_it_came(text: str) -> None:
    assert encoded(text) == text


@given(text=st.text(st.characters(codec="utf-8")))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_every_text_comes_back(text: str) -> None:
    wire = encoded(text)
    assert is_plain(wire)
    assert wire == wire.strip()
    assert decoded(wire) == text


@given(text=st.text("=?UTF-8BbQq_ \xe9aA0/+", max_size=40))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_so_does_what_looks_like_encoded_text(text: str) -> None:
    assert decoded(encoded(text)) == text


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("attachment", "attachment"),
        ('attachment; filename="a b.pdf"', 'attachment; filename="a b.pdf"'),
        (
            'attachment; filename="Prüfung.pdf"',
            "attachment; filename=\"Pr_fung.pdf\"; filename*=UTF-8''Pr%C3%BCfung.pdf",
        ),
        ("inline;filename=日本.txt", "inline; filename=\"__.txt\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt"),
        (
            'attachment; filename="ü \\"q\\" \\\\.pdf"; size=3',
            'attachment; filename="_ \\"q\\" \\\\.pdf"; filename*=UTF-8\'\'%C3%BC%20%22q%22%20%5C.pdf; size=3',
        ),
        ("attachment; filename=\"ü\"; FileName*=UTF-8''%C3%BC", "attachment; filename=\"_\"; FileName*=UTF-8''%C3%BC"),
        ('attachment; filename="a;ü=b.pdf"', "attachment; filename=\"a;_=b.pdf\"; filename*=UTF-8''a%3B%C3%BC%3Db.pdf"),
        # What cannot be carried
        ("äh", None),
        ('attachment; filename="ü', None),
        ("attachment; ü=1", None),
        ("attachment; filename*=UTF-8''ü", None),
        ('attachment; filename="a\r\nX-Evil: ü"', None),
        ('attachment; filename="\ud800"', None),
    ],
)
def test_the_name_of_a_file_is_told_as_browsers_read_it(value: str, header: str | None) -> None:
    assert disposition(value) == header


@given(name=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_any_name_of_a_file_can_be_told(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    header = disposition(f'attachment; filename="{quoted}"')
    assert header is not None
    assert is_plain(header)
    assert disposition(header) == header


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("gzip", "gzip"),
        ("aws-chunked", None),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, AWS-Chunked", "gzip"),
        ("gzip,aws-chunked , br", "gzip, br"),
        ("aws-chunked,", None),
        ("x-aws-chunked", "x-aws-chunked"),
    ],
)
def test_the_framing_of_an_upload_is_no_encoding(said: str, left: str | None) -> None:
    assert encoding(said) == left


def test_half_a_pair_is_no_text() -> None:
    assert is_unicode("Zoë \U0001f600")
    assert not is_unicode("\ud800")
    assert not is_unicode("\udc80")
