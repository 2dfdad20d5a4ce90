"""The system user: its profile, and the memberships that let it act for an organization."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from runner.commands.findings import names
from runner.commands.findings.facts import Facts
from runner.commands.findings.finding import Finding, found
from runner.commands.terminal import counted
from runner.settings import Settings

_JOIN = (
    "insert into public.organization_members (organization_id, user_id, role) "
    "values ('{organization_id}', '{user_id}', '{role}');"
)
_CHANGE = (
    "update public.organization_members set role = '{role}' "
    "where organization_id = '{organization_id}' and user_id = '{user_id}';"
)


def system_user_findings(facts: Facts, settings: Settings) -> Iterator[Finding]:
    """The profile, and the organizations that schedule campaigns and have no such member."""
    user = settings.system_user_id
    if facts.system_user is False:
        missing = f"SYSTEM_USER_ID ({user}) is no row of profiles: nothing is launched at all."
        yield found("system_user", missing, system_user_id=user)
    elif facts.system_user:
        yield Finding("system user", "ok", "It has a profile.")
    lack = facts.memberships
    if lack is not None and lack.lacking:
        number = f"{'At least ' if lack.is_cut else ''}{counted(lack.lacking, 'organization')}"
        yield found(
            "membership",
            f"{number} with scheduled campaigns, in which the system user has none of the roles "
            f"{', '.join(settings.system_user_roles)}: {names.organizations(lack)}."
            f"{_other_user(facts, settings)}{_no_profile(facts)}",
            statement=" ".join(
                membership_statement(each.id, settings, is_member=each.role is not None) for each in lack.named
            ),
        )
    elif lack is not None:
        extent = ", as far as these were looked at" if lack.is_cut else ""
        yield Finding("memberships", "ok", f"The system user may act where campaigns are scheduled{extent}.")


def membership_statement(organization_id: UUID | None, settings: Settings, *, is_member: bool) -> str:
    """The statement that makes the system user a member, or gives the member the last of SYSTEM_USER_ROLES."""
    return (_CHANGE if is_member else _JOIN).format(
        organization_id=organization_id, user_id=settings.system_user_id, role=settings.system_user_roles[-1]
    )


def _no_profile(facts: Facts) -> str:
    return " The user needs its profile first (see system user)." if facts.system_user is False else ""


def _other_user(facts: Facts, settings: Settings) -> str:
    theirs = facts.last_call.system_user_id if facts.last_call else None
    if theirs is None or theirs == settings.system_user_id:
        return ""
    return f" Is SYSTEM_USER_ID right? The last call had another one, {theirs}."
