"""`paritygate doctor`: what this machine can run."""

from flows.cli.app import app
from flows.cli.options import Json
from flows.cli.output import console, print_record


@app.command
def doctor(*, as_json: Json = False) -> int:
    """Show what this machine can run, with versions, and the command that brings what is missing.

    Exit code 0 when any runtime can run here, else 3.
    """
    from flows.machine import doctor as diagnosis

    found = diagnosis.examine()
    if as_json:
        print_record(found)
    else:
        diagnosis.render(found, console())
    return 0 if any(runtime.ready for runtime in found.runtimes) else 3
