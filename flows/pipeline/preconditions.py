"""Refuses what cannot end in a release, before anything runs: files that are missing, cells that cannot run here."""

from pathlib import Path

from exporters.errors import BadInput
from exporters.source.readers.detection import exists
from exporters.source.readers.weights_with_architecture import builder_file
from flows.config.settings import Settings
from flows.machine.identity import today
from validators.runtimes.availability import missing
from validators.runtimes.registry import RUNTIMES


def refuse_unrunnable(settings: Settings) -> None:
    """Refuses, before anything runs, a required cell that cannot run here.

    Raises:
        BadInput: the policy demands what this machine lacks; names the cell and how to get it.
    """
    rows = {row.requirement: row for row in RUNTIMES}
    waived = {waiver.cell for waiver in settings.policy.waivers if today() <= waiver.until}
    for requirement in settings.required:
        if {str(requirement), str(requirement.of_format)} & waived:
            continue
        if lacking := missing(rows[requirement.of_format], gpu=settings.policy.gpu):
            raise BadInput(
                f"the policy requires `{requirement}`, which this machine cannot run: {lacking}",
                next_step="`paritygate doctor` shows what runs here; policy.required in release.toml names what must.",
            )


def refuse_absent(settings: Settings) -> None:
    """Refuses, before anything starts, settings that name a missing file; admission judges the contents.

    Raises:
        BadInput: the model, the samples or the metric's file do not exist.
    """
    metric = builder_file(settings.samples.metric or "")
    named = {"model": settings.model, "samples": settings.samples.path, "samples.metric": metric}
    for what, path in named.items():
        if path is not None and not (exists(path) if what == "model" else path.exists()):
            raise BadInput(f"{path}: no such file ({what})", next_step=f"Check the path; relative to {Path.cwd()}.")
