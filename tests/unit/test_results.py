from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from runner.run.results import CampaignOutcome, PreviewPage, RunResult, StepResult
from tests.support.fake_api import failure, outcome, report, step


def test_a_result_is_written_with_exactly_the_keys_of_the_contract() -> None:
    answer = report(outcome(), errors=(failure(),))
    assert RunResult.model_validate(answer).model_dump(mode="json") == answer
    assert list(answer) == ["processed_count", "campaigns", "errors"]


def test_an_empty_result_counts_nothing() -> None:
    assert RunResult.of().model_dump(mode="json") == {"processed_count": 0, "campaigns": [], "errors": []}


def test_a_result_counts_its_campaigns() -> None:
    campaigns = [CampaignOutcome.model_validate(outcome(n)) for n in range(3)]
    assert RunResult.of(campaigns).processed_count == 3


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        [],
        None,
        "ok",
        {"processed_count": 0, "campaigns": []},
        report() | {"extra": 1},
        report() | {"processed_count": 1},
        report() | {"processed_count": "0"},
        report(outcome() | {"extra": 1}),
        report(outcome() | {"recipient_count": -1}),
        report(outcome() | {"recipient_count": "3"}),
        report(outcome() | {"recipients_generated": 1}),
        report(outcome() | {"new_status": "sent"}),
        report(outcome() | {"campaign_id": "x"}),
        report(errors=({"campaign_id": "x", "error": "y"},)),
    ],
)
def test_a_report_of_another_shape_is_no_result(nonsense: object) -> None:
    with pytest.raises(ValidationError):
        RunResult.model_validate(nonsense)


@pytest.mark.parametrize("key", list(step()))
def test_a_step_answers_every_key(key: str) -> None:
    answer = step()
    del answer[key]
    with pytest.raises(ValidationError, match=key):
        StepResult.model_validate(answer)


@pytest.mark.parametrize(
    "change",
    [{"work_left": 1}, {"work_left": "false"}, {"busy": -1}, {"busy": True}, {"contacts": "5"}, {"launched": None}],
)
def test_a_step_answers_with_the_right_types(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StepResult.model_validate(step(**change))


def test_a_step_may_answer_more_than_is_known() -> None:
    assert StepResult.model_validate(step(newer=True)) == StepResult.model_validate(step())


def test_nothing_is_left_when_nothing_is_free_and_nobody_holds_anything() -> None:
    assert StepResult.model_validate(step()).nothing_left
    assert not StepResult.model_validate(step(work_left=True)).nothing_left
    assert not StepResult.model_validate(step(busy=1)).nothing_left


@pytest.mark.parametrize("cursor", [{}, 1, [], True])
def test_a_cursor_is_a_text_or_null(cursor: object) -> None:
    with pytest.raises(ValidationError):
        PreviewPage.model_validate({"campaigns": [], "errors": [], "cursor": cursor})
