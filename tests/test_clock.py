"""A clock that jumps changes no decision: durations and deadlines are measured without it."""

import ast
from pathlib import Path

import psutil

from flows.deployment import local_server

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("exporters", "validators", "flows", "deployments")
WALL = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
# What is written down for people, or is about a date by its meaning.
ALLOWED = {
    "flows/pipeline/verdict.py": "when a release was made",
    "flows/pipeline/workspace.py": "how long what a killed run left is kept; whether it was killed, a lock says",
    "flows/machine/identity.py": "whether a waiver still holds",
    "validators/release/attestation_files.py": "when an attestation was made",
}


def readings(root):
    """Files that read the wall clock."""
    files = [file for layer in LAYERS for file in sorted((root / layer).rglob("*.py"))]
    return {
        file.relative_to(root).as_posix()
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node).removeprefix("datetime.datetime") in WALL
    }


def test_the_wall_clock_is_read_only_where_a_date_is_meant():
    assert readings(ROOT) - set(ALLOWED) == set()


def test_a_reading_of_the_wall_clock_would_be_found(tmp_path):
    for layer in LAYERS:
        (tmp_path / layer).mkdir()
    (tmp_path / "flows" / "late.py").write_text("import time\nend = time.time() + 5\n")
    assert readings(tmp_path) == {"flows/late.py"}


def test_a_process_is_still_known_after_the_clock_has_jumped(tmp_path, monkeypatch):
    me = psutil.Process()
    (tmp_path / "server.pid").write_text(f"{me.pid} {local_server._began(me.pid)}")
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 0.0)
    assert local_server._running(tmp_path, "server") == me
    (tmp_path / "server.pid").write_text(f"{me.pid} {int(local_server._began(me.pid)) - 1}")  # another one had this pid
    assert local_server._running(tmp_path, "server") is None
