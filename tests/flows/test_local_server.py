"""The local installation, where its server does not come up; `tests/flows/test_postgres.py` has a whole one."""

import pytest

from exporters.errors import BadInput, Broken
from flows.deployment import bootstrap, local_server


def test_of_a_server_that_ended_as_it_started_the_last_lines_are_said(tmp_path, monkeypatch):
    program = tmp_path / "prefect"
    program.write_text("#!/bin/sh\nfor line in $(seq 30); do echo line $line; done\necho the database is away >&2\n")
    program.chmod(0o755)
    monkeypatch.setattr(local_server, "_PREFECT", str(program))
    monkeypatch.setattr(local_server, "_sqlite", lambda home: "sqlite://")
    home = tmp_path / "server"
    with pytest.raises(Broken, match="the Prefect server did not start\nline 17\n") as caught:
        local_server.start(home, 1)
    assert caught.value.message.endswith("line 30\nthe database is away")
    assert caught.value.next_step == f"less {home}/server.log"


def test_a_folder_with_a_package_of_our_name_is_refused_before_anything_is_deployed(tmp_path, monkeypatch):
    """Prefect puts the folder of a run first on `sys.path`."""
    monkeypatch.setenv("PARITYGATE_ROOT", str(tmp_path))
    (tmp_path / "flows").mkdir()
    assert bootstrap.root() == tmp_path  # without __init__.py it hides nothing
    (tmp_path / "flows" / "__init__.py").touch()
    with pytest.raises(BadInput, match="has a package `flows` of its own") as caught:
        bootstrap.root()
    assert "PARITYGATE_ROOT" in caught.value.next_step
