"""What infrastructure ended is done again, as often as was asked and no more; everything else is final."""

import pytest

from exporters.jobs import Job, Limits, Workers
from exporters.jobs.log_follower import MOST_LINES, LogFollower
from tests.exporters import jobs

LIGHT = {"light": ("json",)}


@pytest.fixture
def heard():
    return []


@pytest.fixture
def workers(tmp_path, heard):
    with Workers(tmp_path, tmp_path, fork_servers=LIGHT, on_line=heard.append) as started:
        yield started


def run(workers, function, *, retries, seconds=60.0, **request):
    job = Job(
        name="job",
        function=getattr(jobs, function),
        request=request,
        limits=Limits(seconds=seconds),
        fork_server="light",
        retries=retries,
    )
    return workers.run(job)


def test_a_job_whose_process_died_once_succeeds_and_the_attempt_is_recorded(workers, heard, tmp_path):
    outcome = run(workers, "dies_once", retries=1, mark=str(tmp_path / "mark"))
    assert (outcome.status, outcome.value) == ("ok", "second")
    (attempt,) = workers.retried
    assert (attempt.job, attempt.status) == ("job", "crashed")
    assert "SIGKILL" in attempt.message
    assert any(line.startswith("WARNING:paritygate:crashed: ") and "done again" in line for line in heard)


def test_a_job_that_always_dies_ends_after_the_attempts_that_were_asked_for(workers):
    assert run(workers, "segfault", retries=2).status == "crashed"
    assert [attempt.status for attempt in workers.retried] == ["crashed", "crashed"]


def test_a_job_that_runs_out_of_time_is_done_again(workers):
    assert run(workers, "hang", retries=1, seconds=0.3).status == "timeout"
    assert [attempt.status for attempt in workers.retried] == ["timeout"]


@pytest.mark.parametrize("function", ["bad", "limited", "broken", "echo"])
def test_what_a_job_answered_is_final(workers, function):
    run(workers, function, retries=3)
    assert workers.retried == []


def test_every_line_of_a_job_is_heard_while_it_runs_and_the_last_one_at_its_end(workers, heard):
    assert run(workers, "says", retries=0).status == "ok"
    assert heard == ["on stdout", "INFO:tests.says:a logger's word", "WARNING:tests.says:and another", "no end of line"]


def test_a_tail_begins_where_the_file_ended_and_keeps_half_a_line_back(tmp_path):
    path = tmp_path / "log"
    assert LogFollower(path).lines() == []
    path.write_bytes(b"old\n")
    follower = LogFollower(path)
    with path.open("ab", buffering=0) as stream:
        stream.write(b"one\n\ntw")
        assert follower.lines() == ["one"]
        stream.write(b"o \x1b[31mred\x1b[0m\r\n\xff")
        assert follower.lines() == ["two red"]
    assert follower.rest() == ["\N{REPLACEMENT CHARACTER}"]
    assert follower.rest() == []


def test_what_could_steer_a_terminal_is_not_passed_on(tmp_path):
    path = tmp_path / "log"
    follower = LogFollower(path)
    path.write_text("a\tb \x9b31mred\x9b0m\x85 \x9d0;title\x9c \x1b]0;title\x07 \x7f\x80\x9fé\n", "utf-8")
    assert follower.lines() == ["a\tb red 0;title ]0;title é"]


def test_a_flood_is_cut_and_the_log_is_named(tmp_path):
    path = tmp_path / "job.log"
    follower = LogFollower(path)
    path.write_text("line\n" * (MOST_LINES + 5))
    lines = follower.lines()
    assert len(lines) == MOST_LINES + 1
    assert "job.log" in lines[-1]
    path.write_text("line\n" * (MOST_LINES + 50))
    assert follower.lines() == follower.rest() == []
