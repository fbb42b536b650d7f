"""The deployment of `validate` to a work pool: what is there is kept as long as it can be loaded."""

from types import SimpleNamespace

import pytest

from exporters.toolchain import versions
from flows.prefect import remote_cells

OURS = versions(["paritygate"])["paritygate"]
MODULE = "flows.prefect.validate.validate"


@pytest.mark.parametrize(
    ("version", "entrypoint", "made"),
    [(OURS, MODULE, 0), ("0.0.1", MODULE, 1), (OURS, "flows.validate.validate", 1)],
    ids=["ours", "another version", "a module that moved"],
)
def test_a_deployment_that_cannot_be_loaded_is_replaced(monkeypatch, version, entrypoint, made):
    applied = []

    def apply(deployment):  # a function, so that it is bound as a method
        applied.append(deployment)

    monkeypatch.setattr("flows.prefect.remote_cells.RunnerDeployment.apply", apply)
    there = SimpleNamespace(version=version, entrypoint=entrypoint)
    remote_cells._ensure_deployment(SimpleNamespace(read_deployment_by_name=lambda _: there), "cards")
    assert [deployment.entrypoint for deployment in applied] == [MODULE] * made
