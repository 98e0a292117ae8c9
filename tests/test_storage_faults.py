"""Slow, unreliable and unavailable S3 servers, and full disks: content is never lost or corrupted."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faulty_s3 import Fault, FaultyS3, first, none
from tests.small_disk import small_disk
from textgen import s3_client, storage
from textgen.errors import UnavailableError, UserError
from textgen.local.checkout import Checkout

MIB = 2**20
PASSING: list[list[Fault]] = [["slow_down"], ["drop"], ["cut"], ["cut", "drop", "slow_down", "cut"]]


@pytest.fixture
def faulty(s3_server: str, local_checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """Puts the session's S3 server behind a faulty proxy; read timeouts are half a second."""
    monkeypatch.setattr(s3_client, "READ_SECONDS", 0.5)
    with FaultyS3(local_checkout.s3_port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        s3_client.forget()
        yield proxy
    s3_client.forget()


@pytest.fixture
def folder(s3_server: str) -> str:
    """Returns a unique prefix."""
    return storage.join(s3_server, secrets.token_hex(4))


@pytest.mark.parametrize("faults", PASSING, ids=lambda faults: "-".join(faults))
def test_temporary_faults_change_nothing(faulty: FaultyS3, folder: str, tmp_path: Path, faults: list[Fault]) -> None:
    content = secrets.token_bytes(9 * MIB + 7)  # Two parts.
    uri, source = storage.join(folder, "a"), tmp_path / "source"
    source.write_bytes(content)
    calls = {
        "upload": lambda: storage.upload(source, uri),
        "read": lambda: storage.read_bytes(uri) == content,
        "download": lambda: storage.download(uri, tmp_path / "down") or (tmp_path / "down").read_bytes() == content,
        "ranges": lambda: _middle(uri) == content[MIB - 3 : 2 * MIB],
        "write": lambda: storage.write_bytes(uri, content[:99]),
        "list": lambda: [file.size_bytes for file in storage.list_files(folder)] == [99],
        "exists": lambda: storage.exists(uri),
        "delete": lambda: storage.delete(uri),
        "gone": lambda: not storage.exists(uri),
    }
    for name, call in calls.items():
        faulty.seen.clear()
        with faulty.under(first(*faults)):
            assert call() in (None, True), name
        # The response to HEAD has no body that could be truncated.
        num_met = faults.index("cut") + 1 if name in ("exists", "gone") and "cut" in faults else len(faults)
        assert faulty.seen.total() - faulty.seen["sound"] == num_met, name


def _middle(uri: str) -> bytes:
    with storage.open_seekable(uri) as stream:
        stream.seek(MIB - 3)
        return stream.read(MIB + 3)


@pytest.mark.parametrize("num_cut", [1, 2])
@pytest.mark.parametrize("way", ["upload", "write"])
def test_an_upload_whose_completion_is_not_confirmed_is_repeated(
    faulty: FaultyS3, folder: str, tmp_path: Path, way: str, num_cut: int
) -> None:
    content = secrets.token_bytes(MIB)
    uri, source = storage.join(folder, "a"), tmp_path / "source"
    source.write_bytes(content)
    ends = []

    def cut_first_ends(method: str, path: str) -> Fault | None:
        if method == "POST" and "uploadId=" in path:
            ends.append(path)
            return "cut" if len(ends) <= num_cut else None  # The second response is NoSuchUpload.
        return None

    with faulty.under(cut_first_ends):
        storage.upload(source, uri) if way == "upload" else storage.write_bytes(uri, content)
    assert len(ends) == 3  # The truncated response, a retry without success, and the repeated upload.
    assert storage.read_bytes(uri) == content


def test_a_request_without_a_response_is_repeated(faulty: FaultyS3, folder: str) -> None:
    uri = storage.join(folder, "a")
    storage.write_bytes(uri, b"whole")
    with faulty.under(first("stall")):
        assert storage.read_bytes(uri) == b"whole"
    assert faulty.seen["stall"] == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            "slow_down",
            r"the S3 server at http\S+ refuses to read or write s3://\S+ \((SlowDown|503): .*\); try again",
        ),
        ("drop", r"was lost at every attempt to read or write s3://\S+; check the server"),
        ("stall", r"was lost at every attempt to read or write s3://\S+; check the server"),
    ],
)
def test_a_permanent_fault_is_an_error(
    faulty: FaultyS3, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, expected: str
) -> None:
    for name in ("FIRST_ATTEMPTS", "ATTEMPTS"):
        monkeypatch.setattr(s3_client, name, 2)
    storage.write_bytes(storage.join(folder, "a"), b"whole")
    with faulty.under(lambda *_: fault):
        for read in (storage.read_bytes, _middle, lambda uri: storage.download(uri, tmp_path / "down")):
            with pytest.raises(UnavailableError, match=expected):
                read(storage.join(folder, "a"))
    assert not (tmp_path / "down").exists()


def test_a_server_that_has_responded_gets_more_attempts(
    faulty: FaultyS3, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client, "FIRST_ATTEMPTS", 2)
    with faulty.under(first("drop", "drop", "drop")), pytest.raises(UnavailableError):
        storage.exists(folder)
    assert not storage.exists(folder)
    with faulty.under(first("drop", "drop", "drop")):
        assert not storage.exists(folder)


def test_an_object_replaced_while_it_is_read_is_an_error(faulty: FaultyS3, folder: str) -> None:
    uri = storage.join(folder, "a")
    storage.write_bytes(uri, b"a" * MIB)
    with storage.open_read(uri) as stream:
        begun = stream.read(10)
        faulty.rule = none
        storage.write_bytes(uri, b"b" * MIB)
        stream._body.close()  # Simulates a lost connection.
        with pytest.raises(UserError, match="was replaced while it was read"):
            stream.read()
    assert begun == b"a" * 10


def test_a_full_disk_is_an_error_and_leaves_the_old_content(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", kilobytes=64) as disk:
        kept, source = str(disk / "kept"), Path(__file__)
        storage.write_bytes(kept, b"old")
        calls = {
            "write": lambda: storage.write_bytes(kept, b"new" * MIB),
            "upload": lambda: [storage.upload(source, str(disk / f"{i}")) for i in range(99)],
            "download": lambda: [storage.download(str(source), disk / f"down{i}") for i in range(99)],
        }
        for name, call in calls.items():
            with pytest.raises(UnavailableError, match=r"no space is left on the disk for \S+; free some, then run"):
                call()
            assert storage.read_bytes(kept) == b"old", name
            assert not list(disk.glob(".*")), name


def test_a_full_disk_of_temporary_files_is_an_error() -> None:
    with (
        pytest.raises(UnavailableError, match=r"no space is left on the disk for temporary files \("),
        storage.disk_full_as_user_error(),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), storage.disk_full_as_user_error():
        raise PermissionError
