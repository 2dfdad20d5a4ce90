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

    `refusals` are the answers to recipients that it does not take. `next_answers` are answers to a command, each given
    once: `CONNECT` for a new connection, `.` for the end of a message. An empty one closes the connection instead, and
    after `.` keeps the message. After `hold()` the next message is kept, but not answered before `release()`: whoever
    sent it does not know.
    """

    def __init__(self, refusals: Mapping[str, str] | None = None) -> None:
        self.messages: list[EmailMessage] = []
        self.refusals = dict(refusals or {})
        self.next_answers: dict[str, list[str]] = {}
        self.messages_per_connection: int | None = None
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
        messages, is_begun = 0, False
        answer = self._next_answer("CONNECT", "220 mail_server")
        while answer:
            try:
                connection.wfile.write(f"{answer}\r\n".encode())
                if answer.startswith("421"):
                    return
                command, _, rest = connection.rfile.readline().decode().strip().partition(" ")
            except ConnectionError:
                return  # killed
            if not command:
                return  # gone
            command = command.upper()
            answer = self._next_answer(command, "354 go on" if command == "DATA" else "250 OK")
            if command == "QUIT":
                answer = "221 bye"
            elif command == "MAIL" and messages == self.messages_per_connection:
                answer = "421 no more over this connection"
            elif command == "MAIL" and is_begun:
                answer = "503 a message is begun"
            elif command == "RCPT":
                answer = self.refusals.get(rest.partition("<")[2].rstrip(">"), answer)
            elif answer.startswith("354"):
                connection.wfile.write(f"{answer}\r\n".encode())
                data = b"".join(iter(connection.rfile.readline, b".\r\n"))
                answer, is_begun = self._next_answer(".", "250 OK"), False
                if answer in ("", "250 OK"):
                    messages += 1
                    self._keep(message_from_bytes(data, policy=policy.default))
            if command in ("MAIL", "RSET"):
                is_begun = command == "MAIL"

    def _next_answer(self, command: str, usual: str) -> str:
        answers = self.next_answers.get(command)
        return answers.pop(0) if answers else usual

    def _keep(self, message: EmailMessage) -> None:
        with self._lock:
            self.messages.append(message)
            is_held, self._is_to_hold = self._is_to_hold, False
        if is_held:
            self._held = message
            self._is_held.set()
            self._is_released.wait(60)
