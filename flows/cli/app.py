"""The `paritygate` program: its name, its help and its exit codes.

In: arguments. Out: an exit code (see `_CODES`), with errors on stderr. Each command is a module that registers itself
and brings its own examples, which `--help` shows (`help_epilogue`).
"""

import json
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

import cyclopts
from cyclopts import App

from exporters.errors import BadInput, Broken, Limited, ParitygateError
from flows.cli.output import print_bytes, safe

_EXAMPLES = """Examples:
  paritygate release model.keras --samples held_out.npz
      Export to every format, run every copy, write model.release/.
  paritygate verify model.release --digest SHA256
      Check the release and run its cells again, on any machine.
  paritygate diagnose model.release "onnx/default onnxruntime cpu"
      Find the layer that a failed cell gets wrong.
  paritygate sweep models/
      Release every model of a folder, with one table of results.
  paritygate doctor
      Show what this machine can run, and how to get the rest.

`paritygate COMMAND --help` shows examples of that command.
"""
_CODES = """Exit codes:
  0    released (verify: confirmed): every required cell passed
  1    refused: a required cell failed, is limited or unavailable,
       or has to come from another machine; an approval is missing;
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
    help="Export a trained Keras model to SavedModel, TF Lite, TF.js and ONNX, and release it only when every copy "
    "provably computes the same thing.",
    version=_version,
    help_format="plaintext",
    help_epilogue=f"{_EXAMPLES}\n{_CODES}",
)


class Interrupted(BaseException):
    """Says that TERM or Ctrl-C arrived. Not an Exception, so that no handler on the way up takes it for a failure."""

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
            next_step="Please report it with the traceback on stderr.",
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
        print_bytes(json.dumps({"error": said}, indent=1).encode() + b"\n")
    sys.stderr.write(f"paritygate: {kind}: {safe(str(error))}\n")
    return code
