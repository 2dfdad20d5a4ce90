"""Every line that the function writes has the form that docs/operations.md promises, whatever happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, TypeAdapter

from local.function import Function
from local.loopback import free_port
from tests.support import records
from tests.support.documentation import ROOT, Page
from tests.support.service import Service
from tests.support.step_gate import gate, wait_until_held_up

pytestmark = pytest.mark.slow

MISTAKE = Path(__file__).with_name("function_with_mistake.py")
PAGE = Page("docs/operations.md")
OF_ERROR_REPORTING = {"serviceContext", "type", "context", "stack_trace"}
OF_THE_SERVER = re.compile(r"\[[\d-]+ [\d:]+ \+0000\] \[\d+\] \[(INFO|WARNING|ERROR)\] .+")
TRACES = ("0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736")
SPAN = "00f067aa0ba902b7"

Number = Annotated[int, Field(ge=0, strict=True)]
ReportedError = Literal["type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"]


class Line(BaseModel):
    """What every line may hold; `event` and what belongs to it come with the classes below."""

    model_config = ConfigDict(extra="forbid")

    severity: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    message: str
    time: AwareDatetime
    logger: Annotated[str, Field(pattern=r"^runner\.")]
    run_id: UUID | None = None
    organization_id: UUID | None = None
    dry_run: Literal[True] | None = None
    trace: Annotated[str | None, Field(alias="logging.googleapis.com/trace", pattern=r"^projects/p/traces/\w{32}$")] = (
        None
    )
    span: Annotated[str | None, Field(alias="logging.googleapis.com/spanId", pattern=r"^[0-9a-f]{16}$")] = None
    sampled: Annotated[StrictBool | None, Field(alias="logging.googleapis.com/trace_sampled")] = None


class ServiceContext(BaseModel):
    model_config = ConfigDict(extra="forbid")

    service: Literal["runner-of-the-test"]
    version: Literal["runner-of-the-test-00001-abc"]


class ReportLocation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    filePath: Annotated[str, Field(pattern=r"runner/(\w+/)?\w+\.py$")]
    lineNumber: Number
    functionName: str


class Context(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reportLocation: ReportLocation


class Plain(Line):
    """What is neither counted nor alerted on."""

    severity: Literal["DEBUG", "INFO", "WARNING"]


class DatabaseCalled(Line):
    event: Literal["database_called"]
    severity: Literal["DEBUG"]
    run_id: UUID | None = None  # of a run
    duration_ms: Number
    rows: Number | None = None
    status: Number | None = None


class CampaignLaunched(Line):
    event: Literal["campaign_launched"]
    severity: Literal["INFO", "WARNING"]
    run_id: UUID
    campaign_id: UUID
    organization_id: UUID
    recipients: Number


class CampaignLaunchedWithWarning(Line):
    event: Literal["campaign_launched_with_warning"]
    severity: Literal["WARNING"]
    run_id: UUID
    campaign_id: UUID


class CampaignFailed(Line):
    event: Literal["campaign_failed"]
    severity: Literal["WARNING"]
    run_id: UUID
    campaign_id: UUID


class RunFinished(Line):
    event: Literal["run_finished"]
    severity: Literal["INFO"]
    run_id: UUID
    launched: Number
    failed: Number
    recipients: Number
    complete: StrictBool
    duration_ms: Number
    steps: Number | None = None
    contacts: Number | None = None
    pages: Number | None = None


class CampaignStuck(Line):
    event: Literal["campaign_stuck"]
    severity: Literal["WARNING"]
    status: Literal[503]
    late_seconds: Number | None = None
    backing_off: Number | None = None
    held: Number | None = None
    needs_attention: Number | None = None
    taken_over: Number | None = None


class SettingMisspelt(Line):
    event: Literal["setting_misspelt"]
    severity: Literal["WARNING"]


class RequestRefused(Line):
    event: Literal["request_refused"]
    severity: Literal["WARNING"]
    status: Annotated[int, Field(ge=400, lt=500)]
    duration_ms: Number


class RequestFailed(Line):
    """Error Reporting takes up an entry that has a stack trace, or this type and a location."""

    event: Literal["request_failed"]
    severity: Literal["ERROR"]
    status: Literal[500, 503]
    duration_ms: Number
    serviceContext: ServiceContext
    type: Annotated[ReportedError | None, Field(alias="@type")] = None
    context: Context | None = None
    stack_trace: Annotated[str | None, Field(pattern=r"^Traceback \(most recent call last\):\n  File ")] = None

    def model_post_init(self, _: Any) -> None:
        assert (self.stack_trace is None) == (self.type is not None) == (self.context is not None)


class Reported(Line):
    """An error that is no answer: at the start, or of a run that ended early."""

    severity: Literal["ERROR", "CRITICAL"]
    type: Annotated[ReportedError, Field(alias="@type")]
    context: Context
    serviceContext: ServiceContext


Event = Annotated[
    DatabaseCalled
    | CampaignLaunched
    | CampaignLaunchedWithWarning
    | CampaignFailed
    | CampaignStuck
    | SettingMisspelt
    | RunFinished
    | RequestRefused
    | RequestFailed,
    Field(discriminator="event"),
]
EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def parsed(line: str) -> Line:
    """A line of ours. Raises ValueError for one that is not as promised."""
    fields = json.loads(line)
    if "event" in fields:
        return EVENTS.validate_python(fields)
    return (Reported if fields["severity"] in ("ERROR", "CRITICAL") else Plain).model_validate(fields)


class Log:
    """What a function writes from now on."""

    def __init__(self, function: Function) -> None:
        self._file = function.log
        self._read = len(self._lines())

    def _lines(self) -> list[str]:
        return [line for line in self._file.read_text().splitlines() if not OF_THE_SERVER.fullmatch(line)]

    def lines(self) -> list[Line]:
        """All of them, in their order."""
        return [parsed(line) for line in self._lines()[self._read :]]

    def events(self) -> list[str]:
        """The lines that are written at the usual level."""
        return [getattr(line, "event", line.message) for line in self.lines() if line.severity != "DEBUG"]


@pytest.fixture(scope="module")
def cloud_environment(environment: dict[str, str]) -> dict[str, str]:
    return {
        **environment,
        "GOOGLE_CLOUD_PROJECT": "p",
        "K_SERVICE": "runner-of-the-test",
        "K_REVISION": "runner-of-the-test-00001-abc",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="module")
def outspoken(cloud_environment: dict[str, str]) -> Iterator[Function]:
    """One that logs all it can, and takes small steps."""
    with Function({**cloud_environment, "LOG_LEVEL": "DEBUG", "STEP_ROWS": "100"}) as function:
        yield function


def traced(number: int) -> dict[str, str]:
    return {"traceparent": f"00-{TRACES[number]}-{SPAN}-01"}


def only(lines: Sequence[Line], kind: type[Line]) -> Any:
    [line] = [line for line in lines if isinstance(line, kind)]
    return line


def test_the_page_lists_the_events_with_their_severity_and_fields() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z][^|]*) \| ([^|]*) \|$", PAGE.text.split("## The log")[1], re.MULTILINE)
    listed = {event: (re.findall(r"[A-Z]{4,}", severity), fields) for event, severity, fields in rows}
    kinds: dict[str, type[Line]] = {
        get_args(k.model_fields["event"].annotation)[0]: k for k in get_args(get_args(Event)[0])
    }
    assert listed.keys() == kinds.keys()
    for event, (severities, text) in listed.items():
        assert sorted(severities) == sorted(get_args(kinds[event].model_fields["severity"].annotation))
        own = kinds[event].model_fields.keys() - Line.model_fields.keys() - {"event"} - OF_ERROR_REPORTING
        assert own <= set(re.findall(r"`(\w+)`", text)), event


def test_a_campaign_that_waits_is_a_warning_of_its_health(service: Service, outspoken: Function) -> None:
    service.due_campaign()
    service.execute("update campaigns set scheduled_at = now() - interval '1 hour'")
    log = Log(outspoken)
    assert replace(service, url=outspoken.url).request("GET", "/health").status_code == 503
    assert only(log.lines(), CampaignStuck).late_seconds >= 3600


def test_an_idle_tick_writes_its_summary_alone(service: Service, outspoken: Function) -> None:
    log = Log(outspoken)
    response = replace(service, url=outspoken.url).post()
    assert log.events() == ["run_finished"]
    summary = only(log.lines(), RunFinished)
    assert str(summary.run_id) == response.headers["X-Run-Id"]
    assert (summary.launched, summary.failed, summary.steps, summary.contacts) == (0, 0, 1, 0)


def test_each_launch_and_each_failure_is_an_event_and_the_run_has_one_summary(
    service: Service, outspoken: Function
) -> None:
    organization, empty, strange = service.organization(), service.organization(), service.factory.organization()
    service.factory.crowd(organization, 250)
    campaign, nobody, refused = (service.factory.campaign(each) for each in (organization, empty, strange))
    log = Log(outspoken)
    replace(service, url=outspoken.url).run(headers=traced(0))
    lines = log.lines()
    launches = {line.campaign_id: line for line in lines if isinstance(line, CampaignLaunched)}
    assert {each: (line.severity, line.organization_id, line.recipients) for each, line in launches.items()} == {
        campaign: ("INFO", organization, 250),
        nobody: ("WARNING", empty, 0),
    }
    assert only(lines, CampaignFailed).campaign_id == refused
    summary = only(lines, RunFinished)
    assert (summary.launched, summary.failed, summary.recipients, summary.complete) == (2, 1, 250, True)
    assert summary.contacts >= 250
    assert {(line.run_id, line.trace, line.span, line.sampled) for line in lines} == {
        (summary.run_id, f"projects/p/traces/{TRACES[0]}", SPAN, True)
    }
    assert log.events()[-1] == "run_finished"


def test_a_dry_run_writes_its_summary_and_no_launch(service: Service, outspoken: Function) -> None:
    organization = service.organization()
    service.factory.crowd(organization, 5)
    service.factory.campaign(organization)
    log = Log(outspoken)
    replace(service, url=outspoken.url).run(params={"dry_run": "true"})
    assert log.events() == ["run_finished"]
    assert only(log.lines(), RunFinished).dry_run is True


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"headers": {"Authorization": "Bearer wrong"}}, 401),
        ({"path": "/nowhere"}, 404),
        ({"params": {"organization_id": "nonsense"}}, 400),
        ({"params": {"organization_id": TRACES[0]}}, 400),
        ({"content": b" " * 20_000}, 413),
    ],
)
def test_a_refusal_is_one_warning(service: Service, outspoken: Function, request_: dict[str, Any], status: int) -> None:
    log = Log(outspoken)
    assert replace(service, url=outspoken.url).post(**request_).status_code == status
    [refused] = log.lines()
    assert isinstance(refused, RequestRefused)
    assert (refused.status, refused.run_id) == (status, None)


def test_the_lines_of_concurrent_requests_never_mix_their_fields_nor_do_those_of_their_threads(
    service: Service, outspoken: Function
) -> None:
    """Two runs of many steps by several threads, of which one each is held up until both have begun."""
    organizations, late = [service.organization() for _ in TRACES], []
    for organization in organizations:
        late.append(service.factory.contacts(organization, 1_500)[700])
        service.factory.campaign(organization)
    caller, log = replace(service, url=outspoken.url), Log(outspoken)

    def run(number: int) -> str:
        response = caller.post(params={"organization_id": str(organizations[number])}, headers=traced(number))
        assert response.json()["processed_count"] == 1
        return str(response.headers["X-Run-Id"])

    with ThreadPoolExecutor(2) as callers:
        with gate(service.project.database_url, *late):
            runs = [callers.submit(run, number) for number in range(2)]
            wait_until_held_up(service.project.database_url, steps=2)
        run_ids = [each.result() for each in runs]

    lines = log.lines()
    expected = [
        (run_ids[number], organizations[number], f"projects/p/traces/{trace}") for number, trace in enumerate(TRACES)
    ]
    found = [(str(line.run_id), line.organization_id, line.trace) for line in lines]
    assert set(found) == set(expected)
    for kind, least in ((DatabaseCalled, 10), (CampaignLaunched, 1), (RunFinished, 1)):
        of_kind = [each for line, each in zip(lines, found, strict=True) if isinstance(line, kind)]
        assert all(of_kind.count(each) >= least for each in expected), of_kind
        assert least > 1 or len(of_kind) == 2
    steps = [line for line in lines if line.message == "Called campaign_runner_step."]
    assert all(isinstance(line, DatabaseCalled) and line.rows for line in steps)


def test_a_database_that_is_down_is_an_error_that_error_reporting_takes_up(
    service: Service, cloud_environment: dict[str, str]
) -> None:
    down = {"SUPABASE_URL": f"http://127.0.0.1:{free_port()}", "RUN_TIME_BUDGET_SECONDS": "1"}
    with Function({**cloud_environment, **down}) as function:
        log = Log(function)
        response = replace(service, url=function.url).post()
        assert response.status_code == 503
        [failed] = log.lines()
    assert isinstance(failed, RequestFailed)
    assert (failed.status, str(failed.run_id)) == (503, response.headers["X-Run-Id"])
    assert failed.type is not None


def test_a_wrong_setting_is_logged_at_the_start_and_with_each_request(
    service: Service, cloud_environment: dict[str, str]
) -> None:
    with Function({**cloud_environment, "STEP_ROWS": "CANARY8e2d"}) as function:
        assert replace(service, url=function.url).post().status_code == 500
        said = function.log.read_text()
        ours = [parsed(line) for line in said.splitlines() if not OF_THE_SERVER.fullmatch(line)]
    assert [type(line) for line in ours] == [Reported, RequestFailed]
    assert all("STEP_ROWS" in line.message for line in ours)
    assert "CANARY" not in said


def test_a_mistake_of_ours_is_logged_with_its_stack_and_without_its_message(
    service: Service, cloud_environment: dict[str, str]
) -> None:
    with Function(cloud_environment, source=MISTAKE) as function:
        log = Log(function)
        response = replace(service, url=function.url).post(headers=traced(1))
        assert response.status_code == 500
        [failed] = log.lines()
    assert isinstance(failed, RequestFailed)
    assert str(failed.run_id) == response.headers["X-Run-Id"]
    assert failed.trace == f"projects/p/traces/{TRACES[1]}"
    assert failed.stack_trace is not None
    assert "builtins.KeyError\n\nThe above exception was the direct cause" in failed.stack_trace
    assert failed.stack_trace.endswith("builtins.ValueError")
    assert "function_with_mistake.py" in failed.stack_trace
    # The source of the line that raised it is ours; the message is not.
    assert "CANARY" not in re.sub(r"raise \w+Error\(.*\)", "", failed.stack_trace)
    assert "CANARY" not in response.text


class Unheard(Function):
    """One whose stderr is a pipe that nobody reads any more."""

    def command(self) -> Sequence[str]:
        return ["/bin/bash", "-c", 'exec "$@" 2> >(:)', "bash", *super().command()]


def test_a_run_whose_log_nobody_takes_launches_all_the_same(service: Service, environment: dict[str, str]) -> None:
    organization = service.organization()
    contacts = service.factory.contacts(organization, 300)
    campaign = service.factory.campaign(organization)
    with Unheard({**environment, "LOG_LEVEL": "DEBUG", "STEP_ROWS": "100"}) as function:
        unheard = replace(service, url=function.url)
        assert unheard.post(headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert unheard.run()["processed_count"] == 1
        assert "Called" not in function.log.read_text(), "somebody takes it"
    assert records.status(service.database, campaign) == "sending"
    assert records.recipients(service.database, campaign).keys() == set(contacts)


def test_on_a_terminal_a_run_is_readable(service: Service, environment: dict[str, str]) -> None:
    organization = service.organization()
    service.factory.crowd(organization, 3)
    campaign = service.factory.campaign(organization)
    ours, theirs = os.openpty()
    with open(ours, "rb") as terminal, open(theirs, "wb") as stderr:
        subprocess.run(
            [sys.executable, "-m", "runner", "run"],
            cwd=ROOT,
            env={**environment, "LOG_LEVEL": "INFO"},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            check=True,
            timeout=60,
        )
        os.set_blocking(ours, False)
        launched, finished = terminal.read().decode().splitlines()
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d INFO     A campaign was launched to 3 recipients\.  run_id=\S+  event=campaign_launched"
        rf"  campaign_id={campaign}  organization_id={organization}  recipients=3",
        launched,
    )
    assert "INFO     Run finished: 1 launched, 0 failed.  run_id=" in finished
