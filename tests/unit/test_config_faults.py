"""Settings that cannot work: everything wrong is said at once, by name, with what to write, and without a secret."""

from __future__ import annotations

import base64

import pytest

from common.errors import SettingsError
from common.settings import EVERYTHING, load
from tests.unit.configuration import COMPLETE, SECRET, written


def faults(environ, config=None, needs=EVERYTHING):
    with pytest.raises(SettingsError) as raised:
        load(environ, config, needs=needs)
    assert SECRET not in str(raised.value)
    return raised.value.faults


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """No brigade.toml of the machine's own plays a part."""
    monkeypatch.chdir(tmp_path)


def test_nothing_set_names_everything_that_is_needed():
    # Given an empty environment
    # When everything is needed
    said = "\n".join(faults({}))

    # Then every missing setting is named, together with the way around Pub/Sub
    for name in (
        "AWS_S3_BUCKET",
        "GCP_PROJECT_ID",
        "BRIGADE_QUEUE=redis",
        "REDIS_ADDRESS",
        "SYSTEM_ADMIN_USERNAME",
        "SYSTEM_ADMIN_PASSWORD",
    ):
        assert name in said


def test_an_empty_setting_is_called_empty():
    said = faults({**COMPLETE, "SYSTEM_ADMIN_PASSWORD": "  ", "REDIS_ADDRESS": ""})
    assert any(fault.startswith("SYSTEM_ADMIN_PASSWORD is empty") for fault in said)
    assert any(fault.startswith("REDIS_ADDRESS is empty") for fault in said)


def test_all_faults_of_file_and_environment_come_together(tmp_path):
    # Given a file and an environment with one fault after another
    config = written(
        tmp_path,
        f"""
        [[route]]
        name = "a b"
        source = "ftp://x"
        soruce_options = {{}}
        [wroker]
        [worker]
        slot = 3
        [redis]
        password = "{SECRET}"
        [publisher]
        batch = true
        """,
    )
    environ = {"SYSTEM_MAX_WORKERS": "many", "BRIGADE_SWEEP_SECOND": "1", "AWS_SECRET_ACCESS_KEY": SECRET}

    # When it is loaded
    said = "\n".join(faults(environ, config, needs=set()))

    # Then each fault is there with its name and a remedy
    for part in (
        "route 'a b': name has characters",
        "route 'a b': source: unknown scheme 'ftp'",
        "did you mean 'source_options'?",
        "route 'a b': destination is missing",
        "unknown table 'wroker': did you mean 'worker'?",
        "worker.slot is not a setting: did you mean 'slots'?",
        "redis.password is a secret: take it out and set REDIS_PASSWORD",
        "publisher.batch: true and false are no value",
        "SYSTEM_MAX_WORKERS: 'many' is not possible here: write a whole number from 1 up to 10000",
        "BRIGADE_SWEEP_SECOND is not a setting: did you mean BRIGADE_SWEEP_SECONDS?",
        "AWS_ACCESS_KEY_ID is missing although AWS_SECRET_ACCESS_KEY is set",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("environ", "part"),
    [
        ({"AWS_ACCESS_KEY_ID": "a"}, "AWS_SECRET_ACCESS_KEY is missing although AWS_ACCESS_KEY_ID is set"),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY is empty although"),
        ({"AWS_SESSION_TOKEN": SECRET}, "AWS_SESSION_TOKEN belongs to a key"),
        ({"GCP_BUCKET_NAME": ""}, "GCP_BUCKET_NAME is empty although AWS_S3_BUCKET is set"),
        ({"AWS_S3_BUCKET": "user:pass@bucket"}, "AWS_S3_BUCKET: a location holds no credentials"),
        ({"AWS_ENDPOINT_URL": f"https://a:{SECRET}@h"}, "AWS_ENDPOINT_URL: write a URL without credentials"),
        ({"GCP_CREDENTIALS": "/no/such/key.json"}, "GCP_CREDENTIALS: /no/such/key.json cannot be read"),
        ({"GCP_CREDENTIALS": "/no/such", "GCP_SA_KEY_B64": "e30="}, "GCP_CREDENTIALS and GCP_SA_KEY_B64 are both set"),
        ({"GCP_SA_KEY_B64": SECRET}, "GCP_SA_KEY_B64 is not base64"),
        ({"GCP_SA_KEY_B64": base64.b64encode(b"x").decode()}, "GCP_SA_KEY_B64 does not decode to JSON"),
        ({"GCP_SA_KEY_B64": base64.b64encode(b'{"type":"authorized_user"}').decode()}, "is not the key of a service account"),
        ({"GCP_SA_KEY_B64": base64.b64encode(b'{"type":"service_account"}').decode()}, "lacks client_email, private_key"),
        ({"GDRIVE_TOKEN": "/no/such/token.json"}, "GDRIVE_TOKEN: /no/such/token.json cannot be read"),
        ({"GDRIVE_TOKEN": "/no", "GDRIVE_SUBJECT": "a@b.c"}, "GDRIVE_TOKEN and GDRIVE_SUBJECT are both set"),
        ({"GDRIVE_SUBJECT": "ana"}, "GDRIVE_SUBJECT has characters that it cannot have: write the e-mail address of a person"),
        ({"BRIGADE_FULL_SWEEP_SECONDS": "0"}, "BRIGADE_FULL_SWEEP_SECONDS: '0' is not possible here: write a number from 1"),
        ({"GCP_TOPIC_ID": "projects/p/topics/t"}, "GCP_TOPIC_ID is not a Pub/Sub name: write the id alone"),
        ({"GCP_TOPIC_ID": "tasks", "PUBSUB_ERROR_TOP_ID": "tasks"}, "GCP_TOPIC_ID and PUBSUB_ERROR_TOP_ID are the same"),
        ({"GCP_PUBSUB_HOST": "localhost"}, "GCP_PUBSUB_HOST: write host:port"),
        ({"GCP_PUBSUB_HOST": "localhost:99999"}, "GCP_PUBSUB_HOST: write host:port"),
        ({"BRIGADE_QUEUE": "kafka"}, "BRIGADE_QUEUE is 'kafka': write one of 'pubsub' or 'redis'"),
        ({"REDIS_ADDRESS": f"redis://:{SECRET}@h:1"}, "REDIS_ADDRESS: the address holds no password: set REDIS_PASSWORD"),
        ({"REDIS_ADDRESS": "redis"}, "REDIS_ADDRESS: write host:port"),
        ({"REDIS_PASSWORD_FILE": "/no/such"}, "REDIS_PASSWORD_FILE: /no/such cannot be read"),
        ({"REDIS_PASSWORD": SECRET, "REDIS_PASSWORD_FILE": "/no/such"}, "REDIS_PASSWORD and REDIS_PASSWORD_FILE are both set"),
        ({"BRIGADE_PART_BYTES": "1000000"}, "BRIGADE_PART_BYTES: '1000000' is not possible here: write a multiple of 262144"),
        ({"BRIGADE_PART_BYTES": "65MiB"}, "BRIGADE_PART_BYTES: '68157440' is not possible"),
        ({"BRIGADE_PART_BYTES": "lots"}, "BRIGADE_PART_BYTES: write a number of bytes"),
        (
            {"BRIGADE_BUFFER_BYTES": "16MiB"},
            "BRIGADE_BUFFER_BYTES (16777216) must be at least twice BRIGADE_PART_BYTES (16777216)",
        ),
        (
            {"BRIGADE_HTTP_PORT": "70000"},
            "BRIGADE_HTTP_PORT: '70000' is not possible here: write a whole number from 0 up to 65535",
        ),
        ({"RETRY_BACKOFF_SEC": "-1"}, "RETRY_BACKOFF_SEC: '-1' is not possible here: write a number above 0"),
        ({"RETRY_BACKOFF_SEC": "nan"}, "RETRY_BACKOFF_SEC: 'nan' is not possible here"),
        ({"SYSTEM_ADMIN_USERNAME": "a:b"}, "SYSTEM_ADMIN_USERNAME holds a ':'"),
        ({"BRIGADE_LOG_LEVEL": "loud"}, "BRIGADE_LOG_LEVEL is 'LOUD': write one of 'DEBUG', 'INFO'"),
        ({"BRIGADE_CONFIG": "/no/such.toml"}, "/no/such.toml: cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_fault_names_its_setting_and_what_to_write(environ, part):
    said = faults({**COMPLETE, **environ})
    assert any(part in fault for fault in said), said


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("worker = 1", "worker must be a table: write [worker]"),
        ("[route]\nname = 'a'", "write [[route]], with two brackets"),
        ("[aws]\nregion = 'eu'", "unknown table 'aws': keys, regions and projects are set in the environment"),
        ("[worker\n", "is not TOML"),
        ("route = ['x']", "route number 1: write a table"),
        ("[[route]]\nname='a'\nsource='file://x'\ndestination='gs://b'", "file:///directory, with three slashes"),
        ("[[route]]\nname='a'\nsource='file:///a/../b'\ndestination='gs://b'", "a file location has no '..'"),
        ("[[route]]\nname='a'\nsource='bucket'\ndestination='gs://b'", "a location starts with its scheme"),
        ("[[route]]\nname='a'\nsource='s3://'\ndestination='gs://b'", "is not a bucket name"),
        (f"[[route]]\nname='a'\nsource='s3://b/{'x' * 1023}'\ndestination='gs://b'", "a prefix has at most 1023 bytes"),
        (
            "[[route]]\nname='a'\nsource='s3://b'\ndestination='gs://b'\nsource_options={addressing='x'}",
            "source_options.addressing is 'x'",
        ),
    ],
)
def test_a_file_with_a_fault(text, part, tmp_path):
    said = faults(COMPLETE, written(tmp_path, text), needs=set())
    assert any(part in fault for fault in said), said


def route(name, source, destination, **options):
    lines = [f"{key} = {{ endpoint = '{value}' }}" for key, value in options.items()]
    return "\n".join(["[[route]]", f"name = '{name}'", f"source = '{source}'", f"destination = '{destination}'", *lines, ""])


@pytest.mark.parametrize(
    ("routes", "part"),
    [
        ([("a", "s3://b", "s3://b")], "lies inside its own source"),
        ([("a", "s3://b/x", "s3://b/x/y")], "lies inside its own source"),
        ([("a", "file:///data", "file:///data/copy")], "lies inside its own source"),
        ([("a", "s3://b", "gs://c"), ("z", "gs://c", "s3://b")], "routes 'a', 'z' lead back to where they start"),
        ([("a", "s3://b", "gs://c"), ("m", "gs://c", "gs://d"), ("z", "gs://d", "s3://b/in")], "routes 'a', 'm', 'z' lead back"),
        ([("a", "s3://b", "gs://c"), ("a", "s3://d", "gs://e")], "route 'a' is there 2 times"),
    ],
)
def test_routes_that_would_never_end_are_refused(routes, part, tmp_path):
    said = faults({}, written(tmp_path, "".join(route(*each) for each in routes)), needs=set())
    assert len([fault for fault in said if part in fault]) == 1, said


@pytest.mark.parametrize(
    ("source", "line", "part"),
    [
        ("s3://b", 'source_options.inventory = "s3://lists/out/daily/"', None),
        ("s3://b", 'source_options.inventory = "s3://lists/out/daily/2026-11-20T01-00Z/manifest.json"', None),
        ("s3://b", 'source_options.inventory = "/out/manifest.json"', "write s3://bucket"),
        ("s3://b", 'source_options.inventory = "gs://lists/out/"', "write s3://bucket"),
        ("gs://b", 'source_options.inventory = "s3://lists/out/"', "for sources on S3"),
        ("s3://b", 'destination_options.inventory = "s3://lists/out/"', "under source_options"),
    ],
)
def test_an_inventory_belongs_to_a_source_on_s3(source, line, part, tmp_path):
    config = written(tmp_path, f'[[route]]\nname = "a"\nsource = "{source}"\ndestination = "gs://c"\n{line}\n')
    if part is None:
        assert load({}, config, needs={"routes"}).routes[0].source_options.inventory
    else:
        (said,) = faults({}, config, needs=set())
        assert part in said


@pytest.mark.parametrize(
    ("source", "line", "part"),
    [
        ("gdrive://root/in", 'source_options.natives = "export"', None),
        ("gdrive://root/in", 'source_options.export_documents = "pdf"', None),
        ("gdrive://root/in", 'source_options.natives = "copy"', "write one of 'skip' or 'export'"),
        ("gdrive://root/in", 'source_options.export_documents = "doc"', "write one of 'docx'"),
        ("s3://b", 'source_options.shortcuts = "follow"', "source_options.shortcuts is for a source on gdrive://"),
        ("s3://b", 'destination_options.natives = "export"', "destination_options.natives is for a source on gdrive://"),
    ],
)
def test_options_of_drive_belong_to_a_source_on_drive(source, line, part, tmp_path):
    config = written(tmp_path, f'[[route]]\nname = "a"\nsource = "{source}"\ndestination = "gs://c"\n{line}\n')
    if part is None:
        assert load({}, config, needs={"routes"}).routes
    else:
        (said,) = faults({}, config, needs=set())
        assert part in said


@pytest.mark.parametrize(
    "text",
    [
        route("a", "s3://b/x", "s3://b/y"),
        route("a", "s3://b/x/y", "s3://b/x"),
        route("a", "s3://b/xy", "s3://b/x"),
        route("a", "s3://b", "s3://b", destination_options="https://other"),
        route("a", "s3://b", "gs://c") + route("z", "gs://c", "s3://d"),
    ],
)
def test_routes_that_only_look_alike_are_taken(text, tmp_path):
    assert load({}, written(tmp_path, text), needs={"routes"}).routes


@pytest.mark.parametrize(
    ("destination", "line", "good"),
    [
        ("gs://copy", "destination_options.parallel_uploads = true", True),
        ("s3://copy", "destination_options.parallel_uploads = true", False),
        ("gs://copy", "source_options.parallel_uploads = true", False),
    ],
)
def test_parallel_uploads_belong_to_a_destination_on_gcs(destination, line, good, tmp_path):
    # Given a route that asks for them
    config = written(tmp_path, f"[[route]]\nname = 'r'\nsource = 'gs://photos'\ndestination = '{destination}'\n{line}\n")
    # When the settings are read, then it is said where that means nothing
    if good:
        assert load({}, config, needs={"routes"}).routes[0].destination_options.parallel_uploads
    else:
        (fault,) = faults({}, config, needs={"routes"})
        assert "parallel_uploads is for destinations on GCS: take it out" in fault
