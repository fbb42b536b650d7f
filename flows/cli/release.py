"""`paritygate release`: turns one model into a release directory."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from exporters.errors import BadInput, Broken
from exporters.jobs import ForkServers
from flows.cli.app import app
from flows.cli.options import Flags, Json
from flows.cli.output import console, print_bytes, print_record
from validators.preloads import TENSORFLOW, preloaded_modules

if TYPE_CHECKING:
    from flows.config.settings import Settings
    from flows.pipeline.run import ReleaseRun

_EXAMPLES = """Examples:
  paritygate release model.keras --samples held_out.npz
      Release to all formats, compared over your own inputs.
  paritygate release model.keras --formats onnx tflite/batch1 -o out
      Only these formats or variants, into out/.
  paritygate release model.keras --config release.toml --no-prefect --gpu off
      In CI: your policy, no server, no GPU cells.
  paritygate release model.keras --baseline last.release
      Refuse it also when it is larger, slower or less exact than the last.
"""


@app.command(help_epilogue=_EXAMPLES)
def release(
    model: Annotated[
        Path, Parameter(help="A `.keras` or `.h5` file, a SavedModel folder of Keras; weights with --architecture.")
    ],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Release directory; default NAME.release here.")
    ] = None,
    flags: Flags = Flags(),  # noqa: B008 - frozen
    no_prefect: Annotated[bool, Parameter(negative=(), help="Run the same stages without a Prefect server.")] = False,
    as_json: Json = False,
) -> int:
    """Export a model, run every copy, release it only if all agree.

    Runs as a Prefect flow on the server that PREFECT_API_URL names, else on
    an embedded one. Flags override release.toml. An existing release in the
    directory is replaced once the new one is finished. Exit code: 0 released,
    1 refused, 2 bad input, 3 broken.
    """
    with _importing() as fork_servers:
        settings = flags.settings(model, output)
        try:
            run = _released(settings, fork_servers, prefect=not no_prefect)
        except OSError as error:
            raise Broken(
                f"{settings.release_dir}: cannot be written: {error}",
                next_step="Check free space and permissions there.",
            ) from error
    manifest = run.manifest
    if manifest is None:
        raise Broken("the run ended without a verdict")
    if as_json and run.judged is None:
        print_bytes((settings.release_dir / "release.json").read_bytes())
    elif as_json:  # the exit code is the gate's, and release.json still awaits
        print_record(run.judged)
    else:
        from validators.report import terminal

        terminal.render(manifest, console(), release_dir=settings.release_dir, digest=run.digest)
    if run.judged is None:
        return manifest.verdict.exit_code
    if not as_json:
        from flows.review import gate

        out = console()
        out.print()
        gate.render(run.judged, out)
    return run.judged.verdict.exit_code


@contextmanager
def _importing() -> Iterator[ForkServers]:
    """Starts TensorFlow's import first: everything waits for it, and our own imports take half a second."""
    with (
        tempfile.TemporaryDirectory(prefix="paritygate-fork-servers-") as logs,
        closing(ForkServers(preloaded_modules(), Path(logs))) as fork_servers,
    ):
        fork_servers.get(TENSORFLOW)
        yield fork_servers


def _released(settings: "Settings", fork_servers: ForkServers, *, prefect: bool) -> "ReleaseRun":
    """Runs the release under Prefect or on threads; both engines get the same stages."""
    from importlib.util import find_spec

    from flows.pipeline.run import ReleaseRun, SharedResources
    from flows.pipeline.stages import run_on_threads
    from flows.progress.display import shown
    from validators.web.browser import BrowserHost

    if prefect and find_spec("prefect") is None:
        raise Broken(
            "Prefect is not installed", next_step="pip install 'paritygate[flow]', or --no-prefect to do without it."
        )
    _refuse_pool_out_of_reach(settings, prefect=prefect)
    with (
        shown(console(stderr=True)) as listen,
        BrowserHost() as browser,
        ReleaseRun(settings, listen, shared=SharedResources(fork_servers=fork_servers, browser=browser)) as run,
    ):
        run.warm_up()
        if not prefect:
            run.carry_out(run_on_threads)
            return run
        from flows.prefect import server

        with server.api():
            with server.importing():
                from flows.prefect.release import release_in_prefect
            release_in_prefect(run)
    return run


def _refuse_pool_out_of_reach(settings: "Settings", *, prefect: bool) -> None:
    """Refuses, before anything starts, a work pool whose workers cannot reach the server of this run."""
    import os

    if not settings.policy.gpu_pool or (prefect and os.environ.get("PREFECT_API_URL")):
        return
    why = (
        "PREFECT_API_URL is not set, and no worker reaches the embedded server" if prefect else "--no-prefect was given"
    )
    raise BadInput(
        f"policy.gpu_pool names the work pool {settings.policy.gpu_pool!r}, which needs a Prefect server: {why}",
        next_step="Set PREFECT_API_URL to the server of the pool; or leave policy.gpu_pool out, run `paritygate verify "
        "RELEASE_DIR --attest` on the other machine and then `paritygate gate RELEASE_DIR`.",
    )
