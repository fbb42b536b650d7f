"""The staging folder of a run and the lock on its target."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from flows.workspace import AtWork, Workspace


def test_one_run_at_a_time_works_on_a_target(tmp_path):
    first = Workspace(tmp_path / "m.release")
    with pytest.raises(AtWork, match=r"m\.release: another run is making this release"):
        Workspace(tmp_path / "m.release")
    Workspace(tmp_path / "other.release").remove()
    first.remove()
    Workspace(tmp_path / "m.release").remove()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_holds_no_lock_and_its_staging_folder_goes_with_the_next(tmp_path):
    code = """
        import sys
        from pathlib import Path
        from flows.workspace import Workspace
        Workspace(Path(sys.argv[1]))
        print("held", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "m.release")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        (left,) = tmp_path.glob(".m.release.partial-*")
        with pytest.raises(AtWork):
            Workspace(tmp_path / "m.release")
        assert left.exists()
        os.kill(other.pid, signal.SIGKILL)
    mine = Workspace(tmp_path / "m.release")
    assert not left.exists()
    mine.remove()


def test_a_lock_file_that_is_gone_when_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    first = Workspace(tmp_path / "m.release")
    real, tries = os.open, []

    def late(path, *how):
        held = real(path, *how)
        if not tries:
            first.remove()  # between our opening the file and our locking it
        tries.append(held)
        return held

    monkeypatch.setattr("flows.workspace.os.open", late)
    second = Workspace(tmp_path / "m.release")
    assert len(tries) == 2
    monkeypatch.undo()
    with pytest.raises(AtWork):
        Workspace(tmp_path / "m.release")
    second.remove()
