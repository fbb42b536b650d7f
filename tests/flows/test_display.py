"""Progress: plain lines in a log, a live list on a terminal, and no text that can steer one."""

import io

from rich.console import Console

from flows.progress.display import Board, Lines, shown
from flows.progress.events import Event


def event(stage="export onnx/default", state="passed", message="0.11 MB", **more):
    return Event(stage=stage, state=state, message=message, seconds=1.5, total=4, **more)


def console(*, terminal=False, width=100):
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def test_a_log_gets_one_line_for_each_ended_stage():
    out = console()
    with shown(out) as listen:
        listen(event(state="started", message=""))
        listen(event())
        listen(event(stage="cell onnx/default onnxruntime cpu", state="failed", message="tolerance exceeded"))
        listen(event(stage="cell onnx/default onnxruntime gpu", state="unable", message="unavailable: no card"))
    first, second, third = out.file.getvalue().splitlines()
    assert first.endswith("s  done    export onnx/default  0.11 MB")
    assert second.endswith("s  FAILED  cell onnx/default onnxruntime cpu  tolerance exceeded")
    assert third.endswith("s  unable  cell onnx/default onnxruntime gpu  unavailable: no card")


def test_a_long_message_stays_on_one_line_and_markup_in_it_is_text():
    out = console(width=40)
    Lines(out)(event(message="[red]" + "x" * 200 + "\x1b[2J\nnext"))
    (line,) = out.file.getvalue().splitlines()
    assert "[red]" in line
    assert "\x1b" not in line
    assert line.endswith("next")


def test_a_stage_that_was_only_stopped_says_nothing():
    out = console()
    Lines(out)(event(state="stopped", message="the run is ending"))
    assert not out.file.getvalue()


def test_the_live_list_shows_what_runs_what_ended_and_how_far_the_whole_is():
    out, board = console(terminal=True), Board()
    out.print(board)
    assert "starting" in out.file.getvalue()
    board(event(stage="admission", message="fine"))
    board(event(stage="cell onnx/default onnxruntime cpu", state="failed", message="tolerance exceeded"))
    board(event(stage="export tfjs/default", state="started", message=""))
    out.print(board)
    text = out.file.getvalue()
    assert "✓ admission" in text
    assert "✗ cell onnx/default onnxruntime cpu" in text
    assert "export tfjs/default" in text
    assert "2 of 4 stages, 1 cell done" in text


def test_the_live_list_vanishes_at_the_end():
    out = console(terminal=True)
    with shown(out) as listen:
        listen(event())
    assert out.file.getvalue().endswith(("\x1b[2K", "\x1b[1A\x1b[2K", "\x1b[?25h"))


def test_a_log_says_what_a_stage_waits_for_and_nothing_when_the_wait_is_over():
    out = console()
    lines = Lines(out)
    lines(event(state="waiting", message="A card is in use"))
    lines(event(state="waiting", message=""))
    (line,) = out.file.getvalue().splitlines()
    assert line.endswith("s  waits   export onnx/default  A card is in use")


def test_the_live_list_shows_a_wait_beside_the_stage_for_as_long_as_it_lasts():
    board = Board()

    def drawn():
        out = console(terminal=True)
        out.print(board)
        return out.file.getvalue()

    board(event(state="waiting", message="for a slot"))  # before its start
    assert "for a slot" in drawn()
    board(event(state="started", message=""))
    assert "for a slot" not in drawn()
    board(event(state="waiting", message="A card is in use"))
    assert "A card is in use" in drawn()
    board(event(state="waiting", message=""))
    text = drawn()
    assert "another run" not in text
    assert "export onnx/default" in text
    assert "0 of 4 stages" in text
