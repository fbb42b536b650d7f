"""`paritygate server`: a Prefect installation for paritygate, on this machine or a team's."""

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from exporters.errors import BadInput
from flows.cli.app import app
from flows.cli.output import console, safe

Home = Annotated[
    Path | None,
    Parameter(
        help="Database, logs and pids; default: .paritygate/server of a checkout, else in the user's state folder."
    ),
]

_EXAMPLES = """Examples:
  paritygate server start
      Start a Prefect server with UI, a worker and the deployments.
  paritygate server start --port 4300 --database postgres
      The same on another port, with PostgreSQL.
  paritygate server deploy
      Deploy paritygate to the server that PREFECT_API_URL names.
"""

server = App(
    name="server",
    help="Start or stop a local Prefect server, or deploy to another one.",
    help_format="plaintext",
    help_epilogue=_EXAMPLES,
)
app.command(server)


@server.command
def start(
    *,
    port: Annotated[int, Parameter(help="Port of the server on 127.0.0.1.")] = 4200,
    database: Annotated[
        Literal["sqlite", "postgres"], Parameter(help="A file, or a PostgreSQL of its own on loopback.")
    ] = "sqlite",
    home: Home = None,
) -> int:
    """Start a Prefect server with its UI, one worker and the deployments, and leave them running."""
    from flows.deployment import local_server

    address = local_server.start(home or local_server.default_home(), port, database=database)
    _say(f"Prefect's UI  {address}")
    _say(f"for clients   export PREFECT_API_URL={address}/api")
    _say("release       paritygate submit MODEL.keras --wait")
    _say("stop          paritygate server stop")
    return 0


@server.command
def stop(*, home: Home = None) -> int:
    """Stop what `paritygate server start` started."""
    from flows.deployment import local_server

    _say(f"stopped: {', '.join(local_server.stop(home or local_server.default_home())) or 'nothing ran'}")
    return 0


@server.command
def deploy() -> int:
    """Deploy paritygate to the server that PREFECT_API_URL names: pool, queues, limits, deployments.

    What is there already is kept. Relative paths of the runs start from
    PARITYGATE_ROOT: by default a checkout, else the current directory.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise BadInput("PREFECT_API_URL names no server", next_step="`paritygate server start` starts one.")
    from flows.deployment.bootstrap import bootstrap

    for line in bootstrap():
        _say(line)
    return 0


def _say(line: str) -> None:
    console().print(safe(line), markup=False, soft_wrap=True)
