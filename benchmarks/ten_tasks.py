"""Runs a Prefect flow of ten empty tasks, to measure the cost of Prefect; `stock.py` times it."""

from prefect import flow, task  # noqa: TID251 - Prefect itself is measured here


@task
def nothing(number: int) -> int:
    """Returns what it is given."""
    return number


@flow
def ten_tasks() -> None:
    """Submits ten tasks and waits for them."""
    for future in [nothing.submit(number) for number in range(10)]:
        future.result()


if __name__ == "__main__":
    ten_tasks()
