"""Every row has a test, and the page says what was counted."""

from __future__ import annotations

import json

import fault_page as page
import pytest
from fault_rows import FAMILIES, ROWS, WAITING


def test_every_row_is_shown_by_a_test(shown: dict[str, set[str]], request: pytest.FixtureRequest) -> None:
    files = {item.path for item in request.session.items if item.get_closest_marker("faults")}
    if len(files) < len(list(page.HERE.glob("test_*.py"))):
        pytest.skip("only a part of the folder was collected")
    assert set(ROWS) - set(shown) == set(WAITING)


def test_every_row_belongs_to_a_family() -> None:
    assert [f"T{number}" for numbers in FAMILIES.values() for number in numbers] == list(ROWS)


def test_the_page_is_what_was_counted() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == "\n".join(page.lines(page.read())) + "\n"


def test_what_may_never_happen_was_never_counted() -> None:
    for row, found in page.read().items():
        for name in page.NEVER:
            assert found["figures"].get(name, 0) == 0, row


def test_what_was_counted_is_json_in_order() -> None:
    text = page.MEASURED.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"
