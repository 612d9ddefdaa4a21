"""What a page threw: its own code that is broken, or somebody's no."""

import pytest

from waguard.core.session.page_errors import LONGEST, own_fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "TypeError: e.addAndSendMsgToChat is not a function\n    at x (y.js:1:2)",
            "TypeError: e.addAndSendMsgToChat is not a function",
        ),
        (
            "TypeError: Cannot read properties of undefined (reading 'add')",
            "TypeError: Cannot read properties of undefined (reading 'add')",
        ),
        ("ReferenceError: WPP is not defined", "ReferenceError: WPP is not defined"),
        (
            'Error: Requiring unknown module "WAWebSend".',
            'Error: Requiring unknown module "WAWebSend".',
        ),
        (f"TypeError: {'x' * 1_000}", f"TypeError: {'x' * (LONGEST - 11)}"),
    ],
)
def test_broken_code_of_a_page_is_no_refusal(text: str, expected: str) -> None:
    assert own_fault(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Error: Invalid number",
        "Error: Chat not found for 4917@c.us\n    at TypeError (x.js:1:2)",
        "Error: the remote id is not the same of chat",
        "the file has 99 bytes, the limit is 10",
        "RangeError: Invalid time value",
        "TypeError: Failed to fetch",
        "TypeError: network error",
        "DOMException: The operation was aborted",
        "Uncaught",
    ],
)
def test_a_refusal_and_a_network_are_no_broken_code(text: str) -> None:
    assert own_fault(text) is None
