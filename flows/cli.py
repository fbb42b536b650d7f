"""The command line: `paritygate release | inspect | verify | doctor`.

In: arguments. Out: the result on stdout, progress and errors on stderr, and an exit code (see `_CODES`). Everything
heavy is imported inside the command that needs it, so that `--help` answers at once.
"""

import json
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import cyclopts
from cyclopts import App, Parameter

from exporters.errors import BadInput, Broken, Limited, ParitygateError
from exporters.registry import FORMATS

if TYPE_CHECKING:
    from rich.console import Console

    from flows.run import ReleaseRun
    from flows.settings import Settings

_EXAMPLES = """Examples (results go to model.release/ unless -o says otherwise):
  paritygate release model.keras --samples held_out.npz
  paritygate release model.keras --formats onnx tflite -o out
  paritygate release model.keras --config release.toml
  paritygate release model.keras --json --no-prefect   # in a CI gate
  paritygate verify model.release --digest SHA256
"""
_CODES = """Exit codes:
  0    released (verify: confirmed): every required cell passed
  1    refused: a required cell failed, is limited or unavailable,
       or a digest does not match
  2    bad input: model, samples, configuration or command line
       are at fault; nothing was run
  3    broken: an exporter, a runtime or the machine failed
  130  stopped by Ctrl-C, 143 by TERM; nothing is left behind
"""


def _version() -> str:
    from importlib.metadata import version

    return version("paritygate")


app = App(
    name="paritygate",
    help="Exports a trained Keras model to SavedModel, TF Lite, TF.js and ONNX, and releases it only when every copy "
    "provably computes the same thing.",
    version=_version,
    help_format="plaintext",
    help_epilogue=f"{_EXAMPLES}\n{_CODES}",
)
_Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON on stdout and nothing else.")]


class Interrupted(BaseException):
    """TERM or Ctrl-C. Not an Exception: nothing on the way to the top may take it for a failure of its own."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def main(arguments: list[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: without the program's name; the process's own when None.

    Returns:
        The exit code.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)
    try:
        return app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or 0
    except Interrupted as interruption:
        name = signal.Signals(interruption.signum).name
        sys.stderr.write(f"paritygate: stopped by {name}; no process and no unfinished release is left\n")
        return 128 + interruption.signum
    except cyclopts.CycloptsError as error:
        usage = BadInput(str(error).strip(), next_step="`paritygate --help` and `paritygate COMMAND --help` say more.")
        return _tell(usage, as_json=as_json)
    except ParitygateError as error:
        return _tell(error, as_json=as_json)
    except OSError as error:
        return _tell(Broken(str(error), next_step="Check free space and permissions."), as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the process boundary: a bug of ours, said so
        bug = Broken(
            f"this is a bug in paritygate: {type(error).__name__}: {error}",
            next_step="Please report it with the traceback, which stands on stderr.",
        )
        code = _tell(bug, as_json=as_json)
        traceback.print_exc()
        return code


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    del frame
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not break off the cleaning up
    raise Interrupted(signum)


def _tell(error: ParitygateError, *, as_json: bool) -> int:
    """Prints an error and returns its exit code."""
    code, kind = (2, "bad input") if isinstance(error, BadInput) else (3, "broken")
    if isinstance(error, Limited):
        code, kind = 1, "refused"
    if as_json:
        said = {"code": code, "kind": kind, "message": error.message, "next_step": error.next_step}
        _print_bytes(json.dumps({"error": said}, indent=1).encode() + b"\n")
    sys.stderr.write(f"paritygate: {kind}: {_safe(str(error))}\n")
    return code


def _safe(text: str) -> str:
    from validators.report.text import printable

    return printable(text)


@app.command
def release(  # noqa: PLR0913 - one parameter for every flag
    model: Annotated[Path, Parameter(help="The trained `.keras` file.")],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Release directory; default NAME.release here.")
    ] = None,
    config: Annotated[Path | None, Parameter(help="release.toml: policy, tolerances, limits, options.")] = None,
    samples: Annotated[
        Path | None, Parameter(help="`.npz` or folder of `.npy`, one array per input; default: seeded samples.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, negative=(), help=f"{', '.join(FORMATS)}; default: all."),
    ] = None,
    custom_objects: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            negative=(),
            help="Modules or `.py` files with the model's own layers; they run in the worker.",
        ),
    ] = None,
    trust_lambda: Annotated[
        bool | None, Parameter(negative=(), help="Let Lambda layers run the bytecode stored in the file.")
    ] = None,
    no_prefect: Annotated[bool, Parameter(negative=(), help="Run the same stages without a Prefect server.")] = False,
    as_json: _Json = False,
) -> int:
    """Export MODEL, run every copy against it, release it only if all agree.

    Runs as a Prefect flow on the server that PREFECT_API_URL names, else on
    an embedded one. Flags win over release.toml. An older release in the same
    directory makes way, to a finished one only.
    """
    from flows.settings import load_settings

    flags = {
        "model": model,
        "output": output,
        "samples": {"path": samples},
        "formats": formats,
        "custom_objects": custom_objects,
        "trust_lambda": trust_lambda,
    }
    settings = load_settings(config, flags)
    try:
        run = _released(settings, prefect=not no_prefect)
    except OSError as error:
        raise Broken(
            f"{settings.release_dir}: cannot be written: {error}", next_step="Check free space and permissions there."
        ) from error
    manifest = run.manifest
    if manifest is None:
        raise Broken("the run ended without a verdict")
    if as_json:
        _print_bytes((settings.release_dir / "release.json").read_bytes())
    else:
        from validators.report import terminal

        terminal.render(manifest, _console(), release_dir=settings.release_dir, digest=run.digest)
    return manifest.verdict.exit_code


def _released(settings: "Settings", *, prefect: bool) -> "ReleaseRun":
    """Runs the release under Prefect or on threads; both engines get the same stages."""
    from importlib.util import find_spec

    from flows.display import shown
    from flows.run import ReleaseRun
    from flows.stages import run_on_threads

    if prefect and find_spec("prefect") is None:
        raise Broken(
            "Prefect is not installed", next_step="pip install 'paritygate[flow]', or --no-prefect to do without it."
        )
    with shown(_console(stderr=True)) as listen, ReleaseRun(settings, listen) as run:
        run.warm_up()
        if not prefect:
            run_on_threads(run.stages(), cancel=run.cancel)
            return run
        from flows import prefect_home

        with prefect_home.api():
            with prefect_home.importing():
                from flows.release import release_in_prefect
            release_in_prefect(run)
    return run


@app.command
def inspect(model: Annotated[Path, Parameter(help="A `.keras` file.")], /, *, as_json: _Json = False) -> int:
    """Show what a model file declares, without importing TensorFlow.

    Signature, layers by kind, parameters, sizes, Keras version, custom objects and Lambdas.
    """
    from flows import inspect as inspection

    facts = inspection.inspect(model)
    if as_json:
        _print_record(facts)
    else:
        inspection.render(facts, _console())
    return 0


@app.command
def verify(
    release_dir: Annotated[Path, Parameter(help="A directory that `paritygate release` wrote.")],
    /,
    *,
    digest: Annotated[
        str | None, Parameter(help="SHA-256 of its release.json, as you were told it when it was released.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, negative=(), help="Only these formats; default: all that the release has."),
    ] = None,
    as_json: _Json = False,
) -> int:
    """Check every digest of a release, then run its cells again from the evidence alone.

    Needs neither the model nor, for formats whose runtimes do without, TensorFlow.
    """
    from flows import verify as verification
    from flows.display import shown

    with shown(_console(stderr=True)) as listen:
        report = verification.verify(release_dir, digest=digest, formats=formats, listen=listen)
    if as_json:
        _print_record(report)
    else:
        verification.render(report, _console())
    return report.verdict.exit_code


@app.command
def doctor(*, as_json: _Json = False) -> int:
    """Show what this machine can run, with versions, and the command that brings what is missing.

    Exit code 0 when any runtime can run here, else 3.
    """
    from flows import doctor as diagnosis

    found = diagnosis.examine()
    if as_json:
        _print_record(found)
    else:
        diagnosis.render(found, _console())
    return 0 if any(runtime.ready for runtime in found.runtimes) else 3


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


def _print_record(record: Any) -> None:
    from pydantic import TypeAdapter

    _print_bytes(TypeAdapter(type(record)).dump_json(record, indent=1) + b"\n")


def _print_bytes(raw: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
