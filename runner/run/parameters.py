"""What a caller may ask of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from runner.errors import InvalidRequest

_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Parameters:
    """`organization_id`: None means every organization. `dry_run`: answer as a run would, and write nothing."""

    organization_id: UUID | None = None
    dry_run: bool = False


def parse_organization_id(value: object) -> UUID:
    """Read `8-4-4-4-12`, in any case. Raises InvalidRequest for any other form."""
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str) or not _CANONICAL_UUID.fullmatch(value):
        raise InvalidRequest("organization_id must be a UUID.")
    return UUID(value)
