"""A mail server that keeps what it is given."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Self


class MailServer:
    """Speaks as much SMTP as smtplib asks for. A context manager.

    `refusals` are the answers to recipients that it does not take. After `hold()` the next message is kept, but not
    answered before `release()`: whoever sent it does not know.
    """

    def __init__(self, refusals: Mapping[str, str] | None = None) -> None:
        self.messages: list[EmailMessage] = []
        self.refusals = dict(refusals or {})
        self._lock = threading.Lock()
        self._is_to_hold = False
        self._is_held, self._is_released = threading.Event(), threading.Event()
        self._greets = threading.Barrier(1)
        mail_server = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                mail_server._serve(self)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def addresses(self) -> list[str]:
        """To whom each message went, in the order of their coming."""
        return [str(message["To"]) for message in self.messages]

    def gather(self, number: int) -> None:
        """Let nobody begin before so many have come."""
        self._greets = threading.Barrier(number)

    def hold(self) -> None:
        self._is_held.clear()
        self._is_released.clear()
        self._is_to_hold = True

    def wait_until_held(self) -> EmailMessage:
        """The message that is held."""
        assert self._is_held.wait(20), "nobody has sent a message"
        return self._held

    def release(self) -> None:
        self._is_released.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, connection: socketserver.StreamRequestHandler) -> None:
        self._greets.wait(20)
        answer = "220 mail.example.org"
        while True:
            try:
                connection.wfile.write(f"{answer}\r\n".encode())
                command, _, rest = connection.rfile.readline().decode().strip().partition(" ")
            except ConnectionError:
                return  # killed
            answer = "250 OK"
            if not command:
                return  # gone
            if command.upper() == "QUIT":
                answer = "221 bye"
            elif command.upper() == "RCPT":
                answer = self.refusals.get(rest.partition("<")[2].rstrip(">"), answer)
            elif command.upper() == "DATA":
                connection.wfile.write(b"354 go on\r\n")
                data = b"".join(iter(connection.rfile.readline, b".\r\n"))
                self._keep(message_from_bytes(data, policy=policy.default))

    def _keep(self, message: EmailMessage) -> None:
        with self._lock:
            self.messages.append(message)
            is_held, self._is_to_hold = self._is_to_hold, False
        if is_held:
            self._held = message
            self._is_held.set()
            self._is_released.wait(60)
