"""Migrates the database of Prefect's embedded server, which otherwise the first release does (15 s more)."""

from flows.prefect import server
from flows.setup.step import Say, SetupStep
from validators.runtimes.availability import installed


def _install(say: Say) -> None:
    say(f"Prefect's database, in {server.home()} (about 20 seconds)")
    server.migrate(server.home())


STEP = SetupStep(
    name="Prefect's database",
    needed=lambda: bool(installed("prefect")),
    ready=lambda: server.is_migrated(server.home()),
    install=_install,
)
