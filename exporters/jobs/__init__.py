"""Isolation: every job in a process of its own, bounded, and its death a typed result.

The way of a job: a stage describes it as a `Job` (`job`), `Workers.run` (`supervisor`) waits for its turn and starts
it (`processes`) as a fork of the preloaded process (`fork_server`) or in a fresh interpreter, the child calls one
function and writes one answer (`child`), the supervisor watches the process tree (`process_tree`), passes on what it
writes (`log_tail`) and returns an `Outcome`. Requests and answers are records; `messages` turns them into JSON.
"""

from exporters.jobs.job import GIB, INFRASTRUCTURE, Answer, Attempt, Job, Limits, Outcome, Request
from exporters.jobs.supervisor import Preloaded, Workers

__all__ = [
    "GIB",
    "INFRASTRUCTURE",
    "Answer",
    "Attempt",
    "Job",
    "Limits",
    "Outcome",
    "Preloaded",
    "Request",
    "Workers",
]
