"""What the stages that export say when their job ends badly."""

from pathlib import Path

from exporters.jobs import Outcome
from flows.config.settings import Settings
from flows.pipeline.exports import Exports
from flows.pipeline.workspace import Workspace

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.keras"


def test_a_lowering_that_broke_says_how(tmp_path):
    class Jobs:
        def run(self, job):
            message = f"{job.name} could not run: the preloaded process died\nand more"
            return Outcome(status="crashed", message=message, log=tmp_path / "log")

    workspace = Workspace(tmp_path / "digits.release")
    try:
        exports = Exports(Settings(model=DIGITS), Jobs(), workspace)
        exports._model = DIGITS
        assert exports.lower() == "crashed: lowering could not run: the preloaded process died"
    finally:
        workspace.remove()
