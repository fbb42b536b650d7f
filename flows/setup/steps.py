"""Lists the steps of the set-up and does them."""

from flows.setup import browser_packages, chromium, converter, prefect_database
from flows.setup.step import Say, SetupStep, StepResult

STEPS: tuple[SetupStep, ...] = (converter.STEP, browser_packages.STEP, chromium.STEP, prefect_database.STEP)


def complete(say: Say) -> tuple[StepResult, ...]:
    """Does every step that this installation needs; one that fails does not stop the others.

    Args:
        say: takes a line before each piece of work that takes seconds.
    """
    return tuple(step.run(say) for step in STEPS)
