"""Runs every job in its own bounded process, and turns the end of that process into a typed result.

The way of a job:

* A stage describes it as a `Job` (`job`). `Workers.run` (`supervisor`) waits until there is room for it.
* `processes` starts it: as a fork of a process with the heavy imports (`fork_server`), or in a fresh interpreter.
* The child calls one function and writes one answer (`child`).
* The supervisor watches the process tree (`process_tree`), passes on each line of the log (`log_follower`) and returns
  an `Outcome`.

Requests and answers are records; `messages` turns them into JSON.
"""

from exporters.jobs.job import GIB, INFRASTRUCTURE, Answer, Attempt, Job, Limits, Outcome, Request
from exporters.jobs.supervisor import ForkServers, Workers

__all__ = [
    "GIB",
    "INFRASTRUCTURE",
    "Answer",
    "Attempt",
    "ForkServers",
    "Job",
    "Limits",
    "Outcome",
    "Request",
    "Workers",
]
