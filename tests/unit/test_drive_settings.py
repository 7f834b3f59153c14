"""Drive in the settings: locations, and what the environment says."""

from __future__ import annotations

import pytest

from common.errors import SettingsError
from common.location import Location
from common.settings import load


@pytest.mark.parametrize(
    ("text", "location", "url"),
    [
        (
            "gdrive://root/Amazon Photos Transfer",
            Location("gdrive", "root", "Amazon Photos Transfer/"),
            "gdrive://root/Amazon Photos Transfer/k",
        ),
        ("gdrive://1-a_B", Location("gdrive", "1-a_B", ""), "gdrive://1-a_B/k"),
        ("gdrive://0AFz/sub/folder/", Location("gdrive", "0AFz", "sub/folder/"), "gdrive://0AFz/sub/folder/k"),
        ("gdrive://-x/100%/#1?", Location("gdrive", "-x", "100%/#1?/"), "gdrive://-x/100%/#1?/k"),
    ],
)
def test_a_folder_is_a_location(text: str, location: Location, url: str) -> None:
    assert Location.parse(text) == location
    assert Location.parse(str(location)) == location
    assert location.url("k") == url


@pytest.mark.parametrize(
    "text",
    [
        "gdrive://",
        "gdrive:///x",
        "gdrive://My Drive/x",
        "gdrive://drive.google.com/x",
        "gdrive://root//x",
        "gdrive://root/../x",
        "gdrive://root/./",
    ],
)
def test_what_is_no_folder_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        Location.parse(text)


def test_the_environment_may_name_an_endpoint_and_a_budget() -> None:
    settings = load({"GDRIVE_ENDPOINT": "127.0.0.1:8000", "GDRIVE_UNITS_PER_MINUTE": "12000"}, None, needs=frozenset())
    assert settings.google.drive_endpoint == "http://127.0.0.1:8000"
    assert settings.google.drive_units == 12000
    assert load({}, None, needs=frozenset()).google.drive_units == 325_000


def test_a_budget_too_small_for_any_work_is_a_fault() -> None:
    with pytest.raises(SettingsError, match="GDRIVE_UNITS_PER_MINUTE"):
        load({"GDRIVE_UNITS_PER_MINUTE": "10"}, None, needs=frozenset())
