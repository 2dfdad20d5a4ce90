"""The function, served as Cloud Run serves it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from local.loopback import http_status
from local.service import ServerFailed, Service

SOURCE = Path(__file__).parent.parent / "main.py"


class Function(Service):
    """`main.py` under functions-framework, with the given environment and no other."""

    name = "function"
    restart = False

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        preferred_port: int | None = None,
        source: Path = SOURCE,
        announcement: Path | None = None,
        reload: bool = False,
    ) -> None:
        super().__init__(preferred_port)
        self.announcement = announcement
        self._environment = dict(environment)
        self._source = source
        self.restart = reload  # one that ended, as after `terminate`, starts anew with the source as it is by then

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def terminate(self) -> None:
        """SIGTERM, as the platform sends it. It may finish what it is doing: see `wait`."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for its end. Returns the exit code."""
        deadline = time.monotonic() + seconds
        while (code := self.exit_code) is None:
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} has not ended after {seconds:g} s")
            time.sleep(0.02)
        return code

    def listens(self) -> bool:
        """Whether its first process takes connections. One that was told to end does not."""
        try:
            connections = psutil.Process(self.pid).net_connections("tcp")
        except (FileNotFoundError, psutil.Error):  # not started yet, or dead
            return False
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == self.port for c in connections)

    def peak_memory(self) -> int:
        """The most that its worker has had in memory, in KiB. Linux alone tells."""
        workers = psutil.Process(self.pid).children()
        return max(int(Path(f"/proc/{w.pid}/status").read_text().split("VmHWM:")[1].split()[0]) for w in workers)

    def is_ready(self) -> bool:
        # The framework answers this path itself, so that the function has not been called before its first caller.
        return self.listens() and http_status(self.port, "/robots.txt", {}) is not None

    def command(self) -> Sequence[str]:
        options = {"target": "run_campaigns", "source": str(self._source), "host": "127.0.0.1", "port": str(self.port)}
        return [
            *(sys.executable, "-m", "functions_framework"),
            *(argument for name, value in options.items() for argument in (f"--{name}", value)),
        ]

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), **self._environment}
