"""deploy.sh against a recording stand-in for gcloud, and a function that accepts the tokens that were deployed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.settings import HttpSettings
from tests.deploy.conftest import Deployed
from tests.support.gcloud_parser import parse_by_gcloud
from tests.support.google_cloud import DEPLOY, KEY, TOKEN, Cloud
from tests.support.programs import need

pytestmark = pytest.mark.slow

ORDER = [
    "services enable",
    "iam service-accounts create",
    "projects add-iam-policy-binding",
    "secrets create",
    "secrets versions add",
    "run deploy",
    "scheduler jobs create http",
    "logging metrics create",
]
REPEATED = {
    "services enable",
    "projects add-iam-policy-binding",
    "secrets add-iam-policy-binding",
    "run deploy",
    "beta monitoring channels update",
    "alpha monitoring policies update",
    "scheduler jobs update http",
}


def without_options(state: dict[str, Any]) -> dict[str, Any]:
    """What must be the same however a deployment came about."""
    return {name: thing for name, thing in state.items() if name != "revisions"}


def test_shellcheck_finds_nothing() -> None:
    command = [need("shellcheck"), "--external-sources", "--check-sourced", "--enable=require-variable-braces"]
    subprocess.run([*command, "--exclude=SC2250", DEPLOY], cwd=DEPLOY.parent, check=True)


def test_a_deployment_makes_everything_in_an_order_that_works(cloud: Cloud) -> None:
    result = cloud.deploy(answers="y\n")
    assert result.returncode == 0, result.stderr
    changes = cloud.changes()
    assert [change for change in dict.fromkeys(changes) if change in ORDER] == ORDER
    state = cloud.state
    assert len(state["accounts"]) == 3
    assert [secret["readers"] for secret in state["secrets"].values()] == [
        ["serviceAccount:campaign-runner@my-project.iam.gserviceaccount.com"]
    ] * 2
    assert {policy["channels"] for policy in state["policies"].values()} == {"channel/0"}
    assert state["channels"]["channel/0"]["address"] == "email_address=ops@example.org"
    [deploy] = [call.options for call in cloud.calls if call.command == "run deploy"]
    assert (deploy["function"], deploy["base-image"], deploy["source"]) == ("run_campaigns", "python314", ".")
    assert "no-invoker-iam-check" in deploy


def test_the_job_shows_the_token_that_the_function_expects(deployed: Cloud) -> None:
    environment = deployed.state["service"]["environment"]
    job = deployed.state["job"]["options"]
    assert job["oidc-token-audience"] == environment["OIDC_AUDIENCE"]
    assert job["oidc-service-account-email"] == environment["OIDC_SERVICE_ACCOUNT"]
    assert job["schedule"] == "* * * * *"
    assert "headers" not in job


def test_the_scheduler_may_be_in_another_region_than_the_function(cloud: Cloud) -> None:
    for command in ("deploy", "deploy", "start", "rotate-token", "--destroy"):
        if command == "start":
            cloud.pause()  # so that the job is resumed
        assert cloud.deploy(command, "--yes", SCHEDULER_REGION="europe-west3").returncode == 0
    regions: dict[bool, set[str]] = {True: set(), False: set()}
    for call in cloud.calls:
        is_scheduler = call.command.startswith("scheduler ")
        regions[is_scheduler] |= {
            call.options[name] for name in ("location", "region", "locations") if name in call.options
        }
    assert regions == {True: {"europe-west3"}, False: {"europe-west1"}}
    assert {"scheduler jobs update http", "scheduler jobs resume", "scheduler jobs delete"} <= set(cloud.changes())


def test_the_health_is_looked_at_and_the_alert_matches_what_the_function_then_logs(deployed: Cloud) -> None:
    job = deployed.state["health_job"]["options"]
    assert (job["http-method"], job["schedule"], job["max-retry-attempts"]) == ("GET", "*/5 * * * *", "0")
    assert job["uri"].endswith("/health")
    assert job["oidc-token-audience"] == deployed.state["job"]["options"]["oidc-token-audience"]
    [policy] = [each for each in deployed.state["policies"].values() if "not being launched" in each["displayName"]]
    [condition] = policy["conditions"]
    assert condition["conditionMatchedLog"]["filter"].endswith('jsonPayload.event="campaign_stuck"')


@pytest.mark.parametrize("budget", ["1", "50", "1740"])
def test_the_function_waits_for_the_run_and_the_scheduler_for_the_function(cloud: Cloud, budget: str) -> None:
    assert cloud.deploy("--yes", RUN_TIME_BUDGET_SECONDS=budget).returncode == 0
    timeout = int(cloud.state["service"]["timeout"])
    deadline = int(cloud.state["job"]["options"]["attempt-deadline"].removesuffix("s"))
    assert int(budget) + 10 < timeout < deadline <= 1800


def test_a_second_deployment_makes_nothing_twice(deployed: Cloud) -> None:
    before = deployed.state
    deployed.calls.clear()
    result = deployed.deploy("--yes")
    assert result.returncode == 0, result.stderr
    assert set(deployed.changes()) == REPEATED
    after = deployed.state
    jobs = {"job": None, "health_job": None}
    assert without_options(after) | jobs == without_options(before) | jobs
    assert after["job"]["state"] == "ENABLED"
    assert "headers" not in after["job"]["options"]


def test_a_new_key_is_a_new_version_that_is_pinned(deployed: Cloud) -> None:
    deployed.deploy("--yes", SUPABASE_SECRET_KEY="sb_secret_another")
    pinned = deployed.state["service"]["secrets"]["SUPABASE_SECRET_KEY"]
    assert pinned.endswith(":2")
    assert deployed.state["secrets"][pinned.split(":")[0]]["versions"]["2"]["value"] == "sb_secret_another"


def test_a_deployment_that_fails_anywhere_is_completed_by_the_next(
    cloud: Cloud, state_of_a_deployment: dict[str, Any]
) -> None:
    """Each attempt gets one change further than the one before. Of every second one, the answer alone is lost."""
    attempts = 0
    while True:
        cloud.fail_after(attempts, takes_effect=attempts % 2 == 1)
        result = cloud.deploy("--yes")
        if result.returncode == 0:
            break
        assert result.returncode == 1
        assert "Run the same command again" in result.stderr
        attempts += 1
        assert attempts < 40
    assert attempts >= len(ORDER)
    made = ("apis", "accounts", "builders", "service", "package", "channels")
    assert {name: cloud.state[name] for name in made} == {name: state_of_a_deployment[name] for name in made}
    assert {policy["displayName"] for policy in cloud.state["policies"].values()} == {
        "Campaign runner: errors",
        "Campaign runner: a due campaign is not being launched",
        "Campaign runner: no successful call",
    }
    assert all(list(secret["versions"]) == ["1"] for secret in cloud.state["secrets"].values())


def test_no_secret_shows_in_arguments_environments_or_output(cloud: Cloud) -> None:
    output = ""
    for arguments in (["--yes"], ["--yes", "--migrate"], ["start", "--yes"], ["rotate-token", "--yes"], ["--dry-run"]):
        result = cloud.deploy(*arguments, SUPABASE_DB_PASSWORD="CANARY", SUPABASE_ACCESS_TOKEN="CANARY")
        assert result.returncode == 0, result.stderr
        output += result.stdout + result.stderr
    rotated = cloud.accepted_tokens()
    for secret in ("CANARY", *rotated):
        assert secret not in output + cloud.seen()
    traced = subprocess.run(
        ["bash", "-x", str(DEPLOY), "--dry-run"],
        env={"PATH": str(cloud.programs), **cloud.settings},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "CANARY" not in traced.stdout + traced.stderr


class TestLaunchingNothingBySurprise:
    def test_what_is_due_is_shown_by_a_dry_run_and_a_no_leaves_no_job(self, cloud: Cloud, function: Deployed) -> None:
        for answers in ("n\n", "", "perhaps\n"):
            result = cloud.deploy(answers=answers)
            assert result.returncode == 3
            assert "Spring sale" in result.stderr
            assert "not started" in result.stderr
            assert cloud.state["job"] is None
        assert {path for path, _, _ in function.requests} == {"/?dry_run=true"}

    def test_start_shows_it_again_asks_and_starts(self, cloud: Cloud, function: Deployed) -> None:
        cloud.deploy(answers="n\n")
        function.requests.clear()
        cloud.calls.clear()
        result = cloud.deploy("start", answers="yes\n")
        assert result.returncode == 0, result.stderr
        assert "Spring sale" in result.stderr
        assert cloud.state["job"]["state"] == "ENABLED"
        assert "run deploy" not in cloud.changes()
        assert {path for path, _, _ in function.requests} == {"/?dry_run=true"}

    def test_a_job_that_somebody_paused_is_resumed_by_a_person_alone(self, deployed: Cloud) -> None:
        deployed.pause()
        assert deployed.deploy("--yes").returncode == 3
        assert deployed.deploy(answers="\n").returncode == 3
        assert deployed.deploy("start").returncode == 3
        assert deployed.state["job"]["state"] == "PAUSED"
        assert deployed.deploy("start", "--yes").returncode == 0
        assert deployed.state["job"]["state"] == "ENABLED"

    @pytest.mark.parametrize("status", [401, 500, 503])
    def test_a_function_that_does_not_work_is_not_scheduled(
        self, cloud: Cloud, function: Deployed, status: int
    ) -> None:
        function.status = status
        result = cloud.deploy("--yes")
        assert result.returncode == 1
        assert cloud.state["job"] is None
        assert str(status) in result.stderr or "refuses the stored token" in result.stderr


class TestTokens:
    def test_without_a_token_a_strong_one_is_made_and_kept(self, cloud: Cloud) -> None:
        cloud.deploy("--yes", RUNNER_TOKENS=None)
        [token] = cloud.accepted_tokens()
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
        cloud.deploy("--yes", RUNNER_TOKENS=None)
        assert cloud.accepted_tokens() == [token]

    def test_a_single_token_is_stored_as_the_list_that_it_then_is(self, cloud: Cloud) -> None:
        assert cloud.deploy("--yes", RUNNER_TOKENS=None, RUNNER_TOKEN=f" {TOKEN} ").returncode == 0
        assert cloud.accepted_tokens() == [TOKEN]
        result = cloud.deploy(RUNNER_TOKENS=None, RUNNER_TOKEN="c" * 20 + "," + "d" * 20)
        assert result.returncode == 2
        assert "RUNNER_TOKENS has tokens shorter than 32 characters, at position 1, 2" in result.stderr

    def test_a_rotation_never_refuses_a_token_that_a_caller_has_to_use(
        self, deployed: Cloud, function: Deployed
    ) -> None:
        function.requests.clear()
        refused = [3]  # requests that reach an instance of before

        def still_the_old_instance(token: str) -> None:
            function.status = 200
            if token != TOKEN and refused[0]:
                refused[0] -= 1
                function.status = 401

        function.before = still_the_old_instance
        result = deployed.deploy("rotate-token", answers="y\n")
        assert result.returncode == 0, result.stderr
        revisions = [revision["RUNNER_TOKENS"].split(":")[1] for revision in deployed.state["revisions"]]
        versions = deployed.state["secrets"]["campaign-runner-tokens"]["versions"]
        accepted = [versions[revision]["value"].split(",") for revision in revisions]
        [new] = accepted[-1]
        assert accepted == [[TOKEN], [new, TOKEN], [new]]
        assert [version["enabled"] for version in versions.values()] == [False, False, True]
        # The old one ended only after the new one had been answered.
        assert [status for _, token, status in function.requests if token == new] == [401] * 3 + [200] * 6

    def test_a_token_that_is_never_answered_leaves_the_old_one_valid(self, deployed: Cloud, function: Deployed) -> None:
        function.status = 503
        result = deployed.deploy("rotate-token", "--yes")
        assert result.returncode == 1
        assert "Both tokens stay valid" in result.stderr
        assert TOKEN in deployed.accepted_tokens()

    def test_a_rotation_waits_for_the_callers_and_goes_on_with_the_same_token(self, deployed: Cloud) -> None:
        assert deployed.deploy("rotate-token", answers="n\n").returncode == 3
        new, old = deployed.accepted_tokens()
        assert old == TOKEN
        assert deployed.deploy("rotate-token", answers="y\n").returncode == 0
        assert deployed.accepted_tokens() == [new]

    def test_a_rotation_that_fails_anywhere_is_completed_by_the_next(self, deployed: Cloud) -> None:
        for changes in range(6):
            deployed.fail_after(changes, takes_effect=changes % 2 == 1)
            deployed.deploy("rotate-token", "--yes")
            assert deployed.accepted_tokens()
        deployed.recover()
        assert deployed.deploy("rotate-token", "--yes").returncode == 0
        [token] = deployed.accepted_tokens()
        assert token != TOKEN
        enabled = [v for v in deployed.state["secrets"]["campaign-runner-tokens"]["versions"].values() if v["enabled"]]
        assert [version["value"] for version in enabled] == [token]

    def test_a_settings_file_from_before_a_rotation_does_not_bring_the_old_token_back(self, deployed: Cloud) -> None:
        deployed.deploy("rotate-token", "--yes")
        [token] = deployed.accepted_tokens()
        result = deployed.deploy("--yes")
        assert deployed.accepted_tokens() == [token]
        assert "RUNNER_TOKENS differs from what is stored, which is kept" in result.stderr


class TestPreflight:
    def test_every_problem_is_named_at_once_and_nothing_is_done(self, cloud: Cloud) -> None:
        cloud.gcloud.is_logged_in = False
        (cloud.programs / "supabase").unlink()
        result = cloud.deploy(
            "--migrate",
            PROJECT_ID=None,
            REGION="Europe",
            SCHEDULER_REGION="Germany",
            SUPABASE_URL="postgresql://db.example.org/CANARY",
            SUPABASE_SECRET_KEY="sb_publishable_CANARY",
            SYSTEM_USER_ID="CANARY",
            RUNNER_TOKENS=f"{'a' * 32},CANARY",
            RUN_TIME_BUDGET_SECONDS="1741",
            OIDC_AUDIENCE="CANARY",
            SYSTEM_USER_ROLES="A|B",
            LOG_LEVEL="LOUD",
            ALERT_EMAIL="CANARY",
        )
        assert result.returncode == 2
        named = re.findall(r"^  - (\S+)", result.stderr, re.MULTILINE)
        assert named == [
            *("PROJECT_ID", "REGION", "SCHEDULER_REGION", "RUN_TIME_BUDGET_SECONDS"),
            *("SUPABASE_URL", "SUPABASE_SECRET_KEY", "SYSTEM_USER_ID", "LOG_LEVEL", "RUNNER_TOKENS"),
            *("--migrate", "OIDC_AUDIENCE", "SYSTEM_USER_ROLES", "ALERT_EMAIL"),
            *("supabase", "nobody"),
        ]
        assert "CANARY" not in result.stderr
        assert cloud.changes() == []

    @pytest.mark.parametrize("url", ["http://abcdefghijkl.supabase.co", "HTTP://x.supabase.co"])
    def test_a_url_without_tls_is_refused(self, cloud: Cloud, url: str) -> None:
        result = cloud.deploy("--dry-run", SUPABASE_URL=url)
        assert result.returncode == 2
        assert "SUPABASE_URL has to begin with https://" in result.stderr

    def test_the_legacy_key_is_checked_where_it_is_used(self, cloud: Cloud) -> None:
        publishable = "sb_publishable_CANARY"
        assert cloud.deploy("--dry-run", SUPABASE_SERVICE_ROLE_KEY=publishable).returncode == 0
        result = cloud.deploy("--dry-run", SUPABASE_SECRET_KEY=None, SUPABASE_SERVICE_ROLE_KEY=publishable)
        assert result.returncode == 2
        assert "SUPABASE_SECRET_KEY is a publishable key" in result.stderr

    @pytest.mark.parametrize("command", ["deploy", "start", "rotate-token", "--destroy"])
    def test_a_budget_is_a_number_and_is_not_executed(self, cloud: Cloud, command: str) -> None:
        result = cloud.deploy("--dry-run", command, RUN_TIME_BUDGET_SECONDS="0 + APIS[$(touch executed)0]")
        assert result.returncode == 2
        assert "RUN_TIME_BUDGET_SECONDS is not a whole number" in result.stderr
        assert not (cloud.directory / "executed").exists()

    def test_a_misspelt_setting_is_pointed_out(self, cloud: Cloud) -> None:
        (cloud.directory / "settings").write_text("MAX_LATENES_MINUTES=CANARY\n")
        result = cloud.deploy("--dry-run", ALERT_EMAIL=None, ALERT_MAIL="CANARY")
        assert result.returncode == 0
        assert result.stderr == "deploy.sh: ALERT_MAIL is no setting. Is ALERT_EMAIL meant?\n"
        result = cloud.deploy("--dry-run", "--env-file=settings")
        assert result.returncode == 2
        assert "MAX_LATENES_MINUTES is no setting. Is MAX_LATENESS_MINUTES meant?" in result.stderr
        assert "CANARY" not in result.stderr

    def test_without_python3_the_python_of_gcloud_checks_the_settings(self, cloud: Cloud) -> None:
        (cloud.programs / "python3").unlink()
        cloud.gcloud.python = sys.executable
        assert cloud.deploy("--yes").returncode == 0
        result = cloud.deploy(LOG_LEVEL="LOUD")
        assert result.returncode == 2
        assert "LOG_LEVEL is not" in result.stderr

    def test_a_python_that_is_too_old_is_none(self, cloud: Cloud) -> None:
        (cloud.programs / "python3").unlink()
        cloud.install("python3", "exit 1")
        cloud.gcloud.python = "/no/python"
        result = cloud.deploy(REGION="Europe")
        assert result.returncode == 2
        assert "Python 3.9 or newer is not installed" in result.stderr
        assert "REGION is not" in result.stderr
        assert cloud.changes() == []

    def test_rules_that_cannot_be_run_end_the_deployment(self, cloud: Cloud) -> None:
        (cloud.programs / "python3").unlink()
        cloud.install("python3", "[[ $* == *runner/environment.py ]] && exit 1; exit 0")
        result = cloud.deploy("--yes")
        assert result.returncode == 1
        assert "could not check the settings" in result.stderr
        assert cloud.changes() == []

    def test_a_missing_gcloud_and_a_wrong_project_are_named(self, cloud: Cloud) -> None:
        assert "another-project does not exist" in cloud.deploy(PROJECT_ID="another-project").stderr
        (cloud.programs / "gcloud").unlink()
        (cloud.programs / "curl").unlink()
        result = cloud.deploy()
        assert result.returncode == 2
        assert "curl is not installed" in result.stderr
        assert "gcloud is not installed" in result.stderr

    @pytest.mark.parametrize(
        "arguments", [["--nonsense"], ["deploy", "now"], ["--env-file"], ["--env-file", "/no/file"]]
    )
    def test_wrong_usage_is_exit_code_2(self, cloud: Cloud, arguments: list[str]) -> None:
        assert cloud.deploy(*arguments).returncode == 2
        assert cloud.calls == []

    def test_help_names_every_command_and_option(self, cloud: Cloud) -> None:
        result = cloud.deploy("--help")
        assert result.returncode == 0
        known = re.search(r"^parse_arguments\(\).*?^}", DEPLOY.read_text(), re.DOTALL | re.MULTILINE)
        assert known
        for word in {*re.findall(r"--[a-z-]+", known[0]), "start", "rotate-token", "REGION", "SCHEDULER_REGION"}:
            assert word in result.stdout


class TestSettingsFile:
    def test_the_file_is_read_and_not_executed_and_the_environment_wins(self, cloud: Cloud) -> None:
        lines = ["# a comment", "", *(f"{name}={value}" for name, value in cloud.settings.items())]
        lines += ['export SYSTEM_USER_ROLES="owner,$(touch executed)"', "LOG_LEVEL='DEBUG'\r", "MAX_LATENESS_MINUTES="]
        (cloud.directory / "settings").write_text("\n".join(lines))
        cloud.settings = {"REGION": "us-central1"}
        assert cloud.deploy("--yes", "--env-file", "settings").returncode == 0
        environment = cloud.state["service"]["environment"]
        assert environment["SYSTEM_USER_ROLES"] == "owner,$(touch executed)"
        assert environment["LOG_LEVEL"] == "DEBUG"
        assert "MAX_LATENESS_MINUTES" not in environment
        assert "us-central1" in environment["OIDC_AUDIENCE"]
        assert not (cloud.directory / "executed").exists()

    def test_the_example_is_such_a_file(self, cloud: Cloud) -> None:
        result = cloud.deploy("--dry-run", "--env-file", str(DEPLOY.with_name(".env.example")))
        assert result.returncode == 0, result.stderr

    def test_an_unknown_name_is_a_problem(self, cloud: Cloud) -> None:
        (cloud.directory / "settings").write_text("LOG_LEVEL=INFO\nSYSTEM_USER=CANARY\nnonsense\n")
        result = cloud.deploy("--dry-run", "--env-file=settings")
        assert result.returncode == 2
        assert "line 2 of settings" in result.stderr
        assert "line 3 of settings" in result.stderr
        assert "CANARY" not in result.stderr

    def test_every_setting_of_the_function_reaches_it(self, cloud: Cloud) -> None:
        decided = {"GOOGLE_CLOUD_PROJECT", "OIDC_AUDIENCE", "OIDC_SERVICE_ACCOUNT"}
        secret = {"SUPABASE_SECRET_KEY", "RUNNER_TOKENS", "RUNNER_TOKEN"}
        names = {name.upper() for name in HttpSettings.model_fields} - decided - secret
        values = {"RUN_TIME_BUDGET_SECONDS": "40", "SYSTEM_USER_ROLES": "owner,editor", "LOG_LEVEL": "DEBUG"}
        given = {name: values.get(name, cloud.settings.get(name, "7")) for name in names}
        assert cloud.deploy("--yes", **given).returncode == 0
        service = cloud.state["service"]
        assert {name: service["environment"].get(name) for name in names} == given
        assert decided <= service["environment"].keys()
        assert service["secrets"].keys() == {"SUPABASE_SECRET_KEY", "RUNNER_TOKENS"}


class TestDryRun:
    @pytest.mark.parametrize("arguments", [["--migrate"], ["start"], ["rotate-token"], ["--destroy"]])
    def test_it_prints_a_script_and_needs_no_program_of_the_cloud(self, cloud: Cloud, arguments: list[str]) -> None:
        for program in ("gcloud", "supabase", "curl"):
            (cloud.programs / program).unlink()
        result = cloud.deploy("--dry-run", *arguments)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        subprocess.run(["bash", "-n"], input=result.stdout, text=True, check=True)
        words = {"--migrate": "run deploy", "start": "jobs create", "rotate-token": "disable", "--destroy": "delete"}
        assert words[arguments[0]] in result.stdout
        assert cloud.calls == []

    def test_it_prints_the_commands_that_a_first_deployment_runs(self, cloud: Cloud) -> None:
        printed = cloud.deploy("--dry-run").stdout
        shown = [line for line in printed.splitlines() if line.startswith("gcloud ")]
        url = cloud.gcloud.url
        actual = cloud.deploy("--yes").stderr
        run = [line for line in actual.splitlines() if line.startswith("gcloud ")]
        assert [line for line in shown if line in run] == run
        assert url in actual
        assert url not in printed


class TestDestroy:
    def test_it_asks_first(self, deployed: Cloud) -> None:
        before = deployed.state
        for answers in ("n\n", ""):
            assert deployed.deploy("--destroy", answers=answers).returncode == 3
        assert deployed.state == before

    def test_it_takes_away_what_was_made_and_may_fail_in_between(self, deployed: Cloud) -> None:
        deployed.fail_after(6)
        assert deployed.deploy("--destroy", "--yes").returncode == 1
        deployed.recover()
        result = deployed.deploy("--destroy", answers="y\n")
        assert result.returncode == 0, result.stderr
        left = {name for name, thing in deployed.state.items() if thing}
        assert left == {"apis", "revisions"}  # the record of the stand-in
        deployed.calls.clear()
        assert deployed.deploy("--destroy", "--yes").returncode == 0
        assert deployed.changes() == []

    def test_the_job_goes_first_so_that_nothing_calls_what_is_gone(self, deployed: Cloud) -> None:
        deployed.calls.clear()
        deployed.deploy("--destroy", "--yes")
        assert deployed.changes()[0] == "scheduler jobs delete"


def test_migrations_are_applied_before_the_function_is_deployed(cloud: Cloud) -> None:
    no_function = 'services=$(gcloud run services list) && test -z "$services"'
    cloud.install("supabase", f'echo "$*" >> "$HOME/supabase"; env > "$HOME/environment"; {no_function}')
    result = cloud.deploy("--migrate", "--yes", SUPABASE_DB_PASSWORD="of the database")
    assert result.returncode == 0, result.stderr
    commands = (cloud.directory / "supabase").read_text().splitlines()
    assert commands == ["link --project-ref abcdefghijkl", "db push --linked --yes"]
    environment = (cloud.directory / "environment").read_text()
    assert "SUPABASE_DB_PASSWORD=of the database" in environment
    assert KEY not in environment


def test_a_migration_that_fails_stops_the_deployment(cloud: Cloud) -> None:
    cloud.install("supabase", "exit 1")
    assert cloud.deploy("--migrate", "--yes").returncode == 1
    assert cloud.changes() == []


def test_a_project_with_migrations_of_its_own_is_told_how_to_copy_ours(cloud: Cloud) -> None:
    advice = "supabase migration repair --status reverted 20200101000000"
    refusal = f"Remote migration versions not found in local migrations directory.\n\n{advice}"
    cloud.install("supabase", f'if [[ $1 == db ]]; then echo "{refusal}" >&2; exit 1; fi')
    result = cloud.deploy("--migrate", "--yes")
    assert result.returncode == 1
    assert cloud.changes() == []
    shown, _, said = result.stderr.partition("The project has migrations of its own")
    assert advice in shown
    assert "python -m runner migrations DIRECTORY" in said
    assert "Never run the `supabase migration repair`" in said
    assert "Run the same command again" not in said


def test_a_push_that_fails_otherwise_is_left_to_speak_for_itself(cloud: Cloud) -> None:
    cloud.install("supabase", "if [[ $1 == db ]]; then echo 'the table is locked' >&2; exit 1; fi")
    result = cloud.deploy("--migrate", "--yes")
    assert result.returncode == 1
    assert "the table is locked" in result.stderr
    assert "migrations of its own" not in result.stderr


def test_the_real_gcloud_understands_every_command_and_the_api_every_policy(cloud: Cloud, tmp_path: Path) -> None:
    cloud.deploy("--yes", MAX_LATENESS_MINUTES="5")
    cloud.deploy("--yes")  # which updates what the first one made
    cloud.pause()
    cloud.deploy("start", "--yes")
    cloud.deploy("rotate-token", "--yes")
    cloud.deploy("--destroy", "--yes")
    unique = {tuple(call.arguments) for call in cloud.calls}
    assert len(unique) > 50
    assert parse_by_gcloud([*unique], tmp_path) == {"parsed": len(unique), "policies": 3}
