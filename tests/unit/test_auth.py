from __future__ import annotations

import pytest
from pydantic import SecretStr

from runner.errors import Unauthorized
from runner.http.auth import authorize

OLD, NEW = "o" * 40, "n" * 40
TOKENS = (SecretStr(OLD), SecretStr(NEW))


@pytest.mark.parametrize("token", [OLD, NEW], ids=["old", "new"])
@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   "])
def test_every_configured_token_passes_whatever_the_case_of_the_scheme(scheme: str, token: str) -> None:
    authorize(scheme + token, TOKENS)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        OLD,
        f"Basic {OLD}",
        f"Bearer{OLD}",
        f"Bearer {OLD[:-1]}",
        f"Bearer {OLD}x",
        f"Bearer {OLD}, Bearer {NEW}",
        f"Bearer {OLD} {NEW}",
        f"Bearer {OLD.upper()}",
        "Bearer \u00e9\u00ff" * 20,
        "Bearer \u20ac",
        "Bearer " + "x" * 6000,
        "\u00e9 " + OLD,
    ],
)
def test_everything_else_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        authorize(header, TOKENS)


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer ", "Bearer x"])
def test_an_empty_token_never_matches_and_neither_does_no_token(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        authorize(header, (SecretStr(""),))
    with pytest.raises(Unauthorized):
        authorize(header, ())


def test_a_token_beyond_ascii_is_compared_by_its_bytes() -> None:
    token = "\u00e9\u20ac" * 20
    as_wsgi_gives_it = token.encode().decode("latin-1")
    authorize(f"Bearer {as_wsgi_gives_it}", (SecretStr(token),))


def test_every_token_is_compared_even_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(given: bytes, known: bytes) -> bool:
        compared.append(known)
        return given == known

    monkeypatch.setattr("hmac.compare_digest", compare)
    authorize(f"Bearer {OLD}", TOKENS)
    assert len(compared) == 2
    assert {len(each) for each in compared} == {32}  # digests, so that no length shows
