"""A Prefect flow of ten tasks that do nothing: what Prefect alone costs a run. Timed by `stock.py`."""

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
