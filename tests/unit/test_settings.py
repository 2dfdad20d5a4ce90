from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from runner.environment import REQUIRED, RULES, misspelt
from runner.errors import InvalidSettings
from runner.http.endpoint import prepare
from runner.settings import HttpSettings, Identity, Settings
from tests.support.fake_api import KEY, TOKEN, URL, USER

ENVIRONMENT = Path(__file__).parents[2] / "runner" / "environment.py"


def problems(kind: type[Settings] = Settings) -> tuple[str, ...]:
    with pytest.raises(InvalidSettings) as caught:
        kind.load()
    return caught.value.problems


def test_defaults_are_those_of_the_documentation(environ: pytest.MonkeyPatch) -> None:
    settings = Settings.load()
    assert settings.supabase_url == URL
    assert settings.supabase_secret_key.get_secret_value() == KEY
    assert str(settings.system_user_id) == USER
    assert settings.system_user_roles == ("owner", "admin", "member")
    assert settings.run_time_budget_seconds == 50
    assert settings.run_concurrency == 4
    assert settings.step_rows == 20_000
    assert settings.max_lateness_minutes is None
    assert settings.log_level == "INFO"


def test_every_problem_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEM_USER_ID", "nobody")
    monkeypatch.setenv("RUN_CONCURRENCY", "0")
    monkeypatch.setenv("STEP_ROWS", "many")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    found = problems(HttpSettings)
    names = {problem.split()[0].rstrip(":") for problem in found}
    assert names == {
        "SUPABASE_URL",
        "SUPABASE_SECRET_KEY",
        "SYSTEM_USER_ID",
        "RUN_CONCURRENCY",
        "STEP_ROWS",
        "LOG_LEVEL",
        "RUNNER_TOKENS",
    }


def test_no_value_is_ever_shown(environ: pytest.MonkeyPatch) -> None:
    settings = HttpSettings.load()
    assert KEY not in repr(settings) + str(settings)
    assert TOKEN not in repr(settings) + str(settings)
    for name in ("SUPABASE_URL", "SYSTEM_USER_ID", "RUN_CONCURRENCY", "STEP_ROWS", "LOG_LEVEL", "RUNNER_TOKENS"):
        environ.setenv(name, "CANARY")
    environ.setenv("SUPABASE_SECRET_KEY", "CANARY KEY")
    with pytest.raises(InvalidSettings) as caught:
        HttpSettings.load()
    assert len(caught.value.problems) == 7
    assert "CANARY" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_setting_is_one_that_is_not_set(environ: pytest.MonkeyPatch, blank: str) -> None:
    environ.setenv("SUPABASE_URL", blank)
    environ.setenv("STEP_ROWS", blank)
    environ.setenv("MAX_LATENESS_MINUTES", blank)
    assert problems() == ("SUPABASE_URL is not set",)
    environ.setenv("SUPABASE_URL", URL)
    assert Settings.load().step_rows == 20_000


def test_the_legacy_key_is_accepted_where_the_new_one_is_blank(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("SUPABASE_SERVICE_ROLE_KEY", "eyJ.legacy")
    assert Settings.load().supabase_secret_key.get_secret_value() == KEY
    environ.setenv("SUPABASE_SECRET_KEY", " ")
    assert Settings.load().supabase_secret_key.get_secret_value() == "eyJ.legacy"


@pytest.mark.parametrize(
    "key",
    ["sb_publishable_abc", "sb_secret abc", "sb_secret_\u00e9", "sb_secret_\nx"],
    ids=["publishable", "space", "accent", "newline"],
)
def test_a_key_that_cannot_work_is_refused(environ: pytest.MonkeyPatch, key: str) -> None:
    environ.setenv("SUPABASE_SECRET_KEY", key)
    (problem,) = problems()
    assert problem.startswith("SUPABASE_SECRET_KEY ")
    assert key not in problem


@pytest.mark.parametrize("url", ["http://127.0.0.1:54321/", "https://x.supabase.co//", "http://kong:8000/prefix/"])
def test_the_trailing_slash_of_the_url_goes(environ: pytest.MonkeyPatch, url: str) -> None:
    environ.setenv("SUPABASE_URL", url)
    assert Settings.load().supabase_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "x.supabase.co",
        "postgresql://u:p@db/x",
        "https://",
        "https:///path",
        "https://x:port",
        "https://[x",
        "https://a b.co",
        "https://a;b.co",
        "https://u:p@x.co",
        "https://x.co?a=b",
    ],
)
def test_a_url_that_is_not_a_project_is_refused(environ: pytest.MonkeyPatch, url: str) -> None:
    environ.setenv("SUPABASE_URL", url)
    (problem,) = problems()
    assert "such as https://" in problem


@pytest.mark.parametrize("end", ["/rest/v1", "/rest/v1/"])
def test_the_url_of_the_rest_api_is_refused_saying_what_is_expected(environ: pytest.MonkeyPatch, end: str) -> None:
    environ.setenv("SUPABASE_URL", URL + end)
    assert problems() == ("SUPABASE_URL ends in /rest/v1, but the URL of the project itself is expected",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUN_TIME_BUDGET_SECONDS", "0.5"),
        ("RUN_TIME_BUDGET_SECONDS", "3301"),
        ("RUN_TIME_BUDGET_SECONDS", "nan"),
        ("RUN_TIME_BUDGET_SECONDS", "inf"),
        ("RUN_CONCURRENCY", "33"),
        ("RUN_CONCURRENCY", "2.5"),
        ("STEP_ROWS", "0"),
        ("STEP_ROWS", "1000001"),
        ("MAX_LATENESS_MINUTES", "0"),
        ("MAX_LATENESS_MINUTES", "-5"),
        ("SYSTEM_USER_ROLES", " , ,"),
        ("SYSTEM_USER_ID", "11111111-1111"),
    ],
)
def test_a_value_out_of_range_is_refused(environ: pytest.MonkeyPatch, name: str, value: str) -> None:
    environ.setenv(name, value)
    (problem,) = problems()
    assert problem.startswith(name)


def test_lists_are_trimmed(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("SYSTEM_USER_ROLES", " owner ,editor,, ")
    environ.setenv("RUNNER_TOKENS", f" {'a' * 32} ,, {'b' * 32},")
    settings = HttpSettings.load()
    assert settings.system_user_roles == ("owner", "editor")
    assert [token.get_secret_value() for token in settings.tokens] == ["a" * 32, "b" * 32]


def test_both_names_for_tokens_add_up(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("RUNNER_TOKEN", "c" * 40)
    assert [token.get_secret_value() for token in HttpSettings.load().tokens] == [TOKEN, "c" * 40]
    environ.delenv("RUNNER_TOKENS")
    assert [token.get_secret_value() for token in HttpSettings.load().tokens] == ["c" * 40]


def test_a_single_token_may_hold_a_comma(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("RUNNER_TOKEN", "c" * 20 + "," + "d" * 20)
    assert HttpSettings.load().tokens[-1].get_secret_value() == "c" * 20 + "," + "d" * 20


def test_short_tokens_are_named_by_their_position(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("RUNNER_TOKENS", f"CANARY,{'a' * 32},{'b' * 31}")
    assert problems(HttpSettings) == ("RUNNER_TOKENS has tokens shorter than 32 characters, at position 1, 3",)
    environ.delenv("RUNNER_TOKENS")
    environ.setenv("RUNNER_TOKEN", "CANARY")
    assert problems(HttpSettings) == ("RUNNER_TOKEN is shorter than 32 characters",)


@pytest.mark.parametrize("value", [None, "", ",", " , "])
def test_http_without_a_token_is_a_problem_and_the_command_line_does_not_care(
    environ: pytest.MonkeyPatch, value: str | None
) -> None:
    environ.delenv("RUNNER_TOKENS") if value is None else environ.setenv("RUNNER_TOKENS", value)
    assert problems(HttpSettings) == ("RUNNER_TOKENS is not set",)
    assert Settings.load()


def test_oidc_takes_the_place_of_tokens(environ: pytest.MonkeyPatch) -> None:
    assert HttpSettings.load().identity is None
    environ.delenv("RUNNER_TOKENS")
    environ.setenv("OIDC_AUDIENCE", "campaign-runner")
    environ.setenv("OIDC_SERVICE_ACCOUNT", "caller@project.iam.gserviceaccount.com")
    settings = HttpSettings.load()
    assert settings.tokens == ()
    assert settings.identity == Identity("campaign-runner", "caller@project.iam.gserviceaccount.com")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"OIDC_AUDIENCE": "a"}, "OIDC_SERVICE_ACCOUNT is not set, but OIDC_AUDIENCE is"),
        ({"OIDC_SERVICE_ACCOUNT": "a@b.c"}, "OIDC_SERVICE_ACCOUNT is set, but OIDC_AUDIENCE is not"),
        (
            {"OIDC_AUDIENCE": "a", "OIDC_SERVICE_ACCOUNT": "CANARY"},
            "OIDC_SERVICE_ACCOUNT is not the e-mail address of a service account",
        ),
    ],
)
def test_half_of_oidc_is_a_problem_and_replaces_no_token(
    environ: pytest.MonkeyPatch, given: dict[str, str], problem: str
) -> None:
    for name, value in given.items():
        environ.setenv(name, value)
    assert problems(HttpSettings) == (problem,)
    environ.delenv("RUNNER_TOKENS")
    assert problems(HttpSettings) == (problem, "RUNNER_TOKENS is not set")


def test_each_setting_has_a_rule_and_no_other() -> None:
    fields = {name.upper(): field for name, field in HttpSettings.model_fields.items()}
    assert RULES.keys() == fields.keys() | {"SUPABASE_SERVICE_ROLE_KEY"}
    assert set(REQUIRED) == {name for name, field in fields.items() if field.is_required()}


def test_a_python_without_our_packages_finds_the_same_problems(environ: pytest.MonkeyPatch) -> None:
    given = {
        "SUPABASE_URL": "x",
        "SUPABASE_SECRET_KEY": "sb_publishable_CANARY",
        "SYSTEM_USER_ID": "CANARY",
        "SYSTEM_USER_ROLES": ",",
        "RUN_TIME_BUDGET_SECONDS": "0.5",
        "RUN_CONCURRENCY": "33",
        "STEP_ROWS": "many",
        "MAX_LATENESS_MINUTES": "0",
        "HEALTH_MAX_LATENESS_MINUTES": "2.5",
        "LOG_LEVEL": "LOUD",
        "RUNNER_TOKEN": "CANARY",
        "RUNNER_TOKENS": f"{'a' * 32},CANARY",
    }
    for name, value in given.items():
        environ.setenv(name, value)
    found = problems(HttpSettings)
    assert {problem.split()[0] for problem in found} == given.keys()

    lines = "".join(f"{name}={value}\0" for name, value in given.items())
    result = subprocess.run(
        [sys.executable, "-I", "-S", ENVIRONMENT], input=lines, capture_output=True, text=True, check=True, timeout=60
    )
    assert sorted(result.stdout.splitlines()) == sorted(found)


def test_the_rules_are_written_for_the_oldest_python_of_a_deployment() -> None:
    ast.parse(ENVIRONMENT.read_text(), feature_version=(3, 9))


def test_settings_cannot_be_changed(environ: pytest.MonkeyPatch) -> None:
    settings = Settings.load()
    with pytest.raises(ValueError, match="frozen"):
        settings.step_rows = 1


def test_the_log_level_may_be_in_any_case(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("LOG_LEVEL", "warning")
    assert Settings.load().log_level == "WARNING"


def test_the_example_names_every_setting_and_no_other() -> None:
    example = (Path(__file__).parents[2] / ".env.example").read_text()
    named = [line.split("=")[0] for line in example.splitlines() if line and not line.startswith("#")]
    fields = {name.upper() for name in HttpSettings.model_fields} - {"RUNNER_TOKEN"}  # described with the other
    assert sorted(named) == sorted(fields)
    assert "RUNNER_TOKEN." in example


def test_the_values_of_the_example_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    example = (Path(__file__).parents[2] / ".env.example").read_text()
    for line in example.splitlines():
        if line and not line.startswith("#"):
            monkeypatch.setenv(*line.split("=", 1))
    monkeypatch.setenv("SUPABASE_SECRET_KEY", KEY)
    monkeypatch.setenv("SYSTEM_USER_ID", USER)
    settings = Settings.load()
    for name, field in Settings.model_fields.items():
        if not field.is_required():
            assert getattr(settings, name) == field.default, name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RUN_TIME_BUDGET", "RUN_TIME_BUDGET_SECONDS"),
        ("MAX_LATENES_MINUTES", "MAX_LATENESS_MINUTES"),
        ("SYSTEM_USERS_ROLES", "SYSTEM_USER_ROLES"),
    ],
)
def test_a_name_that_is_near_a_setting_is_pointed_out_unless_that_is_set(name: str, meant: str) -> None:
    assert misspelt({name: "1"}) == {name: meant}
    assert misspelt({name: "1", meant: "1"}) == {}


@pytest.mark.parametrize(
    "name", ["PATH", "SUPABASE_ANON_KEY", "SUPABASE_PUBLISHABLE_KEY", "DATABASE_URL", "RUNNER_URL", "LOG"]
)
def test_other_names_are_left_alone(name: str) -> None:
    assert misspelt({name: "1"}) == {}


def test_the_function_points_out_a_misspelt_name_as_it_starts(
    environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environ.setenv("RUN_TIME_BUDGET", "20")
    prepare()
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "RUN_TIME_BUDGET is no setting. Is RUN_TIME_BUDGET_SECONDS meant?"
