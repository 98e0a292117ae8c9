"""Files on local disks and on S3: content is read back, globs match alike, and errors are reported."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

import pytest

from textgen import s3_client, storage
from textgen.errors import UnavailableError, UserError
from textgen.local.background import free_port


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns a unique folder for a test: local, or a prefix on S3."""
    if request.param == "local":
        return str(tmp_path)
    return storage.join(request.getfixturevalue("s3_server"), secrets.token_hex(4))


@pytest.fixture
def other_clients(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Lets a test change the `AWS_*` variables, with new clients before and after."""
    s3_client.forget()
    yield monkeypatch
    s3_client.forget()


def write(root: str, *names: str) -> None:
    for name in names:
        storage.write_bytes(storage.join(root, name), name.encode())


def names(root: str, place: str) -> list[str]:
    return [file.uri.removeprefix(f"{root}/") for file in storage.list_files(storage.join(root, place))]


def matching(root: str, pattern: str) -> list[str]:
    return [file.uri.removeprefix(f"{root}/") for file in storage.list_matching(storage.join(root, pattern))]


@pytest.mark.parametrize("size_bytes", [0, 1, 5 * 2**20 + 3])
def test_written_content_is_read_back(root: str, size_bytes: int, tmp_path: Path) -> None:
    content = secrets.token_bytes(size_bytes)
    uri = storage.join(root, "a b", "שלום.bin")
    storage.write_bytes(uri, content)
    assert storage.read_bytes(uri) == content
    (listed,) = storage.list_files(root)
    assert (listed.uri, listed.size_bytes) == (uri, size_bytes)
    storage.download(uri, tmp_path / "down" / "copy")
    assert (tmp_path / "down" / "copy").read_bytes() == content


def test_an_upload_of_several_parts_is_complete(root: str, tmp_path: Path) -> None:
    content = secrets.token_bytes(17 * 2**20 + 5)  # Three parts of up to 8 MiB.
    source = tmp_path / "source"
    source.write_bytes(content)
    storage.upload(source, storage.join(root, "big", "file"))
    assert storage.read_bytes(storage.join(root, "big", "file")) == content


def test_a_write_replaces(root: str) -> None:
    uri = storage.join(root, "x")
    storage.write_bytes(uri, b"first and longer")
    storage.write_bytes(uri, b"second")
    assert storage.read_bytes(uri) == b"second"


def test_a_stream_is_read_piece_by_piece(root: str) -> None:
    storage.write_bytes(storage.join(root, "x"), b"abcdefg")
    with storage.open_read(storage.join(root, "x")) as stream:
        assert [stream.read(3), stream.read(3), stream.read()] == [b"abc", b"def", b"g"]


def test_a_prefix_ends_where_a_name_ends(root: str) -> None:
    write(root, "a/b/1", "a/b/c/2", "a/bc/3", "a/b.txt")
    assert names(root, "a/b") == ["a/b/1", "a/b/c/2"]
    assert names(root, "a/b/") == ["a/b/1", "a/b/c/2"]
    assert names(root, "a/b/1") == ["a/b/1"]
    assert names(root, "a/missing") == []


def test_a_glob_stays_within_names(root: str) -> None:
    write(root, "in/a1.tsv", "in/a2.tsv", "in/b1.tsv", "in/deep/a3.tsv", "in/a1.tsv.gz")
    assert matching(root, "in/*.tsv") == ["in/a1.tsv", "in/a2.tsv", "in/b1.tsv"]
    assert matching(root, "in/a?.tsv") == ["in/a1.tsv", "in/a2.tsv"]
    assert matching(root, "in/[b-z]*.tsv") == ["in/b1.tsv"]
    assert matching(root, "*/a1*") == ["in/a1.tsv", "in/a1.tsv.gz"]
    assert matching(root, "in/**/a*.tsv") == ["in/a1.tsv", "in/a2.tsv", "in/deep/a3.tsv"]
    assert len(matching(root, "in/**")) == 5
    assert matching(root, "in/*.parquet") == []
    assert names(root, "in/*.tsv") == []


def test_pattern_characters_in_a_name_are_literal_in_a_listing(root: str) -> None:
    write(root, "x [old]/runs*/1", "x o/runs/2")
    assert names(root, "x [old]") == names(root, "x [old]/runs*") == ["x [old]/runs*/1"]


def test_invalid_patterns_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a valid pattern; `\*\*` must stand alone between slashes"):
        storage.list_matching(f"{tmp_path}/**.txt")
    with pytest.raises(UserError, match="has a pattern in the bucket name; give the name of one bucket"):
        storage.list_matching("s3://team-*/x")


def test_changed_content_changes_the_version(root: str) -> None:
    uri = storage.join(root, "x")
    versions = []
    for number, content in enumerate((b"one", b"two")):
        storage.write_bytes(uri, content)
        if not storage.is_s3(uri):
            os.utime(uri, ns=(number, number))  # File system clocks are coarse.
        versions.append(storage.list_files(uri)[0].version)
    assert versions[0] != versions[1]


def test_files_behind_a_link_to_a_folder_are_listed_once(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x").write_text("x")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there")
    (tmp_path / "there" / "back").symlink_to(tmp_path / "here")
    (tmp_path / "here" / "itself").symlink_to("itself")
    assert names(str(tmp_path / "here"), "") == ["link/x"]


def test_exists_means_exactly_that_file(root: str) -> None:
    write(root, "a/b[1]", "a/c")
    assert storage.exists(storage.join(root, "a/b[1]"))
    assert storage.exists(storage.join(root, "a/c"))
    assert not storage.exists(storage.join(root, "a"))
    assert not storage.exists(storage.join(root, "a/*"))


def test_delete_removes_a_file_or_everything_below(root: str) -> None:
    write(root, "a/1", "a/2", "a/b/3", "ab/4")
    storage.delete(storage.join(root, "a/1"))
    assert names(root, "a") == ["a/2", "a/b/3"]
    storage.delete(storage.join(root, "a"))
    assert [name for name in names(root, "") if name] == ["ab/4"]
    storage.delete(storage.join(root, "missing"))


def test_a_missing_file_is_an_error(root: str) -> None:
    for read in (storage.read_bytes, lambda uri: storage.download(uri, Path("never"))):
        with pytest.raises(UserError, match=r"nothing/here does not exist; check the name"):
            read(storage.join(root, "nothing/here"))


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder is a folder, not a file"):
        storage.read_bytes(str(tmp_path / "folder"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="part of it is a file, not a folder"):
        storage.write_bytes(str(tmp_path / "file" / "below"), b"")


def test_readers_see_a_complete_file_or_none(root: str) -> None:
    """Reads while another thread writes long contents that each repeat one letter."""
    uri = storage.join(root, "x")
    contents = [letter * 300_000 for letter in (b"a", b"b", b"c", b"d")]
    storage.write_bytes(uri, contents[0])
    writer = threading.Thread(target=lambda: [storage.write_bytes(uri, content) for content in contents * 5])
    writer.start()
    while writer.is_alive():
        assert len(set(storage.read_bytes(uri))) == 1
    writer.join()


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    storage.write_bytes(str(path), b"old")

    def full_disk(self: Path, content: bytes) -> int:
        with open(self, "wb") as stream:
            stream.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(UnavailableError, match="no space is left"):
        storage.write_bytes(str(path), b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("x", b"old")]


def test_temporary_files_of_writers_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / ".x.0123abcd.tmp").write_bytes(b"half")
    (tmp_path / "x").write_bytes(b"whole")
    assert names(str(tmp_path), "") == ["x"]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://example.com/x", "has an unsupported scheme; use s3://bucket/path or a local path"),
        ("s3:///x", "has no bucket; write it as s3://bucket/path"),
        ("s3://Not_A Bucket!/x", "is not a valid bucket and key"),
    ],
)
def test_an_invalid_uri_is_an_error(uri: str, expected: str, s3_server: str) -> None:
    with pytest.raises(UserError, match=expected):
        storage.read_bytes(uri)


CALLS = {
    "read": storage.read_bytes,
    "write": lambda uri: storage.write_bytes(uri, b""),
    "upload": lambda uri: storage.upload(Path(__file__), uri),
    "list": storage.list_files,
    "exists": storage.exists,
    "delete": storage.delete,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_missing_bucket_is_an_error(call, s3_server: str) -> None:
    with pytest.raises(UserError, match=r"there is no bucket 'never-made' at http://127.0.0.1:.*; create it, or check"):
        call("s3://never-made/x")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_have_distinct_errors(
    call, variable: str, s3_server: str, other_clients: pytest.MonkeyPatch
) -> None:
    other_clients.setenv(variable, "wrong")
    with pytest.raises(UserError, match=rf"check {variable}$"):
        call(f"{s3_server}/x")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_missing_credentials_are_an_error(
    call, s3_server: str, other_clients: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        other_clients.delenv(variable)
    other_clients.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    other_clients.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UserError, match="no credentials for s3://textgen/x; set AWS_ACCESS_KEY_ID and AWS_SECRET"):
        call(f"{s3_server}/x")


@pytest.mark.slow  # One or two seconds each, for the client's retries.
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_silent_endpoint_is_an_error(call, s3_server: str, other_clients: pytest.MonkeyPatch) -> None:
    other_clients.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UserError, match=r"no S3 server responds at http://127.0.0.1:\d+; start it"):
        call(f"{s3_server}/x")


def test_an_invalid_endpoint_is_an_error(s3_server: str, other_clients: pytest.MonkeyPatch) -> None:
    other_clients.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(UserError, match="AWS_ENDPOINT_URL is 'nonsense'"):
        storage.read_bytes(f"{s3_server}/x")


def test_names_are_joined_with_single_slashes_and_empty_ones_are_ignored() -> None:
    assert storage.join("s3://bucket/a/", "", "/b/", "c") == "s3://bucket/a/b/c"
    assert storage.join("a", "") == "a"
