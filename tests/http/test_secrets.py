"""Canaries in every setting and in every row: none may show in an answer or in the log, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.function import Function
from tests.support.caller import Caller
from tests.support.service import Service

pytestmark = pytest.mark.slow

CANARY = "CANARY8e2d"
TOKEN = f"{CANARY}-token-0123456789-0123456789-0123456789"
SETTINGS = {"RUNNER_TOKENS": TOKEN, "LOG_LEVEL": "DEBUG"}
# Quotes the row that it refuses, or breaks a constraint with it, by the name of the campaign.
TRIGGER = """
    create function public.quote() returns trigger language plpgsql as $$
    begin
        case (select name from public.campaigns where id = new.campaign_id)
            when 'raises' then
                raise exception 'refused: % %', new, (select email from public.contacts where id = new.contact_id)
                    using detail = (select mobile from public.contacts where id = new.contact_id), hint = 'CANARY8e2d';
            when 'breaks a check' then new.status := 'CANARY8e2d';
            when 'is no number' then perform (select email from public.contacts where id = new.contact_id)::integer;
            else null;
        end case;
        return new;
    end $$;
    create trigger quote before insert on public.campaign_recipients for each row execute function public.quote();
"""
CAMPAIGNS = ("raises", "breaks a check", "is no number", "is launched")


@pytest.fixture
def outspoken(service: Service) -> Iterator[Service]:
    """A project full of canaries, whose triggers quote them."""
    organization = service.organization()
    service.factory.contact(
        organization,
        email=f"{CANARY}@example.org",
        mobile=f"+49 {CANARY}",
        first_name=CANARY,
        last_name=CANARY,
        country=CANARY,
    )
    rules = {"exclude_countries": [f"{CANARY}-country"], "exclude_tags": [f"{CANARY}-tag"]}
    for name in CAMPAIGNS:
        service.factory.campaign(organization, name=name, rules=rules)
    service.database.execute(TRIGGER.encode())
    yield service
    service.database.execute("drop trigger quote on public.campaign_recipients; drop function public.quote()")


def everything_said(function: Function) -> str:
    """All answers to right and wrong calls, and the log."""
    said = ""
    for token in (TOKEN, f"{TOKEN}x"):
        for path in ("/?dry_run=true", "/", "/", f"/{CANARY}", f"/?{CANARY}={CANARY}", f"/?organization_id={CANARY}"):
            headers = {"X-Canary": CANARY}
            response = Caller(url=function.url, token=token).post(path, headers=headers, json={CANARY: CANARY})
            said += f"{response.status_code} {response.headers} {response.text}\n"
    return said + function.log.read_text()


def test_no_row_that_the_database_quotes_shows_in_an_answer_or_the_log(outspoken: Service) -> None:
    with Function({**outspoken.settings, **SETTINGS}) as function:
        said = everything_said(function)
    errors = outspoken.execute("select last_error_detail from campaign_runner.launches where last_error is not null")
    assert len(errors) == len(CAMPAIGNS) - 1
    assert all(CANARY in detail for (detail,) in errors), "the canaries were not met"
    assert "is launched" in said
    # The name of a parameter that does not exist is the caller's own.
    assert CANARY not in said.replace(f"Unknown query parameter '{CANARY}'", "")
    assert outspoken.project.secret_key not in said


# Not SYSTEM_USER_ROLES, which the error of a campaign names, and not GOOGLE_CLOUD_PROJECT, which is in the trace.
@pytest.mark.parametrize("name", ["SUPABASE_URL", "SUPABASE_SECRET_KEY", "SYSTEM_USER_ID", "STEP_ROWS"])
def test_no_setting_shows_in_an_answer_or_the_log(name: str, service: Service) -> None:
    values = {"SUPABASE_URL": f"http://{CANARY}.invalid", "SUPABASE_SECRET_KEY": f"sb_secret_{CANARY}"}
    service.factory.campaign(service.organization())
    environment = {**service.settings, **SETTINGS, "RUN_TIME_BUDGET_SECONDS": "1"}
    with Function({**environment, name: values.get(name, CANARY)}) as function:
        said = everything_said(function)
    assert "Answered with" in said, "nothing was logged"
    assert CANARY not in said.replace(f"Unknown query parameter '{CANARY}'", "")
