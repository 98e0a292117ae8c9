"""Background processes are started once, found again, private to this machine and user, and stopped completely."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from textgen import private_folders, s3_client, storage
from textgen.errors import UserError
from textgen.local import checkout as checkouts
from textgen.local.__main__ import main, run
from textgen.local.background import MARK, Background, free_port
from textgen.local.checkout import Checkout, read_environment, this_checkout
from textgen.local.head import dashboard_line, ray_environment, start_head
from textgen.local.s3 import (
    bucket_uri,
    find_s3,
    introduce,
    lead_to_server,
    s3_environment,
    start_s3,
    stop_s3,
    uses_embedded_s3,
    way_to_server,
)
from textgen.local.submit import job_name, submit

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Checkout]:
    """A checkout for one test, whose S3 server is stopped at the end."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):  # Those of the session's server.
        monkeypatch.delenv(name, raising=False)
    checkout = Checkout(
        run_dir=tmp_path / "run", s3_dir=tmp_path / "s3", temp_dir=tmp_path / "temp", s3_port=free_port()
    )
    yield checkout
    stop_s3(checkout)


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def start_python(background: Background, code: str, *, seconds: float = 20) -> int:
    record = background.start(
        [sys.executable, "-c", code],
        environment=os.environ,
        facts={},
        answers=lambda: background.log_path.read_text().endswith("\n"),
        timeout_seconds=seconds,
    )
    return record.pid


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Background]:
    """A background process that a test may start."""
    background = Background(name="thing", run_dir=tmp_path)
    yield background
    background.stop()


def test_a_process_is_found_again_and_stopped_with_a_child_in_another_session(background: Background) -> None:
    assert background.find() is None
    pid = start_python(background, FAMILY)
    child = int(background.log_path.read_text())
    found = Background(name="thing", run_dir=background.run_dir).find()
    assert found is not None
    assert found.pid == pid
    assert permissions(background.run_dir / "thing.json") == 0o600
    assert background.stop()
    assert not psutil.pid_exists(pid)
    assert not psutil.pid_exists(child)
    assert background.find() is None
    assert not background.stop()


def test_stop_finds_the_child_of_a_process_that_died(background: Background) -> None:
    pid = start_python(background, FAMILY)
    child = int(background.log_path.read_text())
    psutil.Process(pid).kill()
    psutil.wait_procs([psutil.Process(pid)], timeout=10)
    assert background.find() is None
    assert background.stop()
    assert not psutil.pid_exists(child)


def test_a_later_process_with_the_same_number_is_not_ours(background: Background) -> None:
    start_python(background, FAMILY)
    path = background.run_dir / "thing.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "created": record["created"] - 100}))
    assert background.find() is None


def test_a_process_that_ends_at_once_is_explained_by_its_log(background: Background) -> None:
    with pytest.raises(UserError, match=r"(?s)the thing process ended; the end of .*thing.log:\n.*no such luck"):
        start_python(background, "print('no such luck', end='')")  # A complete line would count as its answer.
    assert background.find() is None


def test_a_process_that_never_answers_is_stopped(background: Background) -> None:
    with pytest.raises(UserError, match="did not answer within 0 s"):
        start_python(background, "import time; time.sleep(600)", seconds=0.3)
    assert background.find() is None


def test_the_server_is_started_once_and_keeps_its_credentials(place: Checkout) -> None:
    endpoint = start_s3(place)
    record = (place.run_dir / "s3.json").read_text()
    assert start_s3(place) == endpoint == find_s3(place) == f"http://127.0.0.1:{place.s3_port}"
    assert (place.run_dir / "s3.json").read_text() == record
    first = s3_environment(place)
    assert stop_s3(place)
    assert find_s3(place) is None
    start_s3(place)
    assert s3_environment(place) == first


def test_two_servers_have_different_credentials_and_refuse_others(place: Checkout, tmp_path: Path) -> None:
    other = dataclasses.replace(place, run_dir=tmp_path / "other", s3_port=free_port())
    endpoint = start_s3(place)
    start_s3(other)
    assert s3_environment(place)["AWS_SECRET_ACCESS_KEY"] != s3_environment(other)["AWS_SECRET_ACCESS_KEY"]
    assert stop_s3(other)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{endpoint}/textgen?list-type=2")
    refused.value.close()


def test_the_secret_is_readable_only_by_this_user(place: Checkout) -> None:
    start_s3(place)
    secret = s3_environment(place)["AWS_SECRET_ACCESS_KEY"]
    holders = [path for path in place.run_dir.iterdir() if secret in path.read_text()]
    assert [path.name for path in holders] == ["s3.env"]
    assert permissions(holders[0]) == 0o600
    assert permissions(place.run_dir) == permissions(place.temp_dir) == 0o700
    assert secret not in " ".join(psutil.Process(json.loads((place.run_dir / "s3.json").read_text())["pid"]).cmdline())


def test_a_taken_port_is_named_with_a_solution(place: Checkout) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", place.s3_port))
        other.listen()
        with pytest.raises(UserError, match=rf"port {place.s3_port} for .* is used by .* export TEXTGEN_S3_PORT=\d+$"):
            start_s3(place)
    assert find_s3(place) is None


@pytest.mark.parametrize("text", ["0", "65536", "http", "-1"])
def test_a_wrong_port_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTGEN_S3_PORT", text)
    with pytest.raises(UserError, match=f"TEXTGEN_S3_PORT is '{text}'; use a port number from 1 to 65535"):
        this_checkout()


def test_another_s3_keeps_its_own_variables(place: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    start_s3(place)
    assert uses_embedded_s3(place)
    assert bucket_uri() == "s3://textgen"
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_environment(place)["AWS_ENDPOINT_URL"])
    assert uses_embedded_s3(place)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://storage.example.com")
    assert not uses_embedded_s3(place)
    assert s3_environment(place) == {}
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("TEXTGEN_BUCKET", "mine")
    assert not uses_embedded_s3(place)
    assert bucket_uri() == "s3://mine"


@pytest.fixture
def bare(place: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Checkout]:
    """The checkout of a process that has selected no S3, either by a variable or in files of the AWS tools."""
    monkeypatch.setattr(os, "environ", {name: value for name, value in os.environ.items() if name[:4] != "AWS_"})
    os.environ["HOME"] = str(tmp_path)
    monkeypatch.setattr("textgen.local.s3.this_checkout", lambda: place)
    monkeypatch.setattr(s3_client, "_known", [])
    introduce()
    s3_client.forget()
    yield place
    s3_client.forget()


def test_a_plain_command_uses_the_running_server_for_its_bucket(bare: Checkout, tmp_path: Path) -> None:
    os.environ["AWS_CA_BUNDLE"] = str(tmp_path / "certificates.pem")  # A certificate bundle selects no server.
    start_s3()
    storage.write_bytes("s3://textgen/a/b", b"here")
    assert (bare.s3_dir / "textgen" / "a" / "b").read_bytes() == b"here"
    assert s3_environment(bare).items() <= os.environ.items()


@pytest.mark.parametrize(
    "chosen",
    [
        {"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "mine"},
        {"AWS_PROFILE": "work"},
        {"AWS_ENDPOINT_URL": "https://storage.example.com"},
        {"AWS_ENDPOINT_URL_S3": "https://storage.example.com"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/x"},
        {"TEXTGEN_BUCKET": "textgen"},
    ],
    ids=lambda chosen: next(iter(chosen)),
)
def test_the_users_settings_are_never_overridden(bare: Checkout, chosen: dict[str, str]) -> None:
    start_s3()
    os.environ.update(chosen)
    before = dict(os.environ)
    lead_to_server("textgen")
    assert os.environ == before


def test_files_of_the_aws_tools_and_other_buckets_are_not_overridden(bare: Checkout, tmp_path: Path) -> None:
    start_s3()
    before = dict(os.environ)
    lead_to_server("textgen-2")
    assert os.environ == before
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]\n")
    lead_to_server("textgen")
    assert os.environ == before
    assert 'eval "$(python -m textgen.local env)"' in str(way_to_server("textgen"))
    assert way_to_server("textgen-2") is None
    stop_s3(bare)
    assert "make s3" in str(way_to_server("textgen"))


def test_without_credentials_the_error_explains_the_embedded_server(bare: Checkout) -> None:
    with pytest.raises(UserError, match=r"no credentials for s3://textgen/x; .*make s3"):
        storage.read_bytes("s3://textgen/x")
    with pytest.raises(UserError, match=r"no credentials for s3://mine/x; .*with access$"):
        storage.read_bytes("s3://mine/x")


def test_the_temporary_folder_is_short_and_belongs_to_this_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    here = this_checkout().temp_dir
    assert here.parent == tmp_path
    assert len(here.name) < 32
    monkeypatch.setattr("tempfile.tempdir", str(here))  # As in a process started by the head.
    assert this_checkout().temp_dir == here
    monkeypatch.setattr(private_folders, "checkout_root", lambda: tmp_path / "other")
    assert this_checkout().temp_dir.name != here.name


def test_commands_start_find_and_stop(
    place: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("s3", "head", "__main__"):
        monkeypatch.setattr(f"textgen.local.{name}.this_checkout", lambda: place)

    def said(command: str) -> str:
        assert main([command]) == 0
        return capsys.readouterr().out

    assert f"S3 server: http://127.0.0.1:{place.s3_port}, bucket s3://textgen" in said("start-s3")
    assert "S3 server: http" in said("status")
    assert "Ray head: not running" in said("status")
    assert f"export AWS_ENDPOINT_URL=http://127.0.0.1:{place.s3_port}\n" in said("env")
    assert said("stop") == "Ray head: was not running\nS3 server: stopped\n"
    assert "S3 server: not running" in said("status")
    said("clean")
    assert not any(folder.exists() for folder in (place.run_dir, place.s3_dir, place.temp_dir))


@pytest.mark.ray
def test_a_job_runs_with_the_heads_environment_and_ends_with_its_own_code(ray_head: Checkout, tmp_path: Path) -> None:
    (tmp_path / ".rayignore").write_text("secret/\n")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("")
    (tmp_path / "job.py").write_text(
        "import os, sys\n"
        "print(sorted(os.listdir()), os.environ['AWS_ENDPOINT_URL'], sys.executable)\n"
        "print('to stderr', file=sys.stderr)\n"
        "sys.exit(3)\n"
    )
    shown: list[str] = []
    assert submit(["python", "job.py"], working_dir=tmp_path, checkout=ray_head, show=shown.append) == 3
    first, *rest = "".join(shown).splitlines()
    assert first == f"['.rayignore', 'job.py'] {s3_environment(ray_head)['AWS_ENDPOINT_URL']} {sys.executable}"
    assert rest == ["to stderr"]


def test_a_job_has_a_readable_unique_name() -> None:
    first, second = (job_name(["python", "-m", "jobs.find_learning_rate", "--windows", "x"]) for _ in range(2))
    assert first.startswith("textgen-find_learning_rate-")
    assert first != second
    assert job_name(["python", "job.py"]).startswith("textgen-")


@pytest.mark.ray
def test_the_dashboard_lists_jobs_by_name_and_accepts_the_reported_token(ray_head: Checkout, tmp_path: Path) -> None:
    line = dashboard_line(ray_head)
    match = re.search(r"(http://\S+) .* (/\S+)\)$", line)
    assert match is not None, line
    (tmp_path / "job.py").write_text("import ray\nfrom textgen.ray_session import connect\nconnect()\nray.shutdown()\n")
    paths = os.pathsep.join([str(private_folders.checkout_root()), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **ray_environment(ray_head), "PYTHONPATH": paths}
    assert submit(["python", "-c", "print('jobs.none')"], working_dir=tmp_path, checkout=ray_head) == 0
    subprocess.run([sys.executable, "job.py"], cwd=tmp_path, env=environment, check=True)
    request = urllib.request.Request(
        f"{match[1]}/api/jobs/", headers={"Authorization": f"Bearer {Path(match[2]).read_text()}"}
    )
    with urllib.request.urlopen(request) as response:
        jobs = json.load(response)
    assert any((job["submission_id"] or "").startswith("textgen-") for job in jobs)
    assert any((job["metadata"] or {}).get("name") == "textgen" for job in jobs)


@pytest.mark.ray
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_an_interrupted_job_is_shown_to_its_end_unless_interrupted_again(
    ray_head: Checkout, tmp_path: Path, again: bool
) -> None:
    (tmp_path / "job.py").write_text(
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('saved step 7'))\n"
        "print('begun', flush=True)\n"
        "signal.pause()\n"
    )
    shown: list[str] = []

    def show(text: str) -> None:
        shown.append(text)
        if text == "begun\n" or (again and text.startswith("stopping")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        submit(["python", "job.py"], working_dir=tmp_path, checkout=ray_head, show=show)
    assert shown[:2] == ["begun\n", "stopping the job; press Ctrl-C again to leave without waiting\n"]
    assert "".join(shown[2:]) == ("" if again else "saved step 7\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_interrupts_a_submitted_job(monkeypatch: pytest.MonkeyPatch, number: int, code: int) -> None:
    met: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: met.append(number))

    def submitted(entrypoint: list[str]) -> int:
        signal.raise_signal(number)
        return 0

    monkeypatch.setattr("textgen.local.__main__.submit", submitted)
    assert run(["submit", "--", "python", "-m", "jobs.train"]) == code
    signal.raise_signal(signal.SIGTERM)
    assert met == [signal.SIGTERM]  # The previous handler is restored.
    signal.signal(signal.SIGTERM, before)


def test_a_user_error_is_one_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(entrypoint: list[str]) -> int:
        raise UserError("no head starts here")

    monkeypatch.setattr("textgen.local.__main__.submit", refused)
    assert run(["submit", "--", "python", "-m", "jobs.train"]) == 2
    assert capsys.readouterr().err == "error: no head starts here\n"


@pytest.mark.ray
def test_job_listings_need_the_token_and_hold_no_secret(ray_head: Checkout) -> None:
    url = f"{ray_environment(ray_head)['RAY_API_SERVER_ADDRESS']}/api/jobs/"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url)
    assert refused.value.code == 401
    refused.value.close()
    token_path = Path(ray_environment(ray_head)["RAY_AUTH_TOKEN_PATH"])
    assert permissions(token_path) == 0o600
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token_path.read_text()}"})
    with urllib.request.urlopen(request) as response:
        listing = response.read().decode()
    assert s3_environment(ray_head)["AWS_SECRET_ACCESS_KEY"] not in listing
    assert token_path.read_text() not in listing


@pytest.mark.ray
def test_the_head_listens_only_on_this_machine(ray_head: Checkout) -> None:
    mark = json.loads((ray_head.run_dir / "ray.json").read_text())["mark"]
    addresses = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                addresses |= {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue
    assert addresses
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.ray
def test_a_running_head_with_another_s3_is_refused(ray_head: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    assert start_head(ray_head) == ray_environment(ray_head)["RAY_API_SERVER_ADDRESS"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://storage.example.com")
    with pytest.raises(UserError, match=r"is running with other S3 settings .*; stop it \(`make stop`\)"):
        start_head(ray_head)


@pytest.mark.ray
def test_a_taken_ray_port_is_named(ray_head: Checkout, tmp_path: Path) -> None:
    other = dataclasses.replace(ray_head, run_dir=tmp_path / "run", temp_dir=tmp_path / "temp", s3_port=free_port())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "s3.env").write_text((ray_head.run_dir / "s3.env").read_text())
    try:
        with pytest.raises(UserError, match=rf"port {ray_head.ray_port} for the local Ray head is used by"):
            start_head(other)
    finally:
        stop_s3(other)


def test_environment_files_round_trip(tmp_path: Path) -> None:
    checkouts.write_environment(tmp_path / "x.env", {"A": "1=2", "B": ""})
    assert read_environment(tmp_path / "x.env") == {"A": "1=2", "B": ""}
    assert read_environment(tmp_path / "none.env") == {}
