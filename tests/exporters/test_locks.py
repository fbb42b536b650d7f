"""The lock between processes, and files that are written in one step."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from exporters.errors import Cancelled
from exporters.files.atomic import is_partial, write
from exporters.files.locks import Lock, wait_for_lock

HOLDER = """
import sys
from pathlib import Path
from exporters.files.locks import Lock
Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_is_refused_while_it_is_held_and_free_afterwards(tmp_path):
    with Lock(tmp_path / "lock"), pytest.raises(BlockingIOError):
        Lock(tmp_path / "lock")
    Lock(tmp_path / "lock").release(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_was_removed_between_opening_and_locking_is_opened_again(tmp_path):
    path, opened = tmp_path / "lock", []

    def open_file(at):
        opened.append(os.open(at, os.O_RDWR | os.O_CREAT, 0o644))
        if len(opened) == 1:
            at.unlink()
        return opened[-1]

    with Lock(path, open_file=open_file), pytest.raises(BlockingIOError):
        Lock(path)
    assert len(opened) == 2


def test_a_killed_process_holds_no_lock_and_a_wait_is_said_once_and_can_be_cancelled(tmp_path):
    path, said = tmp_path / "lock", []
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(Cancelled, match="waited for the thing"):
            wait_for_lock(path, what="the thing", cancelled=lambda: True, on_wait=pytest.fail)
        threading.Timer(0.5, os.kill, (other.pid, signal.SIGKILL)).start()
        with wait_for_lock(path, what="the thing", on_wait=said.append):
            assert said == [f"the thing is in use; waits until it is free ({path})"]


def test_a_file_is_written_in_one_step_with_the_mode_that_was_asked_for(tmp_path):
    file = tmp_path / "record.json"
    (tmp_path / ".record.json.partial").write_text("left by a killed writer, and longer than what comes")
    write(file, "né", mode=0o600)
    assert (file.read_text("utf-8"), stat.S_IMODE(file.stat().st_mode)) == ("né", 0o600)
    write(file, b"two")
    assert file.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_else(tmp_path, monkeypatch):
    file, names = tmp_path / "record.json", []
    write(file, "one")

    def full(_descriptor):
        names.extend(each.name for each in tmp_path.iterdir() if is_partial(each))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(file, "two")
    assert names == [".record.json.partial"]
    assert [(each, each.read_text()) for each in Path(tmp_path).iterdir()] == [(file, "one")]
