"""Every way a job can end becomes a typed outcome, and none of them leaves a process behind.

The fork servers here import next to nothing, so both ways to start a job are quick to test; one slow test has
the real one.
"""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from exporters.errors import BadInput, Broken, Cancelled, Limited
from exporters.jobs import GIB, Job, Limits, Workers, process_tree
from exporters.jobs.processes import ForkServer
from tests.exporters import jobs

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20


FORK_SERVERS = {"light": ("json",), "slow": ("tests.exporters.slow_import",), "broken": ("no_such_framework",)}


@pytest.fixture
def workers(tmp_path):
    with Workers(tmp_path, tmp_path, fork_servers=FORK_SERVERS) as started:
        yield started


@pytest.fixture(params=[None, "light"], ids=["fresh", "forked"])
def start(request, workers):
    """Runs one function of `tests/exporters/jobs.py`, in a fresh interpreter or as a fork."""

    def run(function, request_=None, *, name="job", **limits):
        job = Job(
            name=name,
            function=getattr(jobs, function),
            request=request_ or {},
            limits=Limits(**limits),
            fork_server=request.param,
        )
        return workers.run(job)

    return run


def job(function, name, *, fork_server=None, **request):
    return Job(name=name, function=getattr(jobs, function), request=request, fork_server=fork_server)


def eventually(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pids_in(path):
    """The pids a job wrote down, once they are all there."""
    return eventually(lambda: path.exists() and len(path.read_text().split()) == 2 and path.read_text().split())


def hanging(path):
    return [int(pid) for pid in pids_in(path)]


# How a job ends.


def test_a_job_that_succeeds_gives_its_answer_and_keeps_what_it_printed(start):
    outcome = start("echo", {"answer": [1, None, "ü"]})
    assert outcome.status == "ok"
    assert outcome.value == outcome.unwrap() == {"answer": [1, None, "ü"]}
    assert outcome.log.name == "job.log"
    assert set(outcome.log.read_text().split("\n")) >= {"said on stdout", "said on stderr"}


def test_what_a_library_prints_below_python_is_kept_too(start):
    assert "said in C on stdout\nsaid in C on stderr" in start("say_in_c").log.read_text()


def test_logs_of_two_runs_of_one_job_are_both_kept(start):
    start("echo")
    assert start("echo").log.read_text().count("said on stdout") == 2


@pytest.mark.parametrize(
    ("function", "status", "message", "error"),
    [
        ("bad", "bad input", "the input is bad", BadInput),
        ("limited", "limited", "the target lacks it", Limited),
        ("broken", "python error", "RuntimeError: the real message", Broken),
        ("refused_memory", "out of memory", "MemoryError: a whole tensor", Broken),
        ("segfault", "crashed", "job crashed (SIGSEGV)", Broken),
        ("no_json", "python error", "Unable to serialize unknown type: <class 'object'>", Broken),
        ("not_a_number", "crashed", "job ended with exit status 1 and no answer", Broken),
    ],
)
def test_an_end_that_is_not_an_answer_has_its_own_type_and_the_real_message(start, function, status, message, error):
    outcome = start(function)
    assert outcome.status == status
    assert message in outcome.message
    assert outcome.value is None
    with pytest.raises(error, match=re.escape(outcome.message)):
        outcome.unwrap()


def test_bad_input_keeps_its_next_step_and_a_limit_its_identifier(start):
    assert start("bad").next_step == "mend it"
    assert start("limited").limit == "some-limit"


@pytest.mark.parametrize(
    ("function", "kept"),
    [("broken", "raise RuntimeError("), ("no_json", "Unable to serialize unknown type")],
)
def test_the_log_says_where_it_broke(start, function, kept):
    assert kept in start(function).log.read_text()


def test_a_function_that_no_other_process_can_import_is_refused(workers):
    with pytest.raises(ValueError, match="valid is a function at the top of a module"):
        workers.run(Job(name="job", function=lambda request: request, request={}))


def test_a_function_without_types_is_refused(workers):
    with pytest.raises(ValueError, match="one annotated argument and an annotated result"):
        workers.run(Job(name="job", function=jobs.untyped, request={}))


def test_a_request_and_an_answer_are_records(workers):
    request = jobs.Pair(left=Path("a"), right=(1, None))
    assert workers.run(Job(name="job", function=jobs.swap, request=request)).unwrap() == request


def test_a_number_that_json_has_no_word_for_is_refused(workers):
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        workers.run(Job(name="job", function=jobs.echo, request={"x": float("nan")}))


def test_an_exit_without_an_answer_is_a_crash_even_with_status_zero(start):
    assert start("leave", {"status": 0}).message == "job ended with exit status 0 and no answer"
    assert start("leave", {"status": 7}).message == "job ended with exit status 7 and no answer"


def test_the_answer_of_an_earlier_job_of_the_same_name_is_not_taken_for_the_crashed_one(start):
    assert start("echo").status == "ok"
    assert start("segfault").status == "crashed"


def test_a_job_killed_from_outside_names_the_signal(start, tmp_path):
    with ThreadPoolExecutor() as pool:
        running = pool.submit(start, "hang", {"pids": str(tmp_path / "pids")})
        child, grandchild = hanging(tmp_path / "pids")
        os.kill(child, signal.SIGKILL)
        outcome = running.result(5)
    os.kill(grandchild, signal.SIGKILL)  # nobody can end it with its parent when that is killed from outside
    assert outcome.status == "crashed"
    assert outcome.message == "job crashed (SIGKILL) (possibly the system's out-of-memory killer)"


def test_a_job_that_hangs_is_killed_at_its_bound_together_with_what_it_started(start, tmp_path):
    outcome = start("hang", {"pids": str(tmp_path / "pids")}, seconds=3.0)
    assert outcome.status == "timeout"
    assert outcome.message == "job was still running after 3 s and was killed"
    assert "limits.seconds" in outcome.next_step
    assert eventually(lambda: all(gone(pid) for pid in hanging(tmp_path / "pids")))


def test_a_job_that_eats_memory_is_killed_at_its_bound(start):
    outcome = start("eat", memory=400 * MIB)
    assert outcome.status == "out of memory"
    assert "more than its bound of 0.4 GiB" in outcome.message
    assert "limits.memory_gib" in outcome.next_step
    assert outcome.peak_memory > 400 * MIB


def test_the_memory_of_a_job_is_measured(start):
    outcome = start("allocate", {"bytes": 300 * MIB, "seconds": 0.5})
    assert 300 * MIB < outcome.peak_memory < 450 * MIB
    assert outcome.seconds >= 0.5


def test_memory_that_processes_share_counts_once(start):
    outcome = start("share", {"bytes": 200 * MIB, "seconds": 1.0}, memory=400 * MIB)
    assert outcome.status == "ok", outcome.message
    assert outcome.peak_memory < 400 * MIB


def test_the_cheap_sum_answers_only_where_it_is_within_the_bound():
    own = process_tree.MemoryMeter().read([os.getpid()])
    resident = psutil.Process().memory_info().rss
    assert own < resident
    assert process_tree.MemoryMeter(typical=2 * resident, bound=3 * resident).read([os.getpid()]) >= own
    assert process_tree.MemoryMeter(typical=2 * resident, bound=1).read([os.getpid()]) < resident


def test_shares_are_asked_for_again_where_memory_grew_or_the_bound_is_near(monkeypatch):
    meter = process_tree.MemoryMeter(typical=10, bound=100)
    monkeypatch.setattr(process_tree, "members", lambda pid: [pid])

    def read(resident, share):
        monkeypatch.setattr(process_tree, "_resident", lambda _: resident)
        monkeypatch.setattr(process_tree, "_proportional", lambda _: share)
        return meter.read([1])

    assert read(9, 5) == 9
    assert read(50, 20) == 20
    assert read(54, 24) == 20
    assert read(40, 19) == 20
    assert read(56, 26) == 26
    assert read(98, 40) == 40
    assert read(99, 99) == 40
    assert read(101, 99) == 99
    assert read(102, 101) == 101


# The two ways to start a job.


def test_no_job_sees_a_gpu_or_another_backend_than_tensorflow(start, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    seen = start("environment").value
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["KERAS_BACKEND"]) == ("-1", "tensorflow")


def test_forks_have_one_parent_and_fresh_interpreters_have_us(workers):
    forked = [workers.run(job("family", f"fork{i}", fork_server="light")).value for i in range(2)]
    fresh = workers.run(job("family", "fresh")).value
    assert forked[0][1] == forked[1][1] != os.getpid()
    assert len({pid for pid, _ in forked}) == 2
    assert fresh[1] == os.getpid()


def test_where_forking_is_not_safe_a_preloaded_job_gets_an_interpreter_of_its_own(workers, monkeypatch):
    monkeypatch.setattr("exporters.jobs.supervisor.FORK_IS_SAFE", False)
    assert workers.run(job("family", "job", fork_server="light")).value[1] == os.getpid()


def test_a_crash_of_one_fork_does_not_disturb_its_sibling(workers):
    with ThreadPoolExecutor() as pool:
        server = workers.run(job("family", "before", fork_server="light")).value[1]
        sibling = pool.submit(workers.run, job("nap", "sibling", fork_server="light", seconds=1.0))
        assert workers.run(job("segfault", "crash", fork_server="light")).status == "crashed"
        assert not sibling.done()
        assert sibling.result(5).status == "ok"
    assert workers.run(job("family", "after", fork_server="light")).value[1] == server


def test_the_preloaded_process_dying_is_a_typed_end_and_the_next_job_gets_a_new_one(workers, tmp_path):
    server = workers.run(job("family", "before", fork_server="light")).value[1]
    with ThreadPoolExecutor() as pool:
        running = pool.submit(workers.run, job("hang", "hang", fork_server="light", pids=str(tmp_path / "pids")))
        child, grandchild = hanging(tmp_path / "pids")
        os.kill(server, signal.SIGKILL)
        outcome = running.result(5)
    os.kill(grandchild, signal.SIGKILL)
    assert outcome.status == "crashed"
    assert outcome.message == "hang could not run: the fork server died"
    assert eventually(lambda: gone(child))
    after = workers.run(job("family", "after", fork_server="light"))
    assert after.status == "ok"
    assert after.value[1] != server


def test_a_task_for_a_dead_fork_server_ends_at_once(tmp_path):
    server = ForkServer(("json",), tmp_path / "server.log")
    os.kill(server._process.pid, signal.SIGKILL)
    server._process.wait()
    child = server.fork("tests.exporters.jobs:echo", tmp_path / "request", tmp_path / "result", tmp_path / "log")
    assert child.ended.wait(5)
    assert "the fork server" in child.failure
    server.close()


def test_a_task_written_to_a_dying_fork_server_ends_too(tmp_path, monkeypatch):
    """A dying process may close its stdin after its stdout; here a child of its own keeps it open."""
    dies = "import os\nif os.fork():\n    os.abort()\nos.closerange(1, 50)\nos.read(0, 1)\nos._exit(0)\n"
    (tmp_path / "dies_slowly.py").write_text(dies)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = set(threading.enumerate())
    server = ForkServer(("dies_slowly",), tmp_path / "server.log")
    for listener in set(threading.enumerate()) - before:
        listener.join(30)
    child = server.fork("tests.exporters.jobs:echo", tmp_path / "request", tmp_path / "result", tmp_path / "log")
    assert child.ended.wait(10)
    assert child.failure == "the fork server died"
    server.close()


def test_an_import_that_fails_in_the_preloaded_process_is_named(workers):
    outcome = workers.run(job("echo", "job", fork_server="broken"))
    assert outcome.status == "crashed"
    assert "No module named 'no_such_framework'" in outcome.message


def test_a_job_given_up_before_its_fork_never_runs_unwatched(workers, tmp_path):
    hurried = Job(
        name="job",
        function=jobs.nap,
        request={"seconds": 0.5, "mark": str(tmp_path / "mark")},
        limits=Limits(seconds=0.3),
        fork_server="slow",
    )
    assert workers.run(hurried).status == "timeout"
    assert workers.run(job("nap", "next", fork_server="slow", seconds=1.0)).status == "ok"
    assert not (tmp_path / "mark").exists()


@pytest.mark.slow
def test_tensorflow_is_imported_once_for_many_jobs(bench):
    versions = [bench.call("tests.exporters.jobs:tf_version", {}) for _ in range(2)]
    families = [bench.call("tests.exporters.jobs:family", {}) for _ in range(2)]
    began = time.monotonic()
    bench.call("tests.exporters.jobs:tf_version", {})
    assert time.monotonic() - began < 4  # an import takes 6 to 14 s
    assert versions[0] == versions[1] >= "2.21"
    assert families[0][1] == families[1][1]


# Taking turns.


def overlap(a, b):
    return min(a[1], b[1]) - max(a[0], b[0]) > 0


def naps(workers, count=2):
    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(workers.run, job("nap", f"nap{i}", seconds=0.5)) for i in range(count)]
        return [running.result(20).value for running in asked]


@pytest.mark.parametrize(
    ("bounds", "together"),
    [
        ({"cores": 2, "memory": 8 * GIB}, True),
        ({"cores": 1, "memory": 8 * GIB}, False),
        ({"cores": 2, "memory": GIB * 3 // 2}, False),  # one job reserves 1 GiB
        ({"cores": 2, "memory": 1}, False),
    ],
    ids=["room for two", "one core", "memory for one", "larger than the budget"],
)
def test_jobs_run_side_by_side_as_far_as_cores_and_memory_go_and_one_always_runs(tmp_path, bounds, together):
    with Workers(tmp_path, tmp_path, **bounds) as workers:
        first, second = naps(workers)
    assert overlap(first, second) == together


def test_a_job_that_has_grown_keeps_the_next_one_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr("exporters.jobs.supervisor._TYPICAL_MEMORY", 50 * MIB)
    with Workers(tmp_path, tmp_path, cores=4, memory=250 * MIB) as workers, ThreadPoolExecutor() as pool:
        large = pool.submit(workers.run, job("allocate", "large", bytes=300 * MIB, seconds=4.0))
        assert eventually(lambda: workers._memory_held.get("large", 0) > 250 * MIB)
        assert workers.run(job("nap", "small", seconds=0)).status == "ok"
        assert large.done()
        assert large.result().status == "ok"


def test_a_job_with_priority_runs_before_older_ones(tmp_path):
    ended = []
    with Workers(tmp_path, tmp_path, cores=1) as workers, ThreadPoolExecutor() as pool:

        def run(name, **how):
            workers.run(replace(job("nap", name, seconds=0.5), **how))
            ended.append(name)

        for name, how in (("running", {}), ("first", {}), ("second", {}), ("prior", {"priority": True})):
            pool.submit(run, name, **how)
            assert eventually(lambda asked=name: asked in {*workers._running, *(job.name for job in workers._queue)})
    assert ended == ["running", "prior", "first", "second"]


def test_two_running_jobs_of_one_name_would_share_files_and_are_refused(workers):
    with ThreadPoolExecutor() as pool:
        first = pool.submit(workers.run, job("nap", "same", seconds=0.5))
        time.sleep(0.1)
        with pytest.raises(ValueError, match="a job named same is already running"):
            workers.run(job("nap", "same", seconds=0))
        assert first.result(5).status == "ok"


# The end of a run.


def test_closing_cancels_running_and_waiting_jobs_promptly_and_leaves_no_process(tmp_path):
    with Workers(tmp_path, tmp_path, fork_servers=FORK_SERVERS, cores=2) as workers, ThreadPoolExecutor(6) as pool:
        forked = pool.submit(workers.run, job("hang", "forked", fork_server="light", pids=str(tmp_path / "forked")))
        fresh = pool.submit(workers.run, job("hang", "fresh", pids=str(tmp_path / "fresh")))
        pids = hanging(tmp_path / "forked") + hanging(tmp_path / "fresh")
        server = psutil.Process(pids[0]).ppid()
        waiting = [pool.submit(workers.run, job("nap", f"waiting{i}", seconds=60)) for i in range(2)]
        began = time.monotonic()
        threading.Thread(target=workers.close).start()
        outcomes = [running.result(10) for running in (forked, fresh, *waiting)]
        assert time.monotonic() - began < 3
        late = workers.run(job("echo", "late"))
    assert {outcome.status for outcome in (*outcomes, late)} == {"cancelled"}
    with pytest.raises(Cancelled, match="the run is ending"):
        late.unwrap()
    assert eventually(lambda: all(gone(pid) for pid in (*pids, server)))


def test_closing_while_the_preloaded_process_still_imports_cancels_at_once(workers):
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(workers.run, job("echo", "job", fork_server="slow"))
        time.sleep(0.2)
        workers.close()
        assert asked.result(1).status == "cancelled"


SUPERVISOR = """
import sys, threading, time
from pathlib import Path
from exporters.jobs import Job, Workers
from tests.exporters import jobs

folder = Path(sys.argv[1])
running = Workers(folder, folder, fork_servers={"light": ("json",)}, cores=3)
for name, server in (("forked", "light"), ("fresh", None)):
    job = Job(name=name, function=jobs.nap, request={"seconds": 600}, fork_server=server)
    threading.Thread(target=running.run, args=(job,)).start()
time.sleep(600)
"""


def test_a_supervisor_killed_with_sigkill_leaves_no_process(tmp_path):
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path)], cwd=ROOT)

    def family():
        return psutil.Process(supervisor.pid).children(recursive=True)

    started = eventually(lambda: len(family()) == 3 and family(), 10)  # fork server, its fork, interpreter
    supervisor.kill()
    supervisor.wait()
    assert started
    assert eventually(lambda: all(gone(process.pid) for process in started))


def test_a_job_whose_supervisor_died_while_its_interpreter_started_ends_itself(tmp_path):
    stranger = str(os.getpid() + 1)
    command = [sys.executable, "-m", "exporters.jobs.child", "platform:system", "request", "result", stranger]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL


def test_a_request_is_json_on_disk_so_that_a_job_can_be_repeated_by_hand(workers, tmp_path):
    workers.run(job("echo", "job", answer=42))
    assert json.loads((tmp_path / "job.request.json").read_text()) == {"answer": 42}


@pytest.mark.parametrize("error", [Limited("a", limit="b", next_step="c"), BadInput("a", next_step="c"), Broken("a")])
def test_an_error_crosses_a_pool_of_processes_as_it_was(error):
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(back), back.args, vars(back)) == (type(error), error.args, vars(error))
