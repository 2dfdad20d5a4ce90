"""One finding of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from runner.commands.findings.troubles import TROUBLES, Severity


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` is a sentence, a statement or a command, and None where all is well."""

    check: str
    severity: Severity
    message: str
    remedy: str | None = None


def found(trouble: str, message: str, **blanks: object) -> Finding:
    """The finding for a trouble of the list, with the blanks of its remedy filled in."""
    kind = TROUBLES[trouble]
    return Finding(kind.check, kind.severity, message, kind.remedy.format(**blanks))
