"""Runs a PostgreSQL of our own for Prefect's server: a cluster in one folder, on loopback, never as root.

In: PostgreSQL's programs, from the system's packages. Out: a running cluster with the database `prefect`, and the URL
that Prefect's server takes; port and password stay in the folder. For a team's server the database is a machine of its
own: the same URL, in PREFECT_API_DATABASE_CONNECTION_URL.
"""

import os
import pwd
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from exporters.errors import Broken
from flows.deployment.ports import free_port

USER = DATABASE = "prefect"
_SYSTEM_USER = "postgres"
"""Runs the server where we are root: PostgreSQL refuses to be root's, and Debian's package makes this user."""
_HINT = "Debian: apt-get install postgresql; elsewhere put pg_ctl on the PATH."
_SECONDS = 60


def start(home: Path) -> str:
    """Starts the cluster, and makes it before if need be; returns its URL for Prefect.

    Args:
        home: a folder for nothing else; where we are root, one that the user `postgres` can get to.

    Raises:
        Broken: PostgreSQL is not installed, or does not start; names its log.
    """
    data = home / "data"
    if not (data / "PG_VERSION").is_file():
        _make(home, data)
    if not running(home):
        _call("pg_ctl", "start", "-D", str(data), "-l", str(home / "log"), "-w", "-t", str(_SECONDS), "-s", home=home)
    password, port = _secret(home), _port(home)
    if DATABASE not in _call("psql", "-Atc", "SELECT datname FROM pg_database", "postgres", home=home).split():
        _call("createdb", DATABASE, home=home)
    return f"postgresql+asyncpg://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


def stop(home: Path, *, mode: str = "fast") -> bool:
    """Ends the cluster; returns whether it ran.

    Args:
        home: as for `start`.
        mode: `fast` ends clients' sessions first; `immediate` is a crash.
    """
    if not running(home):
        return False
    _call("pg_ctl", "stop", "-D", str(home / "data"), "-m", mode, "-w", "-t", str(_SECONDS), "-s", home=home)
    return True


def running(home: Path) -> bool:
    """Tells whether the process that the cluster's folder names is alive and serves it: pids are reused."""
    data = (home / "data").resolve()
    try:
        pid = (data / "postmaster.pid").read_text().split()[0]
        return Path("/proc", pid, "cwd").resolve(strict=True) == data
    except (FileNotFoundError, IndexError):
        return False


def programs() -> Path:
    """Finds the folder of PostgreSQL's programs; of several versions the newest.

    Raises:
        Broken: there is none.
    """
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    found = shutil.which("pg_ctl")
    if packaged:
        return packaged[-1].parent
    if found is None:
        raise Broken("PostgreSQL is not installed", next_step=_HINT)
    return Path(found).resolve().parent


def ready() -> None:
    """Installs PostgreSQL if it is missing: from Debian's package, where this is root.

    Raises:
        Broken: it cannot be installed here; the message names the package.
    """
    try:
        programs()
    except Broken:
        _install()
        programs()


def _install() -> None:
    """Installs the package, without the cluster that it would start."""
    sys.stderr.write("setup: PostgreSQL, from the system's packages (20 MB, half a minute)\n")
    if os.geteuid() == 0 and (apt := shutil.which("apt-get")):
        settings = Path("/etc/postgresql-common/createcluster.conf")
        settings.parent.mkdir(exist_ok=True)
        settings.write_text("create_main_cluster = false\n")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        kept = ("-o", "Dpkg::Options::=--force-confold")  # the settings that we have just written
        for action in (["update"], ["install", "--no-install-recommends", *kept, "postgresql"]):
            subprocess.run([apt, "-q", "-y", *action], env=environment, capture_output=True, check=False)


def _make(home: Path, data: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(data, ignore_errors=True)  # of an initdb that was killed
    port = free_port()
    (home / "password").touch(0o600)
    (home / "password").write_text(secrets.token_urlsafe(24))
    if os.geteuid() == 0:
        for path in (home, home / "password"):
            shutil.chown(path, _SYSTEM_USER)
    _call(
        "initdb",
        "-D",
        str(data),
        "-U",
        USER,
        "--pwfile",
        str(home / "password"),
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-instructions",
        home=home,
    )
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n")


def _port(home: Path) -> int:
    lines = (home / "data" / "postgresql.conf").read_text().splitlines()
    return int(next(line for line in reversed(lines) if line.startswith("port = ")).removeprefix("port = "))


def _secret(home: Path) -> str:
    return (home / "password").read_text()


def _call(program: str, *arguments: str, home: Path) -> str:
    """Runs one of PostgreSQL's programs, as a user who is not root.

    Raises:
        Broken: it failed; its own words are kept.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if (home / "data" / "postgresql.conf").is_file():
        where = {"PGHOST": "127.0.0.1", "PGPORT": str(_port(home)), "PGUSER": USER, "PGPASSWORD": _secret(home)}
        environment |= where
    user = _SYSTEM_USER if os.geteuid() == 0 else None
    done = subprocess.run(
        [str(programs() / program), *arguments],
        env=environment,
        cwd="/",
        user=user,
        group=user and pwd.getpwnam(user).pw_gid,
        extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Broken(
            f"PostgreSQL's {program} failed with exit code {done.returncode}: {(done.stderr or done.stdout).strip()}",
            next_step=f"less {home}/log; the folders above have to be open to the user {user or 'who calls this'}.",
        )
    return done.stdout


def main() -> int:
    """Installs PostgreSQL if it is missing; returns 1 and prints the package's name when it cannot."""
    try:
        ready()
    except Broken as error:
        sys.stderr.write(f"setup: {error.message}. {error.next_step}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
