"""Isolation: every job in a process of its own, bounded, and its death a typed result.

The way of a job: a stage describes it as a `Job` (`outcome`), `Workers.run` (`workers`) waits for its turn and starts
it (`launch`) as a fork of the preloaded process (`host`) or in a fresh interpreter, the child calls one
function and writes one answer (`job`), the supervisor watches the process tree (`tree`), passes on what it writes
(`tail`) and returns an `Outcome`.
"""

from exporters.jobs.job import GIB, INFRASTRUCTURE, Attempt, Job, Limits, Outcome
from exporters.jobs.supervisor import Preloaded, Workers

__all__ = ["GIB", "INFRASTRUCTURE", "Attempt", "Job", "Limits", "Outcome", "Preloaded", "Workers"]
