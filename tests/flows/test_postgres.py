"""A whole local installation with PostgreSQL as Prefect's database, which crashes twice in the middle of a release."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from prefect_server import QUICK_TOML, ROOT, ask, submit, until

from exporters.errors import Broken
from flows.deployment import local_server, postgres
from flows.deployment.ports import free_port
from validators.release.manifest import load

DIGITS = ROOT / "examples" / "digits" / "digits.keras"


@pytest.fixture
def site():
    """A folder that PostgreSQL's user gets to: pytest's own are closed to everybody else."""
    with tempfile.TemporaryDirectory(prefix="paritygate-site-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def crash(site, *, seconds):
    """The database dies without a word, and is there again after a while."""
    assert postgres.stop(site / "postgres", mode="immediate")
    time.sleep(seconds)
    postgres.start(site / "postgres")


@contextlib.contextmanager
def in_the_background():
    """As a shell starts a job with `&`: it ignores SIGINT, and so does all that it starts."""
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heard)


def ignores_interrupts(pid):
    (mask,) = re.findall(r"SigIgn:\s*(\w+)", Path("/proc", pid, "status").read_text())
    return bool(int(mask, 16) & 1 << signal.SIGINT - 1)


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_released_twice_when_the_database_crashes_during_a_release(site, tmp_path):
    port, out = free_port(), site / "digits.release"
    config = site / "release.toml"
    config.write_text(QUICK_TOML)
    given = (DIGITS, "-o", out, "--config", config, "--json")
    try:
        with in_the_background():
            address = local_server.start(site, port, database="postgres")
        api = f"{address}/api"
        assert address == f"http://127.0.0.1:{port}"
        pids = {name: (site / f"{name}.pid").read_text() for name in ("server", "worker")}
        assert not any(ignores_interrupts(pid.split()[0]) for pid in pids.values())
        assert local_server.start(site, port + 1) == address
        assert {name: (site / f"{name}.pid").read_text() for name in pids} == pids
        deployed = {each["name"] for each in ask(f"{api}/deployments/filter", {})}
        assert {"nightly", "weekly-full", "watch", "after-training", "manual"} <= deployed
        with pytest.raises(Broken, match=f"port {port} of 127.0.0.1 is taken"):
            local_server.start(site / "second", port)

        code, said, err = submit(api, tmp_path, *given)
        assert code == 0, err
        until(lambda: list(site.glob(".digits.release.partial-*")))
        assert postgres.stop(site / "postgres", mode="immediate")
        code, _, err = submit(api, tmp_path, *given)
        assert code == 3
        assert "the Prefect server failed" in err
        postgres.start(site / "postgres")
        until(lambda: out.exists() or list(site.glob(".digits.release.partial-*/release/artifacts/saved_model")))
        crash(site, seconds=3)

        code, again, err = submit(api, tmp_path, *given, "--wait")
        assert code == 0, err
        first, last = json.loads(said), json.loads(again)
        assert (last["state"], last["run"]) == ("Released", first["run"])
        assert load(out).verdict.passed
        assert ask(f"{api}/flow_runs/count", {}) == 1
        made = (out / "release.json").stat().st_mtime_ns
        ended = lambda: {task["state_type"] for task in ask(f"{api}/task_runs/filter", {})}  # noqa: E731
        until(lambda: ended() == {"COMPLETED"}, seconds=30)
        code, _, _ = submit(api, tmp_path, *given, "--wait")
        assert (code, (out / "release.json").stat().st_mtime_ns) == (0, made)
    finally:
        assert local_server.stop(site) == ["worker", "server", "postgres"]
    assert not postgres.running(site / "postgres")
    assert not any(psutil.pid_exists(int(pid.split()[0])) for pid in pids.values())
    assert local_server.stop(site) == []


@pytest.mark.slow
def test_postgresql_is_made_once_keeps_its_data_and_is_never_roots(site):
    home = site / "pg"
    try:
        url = postgres.start(home)
        owner = psutil.Process(int((home / "data" / "postmaster.pid").read_text().split()[0])).username()
        assert owner != "root"
        assert (home / "password").stat().st_mode & 0o077 == 0
        assert postgres.start(home) == url
        assert postgres.stop(home)
        assert not postgres.running(home)
        assert postgres.start(home) == url
    finally:
        postgres.stop(home)
    assert not postgres.stop(home)


@pytest.mark.slow
def test_a_folder_that_postgresql_cannot_get_to_is_told(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root's folders are closed to PostgreSQL's user")
    tmp_path.chmod(0o700)
    with pytest.raises(Broken, match="initdb failed") as error:
        postgres.start(tmp_path / "pg")
    assert "have to be open to the user postgres" in error.value.next_step


def test_a_machine_without_postgresql_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    with pytest.raises(Broken, match="PostgreSQL is not installed") as error:
        postgres.programs()
    assert "apt-get install postgresql" in error.value.next_step


def test_a_local_installation_on_a_file_begins_with_the_migrated_database(tmp_path, monkeypatch):
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    with contextlib.closing(sqlite3.connect(prepared / "prefect.db")) as database:
        database.execute("CREATE TABLE migrated (x)")
    monkeypatch.setattr(local_server.server, "home", lambda: prepared)
    assert local_server._sqlite(tmp_path) == f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}"
    with contextlib.closing(sqlite3.connect(tmp_path / "prefect.db")) as copy:
        assert copy.execute("SELECT name FROM sqlite_master").fetchall() == [("migrated",)]
