"""The number of S3 requests per call, requests that a server denies, and interrupted uploads."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.stub import Stubber

from tests.faulty_s3 import FaultyS3
from textgen import s3_client, s3_objects, storage
from textgen.errors import UserError
from textgen.local.checkout import Checkout
from textgen.runs import lease, stopping
from textgen.runs.position import named_best
from textgen.runs.recording import read_history

MIB = 2**20


@pytest.fixture
def counting(s3_server: str, local_checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Records methods and arguments of all requests to the session's server, in order."""
    made: list[str] = []
    with FaultyS3(local_checkout.s3_port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        s3_client.forget()
        proxy.rule = lambda method, path: made.append(f"{method} {path.partition('?')[2].partition('=')[0]}".strip())
        yield made
    s3_client.forget()


@pytest.fixture
def folder(s3_server: str) -> str:
    """Returns a unique prefix."""
    return storage.join(s3_server, secrets.token_hex(4))


@pytest.fixture
def stub(s3_server: str) -> Iterator[Stubber]:
    """Provides canned responses instead of a server."""
    s3_client.forget()
    s3_objects._known_buckets.clear()
    s3_client._answered.set()  # Otherwise the first response switches to a client with more attempts.
    with Stubber(s3_client.client()) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()
    s3_client.forget()


def test_checking_one_key_is_one_head_request(counting: list[str], folder: str) -> None:
    uri = storage.join(folder, "a")
    storage.write_bytes(uri, b"")
    assert storage.exists(uri)
    counting.clear()
    assert storage.exists(uri)
    assert not storage.exists(storage.join(folder, "b"))
    assert storage.read_if_exists(storage.join(folder, "b")) is None
    assert storage.read_if_exists(uri) == b""
    assert counting == ["HEAD", "HEAD", "GET", "GET"]


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize(("listed", "expected"), [(["a/b"], True), (["a/bc"], False), ([], False)])
def test_a_denied_or_missing_head_is_followed_by_a_listing(
    stub: Stubber, status: int, listed: list[str], expected: bool
) -> None:
    stub.add_client_error("head_object", str(status), http_status_code=status)
    stub.add_response("list_objects_v2", {"Contents": [{"Key": key} for key in listed]})
    assert storage.exists("s3://bucket/a/b") is expected


def test_a_denied_request_does_not_mean_missing(stub: Stubber) -> None:
    stub.add_client_error("head_object", "403", http_status_code=403)
    stub.add_client_error("list_objects_v2", "AccessDenied", http_status_code=403)
    with pytest.raises(UserError, match=r"access to s3://bucket/a at .* is denied"):
        storage.exists("s3://bucket/a")


@pytest.mark.parametrize(
    ("way", "num_bytes", "expected"),
    [
        ("whole", 0, ["PUT"]),
        ("whole", 8 * MIB, ["PUT"]),
        ("whole", 8 * MIB + 1, ["POST uploads", "PUT uploadId", "PUT uploadId", "POST uploadId"]),
        ("parts", 3, ["POST uploads", "PUT uploadId", "POST uploadId"]),
        ("", 1, ["POST uploads", "PUT uploadId", "POST uploadId"]),
    ],
)
def test_small_objects_need_one_request_if_a_put_is_atomic(
    counting: list[str], folder: str, monkeypatch: pytest.MonkeyPatch, way: str, num_bytes: int, expected: list[str]
) -> None:
    monkeypatch.setenv("TEXTGEN_S3_PUT", way)
    content = secrets.token_bytes(num_bytes)
    storage.write_bytes(storage.join(folder, "a"), content)
    assert counting == expected
    assert storage.read_bytes(storage.join(folder, "a")) == content


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (None, True),
        ("https://s3.eu-west-1.amazonaws.com", True),
        ("http://127.0.0.1:9720", False),
        ("https://amazonaws.com.example.org", False),
    ],
)
def test_only_amazon_is_known_for_atomic_puts(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, endpoint: str | None, expected: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ENDPOINT_URL") if endpoint is None else patch.setenv("AWS_ENDPOINT_URL", endpoint)
        s3_client.forget()
        assert s3_objects._puts_whole() is expected
        patch.setenv("TEXTGEN_S3_PUT", "one")
        with pytest.raises(UserError, match="TEXTGEN_S3_PUT is 'one'; use 'whole'"):
            storage.write_bytes("s3://bucket/x", b"")
    s3_client.forget()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_interrupted_upload_leaves_nothing(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupted(**_: object) -> None:
        raise error

    s3_client.client().list_objects_v2(Bucket="textgen", MaxKeys=1)
    monkeypatch.setattr(s3_client.client(), "upload_part", interrupted)
    (tmp_path / "source").write_bytes(b"content")
    calls: list[Callable[[], None]] = [
        lambda: storage.write_bytes(storage.join(folder, "a"), b"content"),
        lambda: storage.upload(tmp_path / "source", storage.join(folder, "a")),
    ]
    for call in calls:
        with pytest.raises(error):
            call()
    assert unfinished(folder) == []
    assert not storage.exists(storage.join(folder, "a"))


def unfinished(folder: str) -> list[str]:
    bucket, _, prefix = folder.removeprefix("s3://").partition("/")
    listed = s3_client.client().list_multipart_uploads(Bucket=bucket, Prefix=prefix + "/").get("Uploads", [])
    return [upload["Key"].removeprefix(prefix + "/") for upload in listed]


def test_only_old_uploads_below_the_prefix_are_aborted(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, _, prefix = folder.removeprefix("s3://").partition("/")
    keys = ["a/1", "a/2/3", "ab/4", "5"]
    for key in keys:
        s3_client.client().create_multipart_upload(Bucket=bucket, Key=f"{prefix}/{key}")
    assert storage.end_unfinished_uploads(storage.join(folder, "a")) == 0  # Too recent: their writers may be running.
    assert sorted(unfinished(folder)) == sorted(keys)
    monkeypatch.setattr(s3_objects, "ABANDONED", timedelta(0))
    assert storage.end_unfinished_uploads(storage.join(folder, "a")) == 2
    assert sorted(unfinished(folder)) == ["5", "ab/4"]


def test_uploads_that_cannot_be_listed_are_ignored(stub: Stubber) -> None:
    stub.add_client_error("list_multipart_uploads", "AccessDenied", http_status_code=403)
    assert storage.end_unfinished_uploads("s3://bucket/a") == 0


def test_the_response_of_a_replaced_object_is_closed() -> None:
    body = io.BytesIO(b"other")
    with pytest.raises(UserError, match="was replaced while it was read"):
        s3_objects._same({"ETag": "new", "Body": body}, "old", "s3://bucket/a")
    assert body.closed  # Otherwise the connection stays open, which causes a warning.


def test_many_objects_are_deleted_with_few_requests(
    counting: list[str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_objects, "DELETED_AT_ONCE", 2)
    for name in ("a", "b", "c/d", "é &<\n", "x y"):
        storage.write_bytes(storage.join(folder, "in", name), b"")
    storage.write_bytes(storage.join(folder, "out"), b"")
    counting.clear()
    storage.delete(storage.join(folder, "in"))
    assert counting == ["GET list-type", "POST delete", "POST delete", "POST delete"]
    assert [file.uri for file in storage.list_files(folder)] == [storage.join(folder, "out")]


def test_deletion_falls_back_to_one_object_at_a_time(stub: Stubber) -> None:
    stub.add_response("list_objects_v2", {"Contents": [{"Key": "a/1", "Size": 1}, {"Key": "a/2", "Size": 1}]})
    stub.add_client_error("delete_objects", "NotImplemented", http_status_code=501)
    for key in ("a/1", "a/2"):
        stub.add_response("delete_object", {}, {"Bucket": "bucket", "Key": key})
    storage.delete("s3://bucket/a")


def test_an_object_that_cannot_be_deleted_is_an_error(stub: Stubber) -> None:
    stub.add_response("list_objects_v2", {"Contents": [{"Key": "a/1", "Size": 1}, {"Key": "a/2", "Size": 1}]})
    stub.add_response("delete_objects", {"Errors": [{"Key": "a/2", "Code": "AccessDenied"}]})
    stub.add_client_error("delete_object", "AccessDenied", http_status_code=403)
    with pytest.raises(UserError, match=r"access to s3://bucket/a at .* is denied"):
        storage.delete("s3://bucket/a")


def test_a_denied_upload_is_an_error_before_the_work(stub: Stubber) -> None:
    stub.add_client_error("create_multipart_upload", "AccessDenied", http_status_code=403)
    with pytest.raises(UserError, match=r"access to s3://bucket/runs at .* is denied"):
        storage.check_writable("s3://bucket/runs")


def test_each_check_of_a_training_is_one_request(counting: list[str], folder: str) -> None:
    lease.claim(folder, "driver")
    counting.clear()
    assert not stopping._is_stop_requested(folder, "driver")
    assert lease.has_held(folder, "driver")
    lease.check(folder, "driver")
    assert read_history(folder) == []
    assert named_best(storage.join(folder, "best.json")) is None
    assert counting == ["GET"] * 5
