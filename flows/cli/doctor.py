"""`paritygate doctor`: shows what this machine can run."""

from flows.cli.app import app
from flows.cli.options import Json
from flows.cli.output import console, print_record

_EXAMPLES = """Examples:
  paritygate doctor
      Show runtimes, versions, adapters and missing parts.
  paritygate doctor --json
      The same for a script.
"""


@app.command(help_epilogue=_EXAMPLES)
def doctor(*, as_json: Json = False) -> int:
    """Show what this machine can run, and how to get the rest.

    Lists every runtime and adapter with its version. Where one is missing, it
    shows the command that installs it. Exit code 0 when any runtime can run
    here, else 3.
    """
    from flows.machine.doctor import examine, render

    found = examine()
    if as_json:
        print_record(found)
    else:
        render(found, console())
    return 0 if any(runtime.ready for runtime in found.runtimes) else 3
