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

from local.loopback import free_port
from tests.support import records
from tests.support.automation import Automation
from tests.support.eventually import eventually
from tests.support.mail_server import MailServer
from tests.support.service import Service

pytestmark = pytest.mark.slow

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
def start_sender(service: Service, mail_server: MailServer, tmp_path: Path) -> Iterator[Callable[..., Sender]]:
    program = tmp_path / "sender.py"
    program.write_text(block("python", "smtplib"))
    environment = {
        "DATABASE_URL": service.project.database_url,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(mail_server.port),
        "MAIL_FROM": "news@example.org",
    }
    started: list[Sender] = []

    def start(**changes: str) -> Sender:
        process = subprocess.Popen(
            [sys.executable, str(program)], env={**environment, **changes}, stderr=subprocess.PIPE
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=60)


def end(*senders: Sender) -> None:
    """Wait until all have ended, of their own accord and without an error."""
    errors = [sender.communicate(timeout=30)[1] for sender in senders]
    assert errors == [b""] * len(senders)
    assert [sender.returncode for sender in senders] == [0] * len(senders)


def give_up(sender: Sender) -> None:
    """Wait until it has ended, with one sentence that says why."""
    [line] = sender.communicate(timeout=30)[1].splitlines()
    assert line.startswith(b"The mail server cannot be used: ")
    assert sender.returncode == 1


@pytest.fixture
def campaign(service: Service) -> UUID:
    """Launched just now."""
    organization = service.organization()
    service.factory.crowd(organization, CONTACTS)
    campaign = service.factory.campaign(organization, name="Spring sale")
    service.run()
    return campaign


def addresses(service: Service, campaign: UUID, status: str = "%") -> Counter[str]:
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
    service: Service, campaign: UUID, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    service.execute("update campaigns set name = E'Spring\\nsale'")  # which no header can hold as it is
    mail_server.gather(3)
    end(*[start_sender() for _ in range(3)])

    assert Counter(mail_server.addresses) == addresses(service, campaign)
    assert addresses(service, campaign, "sent") == addresses(service, campaign)
    assert records.status(service.database, campaign) == "sent"
    assert len({message["Message-ID"] for message in mail_server.messages}) == CONTACTS
    assert {message["Subject"] for message in mail_server.messages} == {"Spring sale"}


def test_who_unsubscribes_in_between_gets_nothing(
    service: Service, campaign: UUID, mail_server: MailServer, start_sender: Callable[[], Sender]
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
    assert records.status(service.database, campaign) == "sent"


def test_a_pause_stops_all_but_the_message_that_is_being_handed_over(
    service: Service, campaign: UUID, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    mail_server.hold()
    sender = start_sender()
    mail_server.wait_until_held()
    service.execute("update campaigns set status = 'paused'")
    mail_server.release()
    end(sender)
    assert len(mail_server.messages) == 1
    assert addresses(service, campaign, "sent") == Counter(mail_server.addresses)
    assert records.status(service.database, campaign) == "paused"

    service.execute("update campaigns set status = 'scheduled'")
    service.run()
    end(start_sender(), start_sender())

    assert Counter(mail_server.addresses) == addresses(service, campaign)
    assert records.status(service.database, campaign) == "sent"


def test_a_sender_that_is_killed_loses_nobody_and_only_the_message_in_its_hands_is_sent_twice(
    service: Service, campaign: UUID, mail_server: MailServer, start_sender: Callable[[], Sender]
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
    assert records.status(service.database, campaign) == "sent"


def test_others_wait_for_the_last_message_and_take_it_over_from_a_sender_that_dies(
    service: Service, campaign: UUID, mail_server: MailServer, start_sender: Callable[[], Sender]
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
    assert records.status(service.database, campaign) == "sending"

    dies.kill()
    end(other)

    assert Counter(mail_server.addresses) - addresses(service, campaign) == Counter([str(message["To"])])
    assert records.status(service.database, campaign) == "sent"


def test_what_the_mail_server_refuses_for_good_has_bounced_and_what_it_defers_is_for_the_next_start(
    service: Service, campaign: UUID, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    broken = ["line\nbreak@example.org", "half@", "one@example.org, two@example.org"]
    deferred, refused, *mended = sorted(addresses(service, campaign))
    for old, new in zip(mended, broken, strict=False):
        service.execute("update contacts set email = %s where email = %s", new, old)
    mail_server.refusals |= {deferred: "450 later", refused: "550 unknown", "one@example.org": "550 unknown"}
    end(start_sender())
    assert addresses(service, campaign, "pending") == Counter([deferred])
    assert addresses(service, campaign, "bounced") == Counter([refused, *broken])
    assert records.status(service.database, campaign) == "sending"

    del mail_server.refusals[deferred]
    end(start_sender())

    assert mail_server.addresses[-1] == deferred
    assert len(mail_server.messages) == CONTACTS - 4
    assert records.status(service.database, campaign) == "sent"


def test_a_message_that_is_refused_for_good_has_bounced_and_stops_no_other_and_no_other_campaign(
    service: Service, campaign: UUID, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    [(organization,)] = service.execute("select organization_id from campaigns")
    later = service.factory.campaign(organization)
    service.run()
    mail_server.next_answers["."] = ["554 no such content here"]

    end(start_sender())

    assert addresses(service, campaign, "sent") + addresses(service, later) == Counter(mail_server.addresses)
    assert len(mail_server.messages) == 2 * CONTACTS - 1
    assert addresses(service, campaign, "bounced") == addresses(service, campaign) - addresses(
        service, campaign, "sent"
    )
    assert (records.status(service.database, campaign), records.status(service.database, later)) == ("sent", "sent")


def test_a_server_that_ends_the_connection_gets_the_rest_over_another_one(
    service: Service, campaign: UUID, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    mail_server.messages_per_connection = 5
    mail_server.next_answers |= {
        "RCPT": ["421 closing"],
        "DATA": ["354 go on", "421 closing"],
        ".": ["250 OK", "250 OK", "421 closing"],
    }

    end(start_sender())

    assert Counter(mail_server.addresses) == addresses(service, campaign) == addresses(service, campaign, "sent")
    assert records.status(service.database, campaign) == "sent"


def test_what_is_not_taken_stays_pending_for_the_next_start_whatever_the_reason_and_the_others_go_on(
    service: Service, campaign: UUID, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    mail_server.next_answers |= {
        "MAIL": ["451 later", "550 who are you", ""],
        "RCPT": ["451 later", ""],
        "DATA": ["451 later", ""],
        ".": ["451 later"],
    }
    end(start_sender())
    assert sum(addresses(service, campaign, "pending").values()) == 8
    assert addresses(service, campaign) - addresses(service, campaign, "pending") == Counter(mail_server.addresses)
    assert addresses(service, campaign, "bounced") == Counter()
    assert records.status(service.database, campaign) == "sending"

    end(start_sender())

    assert Counter(mail_server.addresses) == addresses(service, campaign) == addresses(service, campaign, "sent")
    assert records.status(service.database, campaign) == "sent"


def test_a_message_whose_answer_is_lost_is_sent_once_more_at_the_next_start(
    service: Service, campaign: UUID, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    mail_server.next_answers["."] = [""]
    end(start_sender())
    assert addresses(service, campaign, "pending") == Counter(mail_server.addresses[:1])
    assert len(mail_server.messages) == CONTACTS

    end(start_sender())

    assert Counter(mail_server.addresses) - addresses(service, campaign) == Counter(mail_server.addresses[:1])
    assert mail_server.messages[0]["Message-ID"] == mail_server.messages[-1]["Message-ID"]
    assert records.status(service.database, campaign) == "sent"


def test_a_server_that_is_not_there_ends_the_sender_which_loses_nobody(
    service: Service, campaign: UUID, mail_server: MailServer, start_sender: Callable[..., Sender]
) -> None:
    give_up(start_sender(SMTP_PORT=str(free_port())))
    assert addresses(service, campaign, "pending") == addresses(service, campaign)

    mail_server.messages_per_connection = 5
    mail_server.next_answers["CONNECT"] = ["220 once", "554 never again"]
    give_up(start_sender())
    assert addresses(service, campaign, "sent") == Counter(mail_server.addresses)
    assert len(mail_server.messages) == 5

    end(start_sender())
    assert Counter(mail_server.addresses) == addresses(service, campaign)
    assert records.status(service.database, campaign) == "sent"


def test_a_campaign_that_a_person_set_to_sending_in_mid_launch_is_left_as_it_is(
    service: Service, mail_server: MailServer, start_sender: Callable[[], Sender]
) -> None:
    organization = service.organization()
    service.factory.crowd(organization, CONTACTS)
    campaign = service.factory.campaign(organization)
    Automation(service.database, service.system_user, max_rows=10).first_chunk()
    service.execute("update campaigns set status = 'sending' where id = %s", campaign)
    end(start_sender())
    assert mail_server.addresses == []
    assert records.status(service.database, campaign) == "sending"


def test_over_the_rest_api_the_claim_is_a_mark_that_one_sender_alone_can_set(service: Service, campaign: UUID) -> None:
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

    def test_page_and_count_show_what_may_be_sent(self, service: Service, campaign: UUID) -> None:
        everybody = addresses(service, campaign)
        unsubscribed = sorted(everybody)[:20]
        unsubscribe(service, unsubscribed)

        page = self.ask(service, block("sql", "limit 500"), campaign, UUID(int=0))

        assert {email for _, email in page} == everybody.keys() - set(unsubscribed)
        assert page == sorted(page)
        assert self.ask(service, block("sql", "count(*)"), campaign) == [(len(page),)]

    def test_a_bounce_counts_in_the_next_campaign_that_excludes_bounces(self, service: Service, campaign: UUID) -> None:
        [(organization,)] = service.execute("select organization_id from campaigns")
        bounced, never_sent, *_ = sorted(records.recipients(service.database, campaign))
        service.execute("update campaign_recipients set status = 'sent' where contact_id = %s", bounced)
        for contact in (bounced, never_sent):
            self.ask(service, block("sql", "'bounced'"), campaign, contact)
        following = service.factory.campaign(organization, rules={"exclude_bounced": True})

        service.run()

        before, after = (records.recipients(service.database, each) for each in (campaign, following))
        assert before.keys() - after.keys() == {bounced}

    def test_the_status_of_a_recipient_only_goes_forward(self, service: Service, campaign: UUID) -> None:
        contact = min(records.recipients(service.database, campaign))
        seen = []
        for status in ("opened", "sent", "opened", "delivered", "clicked", "opened"):
            if status == "sent":
                service.execute("update campaign_recipients set status = 'sent' where contact_id = %s", contact)
            else:
                self.ask(service, block("sql", "array_position"), campaign, contact, status)
            seen += service.execute("select status from campaign_recipients where contact_id = %s", contact)
        assert seen == [("pending",), ("sent",), ("opened",), ("opened",), ("clicked",), ("clicked",)]
