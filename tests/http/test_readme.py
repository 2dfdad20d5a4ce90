"""What README.md, docs/installing.md and docs/settings.md say is true: the commands are run, the tables compared."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from runner.settings import HttpSettings
from tests.support.documentation import ROOT, Page, shell
from tests.support.service import Service

pytestmark = pytest.mark.slow

PAGE = Page("README.md")
INSTALLING = Page("docs/installing.md")
SETTINGS = Page("docs/settings.md")


def test_the_curl_commands_launch_what_is_due(service: Service, tmp_path: Path) -> None:
    campaign = service.due_campaign()
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "env").write_text(f"RUNNER_URL={service.url}\nRUNNER_TOKEN={service.token}\n")
    [block] = PAGE.blocks("sh", "curl")
    forecast, answer = (
        json.loads(line) for line in shell(block, service.settings, tmp_path).replace("}{", "}\n{").splitlines()
    )
    assert forecast == answer
    assert [outcome["campaign_id"] for outcome in answer["campaigns"]] == [str(campaign)]


def test_the_shell_commands_launch_what_is_due(service: Service, tmp_path: Path) -> None:
    campaign = service.due_campaign()
    [block] = PAGE.blocks("sh", "python -m runner")
    output = shell(f"CAMPAIGN_ID={campaign}\n{block}", service.settings, tmp_path)
    before, brace, rest = output.partition("{")
    answer, end = json.JSONDecoder().raw_decode(brace + rest)
    after = (brace + rest)[end:]
    assert answer["campaigns"][0]["campaign_id"] == str(campaign)
    assert "1 would be launched, 0 failed." in before
    assert "3 recipients, of 3 contacts." in before
    assert "3, of which 3 inserted" in after
    assert "0 problems, " in after
    assert "Last runs:" in after
    assert after.splitlines()[-1] == "0 campaigns will be tried by the next run."


def test_the_settings_of_make_serve_are_put_into_the_environment(service: Service, tmp_path: Path) -> None:
    [command] = re.findall(r"`(\. \.venv[^`]*)`", PAGE.text)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "env").write_text("".join(f"{name}={value}\n" for name, value in service.settings.items()))
    campaign = service.due_campaign()
    answer = json.loads(shell(f"{command}; python -m runner run --json", {}, tmp_path))
    assert answer["campaigns"][0]["campaign_id"] == str(campaign)


def test_the_settings_of_a_project_are_put_into_the_environment(tmp_path: Path) -> None:
    [_, block] = INSTALLING.blocks("sh", ".env")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    shutil.copy(ROOT / ".env.example", tmp_path / ".env")
    output = shell(f"{block}\nprintenv SUPABASE_URL STEP_ROWS", {}, tmp_path)
    assert output.splitlines() == ["https://abcdefghijkl.supabase.co", "20000"]


def test_the_python_example_launches_what_is_due(service: Service, tmp_path: Path) -> None:
    service.due_campaign()
    [block] = PAGE.blocks("python", "run_campaign_automation")
    (tmp_path / "example.py").write_text(block)
    output = shell("python example.py", service.settings, tmp_path)
    assert output == "1 ['Campaign']\n"


def test_the_response_has_the_keys_that_the_readme_shows(service: Service) -> None:
    [block] = PAGE.blocks("json", "processed_count")
    shown = json.loads(block)
    service.due_campaign()
    service.factory.campaign(service.factory.organization())
    answer = service.run()
    assert answer.keys() == shown.keys()
    for key in ("campaigns", "errors"):
        assert [entry.keys() for entry in answer[key]] == [entry.keys() for entry in shown[key]]


def test_the_index_commands_are_those_of_the_migrations(service: Service) -> None:
    """Built beforehand under these names, with these definitions, they are what the migration finds or would make."""
    [block] = INSTALLING.blocks("sql", "create index concurrently")
    commands = [line for line in block.splitlines() if line]
    named = {match[1]: match[0] for line in commands if (match := re.search(r"exists (\w+) on", line))}

    def definitions(database: psycopg.Connection[tuple[str, str]]) -> dict[str, str]:
        return dict(
            database.execute(
                "select indexname, indexdef from pg_indexes where indexname like 'campaign\\_runner\\_%'"
            ).fetchall()
        )

    before = definitions(service.database)
    try:
        for command in commands:
            service.database.execute(command.encode())
        after = definitions(service.database)
        assert set(after) == set(named)
        service.database.execute(f"drop index {', '.join(after)}".encode())
        for command in commands:
            service.database.execute(command.encode())
        rebuilt = definitions(service.database)
        assert {name: rebuilt[name] for name in before} == before
    finally:
        for name in set(definitions(service.database)) - set(before):
            service.database.execute(f"drop index {name}".encode())


def test_every_setting_stands_in_the_page_and_in_the_example() -> None:
    names = {name.upper() for name in HttpSettings.model_fields}
    example = (ROOT / ".env.example").read_text()
    assert {name for name in names if f"`{name}`" not in SETTINGS.text} == set()
    assert {name for name in names if name not in example} == set()
    # And none that does not exist.
    shown = set(re.findall(r"^\| `([A-Z_]+)`", SETTINGS.text, re.MULTILINE))
    assert shown <= names


def test_every_target_of_the_makefile_is_in_its_help() -> None:
    help_text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    assert [target for target in targets if not re.search(rf"\b{target}\b", help_text)] == []
