"""What the stages that export say when their job ends badly."""

from pathlib import Path

from exporters.jobs import Outcome
from exporters.source.admission import examine
from exporters.source.model_source import ModelSource
from flows.config.settings import Settings
from flows.pipeline.exports import AdmittedModel, Exports
from flows.pipeline.run import ReleaseRun
from flows.pipeline.workspace import Workspace

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.keras"


def test_a_lowering_that_broke_says_how(tmp_path):
    class Jobs:
        def run(self, job):
            message = f"{job.name} could not run: the fork server died\nand more"
            return Outcome(status="crashed", message=message, log=tmp_path / "log")

    workspace = Workspace(tmp_path / "digits.release")
    try:
        exports = Exports(Settings(model=DIGITS), Jobs(), workspace)
        run = ReleaseRun(Settings(model=DIGITS, output=tmp_path / "other.release"), lambda _: None)
        run._export = exports
        facts = examine(DIGITS)
        run._done.admission = AdmittedModel(facts=facts, source=ModelSource(path=DIGITS), samples=None)
        assert run._lower() == (False, "crashed: lowering could not run: the fork server died")
    finally:
        workspace.remove()
