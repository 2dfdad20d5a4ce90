"""A server in a process of its own, seen from its owner."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from local.loopback import free_port, is_free

SUPERVISOR = Path(__file__).with_name("supervisor.py")
PORT_IS_TAKEN = re.compile(r"address already in use|connection in use", re.IGNORECASE)
ATTEMPTS = 5


class ServerFailed(RuntimeError):
    """A server did not start, or did not become ready in time."""


class Service:
    """A supervised server on a loopback port. A context manager: nothing of it survives the block, or its owner."""

    name = "server"
    restart = True
    stop_signal = signal.SIGTERM
    announcement: Path | None = None  # a file that tells others about it, to be removed as soon as it is to stop

    def __init__(self, preferred_port: int | None = None) -> None:
        self.port = 0
        self._preferred_port = preferred_port
        self._directory: Path | None = None
        self._directories_elsewhere: list[Path] = []
        self._supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def directory(self) -> Path:
        """Where its state is."""
        if self._directory is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._directory

    @property
    def log(self) -> Path:
        """Everything that it printed, and why it was started again."""
        return self.directory / "log"

    @property
    def pid(self) -> int:
        """The process at this moment. After a death and a restart it is another one."""
        return int((self.directory / "pid").read_text())

    @property
    def exit_code(self) -> int | None:
        """How it ended. None while it runs."""
        path = self.directory / "exit_code"
        return int(path.read_text()) if path.exists() else None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        for attempt in range(1, ATTEMPTS + 1):
            preferred = self._preferred_port if attempt == 1 else None
            self.port = preferred if preferred and is_free(preferred) else free_port()
            self._directory = _new_directory(self.name)
            try:
                self._launch(self._directory)
                self.wait_until_ready()
                self._tell(b"r")
                return
            except BaseException as error:
                # Between our choice of a free port and its use, another process can take it.
                again = isinstance(error, ServerFailed) and PORT_IS_TAKEN.search(str(error)) and attempt < ATTEMPTS
                self.stop()
                if not again:
                    raise

    def stop(self) -> None:
        """Shutdown it, and remove its state."""
        supervisor, directory = self._supervisor, self._directory
        elsewhere, self._directories_elsewhere = self._directories_elsewhere, []
        self._supervisor = self._directory = None
        if supervisor is not None and supervisor.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                supervisor.stdin.close()
            supervisor.wait()
        for each in elsewhere:  # the supervisor removes these, unless it could not start or was killed
            shutil.rmtree(each, ignore_errors=True)
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(OSError):
                directory.parent.rmdir()

    def kill(self) -> None:
        """SIGKILL to it and its workers, as an accident would have it. Returns when that was noticed."""
        pid = self.pid
        os.killpg(pid, signal.SIGKILL)
        while self.pid == pid and self.exit_code is None:
            time.sleep(0.005)

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if self.exit_code is not None:
                raise ServerFailed(f"{self.name} ended with exit code {self.exit_code}:\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} is not ready after {seconds:g} s:\n{self._last_words()}")
            time.sleep(0.02)

    def is_ready(self) -> bool:
        """Ask it. Another server that took its port must not be mistaken for it."""
        raise NotImplementedError

    def new_directory_in(self, place: Path) -> Path:
        """A directory for a part of its state, to be removed with the rest. To be called by `preparation`."""
        directory = Path(tempfile.mkdtemp(prefix=f"campaign-runner-{self.name}-", dir=place))
        self._directories_elsewhere.append(directory)
        return directory

    def preparation(self) -> Sequence[Sequence[str]]:
        """What to run before it, to the end."""
        return ()

    def command(self) -> Sequence[str]:
        """What to run."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """The whole environment of the server."""
        # What it writes beside its state goes with its state.
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.directory), "TMPDIR": str(self.directory)}

    def credentials(self) -> Mapping[str, Any]:
        """The user that it runs as, as arguments of Popen. Empty: our own."""
        return {}

    def _launch(self, directory: Path) -> None:
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", SUPERVISOR, directory],
            stdin=subprocess.PIPE,
            env=self.environment(),
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        )
        order = {
            "preparation": self.preparation(),
            "directories_elsewhere": [str(each) for each in self._directories_elsewhere],
            "command": self.command(),
            "stop_signal": int(self.stop_signal),
            "restart": self.restart,
            "credentials": self.credentials(),
            "announcement": self.announcement and str(self.announcement),
        }
        self._tell(json.dumps(order).encode() + b"\n")

    def _tell(self, message: bytes) -> None:
        assert self._supervisor is not None
        assert self._supervisor.stdin is not None
        self._supervisor.stdin.write(message)
        self._supervisor.stdin.flush()

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""


def _new_directory(name: str) -> Path:
    """A directory for a server, in the one directory that this process has."""
    while True:
        try:
            return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_base_directory()))
        except FileNotFoundError:
            _base_directory.cache_clear()  # the last server that stopped took it away


@functools.cache
def _base_directory() -> Path:
    base = Path(tempfile.mkdtemp(prefix="campaign-runner-"))
    base.chmod(0o711)  # Postgres may run as another user, who must get through
    return base
