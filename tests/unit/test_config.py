"""Settings: what is read from where, which source goes first, and that no way of showing them shows a secret."""

from __future__ import annotations

import base64
import json
import os

import pytest
from pydantic import SecretStr, ValidationError

from common.config import ApiSettings, Aws, RedisSettings, Route, Settings
from common.location import Location
from common.settings import EVERYTHING, load
from common.settings_sources import ENVIRONMENT, gather
from tests.unit.configuration import COMPLETE, SECRET, written


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """No brigade.toml of the machine's own plays a part."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key.json"
    path.write_text(
        json.dumps({"type": "service_account", "client_email": "a@b", "private_key": SECRET, "token_uri": "https://t"})
    )
    return path


def test_two_buckets_and_no_file_make_the_default_route():
    # Given nothing but the environment of the earlier systems
    # When it is loaded
    settings = load(COMPLETE, None, needs=EVERYTHING)

    # Then there is one route, and Pub/Sub with names derived from one another
    (route,) = settings.routes
    assert (route.name, str(route.source), str(route.destination)) == ("default", "s3://photos", "gs://photos-copy")
    assert settings.queue.kind == "pubsub"
    assert settings.queue.project == "project"
    assert settings.queue.error_subscription == settings.queue.error_topic + "-sub"
    assert settings.api == ApiSettings(username="admin", password=SecretStr(SECRET))


EXAMPLES = {
    "AWS_ACCESS_KEY_ID": "AKID",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SECRET,
    "AWS_REGION": "eu-central-1",
    "AWS_ENDPOINT_URL_S3": "http://localhost:9000",
    "GCP_PROJECT_ID": "other-project",
    "STORAGE_EMULATOR_HOST": "http://localhost:4443",
    "GDRIVE_SUBJECT": "ana@example.com",
    "GDRIVE_ENDPOINT": "http://127.0.0.1:8000",
    "GDRIVE_UNITS_PER_MINUTE": "12000",
    "BRIGADE_QUEUE": "redis",
    "GCP_TOPIC_ID": "tasks",
    "GCP_SUBSCRIPTION_ID": "tasks-workers",
    "PUBSUB_ERROR_TOP_ID": "mishaps",
    "PUBSUB_ERROR_SUBSCRIPTION_ID": "mishaps-reader",
    "GCP_PUBSUB_HOST": "localhost:8085",
    "BRIGADE_LEASE_SECONDS": "30",
    "REDIS_ADDRESS": "redis://cache:6379/2",
    "REDIS_USERNAME": "brigade",
    "REDIS_PASSWORD": SECRET,
    "BRIGADE_REDIS_PATIENCE": "90",
    "BRIGADE_REDIS_PREFIX": "mine",
    "BRIGADE_PROCESSES": "3",
    "SYSTEM_MAX_WORKERS": "17",
    "BRIGADE_LARGE_SLOTS": "5",
    "BRIGADE_PART_BYTES": "8388608",
    "BRIGADE_BUFFER_BYTES": "33554432",
    "RETRY_ATTEMPTS": "9",
    "RETRY_BACKOFF_SEC": "2.5",
    "BRIGADE_ERROR_RETENTION_SECONDS": "86400",
    "BRIGADE_DEATHS": "4",
    "BRIGADE_HOLD_AFTER": "7",
    "BRIGADE_HOLD_SECONDS": "20",
    "BRIGADE_HOLD_LONGEST_SECONDS": "200",
    "BRIGADE_UNKNOWN_SECONDS": "60",
    "BRIGADE_GRACE_SECONDS": "12",
    "BRIGADE_SWEEP_SECONDS": "60",
    "BRIGADE_FULL_SWEEP_SECONDS": "7200",
    "BRIGADE_RECONCILE_SECONDS": "43200",
    "BRIGADE_REPUBLISH_AFTER": "120",
    "BRIGADE_BATCH": "50",
    "BRIGADE_LIST_SHARDS": "3",
    "BRIGADE_HTTP_HOST": "::1",
    "BRIGADE_HTTP_PORT": "9090",
    "BRIGADE_HEALTH_PORT": "9091",
    "BRIGADE_HEARTBEAT_DIR": "/run/brigade",
    "SYSTEM_ADMIN_USERNAME": "root",
    "SYSTEM_ADMIN_PASSWORD": SECRET,
    "BRIGADE_LOG_LEVEL": "DEBUG",
    "BRIGADE_LOG_FORMAT": "json",
}


@pytest.mark.parametrize(
    "variable",
    [v for v in ENVIRONMENT if v.setting not in ("credentials_file", "sa_key_b64", "drive_token_file", "ca_file")],
    ids=lambda v: v.names[0],
)
def test_every_variable_arrives_at_its_setting(variable):
    # Given a complete environment in which one variable has another value than the default
    value = EXAMPLES[variable.names[0]]
    pair = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": SECRET} if variable.section == "aws" else {}

    # When it is loaded
    settings = load({**COMPLETE, **pair, variable.names[0]: value}, None, needs=EVERYTHING)

    # Then the setting has it
    found = getattr(getattr(settings, variable.section), variable.setting)
    assert str(found.get_secret_value() if variable.secret else found).removesuffix(".0") == value


@pytest.mark.parametrize(("first", "second"), [(v.names[0], other) for v in ENVIRONMENT for other in v.names[1:]], ids=str)
def test_the_first_name_goes_before_the_older_one_and_an_empty_first_one_does_not(first, second):
    # Given two names of one setting
    (variable,) = [v for v in ENVIRONMENT if first in v.names]
    path = (variable.section, variable.setting)

    # When both are set, the first counts; when the first is empty, the second does
    assert gather({first: "one", second: "two"}, None).origins[path] == first
    assert gather({first: "", second: "two"}, None).origins[path] == second


def test_the_environment_goes_before_the_file_and_the_file_before_defaults(tmp_path):
    # Given a file with two settings, one of which is in the environment too
    config = written(tmp_path, "[worker]\nslots = 5\nattempts = 7\n")

    # When both are loaded
    settings = load({"SYSTEM_MAX_WORKERS": "9"}, config, needs=set())

    # Then each comes from where it should
    assert (settings.worker.slots, settings.worker.attempts, settings.worker.grace_seconds) == (9, 7, 25)


def test_routes_of_a_file_with_their_options(tmp_path):
    # Given a file with two routes
    config = written(
        tmp_path,
        """
        [[route]]
        name = "photos"
        source = "s3://photos/2024"
        destination = "gs://archive/photos"
        skip_directory_markers = false
        [route.source_options]
        endpoint = "https://minio.example:9000"
        region = "eu"
        addressing = "path"
        [[route]]
        name = "films"
        source = "file:///srv/films"
        destination = "s3://films"
        """,
    )

    # When it is loaded, the default route of the environment has no say
    photos, films = load(COMPLETE, config, needs=EVERYTHING).routes

    # Then everything is there
    assert photos.source == Location("s3", "photos", "2024/")
    assert photos.source_options.endpoint == "https://minio.example:9000"
    assert photos.source_options.addressing == "path"
    assert not photos.skip_directory_markers
    assert films.source == Location("file", "", "/srv/films/")
    assert films.skip_directory_markers


def test_the_file_of_the_working_directory_is_read_and_a_dotenv_is_not(tmp_path):
    # Given both files where the program is started
    written(tmp_path, "[worker]\nslots = 5\n")
    (tmp_path / ".env").write_text("RETRY_ATTEMPTS=77\n")

    # When nothing is said about files
    settings = load({}, None, needs=set())

    # Then only the one counts
    assert (settings.worker.slots, settings.worker.attempts) == (5, 5)


def test_the_file_may_be_named_by_the_environment(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text("[worker]\nslots = 6\n")
    assert load({"BRIGADE_CONFIG": str(path)}, None, needs=set()).worker.slots == 6


@pytest.mark.parametrize("variable", [v for v in ENVIRONMENT if v.secret and v.setting != "sa_key_b64"], ids=lambda v: v.names[0])
def test_a_secret_may_be_in_a_file(variable, tmp_path):
    # Given a secret in a file that ends with a line break, as editors leave it
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    environ = {**COMPLETE, "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": SECRET}
    environ.pop(variable.names[0], None)

    # When its path is given instead
    settings = load({**environ, variable.names[0] + "_FILE": str(path)}, None, needs=EVERYTHING)

    # Then the secret is what the file holds
    assert getattr(getattr(settings, variable.section), variable.setting).get_secret_value() == SECRET


def test_a_service_account_key_in_base64_and_one_in_a_file(key_file):
    # Given the same key in both shapes, the first one wrapped as base64 does by default
    encoded = base64.encodebytes(key_file.read_bytes()).decode()

    # Then each of them is taken
    assert load({**COMPLETE, "GCP_SA_KEY_B64": encoded}, None, needs=EVERYTHING).google.sa_key_b64 is not None
    assert load({**COMPLETE, "GCP_CREDENTIALS": str(key_file)}, None, needs=EVERYTHING).google.credentials_file == key_file


def test_sizes_may_have_units_and_emulator_hosts_may_lack_a_scheme():
    environ = {
        "BRIGADE_PART_BYTES": "8MiB",
        "BRIGADE_BUFFER_BYTES": "1 GiB",
        "STORAGE_EMULATOR_HOST": "gcs:4443",
        "PUBSUB_EMULATOR_HOST": "http://ps:8085/",
    }
    settings = load(environ, None, needs=set())
    assert settings.worker.part_bytes == 8 * 1024 * 1024
    assert settings.worker.buffer_bytes == 1024**3
    assert settings.google.storage_endpoint == "http://gcs:4443"
    assert settings.queue.emulator_host == "ps:8085"


def test_what_is_not_needed_may_be_missing():
    settings = load({"BRIGADE_QUEUE": "redis", "REDIS_ADDRESS": "r:1"}, None, needs={"queue"})
    assert settings.api is None
    assert settings.routes == ()


def test_secrets_are_masked_wherever_settings_are_shown():
    # Given settings with every secret set
    settings = load(
        {**COMPLETE, "REDIS_PASSWORD": SECRET, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": SECRET}, None, needs=EVERYTHING
    )

    # Then no way of showing them shows one
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump(mode="json"))):
        assert SECRET not in shown


def test_settings_cannot_be_changed():
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.redis = RedisSettings()
    with pytest.raises(ValidationError):
        settings.aws.region = "x"


def test_the_environment_is_only_read_when_it_is_given(monkeypatch):
    monkeypatch.setitem(os.environ, "AWS_REGION", "from-the-process")
    assert load({}, None, needs=set()).aws == Aws()


@pytest.mark.parametrize(
    "text", ["s3://b", "s3://b/p/", "s3://b//p/", "gs://b/a b?c#d%20/", "file:///", "file:///a/b/", "memory://m/", "memory://m"]
)
def test_a_location_survives_being_written_down(text):
    location = Location.parse(text)
    assert Location.parse(str(location)) == location


@pytest.mark.parametrize(
    ("text", "prefix", "url"),
    [
        ("s3://b", "", "s3://b/k"),
        ("s3://b/", "", "s3://b/k"),
        ("s3://b/p", "p/", "s3://b/p/k"),
        ("s3://b//", "/", "s3://b//k"),
        ("file:///d//e/.", "/d/e/", "file:///d/e/k"),
        ("file:///", "/", "file:///k"),
    ],
)
def test_where_a_key_stands_in_a_location(text, prefix, url):
    location = Location.parse(text)
    assert location.prefix == prefix
    assert location.url("k") == url


def test_a_route_is_found_by_name():
    known = Route(name="a", source=Location.parse("s3://b"), destination=Location.parse("gs://c"))
    settings = Settings(routes=(known,))
    assert settings.route("a") is known
    assert settings.route("b") is None
