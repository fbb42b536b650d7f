"""What docs/scaling.md says is what `tools/scaling.py` computes from the figures beside it."""

import json

from tools.scaling import DOCUMENT, RECORD, document, figures

FLEET = {
    "workers": 1,
    "models": 4,
    "seconds": 40.0,
    "cpu_seconds": 60.0,
    "peak_memory": 2 << 30,
    "release_bytes": 8_000_000,
    "database_bytes": 400_000,
}


def test_what_so_many_models_need_follows_from_one_of_them():
    need = figures({"fleets": [FLEET]}, 10_000)
    assert need["workers"] == "2"
    assert need["core hours a day"] == "41.7"
    assert need["releases kept 90 days, GB"] == "1,800.0"
    assert need["runs kept 30 days, database GB"] == "30.0"
    assert figures({"fleets": [FLEET]}, 1)["workers"] == "1"


def test_the_document_shows_every_fleet_and_names_the_measured_figures():
    two = {**FLEET, "workers": 2, "seconds": 25.0}
    text = document({"model": "m.keras", "machine": "2 cores", "fleets": [FLEET, two]})
    assert "| 2 | 4 | 25 | 576 | 1.60 |" in text
    assert "10.0 s of wall time, 15.0 s of CPU time, 2.00 MB of release, 100 kB" in " ".join(text.split())


def test_the_document_in_the_repository_is_the_one_of_the_figures_beside_it():
    assert DOCUMENT.exists() == RECORD.exists()
    assert not RECORD.exists() or DOCUMENT.read_text("utf-8") == document(json.loads(RECORD.read_text("utf-8")))
