import io

import factory
from rich.console import Console

from validators.contract import Placement
from validators.report.cell_table import table
from validators.report.view.matrix import line

ENDING = "the very last words"


def said(*lines, width):
    console = Console(width=width, file=io.StringIO())
    console.print(table(lines, console))
    return console.file.getvalue()


def test_what_happened_on_another_machine_is_folded_and_never_cut():
    cell = factory.failed_cell(message=f"one of many elements is far from the reference, {ENDING}")
    text = said(line(factory.cell(), factory.SAMPLES), line(cell, factory.SAMPLES, "box7"), width=80)
    assert " ".join(text.split()).endswith("last words")
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_on_this_machine_a_cell_has_one_line_that_is_cut():
    place = Placement(device="cpu", runtime="made up 1.0", adapter=f"{'a' * 90} {ENDING}")
    text = said(line(factory.cell(placement=place), factory.SAMPLES), width=80)
    assert len(text.splitlines()) == 1
    assert text.rstrip().endswith("…")
