"""How campaigns and organizations are named in a finding: the first of them, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence

from runner.commands.findings.facts import Lack, Memberships, Named


def campaigns(lack: Lack) -> str:
    """The campaigns of a lack, each with the reason where it has one."""
    return listed([named(each, each.because) for each in lack.named], lack.lacking)


def organizations(lack: Memberships) -> str:
    """The organizations, each with the role that the system user has there."""
    return listed([named(each, each.role and f"its role there: {each.role}") for each in lack.named], lack.lacking)


def named(one: Named, note: str | None = None) -> str:
    """The name and the id."""
    return f"{one.name or '(without a name)'} {one.id}" + (f" ({note})" if note else "")


def listed(shown: Sequence[str], number: int) -> str:
    """These, of so many."""
    return ", ".join(shown) + (f" and {number - len(shown):,} more" if number > len(shown) else "")
