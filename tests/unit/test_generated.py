"""The files that are made from others are as `make generate` writes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.generated import FILES, PROJECT, SOURCES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_generated_file_holds_what_its_sources_say(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path](), "make generate"


@pytest.mark.parametrize("path", sorted(SOURCES.glob("*/*.sql")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_a_source_creates_the_one_object_that_it_is_named_after(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    created = re.findall(r"^ *create (?:or replace )?(?:function|view|type) \w+\.(\w+)", text, re.MULTILINE)
    assert [name.removeprefix("campaign_runner_") for name in created] == [path.stem.partition("_")[2]]
