"""`paritygate setup`: completes an installation."""

import sys

from flows.cli.app import app
from flows.cli.options import Json
from flows.cli.output import console, print_record, safe

_EXAMPLES = """Examples:
  paritygate setup
      Complete the installation, after `pip install 'paritygate[all]'`.
  paritygate setup --json
      The same for a script, with one record for each step.
"""


@app.command(help_epilogue=_EXAMPLES)
def setup(*, as_json: Json = False) -> int:
    """Install what pip cannot, such as browser packages and Chromium.

    Adds the TF.js converter, browser packages, Chromium and Prefect's
    database: only what the installed extras need, and only what is missing.
    Run it after an installation and after an upgrade. Chromium is installed
    where you are root on Debian; elsewhere the command for it is shown. Exit
    code 0 when everything is there, else 3.
    """
    from flows.setup.steps import complete

    results = complete(lambda line: sys.stderr.write(f"setup: {safe(line)}\n"))
    if as_json:
        print_record(results)
    else:
        output = console()
        for result in results:
            line = f"{result.status:<10}  {result.name}"
            output.print(safe(f"{line}: {result.message}" if result.message else line), markup=False, soft_wrap=True)
    return 3 if any(result.status == "failed" for result in results) else 0
