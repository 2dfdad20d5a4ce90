"""Contacts with which something looks wrong."""

from __future__ import annotations

from collections.abc import Iterator

from runner.commands.findings import names
from runner.commands.findings.facts import Audiences
from runner.commands.findings.finding import Finding, found
from runner.commands.terminal import counted


def contact_findings(audiences: Audiences | None, *, is_known: bool) -> Iterator[Finding]:
    """One for each kind. `is_known`: the database could look; then None says that an index is missing."""
    if audiences is None:
        if is_known:
            yield found("unlooked", "Contacts with one address were not looked for: an index is missing.")
        return
    looked = f"{'a sample of ' if audiences.is_sample else 'all '}{counted(audiences.contacts, 'contact')}"
    kinds = (
        ("duplicates", "addresses", "address", "of more than one contact"),
        ("mobiles", "mobiles", "mobile number", "of more than one contact without an address"),
        ("malformed", "malformed", "address", "malformed"),
        ("unknown", "unknown", "contact", "without is_subscribed"),
    )
    is_wrong = False
    for trouble, fact, noun, what in kinds:
        concerned = [each for each in audiences.organizations if getattr(each, fact)]
        if concerned:
            is_wrong = True
            number = counted(sum(getattr(each, fact) for each in concerned), noun)
            ids = names.listed([str(each.organization_id) for each in concerned[:5]], len(concerned))
            yield found(trouble, f"{number} {what}, in {looked}; organizations: {ids}.")
    if not is_wrong:
        yield Finding("contacts", "ok", f"Nothing looks wrong in {looked}.")
