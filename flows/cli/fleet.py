"""`paritygate fleet`: releases a folder of models on the workers of a Prefect server."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from exporters.errors import BadInput
from flows.cli.app import app
from flows.cli.options import Json
from flows.cli.output import console, print_record, safe

_EXAMPLES = """Examples:
  paritygate fleet models/ -o releases
      Release every model below models/ on all workers.
  paritygate fleet "models/**/best*.keras" -o releases --config release.toml
      Release the files that match, under one configuration.
  paritygate fleet s3://bucket/models -o releases --storage s3://bucket/inbox
      Take models from a bucket; workers fetch them from the inbox.
"""


@app.command(help_epilogue=_EXAMPLES)
def fleet(  # noqa: PLR0913 - one parameter for every flag
    models: Annotated[str, Parameter(help="A folder, a pattern ('models/**/best*.keras'), or either in a bucket.")],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Folder of the releases, as the workers see it.")],
    config: Annotated[Path | None, Parameter(help="release.toml, the same for every model.")] = None,
    storage: Annotated[
        str | None,
        Parameter(help="Folder or bucket (s3://...) to upload to; default: the workers see the same paths."),
    ] = None,
    at_once: Annotated[int, Parameter(help="How many models are submitted at a time; about twice the workers.")] = 8,
    deployment: Annotated[str, Parameter(help="FLOW/NAME of the deployment that runs them.")] = "release/fleet",
    as_json: Json = False,
) -> int:
    """Release many models on the workers of a Prefect server.

    PREFECT_API_URL names the server. Each release is called
    NAME-DIGEST8.release. A model that is released already under the same
    settings is skipped, so the same command continues after an interruption.
    Exit code 0: all are released; 1: some are refused; 2: some cannot be
    read; 3: something broke.
    """
    from flows.config.settings import Terms, load_settings
    from flows.prefect import server

    if not os.environ.get("PREFECT_API_URL"):
        raise BadInput(
            "PREFECT_API_URL names no Prefect server",
            next_step="`paritygate server start` starts one here; `paritygate sweep` needs none.",
        )
    if at_once < 1:
        raise BadInput(f"--at-once {at_once}: valid is at least 1")
    settings = load_settings(config, {"model": models})
    terms = Terms.model_validate(settings.model_dump(include=set(Terms.model_fields)))
    with server.api():
        with server.importing():
            from flows.batch.fleet import FleetOptions, fleet_in_prefect
        how = FleetOptions(releases=output, terms=terms, at_once=at_once, storage=storage, deployment=deployment)
        done = fleet_in_prefect(models, how)
    if as_json:
        print_record(done)
    else:
        for each in done.models:
            console().print(safe(f"{each.state:10}  {each.model}  {each.message}"), markup=False, soft_wrap=True)
    return done.exit_code
