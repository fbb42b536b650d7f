"""The staging folder of a run and the lock on its target."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from flows.pipeline.workspace import ReleaseInUse, Workspace


def test_one_run_at_a_time_works_on_a_target(tmp_path):
    first = Workspace(tmp_path / "m.release")
    with pytest.raises(ReleaseInUse, match=r"m\.release: another run is making this release"):
        Workspace(tmp_path / "m.release")
    Workspace(tmp_path / "other.release").remove()
    first.remove()
    Workspace(tmp_path / "m.release").remove()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_holds_no_lock_and_its_staging_folder_goes_at_the_end_of_the_next(tmp_path):
    code = """
        import sys
        from pathlib import Path
        from flows.pipeline.workspace import Workspace
        Workspace(Path(sys.argv[1]))
        print("held", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "m.release")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        (left,) = tmp_path.glob(".m.release.partial-*")
        with pytest.raises(ReleaseInUse):
            Workspace(tmp_path / "m.release")
        assert left.exists()
        os.kill(other.pid, signal.SIGKILL)
    mine = Workspace(tmp_path / "m.release")
    assert mine.leftovers == (left,)
    mine.remove()
    assert list(tmp_path.iterdir()) == []


def test_of_what_killed_runs_left_the_last_two_are_kept_and_nothing_older_than_a_week(tmp_path):
    def left(name, days, mode=0o700):
        folder = tmp_path / name
        folder.mkdir()
        folder.chmod(mode)
        then = time.time() - days * 24 * 3600
        os.utime(folder, (then, then))
        return folder

    two, three, one = (left(f".m.release.partial-{name}", days) for name, days in (("a", 2), ("b", 3), ("c", 1)))
    old, open_to_all = left(".m.release.partial-d", 8), left(".m.release.partial-e", 0, mode=0o777)
    others_old, others = left(".other.release.partial-f", 8), left(".other.release.partial-g", 6)
    at_work = Workspace(tmp_path / "third.release")
    os.utime(at_work.staging, (0, 0))
    mine = Workspace(tmp_path / "m.release")
    assert mine.leftovers == (one, two)
    assert not any(folder.exists() for folder in (three, old, open_to_all, others_old))
    assert others.exists()
    assert at_work.staging.exists()
    mine.remove()
    at_work.remove()


def test_a_lock_file_that_is_gone_when_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    first = Workspace(tmp_path / "m.release")
    real, tries = os.open, []

    def late(path, *how):
        held = real(path, *how)
        if not tries:
            first.remove()  # between our opening the file and our locking it
        tries.append(held)
        return held

    monkeypatch.setattr("flows.pipeline.workspace.os.open", late)
    second = Workspace(tmp_path / "m.release")
    assert len(tries) == 2
    monkeypatch.undo()
    with pytest.raises(ReleaseInUse):
        Workspace(tmp_path / "m.release")
    second.remove()


def test_a_staging_folder_that_another_run_removes_meanwhile_disturbs_none(tmp_path, monkeypatch):
    real = Path.glob

    def seen_before_it_went(folder, pattern):
        return [*real(folder, pattern), *([folder / ".other.release.partial-a"] if pattern == ".*.partial-*" else [])]

    monkeypatch.setattr(Path, "glob", seen_before_it_went)
    Workspace(tmp_path / "m.release").remove()
    assert list(tmp_path.iterdir()) == []
