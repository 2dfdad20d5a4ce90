"""The record that editors keep, so that the tables can be judged after they edited."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from tests.support import oracle


@dataclass
class Edits:
    """What editors did while the runs went on. Written before the edit, since the database may die in its middle."""

    contacts: set[UUID] = field(default_factory=set)  # edited, inserted or deleted
    addresses: set[str] = field(default_factory=set)  # that these contacts had before or afterwards, folded
    rescheduled: set[UUID] = field(default_factory=set)  # paused campaigns that were scheduled after the last edit
    refused: list[str] = field(default_factory=list)  # edits that the database refused, though it was well
    overruled: list[str] = field(default_factory=list)  # campaigns that did not stay paused

    def touch(self, contact: UUID, *addresses: str | None) -> None:
        """A contact is about to be edited, inserted or deleted."""
        self.addresses.update(oracle.folded(address) for address in addresses if oracle.folded(address))
        self.contacts.add(contact)

    def touched(self, tables: oracle.Tables) -> set[UUID]:
        """The contacts that exist and that an edit may have made eligible or not: those edited, and all their twins."""
        return {
            contact["id"]
            for contact in tables["contacts"]
            if contact["id"] in self.contacts or oracle.folded(contact["email"]) in self.addresses
        }

    def deleted(self, tables: oracle.Tables) -> set[UUID]:
        """The contacts that do not exist any more."""
        return self.contacts - {contact["id"] for contact in tables["contacts"]}
