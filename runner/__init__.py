"""Launches the marketing campaigns that are due.

>>> from runner import run_campaign_automation
>>> result = run_campaign_automation()  # every organization
>>> result = run_campaign_automation("0b7c0f0e-5b0e-4c3e-9d57-1f6f3b1a2c3d", dry_run=True)
"""

from __future__ import annotations

from runner.run.automation import run_campaign_automation
from runner.version import __version__

__all__ = ["__version__", "run_campaign_automation"]
