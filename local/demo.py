"""`make run`: the main job on demo data, in front of your eyes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import click
import httpx
import psycopg

from local.function import Function
from local.serve import add_demo_data, curl, function_environment
from local.stack import Stack
from runner.commands.terminal import table, wrapped

# What supabase/seed.sql must become: status and number of recipients.
EXPECTED = {
    "Newsletter to 25,000": ("sending", 25_000),
    "Offer to VIPs": ("sending", 480),
    "Invitation to three": ("sending", 3),
    "Due tomorrow": ("scheduled", 0),
    "Paused by Maria": ("paused", 0),
    "Newsletter of last year": ("sent", 200),
    "Welcome to Contoso": ("sending", 1_200),
    "We miss you": ("sending", 0),
    "Fabrikam opens": ("scheduled", 0),
}
REFUSED = "Fabrikam opens"


@dataclass(frozen=True)
class Campaign:
    """What the database says about one."""

    id: str
    name: str
    organization: str
    status: str
    recipients: int


def run(version: int) -> None:
    """Play the demo on a version of Postgres. Raises ClickException where the outcome is not the one expected."""
    click.echo(f"Starting Postgres {version}, the migrations and the REST server …")
    with Stack(version) as stack, psycopg.connect(stack.project.database_url, autocommit=True) as connection:
        click.echo("Loading supabase/seed.sql …")
        add_demo_data(stack.project.database_url)
        before = _campaigns(connection)
        environment = function_environment(stack.project)
        click.echo("Starting the function …\n")
        with Function(environment) as function:
            click.echo("Before:\n")
            _show(before)
            click.echo(f"The call:\n\n{curl(function.url, environment['RUNNER_TOKENS'])}\n")
            first, seconds = _call(function, environment["RUNNER_TOKENS"])
            click.echo(f"The answer, after {seconds:.2f} s:\n")
            _tell(first)
            after = _campaigns(connection)
            click.echo("After:\n")
            _show(after)
            second, seconds = _call(function, environment["RUNNER_TOKENS"])
            _check(first, second, after, _campaigns(connection))
            click.echo(f"The same call again took {seconds:.2f} s, and changed nothing.")
    click.echo("Everything is stopped, and its data thrown away.\n")
    click.echo("Next: `make serve SEED=1` keeps it running with this data; the README shows how to call it.")


def _call(function: Function, token: str) -> tuple[dict[str, Any], float]:
    started = time.perf_counter()
    response = httpx.post(
        f"{function.url}/api/campaigns/run-automation", headers={"Authorization": f"Bearer {token}"}, timeout=120
    )
    seconds = time.perf_counter() - started
    if response.status_code != 200:
        raise click.ClickException(f"The function answered {response.status_code}: {response.text}")
    body: dict[str, Any] = response.json()
    return body, seconds


def _campaigns(connection: psycopg.Connection) -> list[Campaign]:
    rows = connection.execute(
        """
        select c.id::text, c.name, o.name, c.status,
            (select count(*) from public.campaign_recipients r where r.campaign_id = c.id)
        from public.campaigns c
        join public.organizations o on o.id = c.organization_id
        order by c.id
        """
    )
    return [Campaign(*row) for row in rows]


def _show(campaigns: list[Campaign]) -> None:
    rows = [(c.name, c.organization, c.status, f"{c.recipients:,}") for c in campaigns]
    click.echo(table(("CAMPAIGN", "ORGANIZATION", "STATUS", "RECIPIENTS"), rows) + "\n")


def _tell(answer: dict[str, Any]) -> None:
    click.echo(f"  processed_count: {answer['processed_count']}")
    for campaign in answer["campaigns"]:
        change = f"{campaign['previous_status']} → {campaign['new_status']}"
        click.echo(f"  campaigns: {campaign['name']}, {change}, {campaign['recipient_count']:,} recipients")
    for error in answer["errors"]:
        click.echo(f"  errors: {error['campaign_id']}")
        click.echo("\n".join(wrapped(error["error"], 4)))
    click.echo()


def _check(first: dict[str, Any], second: dict[str, Any], after: list[Campaign], at_last: list[Campaign]) -> None:
    if {campaign.name: (campaign.status, campaign.recipients) for campaign in after} != EXPECTED:
        raise click.ClickException(f"The campaigns are not what they should have become: {EXPECTED}")
    if {error["campaign_id"] for error in first["errors"]} != {c.id for c in after if c.name == REFUSED}:
        raise click.ClickException(f"{REFUSED}, and it alone, should have been refused.")
    if first["processed_count"] != sum(status == "sending" for status, _ in EXPECTED.values()):
        raise click.ClickException("The response does not name exactly the campaigns that were launched.")
    if second["processed_count"] != 0 or at_last != after:
        raise click.ClickException("The second request changed something.")
