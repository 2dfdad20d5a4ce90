"""The memberships of the system user: what lets it act for an organization."""

from __future__ import annotations

from uuid import UUID

from runner.settings import Settings

_JOIN = (
    "insert into public.organization_members (organization_id, user_id, role) "
    "values ('{organization_id}', '{user_id}', '{role}');"
)
_CHANGE = (
    "update public.organization_members set role = '{role}' "
    "where organization_id = '{organization_id}' and user_id = '{user_id}';"
)


def membership_statement(organization_id: UUID | None, settings: Settings, *, is_member: bool) -> str:
    """The statement that makes the system user a member, or gives the member the last of SYSTEM_USER_ROLES."""
    return (_CHANGE if is_member else _JOIN).format(
        organization_id=organization_id, user_id=settings.system_user_id, role=settings.system_user_roles[-1]
    )
