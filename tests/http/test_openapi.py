"""docs/openapi.yaml says what the function does: Schemathesis holds it against the function, as do these tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from local.function import Function
from local.loopback import free_port
from runner import __version__
from runner.errors import RunnerError
from runner.http.endpoint import PATHS
from tests.support import records
from tests.support.service import Service

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.yaml"

api = schemathesis.openapi.from_path(DOCUMENT)
RAW: dict[str, Any] = api.raw_schema
CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLE = UUID(RAW["components"]["parameters"]["organization_id"]["example"])


@pytest.fixture
def known(service: Service) -> Service:
    """Where the organization of the examples exists, and has something due; another's campaign may not be launched."""
    service.factory.organization(service.system_user, id=EXAMPLE)
    service.factory.crowd(EXAMPLE, 3)
    service.factory.campaign(EXAMPLE)
    service.factory.campaign(service.factory.organization())
    return service


def unjudged(case: Case[Any]) -> list[Any]:
    """What a schema cannot say: a parameter that stands in the query and in the body has to be the same in both."""
    given_twice = isinstance(case.body, dict) and (case.query or {}).keys() & case.body.keys()
    return [positive_data_acceptance] if given_twice else []


@api.parametrize()
@settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_is_answered_as_the_document_says(case: Case[Any], known: Service) -> None:
    headers = {"Authorization": f"Bearer {known.token}"}
    case.call_and_validate(base_url=known.url, headers=headers, excluded_checks=unjudged(case))


def test_calls_that_follow_one_another_launch_a_campaign_once(known: Service) -> None:
    """In whatever order they come: forecasts, runs, duplicates of both, and nonsense between them."""
    organization = known.organization()
    known.factory.crowd(organization, 3)
    statuses = set()

    class Calls(api.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            self.campaigns = [known.factory.campaign(each) for each in (EXAMPLE, organization)]

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
            return {"base_url": known.url, "headers": {"Authorization": f"Bearer {known.token}"}}

        def validate_response(self, response: Any, case: Case[Any], *_: Any, **__: Any) -> None:
            statuses.add(response.status_code)
            case.validate_response(response, excluded_checks=unjudged(case))

        def teardown(self) -> None:
            for campaign in self.campaigns:
                is_launched = records.status(known.database, campaign) == "sending"
                assert len(records.events(known.database, campaign)) == int(is_launched)
                assert len(records.recipients(known.database, campaign)) == (3 if is_launched else 0)
                known.execute("delete from campaigns where id = %s", campaign)

    Calls.run(settings=settings(Calls.TestCase.settings, max_examples=10, stateful_step_count=5, derandomize=True))
    assert 200 in statuses


def test_each_documented_status_is_met_with_its_schema_and_its_headers(
    known: Service, environment: dict[str, str]
) -> None:
    responses = [
        known.post(),
        known.post(params={"dry_run": "maybe"}),
        known.post(headers={"Authorization": "Bearer wrong"}),
        known.post(params={"organization_id": "11111111-1111-4111-8111-111111111111"}),
        known.post("/nowhere"),
        known.post(content=b" " * 20_000),
        known.post(content=b"dry_run=true"),
    ]
    for change in ({"SYSTEM_USER_ID": "nobody"}, {"SUPABASE_URL": f"http://127.0.0.1:{free_port()}"}):
        with Function({**environment, **change, "RUN_TIME_BUDGET_SECONDS": "1"}) as function:
            responses.append(replace(known, url=function.url).post())
    assert responses[0].json()["campaigns"]
    assert responses[0].json()["errors"]
    assert [response.status_code for response in responses] == [200, 400, 401, 404, 404, 413, 415, 500, 503]
    assert {str(response.status_code) for response in responses} == set(RAW["paths"]["/"]["post"]["responses"])
    for response in responses:
        api["/"]["POST"].Case().validate_response(response, checks=CONFORMANCE)


def test_the_document_names_every_path_and_every_error_of_ours() -> None:
    assert set(PATHS) <= set(RAW["paths"])
    leaves = [each for each in descendants(RunnerError) if hasattr(each, "status")]
    # 405 is not an answer to the methods that there are.
    assert {str(each.status) for each in leaves} - {"405"} <= set(RAW["paths"]["/"]["post"]["responses"])
    for path in PATHS:
        assert RAW["paths"][path]["post"]["responses"] == RAW["paths"]["/"]["post"]["responses"]
    assert RAW["info"]["version"] == __version__


def test_every_documented_response_has_a_schema_and_its_required_headers() -> None:
    for name, response in RAW["components"]["responses"].items():
        assert "Cache-Control" in response["headers"], name
        assert all("$ref" in header or header["required"] for header in response["headers"].values()), name
        assert response["content"].keys() <= {"application/json", "application/problem+json"}, name
        assert all(content["schema"] for content in response["content"].values()), name


def descendants(kind: type[RunnerError]) -> Iterator[type[RunnerError]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)
