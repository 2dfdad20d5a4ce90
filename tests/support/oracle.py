"""Whom a campaign addresses, worked out in Python from the words of the design and from nothing of the SQL.

Letters in addresses are ASCII in the tests: for others the database's lower() depends on its locale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg

from tests.support import records

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]
Verdicts = dict[UUID, str | None]

TABLES = (
    "contacts",
    "contact_tags",
    "contact_tag_assignments",
    "campaigns",
    "campaign_target_rules",
    "campaign_recipients",
)
BLANKS = " \t\n\v\f\r\u00a0\u200b\u200c\u200d\u202f\u2060\ufeff"


def read(database: psycopg.Connection[Any]) -> Tables:
    """All rows of all tables, of all organizations. A table that is not there has none."""
    tables: dict[str, Sequence[Row]] = {}
    for table in TABLES:
        [is_there] = records.rows(database, "select to_regclass('public.' || %s) is not null as yes", table)
        tables[table] = records.rows(database, f"select * from public.{table}") if is_there["yes"] else []
    return tables


def audience(tables: Tables, campaign_id: UUID) -> Verdicts:
    """For each contact of the campaign's organization None, or the first reason why it does not get the campaign."""
    [campaign] = [c for c in tables["campaigns"] if c["id"] == campaign_id]
    organization = campaign["organization_id"]
    rules = next(
        (
            dict(r)
            for r in tables["campaign_target_rules"]
            if r["campaign_id"] == campaign_id and r.get("organization_id") in (None, organization)
        ),
        {},
    )
    contacts = sorted(
        (c for c in tables["contacts"] if c["organization_id"] == organization), key=lambda contact: contact["id"].bytes
    )
    tags, bounced = _tags(tables, organization), _bounced(tables, organization)
    opted_out = {
        folded(c["email"])
        for c in contacts
        if c.get("deleted_at") is None and not _flag(c["is_subscribed"], True) and folded(c["email"])
    }
    verdicts: Verdicts = {}
    addressed: set[str] = set()
    for contact in contacts:
        reason = _reason(contact, rules, tags.get(contact["id"], set()), contact["id"] in bounced, opted_out)
        address = folded(contact["email"])
        if reason is None and address:
            if address in addressed:
                reason = "duplicate_address"
            addressed.add(address)
        verdicts[contact["id"]] = reason
    return verdicts


def recipients(verdicts: Verdicts) -> set[UUID]:
    """Who gets the campaign."""
    return {contact for contact, reason in verdicts.items() if reason is None}


def counts(verdicts: Verdicts) -> dict[str, int]:
    """The number of contacts for each reason."""
    reasons = [reason for reason in verdicts.values() if reason is not None]
    return {reason: reasons.count(reason) for reason in set(reasons)}


def _reason(contact: Row, rules: Row, tags: set[str], has_bounced: bool, opted_out: set[str]) -> str | None:
    include_emails = rules.get("include_emails") or []
    include_tags = rules.get("include_tags") or []
    address = folded(contact["email"])
    is_restricted = bool(include_emails or include_tags)
    is_included = bool(tags & set(map(folded, include_tags))) or bool(
        address and address in map(folded, include_emails)
    )
    country = folded(contact["country"])

    if contact.get("deleted_at") is not None:
        return "deleted"
    if _flag(rules.get("exclude_inactive"), True) and not _flag(contact["is_active"], True):
        return "inactive"
    is_subscribed = _flag(contact["is_subscribed"], True) and address not in opted_out
    if _flag(rules.get("exclude_unsubscribed"), True) and not is_subscribed:
        return "unsubscribed"
    if _flag(rules.get("exclude_bounced"), False) and has_bounced:
        return "bounced"
    if not address and not folded(contact.get("mobile")):
        return "no_address"
    if country and country in map(folded, rules.get("exclude_countries") or []):
        return "country"
    if is_restricted and not is_included:
        return "not_included"
    if tags & set(map(folded, rules.get("exclude_tags") or [])):
        return "excluded_tag"
    return None


def _tags(tables: Tables, organization: UUID) -> dict[UUID, set[str]]:
    names = {tag["id"]: folded(tag["name"]) for tag in tables["contact_tags"] if tag["organization_id"] == organization}
    tags: dict[UUID, set[str]] = {}
    for assignment in tables["contact_tag_assignments"]:
        if assignment["tag_id"] in names and assignment.get("organization_id") in (None, organization):
            tags.setdefault(assignment["contact_id"], set()).add(names[assignment["tag_id"]])
    return tags


def _bounced(tables: Tables, organization: UUID) -> set[UUID]:
    campaigns = {c["id"] for c in tables["campaigns"] if c["organization_id"] == organization}
    return {
        recipient["contact_id"]
        for recipient in tables["campaign_recipients"]
        if recipient["campaign_id"] in campaigns and recipient["status"] == "bounced"
    }


def folded(text: str | None) -> str:
    """Trimmed and without case; nothing for NULL."""
    return (text or "").strip(BLANKS).lower()


def _flag(value: bool | None, default: bool) -> bool:
    return default if value is None else value
