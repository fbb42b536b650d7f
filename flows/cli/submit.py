"""`paritygate submit`: releases a model on a Prefect server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from exporters.errors import BadInput
from flows.cli.app import app
from flows.cli.options import Flags, Json
from flows.cli.output import console, print_record, safe

_EXAMPLES = """Examples:
  paritygate submit model.keras --wait
      Release it on a worker; end with the verdict's exit code.
  paritygate submit model.keras --samples held_out.npz --storage s3://b/inbox
      Upload model and samples for workers that do not see these paths.
"""


@app.command(help_epilogue=_EXAMPLES)
def submit(  # noqa: PLR0913 - one parameter for every flag
    model: Annotated[str, Parameter(help="The trained model file; with --storage also a file in a bucket (s3://...).")],
    /,
    *,
    output: Annotated[
        Path | None,
        Parameter(name=["--output", "-o"], help="Release directory; default: the deployment's folder of releases."),
    ] = None,
    flags: Flags = Flags(),  # noqa: B008 - frozen
    storage: Annotated[
        str | None,
        Parameter(help="Folder or bucket (s3://...) to upload to; default: the workers see the same paths."),
    ] = None,
    deployment: Annotated[str, Parameter(help="FLOW/NAME of the deployment that runs it.")] = "release/manual",
    wait: Annotated[bool, Parameter(negative=(), help="Wait for the run; end with the verdict's exit code.")] = False,
    as_json: Json = False,
) -> int:
    """Release a model on the Prefect server of PREFECT_API_URL.

    The same files under the same settings are one run, however often they are
    submitted. Without --wait the exit code is 0 once the server has the run.
    """
    import os

    from flows.prefect import server

    if not os.environ.get("PREFECT_API_URL"):
        raise BadInput(
            "PREFECT_API_URL names no Prefect server",
            next_step="`paritygate server start` starts one here; `paritygate release` needs none.",
        )
    with server.api():
        with _at_hand(model, storage) as file:
            settings = flags.settings(file, output)
            with server.importing():
                from flows.prefect import submit
            done = submit.submit(settings, storage=storage, deployment=deployment)
        progress = console(stderr=True)
        progress.print(safe(f"{done.name}: {done.state}  {done.url}"), markup=False, soft_wrap=True)
        if wait:
            say = lambda now: progress.print(safe(f"{now.name}: {now.state}"), markup=False, soft_wrap=True)  # noqa: E731
            done = submit.follow(done, say)
    if as_json:
        print_record(done)
    else:
        console().print(safe(f"{done.state} {done.message}".strip()), markup=False, soft_wrap=True)
    return done.exit_code


@contextmanager
def _at_hand(model: str, storage: str | None) -> Iterator[Path]:
    """Yields the model as a local file, for its digest and its upload.

    Raises:
        BadInput: it is in a bucket and no storage to upload it to was named; or the bucket cannot be read.
        Broken: the bucket does not answer.
    """
    if "://" not in model:
        yield Path(model)
        return
    if storage is None:
        raise BadInput(
            f"{model}: a model in a bucket is handed over through storage, and none was given",
            next_step=f"Add --storage, a folder of your own in a bucket that the workers reach: {model}, its samples "
            "and its code are put there under their digest.",
        )
    from flows.prefect.storage import fetched, opened

    with fetched(*opened(model)) as file:
        yield file
