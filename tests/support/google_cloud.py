"""Google Cloud, as deploy.sh sees it: a stand-in for gcloud on the PATH, and what it has recorded."""

from __future__ import annotations

import json
import shlex
import shutil
import socketserver
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from threading import Thread
from typing import Any

from tests.support.gcloud_stand_in import Call, GcloudStandIn, Refused, parse

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy.sh"
PROGRAMS = ("base64", "bash", "cat", "curl", "dirname", "env", "head", "mktemp", "rm", "sed", "tee", "tr")
KEY = "sb_secret_CANARY_of_the_key"
TOKEN = "CANARY-of-the-token-0123456789abcdef"

# The program on the PATH. It sends its arguments, its environment and, where that is the value of a secret, its
# standard input, each with a NUL at its end, and carries out the answer, which is shell code. deploy.sh calls gcloud
# dozens of times, so it has to start fast: bash does so in a few ms, Python does not.
GCLOUD = r"""
exec 3<>"/dev/tcp/127.0.0.1/$STAND_IN_PORT" || exit
{
    printf '%s\0' "$#" "$@"
    export -p
    printf '\0'
    if [[ " $* " == *" --data-file=- "* ]]; then cat && printf '\0'; fi
} >&3
IFS= read -r -d '' answer <&3 || exit
eval "$answer"
"""


class Cloud:
    """A project with nothing in it. `url` is where the deployed function is said to be."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.gcloud = GcloudStandIn(url)
        self.programs = directory / "bin"
        self.programs.mkdir(parents=True)
        for program in PROGRAMS:
            (self.programs / program).symlink_to(str(shutil.which(program)))
        (self.programs / "python3").symlink_to(sys.executable)
        self.install("gcloud", GCLOUD)
        self.install("sleep", "exit 0")  # what it waits for has happened or never will
        self.install("supabase", 'echo "supabase $*" >> "$HOME/supabase"; env >> "$HOME/supabase"')
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
        (self.programs / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (self.programs / name).chmod(0o755)

    def deploy(self, *arguments: str, answers: str = "", **settings: str | None) -> subprocess.CompletedProcess[str]:
        """Run deploy.sh with these settings beside the usual ones; None takes one away."""
        environment = {name: value for name, value in {**self.settings, **settings}.items() if value is not None}
        with _serve(self.gcloud) as port:
            return subprocess.run(
                [str(DEPLOY), *arguments],
                input=answers,
                env={
                    "PATH": str(self.programs),
                    "HOME": str(self.directory),
                    "STAND_IN_PORT": str(port),
                    **environment,
                },
                cwd=self.directory,
                capture_output=True,
                text=True,
                timeout=120,
            )

    @property
    def state(self) -> dict[str, Any]:
        """What there is in the project at this moment."""
        return deepcopy(self.gcloud.project)

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.gcloud.project = deepcopy(state)

    @property
    def calls(self) -> list[Call]:
        """What gcloud was called for, so far."""
        return self.gcloud.calls

    def changes(self) -> list[str]:
        """The commands that change something, so far."""
        return [call.command for call in self.calls if call.changes]

    def pause(self) -> None:
        """Somebody pauses the job."""
        self.gcloud.project["job"]["state"] = "PAUSED"

    def fail_after(self, changes: int, *, takes_effect: bool = False) -> None:
        """Let so many changes succeed and the next ones fail, the first of which may have its effect all the same."""
        self.gcloud.changes_until_failure = changes
        self.gcloud.first_failure_takes_effect = takes_effect

    def recover(self) -> None:
        """Let everything succeed again."""
        self.gcloud.changes_until_failure = None

    def accepted_tokens(self) -> list[str]:
        """The tokens that the deployed revision accepts."""
        secret, version = self.state["service"]["secrets"]["RUNNER_TOKENS"].split(":")
        return str(self.state["secrets"][secret]["versions"][version]["value"]).split(",")

    def seen(self) -> str:
        """The arguments and environments of every call so far."""
        return json.dumps([[call.arguments, call.environment] for call in self.calls])


class _Server(socketserver.TCPServer):
    """Takes one call after the other."""

    gcloud: GcloudStandIn


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        arguments = [self._read() for _ in range(int(self._read()))]
        environment = self._read()
        standard_input = self._read() if "--data-file=-" in arguments else ""
        try:
            output = self.server.gcloud.run(parse(arguments, environment), standard_input)
            answer = f"printf '%s\\n' {shlex.quote(output)}" if output else ""
        except Refused as error:
            answer = f"printf 'ERROR: (gcloud) %s\\n' {shlex.quote(str(error))} >&2; exit 1"
        self.wfile.write(answer.encode() + b"\0")

    def _read(self) -> str:
        """What comes before the next NUL, or before the end."""
        text = bytearray()
        while (byte := self.rfile.read(1)) not in (b"\0", b""):
            text += byte
        return text.decode()


@contextmanager
def _serve(gcloud: GcloudStandIn) -> Iterator[int]:
    """Answer the calls of the program on the PATH. Yields the port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.gcloud = gcloud
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
