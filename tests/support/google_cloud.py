"""Google Cloud, as deploy.sh sees it: the stand-in for gcloud on the PATH, and what it has recorded."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import gcloud_stand_in

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy.sh"
PROGRAMS = ("base64", "bash", "cat", "curl", "dirname", "env", "head", "sed", "tr")
KEY = "sb_secret_CANARY_of_the_key"
TOKEN = "CANARY-of-the-token-0123456789abcdef"


class Cloud:
    """A project with nothing in it. `url` is where the deployed function is said to be."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.programs = directory / "bin"
        self.programs.mkdir(parents=True)
        for program in PROGRAMS:
            (self.programs / program).symlink_to(str(shutil.which(program)))
        program = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r});"
            " import gcloud_stand_in; sys.exit(gcloud_stand_in.main())"
        )
        self.install("gcloud", f'exec {sys.executable} -I -S -c {shlex.quote(program)} "$@"')
        self.install("sleep", "exit 0")  # what it waits for has happened or never will
        self.install("supabase", 'echo "supabase $*" >> "$STAND_IN/supabase"; env >> "$STAND_IN/supabase"')
        (directory / "url").write_text(url)
        self.settings = {
            "PROJECT_ID": "my-project",
            "REGION": "europe-west1",
            "SUPABASE_URL": "https://abcdefghijkl.supabase.co",
            "SUPABASE_SECRET_KEY": KEY,
            "SYSTEM_USER_ID": "5e5e5e5e-0000-4000-8000-000000000000",
            "RUNNER_TOKENS": TOKEN,
            "ALERT_EMAIL": "ops@example.org",
        }

    def install(self, name: str, script: str) -> None:
        """Put a program on the PATH."""
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def deploy(self, *arguments: str, answers: str = "", **settings: str | None) -> subprocess.CompletedProcess[str]:
        """Run deploy.sh with these settings beside the usual ones; None takes one away."""
        environment = {name: value for name, value in {**self.settings, **settings}.items() if value is not None}
        return subprocess.run(
            [str(DEPLOY), *arguments],
            input=answers,
            env={
                "PATH": str(self.programs),
                "HOME": str(self.directory),
                "STAND_IN": str(self.directory),
                **environment,
            },
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=120,
        )

    @property
    def state(self) -> dict[str, Any]:
        """What there is in the project."""
        file = self.directory / "state.json"
        return dict(json.loads(file.read_text())) if file.exists() else gcloud_stand_in.NOTHING

    def calls(self) -> list[dict[str, Any]]:
        """What gcloud was called for, so far."""
        file = self.directory / "log.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def changes(self) -> list[str]:
        """The commands that change something, so far."""
        return [call["command"] for call in self.calls() if call["changes"]]

    def forget_calls(self) -> None:
        """Begin a new record."""
        (self.directory / "log.jsonl").unlink(missing_ok=True)

    def pause(self) -> None:
        """Somebody pauses the job."""
        state = self.state
        state["job"]["state"] = "PAUSED"
        (self.directory / "state.json").write_text(json.dumps(state))

    def fail_after(self, changes: int, *, takes_effect: bool = False) -> None:
        """Let so many changes succeed and the next ones fail, the first of which may have its effect all the same."""
        (self.directory / "fail_after").write_text(json.dumps([changes, takes_effect]))

    def recover(self) -> None:
        """Let everything succeed again."""
        (self.directory / "fail_after").unlink(missing_ok=True)

    def accepted_tokens(self) -> list[str]:
        """The tokens that the deployed revision accepts."""
        secret, version = self.state["service"]["secrets"]["RUNNER_TOKENS"].split(":")
        return str(self.state["secrets"][secret]["versions"][version]["value"]).split(",")

    def seen(self) -> str:
        """The arguments and environments of every call so far."""
        return json.dumps([[call["arguments"], call["environment"]] for call in self.calls()])
