"""A job answers for the memory of processes that work for it without being its children."""

import subprocess
import sys

from exporters.jobs import GIB, Job, Limits, Workers
from tests.exporters import jobs

EATER = "import time; held = bytearray(300 << 20); print('full', flush=True); time.sleep(600)"


def test_a_companion_that_holds_too_much_ends_the_job_and_itself(tmp_path):
    companion = subprocess.Popen([sys.executable, "-c", EATER], stdout=subprocess.PIPE)
    assert companion.stdout.readline() == b"full\n"
    job = Job(
        name="cell",
        function=jobs.nap,
        request={"seconds": 30},
        limits=Limits(memory=GIB // 4),
        companions=(companion.pid,),
    )
    with Workers(tmp_path, tmp_path) as workers:
        outcome = workers.run(job)
    assert outcome.status == "out of memory"
    assert companion.wait(5) < 0
    companion.stdout.close()
