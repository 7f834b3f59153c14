"""Who gets in: exactly the configured user with the configured password, in any script."""

from __future__ import annotations

import base64
import hmac
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from common.config import ApiSettings
from common.errors import SettingsError
from publisher.api.auth import BasicAuth


def header(username: str, password: str, encoding: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode(encoding)).decode()


def auth(username: str = "admin", password: str = "s3cret:with colon") -> BasicAuth:
    return BasicAuth(ApiSettings(username=username, password=SecretStr(password)))


def test_the_right_ones_get_in() -> None:
    # Given the configured user and password (a password may hold colons)
    # Then they get in, however the scheme is spelt
    assert auth().admits(header("admin", "s3cret:with colon"))
    assert auth().admits(header("admin", "s3cret:with colon").replace("Basic", "bAsIc"))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic YWRtaW4",
        "Bearer " + base64.b64encode(b"admin:s3cret:with colon").decode(),
        header("", ""),
        header("admin", ""),
        header("admin", "s3cret"),
        header("Admin", "s3cret:with colon"),
        header("admin", "s3cret:with colon "),
        "Basic \udcff",
    ],
)
def test_anything_else_does_not(value: str | None) -> None:
    # Given a header that is absent, broken or wrong
    # Then nobody gets in, and nothing is raised
    assert not auth().admits(value)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_credentials_need_not_be_ascii(encoding: str) -> None:
    # Given credentials with umlauts, sent as the challenge asks or as old clients do
    # Then they get in
    assert auth("Jürgen", "Größe").admits(header("Jürgen", "Größe", encoding))
    assert auth("管理者", "пароль").admits(header("管理者", "пароль"))


@given(st.text(min_size=1).filter(lambda text: ":" not in text), st.text(min_size=1), st.text(), st.text())
def test_only_the_very_same_text_gets_in(username: str, password: str, other_username: str, other_password: str) -> None:
    # Given any credentials and any attempt
    door = BasicAuth(ApiSettings(username=username, password=SecretStr(password)))
    # Then it opens for the same, and for nothing else
    try:
        right, wrong = header(username, password), header(other_username, other_password)
    except UnicodeEncodeError:
        return
    assert door.admits(right)
    assert door.admits(wrong) is (right == wrong)


def test_both_are_compared_in_constant_time_whatever_is_wrong() -> None:
    # Given comparisons that are counted
    door = auth()
    for value in (header("admin", "s3cret:with colon"), header("nobody", "nothing"), None, "Basic !!!"):
        with patch("publisher.api.auth.hmac.compare_digest", wraps=hmac.compare_digest) as compare:
            # When someone knocks
            door.admits(value)
        # Then user and password are both compared, as digests of equal length
        assert [len(argument) for call in compare.call_args_list for argument in call.args] == [32, 32, 32, 32]


@pytest.mark.parametrize(("username", "password"), [("", "x"), ("x", ""), ("", "")])
def test_empty_credentials_are_refused(username: str, password: str) -> None:
    # Given settings that went round validation with something empty
    valid = ApiSettings(username="x", password=SecretStr("x"))
    broken = valid.model_copy(update={"username": username, "password": SecretStr(password)})
    # Then the API does not start, and names what is empty
    with pytest.raises(SettingsError) as error:
        BasicAuth(broken)
    assert len(error.value.faults) == (not username) + (not password)
    assert all("SYSTEM_ADMIN_" in fault for fault in error.value.faults)
