"""Which cards this machine has, and that one at a time uses each."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from exporters.errors import Broken, Cancelled
from validators.hardware import graphics_cards
from validators.hardware.graphics_cards import (
    Card,
    allow_tf32,
    card_lock,
    cards,
    device_nodes,
    has_hardware,
    imitated,
    installed_cards,
)

ROOT = Path(__file__).resolve().parents[2]
H200 = Card(uuid="GPU-6a1c", name="NVIDIA H200", driver="580.65.06")
T4 = Card(uuid="GPU-9f02", name="Tesla T4", driver="580.65.06")


@pytest.fixture(autouse=True)
def _looked_up_anew():
    installed_cards.cache_clear()
    yield
    installed_cards.cache_clear()


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Puts a program called `nvidia-smi` on the path, and nothing else; the machine's own driver is out of sight."""

    def install(script):
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(graphics_cards, "_DEV", tmp_path / "dev")
    monkeypatch.setattr(graphics_cards, "_PROC", tmp_path / "proc")
    return install


def listed(tmp_path, *, minors=("0", "1")):
    """What NVIDIA's driver writes into /proc and /dev for an H200 and a T4."""
    for minor, card in zip("01", (H200, T4), strict=True):
        folder = tmp_path / "proc" / "gpus" / f"0000:0{minor}:00.0"
        folder.mkdir(parents=True)
        text = f"Model: \t\t {card.name}\nIRQ:   \t\t 16\nGPU UUID: \t {card.uuid}\nDevice Minor: \t {minor}\n"
        (folder / "information").write_text(text)
    open_module = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (builder)"
    (tmp_path / "proc" / "version").write_text(f"{open_module}\nGCC version:  gcc version 12.2.0\n")
    (tmp_path / "dev").mkdir()
    for name in ("ctl", *minors):
        (tmp_path / "dev" / f"nvidia{name}").touch()


def test_the_cards_are_those_that_the_drivers_program_lists(driver):
    driver("echo 'GPU-6a1c, NVIDIA H200, 580.65.06'; echo 'GPU-9f02, Tesla T4, 580.65.06'")
    assert cards() == installed_cards() == (H200, T4)
    assert has_hardware()


@pytest.mark.parametrize("script", ["echo 'No devices were found'", "echo 'GPU-6a1c, NVIDIA H200, 1'; exit 9"])
def test_a_program_that_reaches_no_driver_lists_no_card(driver, script):
    driver(script)
    assert cards() == ()
    assert not has_hardware()


def test_without_the_drivers_program_the_cards_are_those_of_its_files(driver, tmp_path):
    listed(tmp_path)
    assert cards() == (H200, T4)


@pytest.mark.parametrize(("minors", "found"), [(("1",), (T4,)), ((), ())])
def test_a_card_whose_device_a_container_lacks_is_not_here(driver, tmp_path, minors, found):
    listed(tmp_path, minors=minors)
    assert cards() == found


def test_files_of_the_driver_count_for_nothing_where_its_control_device_is_not(driver, tmp_path):
    listed(tmp_path)
    (tmp_path / "dev" / "nvidiactl").unlink()
    assert cards() == ()


def test_a_render_node_alone_is_hardware_too(driver, tmp_path):
    assert not has_hardware()
    (tmp_path / "dev" / "dri").mkdir(parents=True)
    (tmp_path / "dev" / "dri" / "renderD128").touch()
    assert (cards(), has_hardware()) == ((), True)


def test_device_nodes_are_the_cards_that_this_process_may_open(driver, tmp_path, monkeypatch):
    assert device_nodes() == ()
    folder = tmp_path / "dev"
    (folder / "dri").mkdir(parents=True)
    for name in ("nvidiactl", "nvidia-uvm", "dri/card0", "nvidia1", "nvidia0", "dri/renderD128"):
        (folder / name).touch()
    nodes = tuple(folder / name for name in ("nvidia0", "nvidia1", "dri/renderD128"))
    assert device_nodes() == nodes
    monkeypatch.setattr(os, "access", lambda path, _: path == nodes[1])
    assert device_nodes() == (nodes[1],)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not has_hardware()


@pytest.mark.parametrize(
    ("kind", "name", "software"),
    [
        ("CPU", "odd", True),
        ("CPU / Software", "odd", True),
        ("cpu", "", True),
        ("Discrete GPU", "NVIDIA H200", False),
        ("", "NVIDIA H200", False),
        ("Virtual GPU", "llvmpipe (LLVM 15.0.6, 256 bits)", True),
        ("", "SwiftShader Device (Subzero)", True),
        ("Software Rasterizer", "", True),
        ("", "Warplane 9", False),
    ],
)
def test_one_rule_says_which_adapter_imitates_a_card(kind, name, software):
    assert imitated(kind=kind, name=name) is software


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("0", (H200,)),
        ("1,0", (T4, H200)),
        (" 1 ", (T4,)),
        ("GPU-9f02", (T4,)),
        ("GPU-6a", (H200,)),
        ("GPU-", ()),  # names both, so neither
        ("-1", ()),
        ("", ()),
        ("2", ()),
        ("0,7,1", (H200,)),  # CUDA stops at the first that is none
        ("MIG-5c7", (Card(uuid="MIG-5c7", name="MIG device", driver=H200.driver),)),
        ("NoDevFiles", ()),  # what a batch system sets where it gave none
    ],
)
def test_only_the_cards_that_the_user_left_visible_count(driver, monkeypatch, tmp_path, visible, seen):
    listed(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert cards() == seen
    assert installed_cards() == (H200, T4)


def test_a_slice_of_a_card_needs_a_driver_too(driver, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-5c7")
    assert cards() == ()


def test_tf32_is_forbidden_to_nvidias_libraries_or_left_to_the_runtime(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    allow_tf32(allowed=False)
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    allow_tf32(allowed=True)
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ


# The lock.

HOLDER = """
import sys, time
from pathlib import Path
from validators.hardware.graphics_cards import Card, card_lock

with card_lock(Card(uuid="GPU-6a1c", name="NVIDIA H200", driver=""), say=print, folder=Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the H200."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"locked\n"
        yield process
        process.kill()


def test_a_second_run_waits_says_so_once_and_goes_on_when_the_first_is_killed(holder, tmp_path):
    said = []

    def say(line):
        said.append(line)
        threading.Timer(0.5, os.kill, (holder.pid, signal.SIGKILL)).start()

    with card_lock(H200, say=say, folder=tmp_path):
        assert holder.wait(5) == -signal.SIGKILL
    assert said == [f"NVIDIA H200 is in use; waits until it is free ({tmp_path / 'paritygate-GPU-6a1c.lock'})"]


def test_whoever_gives_up_waiting_is_cancelled_and_the_lock_stays_with_its_holder(holder, tmp_path):
    for _ in range(2):
        with (
            pytest.raises(Cancelled, match="waited for NVIDIA H200"),
            card_lock(H200, say=lambda _: None, given_up=lambda: True, folder=tmp_path),
        ):
            pytest.fail("the lock was held by another process")
    assert holder.poll() is None


def test_another_card_is_free(holder, tmp_path):
    with card_lock(T4, say=pytest.fail, folder=tmp_path):
        pass


def test_two_threads_of_one_run_take_turns(tmp_path):
    inside, seen = [], []

    def work():
        with card_lock(H200, say=lambda _: None, folder=tmp_path):
            inside.append(1)
            seen.append(len(inside))
            time.sleep(0.1)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [1, 1, 1]


def test_a_lock_is_free_again_after_an_error_inside(tmp_path):
    with pytest.raises(RuntimeError), card_lock(H200, say=pytest.fail, folder=tmp_path):
        raise RuntimeError
    with card_lock(H200, say=pytest.fail, folder=tmp_path):
        pass


def test_every_user_may_lock_a_file_that_a_careful_user_made(tmp_path):
    before = os.umask(0o077)
    try:
        with card_lock(H200, say=pytest.fail, folder=tmp_path):
            pass
    finally:
        os.umask(before)
    (file,) = tmp_path.iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("paritygate-GPU-6a1c.lock", 0o644)


def test_a_lock_that_is_a_link_to_something_else_is_refused(tmp_path):
    (tmp_path / "other").touch()
    (tmp_path / "paritygate-GPU-6a1c.lock").symlink_to(tmp_path / "other")
    with pytest.raises(Broken, match="cannot be opened"), card_lock(H200, say=pytest.fail, folder=tmp_path):
        pass


def test_an_identifier_stays_one_name_in_the_folder(tmp_path):
    with card_lock(Card(uuid="GPU/../../x", name="odd", driver=""), say=pytest.fail, folder=tmp_path):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["paritygate-GPU_______x.lock"]


def test_the_lock_lies_where_every_user_may_write(monkeypatch, tmp_path):
    closed, opened = tmp_path / "closed", tmp_path / "opened"
    closed.mkdir(mode=0o755)
    opened.mkdir()
    opened.chmod(0o1777)
    monkeypatch.setattr(graphics_cards, "_LOCK_FOLDERS", (tmp_path / "none", closed, opened))
    with card_lock(H200, say=pytest.fail):
        assert len(list(opened.iterdir())) == 1
    monkeypatch.setattr(graphics_cards, "_LOCK_FOLDERS", (closed,))
    with pytest.raises(Broken, match="no folder that every user may write to"), card_lock(H200, say=pytest.fail):
        pass
