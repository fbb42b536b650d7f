"""Installs the wheel as a user does, with plain pip in a new environment outside of the checkout, and uses it.

Out: the time of each command and the size of the environment. A gigabyte is downloaded and some minutes pass; the quick
half is `tests/deployments/test_wheel.py`. `make wheel-check` runs it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flows.deployment.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "examples" / "digits"


def build(folder: Path) -> Path:
    """Builds the wheel into a folder and returns its path."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def user_environment(home: Path) -> dict[str, str]:
    """Returns the environment variables of a user who has nothing of paritygate yet."""
    ours = ("PREFECT", "PARITYGATE", "XDG_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "HOME": str(home)}


def main() -> int:
    """Runs each command and stops at the first that fails; returns its exit code."""
    with tempfile.TemporaryDirectory(prefix="paritygate-wheel-") as scratch:
        home, programs = Path(scratch, "home"), Path(scratch, "venv", "bin")
        home.mkdir()
        wheel = build(Path(scratch))
        environment, port = user_environment(home), str(free_port())
        for name in ("digits.keras", "samples.npz"):
            shutil.copy(DIGITS / name, home)
        program = str(programs / "paritygate")
        server = {**environment, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        submit = [program, "submit", "digits.keras", "--samples", "samples.npz", "-o", str(home / "second.release")]
        for command, variables in (
            ([sys.executable, "-m", "venv", str(programs.parent)], environment),
            ([str(programs / "pip"), "install", "--quiet", f"{wheel}[all]"], environment),
            ([program, "setup"], environment),
            ([program, "doctor"], environment),
            ([program, "release", "digits.keras", "--samples", "samples.npz"], environment),
            ([program, "verify", "digits.release"], environment),
            ([program, "server", "start", "--port", port], environment),
            ([*submit, "--wait"], server),
            ([program, "server", "stop"], environment),
        ):
            began = time.monotonic()
            code = subprocess.run(command, cwd=home, env=variables, check=False).returncode
            print(f"== {time.monotonic() - began:5.1f} s, exit code {code}: {' '.join(command)}", flush=True)
            if code:
                subprocess.run([program, "server", "stop"], cwd=home, env=environment, check=False)
                return code
        size = sum(file.stat().st_size for file in programs.parent.rglob("*") if file.is_file())
        print(f"== {size / 1e9:.1f} GB in the environment")
    return 0


if __name__ == "__main__":
    sys.exit(main())
