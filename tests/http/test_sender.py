"""The sender of docs/sender.md as it stands there, in processes of its own, against a mail server that keeps all."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import pytest

from tests.support.eventually import eventually
from tests.support.mail_server import MailServer
from tests.support.service import Service

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "sender.md").read_text()
CONTACTS = 60

Sender = subprocess.Popen[bytes]


def block(language: str, containing: str) -> str:
    [found] = [b for b in re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL) if containing in b]
    return str(found)


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as mail_server:
        yield mail_server


@pytest.fixture
def start_sender(service: Service, mail_server: MailServer, tmp_path: Path) -> Iterator[Callable[[], Sender]]:
    program = tmp_path / "sender.py"
    program.write_text(block("python", "smtplib"))
    environment = {
        "DATABASE_URL": service.project.database_url,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(mail_server.port),
        "MAIL_FROM": "news@example.org",
    }
    started: list[Sender] = []

    def start() -> Sender:
        process = subprocess.Popen([sys.executable, str(program)], env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(60)


def end(*senders: Sender) -> None:
    """Wait until all have ended, of their own accord and without an error."""
    assert [sender.wait(30) for sender in senders] == [0] * len(senders)


@pytest.fixture
def campaign(service: Service) -> str:
    """Launched just now."""
    organization = service.add_organization()
    service.add_contacts(organization, CONTACTS)
    campaign = service.add_campaign(organization, name="Spring sale")
    service.run()
    return campaign


def addresses(service: Service, campaign: str, status: str = "%") -> Counter[str]:
    """Of the recipients that have this status."""
    found = service.execute(
        "select k.email from campaign_recipients r join contacts k on k.id = r.contact_id"
        " where r.campaign_id = %s and r.status like %s",
        campaign,
        status,
    )
    return Counter(email for (email,) in found)


def unsubscribe(service: Service, emails: Iterable[str]) -> None:
    service.execute("update contacts set is_subscribed = false where email = any (%s)", list(emails))


def test_three_senders_side_by_side_mail_each_recipient_once(
    service: Service, campaign: str, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    mail_server.gather(3)
    end(*[start_sender() for _ in range(3)])

    assert Counter(mail_server.addresses) == addresses(service, campaign)
    assert addresses(service, campaign, "sent") == addresses(service, campaign)
    assert service.status(campaign) == "sent"
    assert len({message["Message-ID"] for message in mail_server.messages}) == CONTACTS
    assert {message["Subject"] for message in mail_server.messages} == {"Spring sale"}


def test_who_unsubscribes_in_between_gets_nothing(
    service: Service, campaign: str, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    mail_server.hold()
    sender = start_sender()
    mail_server.wait_until_held()
    left = Counter(dict((addresses(service, campaign) - Counter(mail_server.addresses)).most_common(5)))
    unsubscribe(service, left)
    mail_server.release()
    end(sender)

    assert Counter(mail_server.addresses) == addresses(service, campaign) - left
    assert addresses(service, campaign, "pending") == left
    assert service.status(campaign) == "sent"


def test_a_pause_stops_all_but_the_message_that_is_being_handed_over(
    service: Service, campaign: str, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    mail_server.hold()
    sender = start_sender()
    mail_server.wait_until_held()
    service.execute("update campaigns set status = 'paused'")
    mail_server.release()
    end(sender)
    assert len(mail_server.messages) == 1
    assert addresses(service, campaign, "sent") == Counter(mail_server.addresses)
    assert service.status(campaign) == "paused"

    service.execute("update campaigns set status = 'scheduled'")
    service.run()
    end(start_sender(), start_sender())

    assert Counter(mail_server.addresses) == addresses(service, campaign)
    assert service.status(campaign) == "sent"


def test_a_sender_that_is_killed_loses_nobody_and_only_the_message_in_its_hands_is_sent_twice(
    service: Service, campaign: str, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    mail_server.hold()
    dies = start_sender()
    message = mail_server.wait_until_held()
    others = [start_sender(), start_sender()]
    dies.kill()
    dies.wait(60)
    end(*others)

    assert Counter(mail_server.addresses) - addresses(service, campaign) == Counter([str(message["To"])])
    copies = [copy for copy in mail_server.messages if copy["To"] == message["To"]]
    assert {copy["Message-ID"] for copy in copies} == {message["Message-ID"]}
    assert addresses(service, campaign, "sent") == addresses(service, campaign)
    assert service.status(campaign) == "sent"


def test_others_wait_for_the_last_message_and_take_it_over_from_a_sender_that_dies(
    service: Service, campaign: str, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    mail_server.hold()
    dies = start_sender()
    message = mail_server.wait_until_held()
    other = start_sender()
    waiting: LiteralString = """
        select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query like '%for no key update%'
    """
    eventually(lambda: service.database.execute(waiting).fetchone() == (1,))
    assert len(mail_server.messages) == CONTACTS
    assert service.status(campaign) == "sending"

    dies.kill()
    end(other)

    assert Counter(mail_server.addresses) - addresses(service, campaign) == Counter([str(message["To"])])
    assert service.status(campaign) == "sent"


def test_what_the_mail_server_refuses_for_good_has_bounced_and_what_it_defers_is_for_the_next_start(
    service: Service, campaign: str, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    broken = "line\nbreak@example.org"
    deferred, refused, mended, *_ = sorted(addresses(service, campaign))
    service.execute("update contacts set email = %s where email = %s", broken, mended)
    mail_server.refusals |= {deferred: "450 later", refused: "550 unknown"}
    end(start_sender())
    assert addresses(service, campaign, "pending") == Counter([deferred])
    assert addresses(service, campaign, "bounced") == Counter([refused, broken])
    assert service.status(campaign) == "sending"

    del mail_server.refusals[deferred]
    end(start_sender())

    assert mail_server.addresses[-1] == deferred
    assert len(mail_server.messages) == CONTACTS - 2
    assert service.status(campaign) == "sent"


def test_over_the_rest_api_the_claim_is_a_mark_that_one_sender_alone_can_set(service: Service, campaign: str) -> None:
    *unsubscribed, _ = sorted(addresses(service, campaign))[:3]
    unsubscribe(service, unsubscribed)
    environment = {"SUPABASE_URL": service.project.url, "SUPABASE_SECRET_KEY": service.project.secret_key}
    command = [sys.executable, "-c", block("python", "create_client")]
    senders = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = Counter(line for sender in senders for line in sender.communicate(timeout=30)[0].splitlines())

    assert len(printed) >= 50
    assert printed == Counter(f"mail to {email}" for email in addresses(service, campaign, "sent"))
    assert addresses(service, campaign, "sent").keys().isdisjoint(unsubscribed)


class TestStatements:
    """The single ones of the page."""

    def ask(self, service: Service, statement: str, *values: object) -> list[Any]:
        """As it stands, with its $1, $2 …, which psycopg has no way to pass."""
        arguments = ", ".join(f"'{value}'" for value in values)
        service.database.execute(f"prepare statement as {statement}".encode())
        try:
            cursor = service.database.execute(f"execute statement ({arguments})".encode())
            return cursor.fetchall() if cursor.description else []
        finally:
            service.execute("deallocate statement")

    def test_page_and_count_show_what_may_be_sent(self, service: Service, campaign: str) -> None:
        everybody = addresses(service, campaign)
        unsubscribed = sorted(everybody)[:20]
        unsubscribe(service, unsubscribed)

        page = self.ask(service, block("sql", "limit 500"), campaign, UUID(int=0))

        assert {email for _, email in page} == everybody.keys() - set(unsubscribed)
        assert page == sorted(page)
        assert self.ask(service, block("sql", "count(*)"), campaign) == [(len(page),)]

    def test_a_bounce_counts_in_the_next_campaign_that_excludes_bounces(self, service: Service, campaign: str) -> None:
        [(organization,)] = service.execute("select organization_id from campaigns")
        bounced, never_sent, *_ = sorted(service.recipients(campaign))
        service.execute("update campaign_recipients set status = 'sent' where contact_id = %s", bounced)
        for contact in (bounced, never_sent):
            self.ask(service, block("sql", "'bounced'"), campaign, contact)
        following = service.add_campaign(organization)
        service.execute(
            "insert into campaign_target_rules (campaign_id, organization_id, exclude_bounced) values (%s, %s, true)",
            following,
            organization,
        )

        service.run()

        assert service.recipients(campaign) - service.recipients(following) == {bounced}

    def test_the_status_of_a_recipient_only_goes_forward(self, service: Service, campaign: str) -> None:
        contact = min(service.recipients(campaign))
        seen = []
        for status in ("opened", "sent", "opened", "delivered", "clicked", "opened"):
            if status == "sent":
                service.execute("update campaign_recipients set status = 'sent' where contact_id = %s", contact)
            else:
                self.ask(service, block("sql", "array_position"), campaign, contact, status)
            seen += service.execute("select status from campaign_recipients where contact_id = %s", contact)
        assert seen == [("pending",), ("sent",), ("opened",), ("opened",), ("clicked",), ("clicked",)]
