"""The progress of `python -m runner run`, on a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.eventually import eventually
from tests.support.service import Service
from tests.support.step_gate import gate, wait_until_held_up

ROOT = Path(__file__).parents[2]
LINE = r" +\d+ % \[[#.]+\]  (\d+ \w+ left  [\d,]+/s  )?Large  generating  [\d,]+ of 1,000 contacts"
BELOW = r"1 due, 1 of them under way"


class Terminal:
    """A pseudo-terminal, and what a program has written to it."""

    def __init__(self, *, rows: int = 24, columns: int = 120) -> None:
        self._ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.text = ""

    def read_until(self, pattern: str, seconds: float = 60.0) -> None:
        """Read until a pattern comes."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, self.text
            assert self._read(1.0) is not False, self.text

    def read_all(self) -> None:
        """Read until the program has closed it."""
        while self._read(60.0):
            pass

    def visible(self) -> str:
        """What is to be seen on it: the cursor goes up and clears what is below, and nothing else."""
        lines = [""]
        text = self.text.replace("\r\n", "\n")
        for part in re.findall(r"\x1b\[\d*F|\x1b\[J|\x1b\[\?7[lh]|\n|[^\x1b\n]+|\x1b", text):
            if part == "\n":
                lines.append("")
            elif part.endswith("F") and part.startswith("\x1b["):
                row = len(lines) - 1 - int(part[2:-1])
                assert row >= 0, "the cursor goes beyond the first line"
                del lines[row + 1 :]
                lines[row] = ""
            elif not part.startswith("\x1b["):
                assert part.isprintable(), part
                lines[-1] += part
        return "\n".join(lines)

    def close(self) -> None:
        os.close(self._ours)

    def _read(self, seconds: float) -> bool | None:
        """None: nothing came in time. False: the program has closed it."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return None
        try:
            part = os.read(self._ours, 65_536)
        except OSError:  # EIO, on Linux
            return False
        self.text += part.decode()
        return bool(part)


@contextmanager
def run(environment: dict[str, str], terminal: Terminal, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m runner run`, whose stderr is the terminal; stdout is not. It takes one step at a time."""
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", *options],
        cwd=ROOT,
        env={**environment, "STEP_ROWS": "100", "RUN_CONCURRENCY": "1", "PATH": os.environ["PATH"], "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal.theirs,
    )
    os.close(terminal.theirs)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)
        terminal.close()


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(re.findall(r"^SigCgt:\s*(\w+)", status, re.MULTILINE)[0], 16) >> (number - 1) & 1)


@pytest.fixture
def last_contact(service: Service) -> UUID:
    """The last contact of a large campaign that is due."""
    organization = service.organization()
    *_, last = service.factory.contacts(organization, 1_000)
    service.factory.campaign(organization, name="Large")
    return last


def test_each_campaign_shows_how_far_it_is_and_nothing_of_that_stays(
    service: Service, environment: dict[str, str], last_contact: UUID
) -> None:
    terminal = Terminal()
    with run(environment, terminal) as process:
        with gate(service.project.database_url, last_contact):
            wait_until_held_up(service.project.database_url)
            terminal.read_until(rf"{LINE}.*\r\n{BELOW}.*\r\n")
            shown = terminal.visible().splitlines()
            assert re.match(LINE, shown[0])
            assert len(shown) == 2
        terminal.read_all()
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert b"Large" in output
    assert b"1 launched, 0 failed." in output
    assert terminal.visible().strip() == ""  # no line of the log stands before the table
    assert "\x1b[?7h" in terminal.text[terminal.text.rindex("\x1b[?7l") :]  # lines wrap again


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_leaves_a_clean_terminal(
    service: Service, environment: dict[str, str], last_contact: UUID, signals: int
) -> None:
    terminal = Terminal()
    with run(environment, terminal) as process:
        with gate(service.project.database_url, last_contact):
            wait_until_held_up(service.project.database_url)
            terminal.read_until(LINE)
            process.send_signal(signal.SIGINT)
            # The first one was taken when SIGTERM, the last to be restored, means again what it meant before.
            eventually(lambda: not catches(process.pid, signal.SIGTERM))
            if signals == 2:
                process.send_signal(signal.SIGINT)
        terminal.read_all()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Large" not in terminal.visible()
    if signals == 1:
        assert b"Work is left: run again to go on." in output
    else:
        assert "Error: interrupted" in terminal.visible()
