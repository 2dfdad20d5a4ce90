from __future__ import annotations

import pytest

from runner.http.trace import trace_fields

TRACE = "0af7651916cd43dd8448eb211c80319c"
NAME = f"projects/my-project/traces/{TRACE}"


@pytest.mark.parametrize(
    ("traceparent", "cloud", "span", "sampled"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", "", "b7ad6b7169203331", True),
        (f"00-{TRACE}-b7ad6b7169203331-00", "", "b7ad6b7169203331", False),
        (f"cc-{TRACE}-b7ad6b7169203331-03-what-comes-later", "", "b7ad6b7169203331", True),
        ("", f"{TRACE}/74;o=1", "000000000000004a", True),  # decimal here, hexadecimal in the log
        ("", f"{TRACE}/18446744073709551615;o=0", "ffffffffffffffff", False),
        ("", f"{TRACE}/74", "000000000000004a", None),
        ("", f"{TRACE.upper()};o=1", None, True),
        ("", TRACE, None, None),
        ("", f"{TRACE}/0;o=1", None, True),
        ("", f"{TRACE}/18446744073709551616", None, None),
        (f"00-{TRACE}-b7ad6b7169203331-01", f"{'a' * 32}/74;o=0", "b7ad6b7169203331", True),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", TRACE, None, None),
        (f"00-{'a' * 32}-{'0' * 16}-01", TRACE, None, None),
    ],
)
def test_a_trace_is_joined_with_the_project_and_its_span(
    traceparent: str, cloud: str, span: str | None, sampled: bool | None
) -> None:
    expected = {
        "logging.googleapis.com/trace": NAME,
        "logging.googleapis.com/spanId": span,
        "logging.googleapis.com/trace_sampled": sampled,
    }
    found = trace_fields(traceparent, cloud, "my-project")
    assert found == {name: value for name, value in expected.items() if value is not None}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        TRACE[:-1],
        TRACE + "0",
        f'{TRACE[:-1]}"',
        "\u00e9" * 32,
        "0" * 32,
        f"{TRACE}/\u0662",
        f"{TRACE}/1;o=\u00b2",
        f"{TRACE}/-1",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b7169203331",
        f"{TRACE}/1, {TRACE}/2",
    ],
)
def test_what_is_no_trace_is_left_out(header: str) -> None:
    assert trace_fields(header, header, "my-project") == {}


def test_without_a_project_there_is_no_trace() -> None:
    assert trace_fields(f"00-{TRACE}-b7ad6b7169203331-01", TRACE, None) == {}
