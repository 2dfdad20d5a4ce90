"""A process that keeps one server running, and cleans up after it whatever becomes of its owner.

Standard input is a pipe that the owner holds. Its first line is the order, in JSON. A byte after that says that the
server has become ready: from then on one that dies is started again. The end of the pipe, which comes when the owner
is killed too, or SIGTERM stops the server and removes its directory. Standard library only: it is started with `-I -S`,
which takes 20 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

STOP_SECONDS = 10.0
HEALTHY_SECONDS = 1.0
PR_SET_PDEATHSIG = 1


class Supervisor:
    """Carries out one order."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.order: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.stopping = threading.Event()

    def run(self) -> None:
        """Run the server until it is to stop, and leave nothing behind."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        try:
            with open(0, "rb", buffering=0) as pipe, (self.directory / "log").open("ab", buffering=0) as log:
                line = pipe.readline()
                if line:
                    self.order = json.loads(line)
                    threading.Thread(target=self._listen, args=(pipe,), daemon=True).start()
                    self._note("exit_code", self._carry_out(log))
                    self.stopping.wait()  # the owner may want to read the log
        finally:
            for directory in (*self.order.get("directories_elsewhere", ()), self.directory):
                shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.directory.parent.rmdir()  # whoever leaves last

    def stop(self) -> None:
        """Shutdown the server: politely first, by force after a while."""
        self.stopping.set()
        if self.order["announcement"]:  # first, before anybody else can have announced another
            Path(self.order["announcement"]).unlink(missing_ok=True)
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.order["stop_signal"])
            timer = threading.Timer(STOP_SECONDS, _kill_group, (self.process.pid,))
            timer.daemon = True
            timer.start()

    def _listen(self, pipe: IO[bytes]) -> None:
        while pipe.read(1):
            self.ready = True
        self.stop()

    def _carry_out(self, log: IO[bytes]) -> int:
        """Returns the exit code of a process that is not to be started again."""
        for command in self.order["preparation"]:
            code = self._run(command, log)
            if code != 0 or self.stopping.is_set():
                return code
        pause = 0.0
        while True:
            started = time.monotonic()
            code = self._run(self.order["command"], log)
            if time.monotonic() - started > HEALTHY_SECONDS:
                pause = 0.0
            if self.stopping.is_set() or not (self.ready and self.order["restart"]):
                return code
            reason = signal.strsignal(-code) if code < 0 else f"exit code {code}"
            log.write(f"supervisor: the server ended ({reason}), starting it again\n".encode())
            # At once, and slower when it dies young again and again: one that cannot start would keep the machine busy.
            self.stopping.wait(pause)
            pause = min(2 * pause + 0.05, 1.0)

    def _run(self, command: list[str], log: IO[bytes]) -> int:
        # By the main thread only: the signal at a parent's death comes when the thread that started the child ends.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.directory,
            start_new_session=True,
            preexec_fn=_die_with_parent,
            **self.order["credentials"],
        )
        self._note("pid", self.process.pid)
        if self.stopping.is_set():
            self.stop()
        code = self.process.wait()
        _kill_group(self.process.pid)  # its workers
        return code

    def _note(self, name: str, value: int) -> None:
        new = self.directory / f"{name}.new"
        new.write_text(str(value))
        new.rename(self.directory / name)


def _die_with_parent() -> None:
    """Have the server killed when the supervisor is killed. Linux alone offers this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    Supervisor(Path(sys.argv[1])).run()
