"""Runs the steps of deployments/github-action on this machine, as a GitHub runner would run them.

In: the action's inputs as NAME=VALUE. Out: the steps' own output; the step summary on stdout at the end; the exit code
of the first step that failed. Steps that use other actions (the upload) are named and left out: they need GitHub.

    .venv/bin/python -m tools.run_action model=examples/digits/digits.keras
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ACTION = Path(__file__).resolve().parents[1] / "deployments" / "github-action"
_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


class Runner:
    """Runs a composite action's steps: holds the values of expressions and the files of the runner's commands."""

    def __init__(self, action: Mapping[str, Any], given: Mapping[str, str], folder: Path) -> None:
        unknown = sorted(set(given) - set(action["inputs"]))
        missing = sorted(n for n, i in action["inputs"].items() if i.get("required") and n not in given)
        if unknown or missing:
            sys.exit(f"inputs: unknown {unknown}, missing {missing}; valid are {', '.join(action['inputs'])}")
        self.values = {"github.action_path": str(ACTION)}
        for name, about in action["inputs"].items():
            self.values[f"inputs.{name}"] = given.get(name, about.get("default", ""))
        self.folder = folder
        self.summary = folder / "summary.md"
        self.summary.touch()
        self.failed = 0

    def run(self, step: Mapping[str, Any]) -> None:
        """Runs one step, unless one before it failed and it does not ask to run all the same."""
        if self.failed and "cancelled()" not in str(step.get("if", "")):
            return
        print(f"== {step['name']}", flush=True)
        if "uses" in step:
            print(f"   left out here: {step['uses']}", flush=True)
            return
        outputs = self.folder / "outputs"
        outputs.write_text("")
        said = {name: self._filled(value) for name, value in step.get("env", {}).items()}
        files = {"GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(self.summary)}
        environment = {**os.environ, **said, **files, "RUNNER_TEMP": str(self.folder)}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", self._filled(step["run"])]
        code = subprocess.run(command, env=environment, check=False).returncode
        self.failed = self.failed or code
        for line in outputs.read_text().splitlines():
            name, _, value = line.partition("=")
            self.values[f"steps.{step['id']}.outputs.{name}"] = value

    def _filled(self, text: str) -> str:
        return _EXPRESSION.sub(lambda match: self.values[match[1]], text)


def main() -> int:
    """Runs all steps."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    action = yaml.safe_load((ACTION / "action.yml").read_text("utf-8"))
    with tempfile.TemporaryDirectory(prefix="paritygate-action-") as folder:
        runner = Runner(action, given, Path(folder))
        for step in action["runs"]["steps"]:
            runner.run(step)
        print("== step summary")
        print(runner.summary.read_text("utf-8"))
    return runner.failed


if __name__ == "__main__":
    sys.exit(main())
