"""Waits for what another run holds: they are told while they last, and so is their end."""

import threading
import time
from types import SimpleNamespace

import pytest

from exporters.errors import Cancelled
from flows.config.settings import Settings
from flows.pipeline import cells
from flows.pipeline.stages import Stage, StagePlan, stages_of
from flows.prefect import gpu_concurrency
from flows.progress.events import StageOutcome, perform, waiting
from validators.hardware.graphics_cards import Card, card_lock
from validators.runtimes.registry import runtime


def told(events):
    return [(event.state, event.message) for event in events]


def test_a_cell_that_waits_for_a_card_says_so_and_says_when_its_turn_has_come(monkeypatch, tmp_path):
    card = Card(uuid=f"GPU-{tmp_path.name}-{time.monotonic_ns()}", name="A card", driver="1")
    monkeypatch.setattr(cells, "cards", lambda: (card,))
    monkeypatch.setattr(cells, "card_lock", lambda *args, **more: card_lock(*args, folder=tmp_path, **more))
    workers = SimpleNamespace(closing=False)
    ours = cells.Cells(workers, None, tmp_path, policy=Settings(model="m.keras").record)
    events, waits = [], threading.Event()

    def listen(event):
        events.append(event)
        if event.state == "waiting":
            waits.set()

    def work():
        with ours._card(runtime("onnxruntime", "gpu")):
            return StageOutcome(True, "equal")

    thread = threading.Thread(target=perform, args=("cell", work), kwargs={"total": 1, "listen": listen})
    with card_lock(card, say=pytest.fail, folder=tmp_path):
        thread.start()
        assert waits.wait(10)
    thread.join(30)
    states = told(events)
    assert [state for state, _ in states] == ["started", "waiting", "waiting", "passed"]
    assert states[1][1].startswith("A card is in use; waits until it is free")
    assert states[2][1] == ""


def test_outside_of_a_stage_a_wait_is_told_to_nobody():
    events = []
    perform("cell", lambda: StageOutcome(True, ""), total=1, listen=events.append)
    waiting("for nothing")
    assert told(events) == [("started", ""), ("passed", "")]


@pytest.fixture
def busy(monkeypatch):
    """A server on which a slot becomes free at the third look."""
    looks = [False, False, True]
    monkeypatch.setattr(gpu_concurrency, "is_embedded", lambda: False)
    monkeypatch.setattr(gpu_concurrency, "cards", lambda: (Card(uuid="GPU-1", name="A card", driver="1"),))
    monkeypatch.setattr(gpu_concurrency, "_is_free", lambda count: looks.pop(0))
    monkeypatch.setattr(gpu_concurrency, "_taken", lambda held: True)
    monkeypatch.setattr(gpu_concurrency, "_POLL_SECONDS", 0.01)


def test_a_cell_that_waits_for_a_slot_says_so_once(busy):
    events = []
    plan = StagePlan(name="cell onnx/default a gpu", work=lambda: StageOutcome(True, ""), device="gpu")
    (stage,) = stages_of([plan], events.append)
    with gpu_concurrency.gpu_slot(stage, threading.Event()):
        stage.run()
    assert [state for state, _ in told(events)] == ["waiting", "started", "passed"]
    assert gpu_concurrency.LIMIT in events[0].message
    assert (events[0].stage, events[0].total) == (stage.name, 1)


@pytest.mark.parametrize("device", ["cpu", None])
def test_what_is_no_gpu_cell_waits_for_no_slot_whatever_its_name(busy, device):
    stage = Stage(name="cell of a gpu", needs=(), run=lambda: None, device=device, waits=pytest.fail)
    with gpu_concurrency.gpu_slot(stage, threading.Event()):
        pass


def test_a_wait_for_a_slot_ends_with_the_run(busy):
    stopping = threading.Event()
    stopping.set()
    stage = Stage(name="cell", needs=(), run=lambda: None, device="gpu")
    with pytest.raises(Cancelled), gpu_concurrency.gpu_slot(stage, stopping):
        pytest.fail("it has no slot")
