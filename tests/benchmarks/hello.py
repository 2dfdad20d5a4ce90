"""What any function of this kind has to import: nothing, or with HELLO_IMPORTS_SUPABASE=1 the client of the project."""

from __future__ import annotations

import importlib
import os

import functions_framework
from flask import Request

if os.environ.get("HELLO_IMPORTS_SUPABASE"):
    importlib.import_module("supabase")


@functions_framework.http
def run_campaigns(request: Request) -> str:
    """Hello."""
    return "hello"
