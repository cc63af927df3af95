"""A report in a real browser: it asks for nothing, complains of nothing, and shows what one points at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, opened
from made_runs import made, with_rows

from dlrun.config.registry import Parts
from dlrun.console.report_page import write_page
from dlrun.console.run_report import report_of_run
from dlrun.run_folders.records import read_record

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"
)
HOSTILE = "<script>alert(1)</script>"
BOX = "(({left, top, width, height}) => [left, top, width, height])(%s.getBoundingClientRect())"
CHART = "document.querySelectorAll('.chart')[%d]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two seeds, whose losses are 10 / epoch and 12 / epoch, of a test loss every tenth."""
    folder = tmp_path_factory.mktemp("written")
    run = made(
        folder,
        {"seeds": [0, 1]},
        final={"train_loss": [0.1, 0.12], f"test_{HOSTILE}": [1.0, 2.0]},
        best={"epoch": 100, "monitor": HOSTILE, "figures": {}},
        warnings=[HOSTILE, "word" * 60],
    )
    rows = [
        f"{epoch},{seed},{(10 + 2 * seed) / epoch},{-5 / epoch if epoch % 10 == 0 else ''},0.1,1"
        for epoch in range(1, 101)
        for seed in (0, 1)
    ]
    with_rows(run, rows, f"epoch,seed,train_loss,test_{HOSTILE},lr,seconds")
    path = folder / "r.html"
    write_page(report_of_run(read_record(run), Parts()), path)
    return path


@pytest.fixture
def page(browser: Page, written: Path) -> Page:
    """The report, opened in a window 800 pixels wide."""
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(written)
    return browser


def point_at(page: Page, chart: int, share: float) -> str:
    """Move the mouse to a share of a chart's width; give what it says then."""
    page.value(f"{CHART % chart}.scrollIntoView()")
    left, top, width, height = page.value(BOX % f"{CHART % chart}.querySelector(':scope > svg')")
    page.move(left + 58 + share * (width - 58 - 14), top + height / 2)
    return tip(page, chart)


def tip(page: Page, chart: int) -> str:
    lines = "t => t.hidden ? '' : [...t.children].map(c => c.textContent).join('; ')"
    said: str = page.value(f"({lines})({CHART % chart}.querySelector('.tip'))")
    return said


def test_it_opens_without_a_complaint_or_a_request(page: Page, written: Path) -> None:
    assert page.complaints == []
    assert [address for address in page.requests if not address.startswith("data:")] == [written.as_uri()]
    assert page.value("document.querySelectorAll('.chart > svg .line').length") == 2
    assert page.value("document.scripts.length") == 3  # two charts' figures, and the script


def test_pointing_at_a_chart_shows_its_values(page: Page) -> None:
    assert point_at(page, 0, 0.0) == "epoch 1; train_loss 11.0000 ± 1.4142"
    assert point_at(page, 0, 1.0) == "epoch 100; train_loss 0.1100 ± 0.0141"
    assert point_at(page, 1, 0.0) == f"epoch 10; test_{HOSTILE} -0.5000 ± 0.0000"
    page.move(1, 1)
    assert tip(page, 1) == ""


def test_arrow_keys_show_the_values_too(page: Page) -> None:
    page.value(f"{CHART % 0}.querySelector(':scope > svg').focus()")
    for key, epoch in (("Home", 1), ("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("End", 100)):
        page.press(key)
        assert tip(page, 0).startswith(f"epoch {epoch};")
    page.press("Escape")
    assert tip(page, 0) == ""


def test_lines_are_hidden_smoothed_and_on_a_logarithmic_axis(page: Page) -> None:
    assert page.value(f"{CHART % 0}.querySelector('[type=checkbox]').checked") is True  # two decades
    assert page.value(f"{CHART % 1}.querySelector('[type=checkbox]')") is None  # figures below zero

    def points() -> list[float]:
        text = page.value(f"{CHART % 0}.querySelector('.line').getAttribute('points')")
        return [float(pair.split(",")[1]) for pair in text.split()]

    logarithmic = points()
    # from 11 to 1.1 is as far as from 1.1 to 0.11
    assert logarithmic[9] - logarithmic[0] == pytest.approx(logarithmic[99] - logarithmic[9], abs=0.2)
    page.value(f"{CHART % 0}.querySelector('[type=checkbox]').click()")
    linear = points()
    assert linear[9] - linear[0] == pytest.approx(10 * (linear[99] - linear[9]), rel=0.01)
    pulled = "r => { r.value = 0.9; r.dispatchEvent(new Event('input')); }"
    page.value(f"({pulled})({CHART % 0}.querySelector('[type=range]'))")
    # the debiased mean of 11 and 5.5 with the weights 0.9 and 1
    assert point_at(page, 0, 1 / 99) == f"epoch 2; train_loss {(0.9 * 11 + 5.5) / 1.9:.4f}"
    page.value(f"{CHART % 0}.querySelector('.legend button').click()")
    assert page.value(f"{CHART % 0}.querySelectorAll(':scope > svg .line').length") == 0
    assert page.value(f"{CHART % 0}.querySelector('.legend button').ariaPressed") == "false"
    assert page.complaints == []


@pytest.mark.parametrize(("width", "every"), [(390, 20), (800, 10)])
def test_epochs_are_named_as_densely_as_there_is_room(
    browser: Page, written: Path, width: int, every: int
) -> None:
    browser.open(written, width)
    texts = f"[...{CHART % 0}.querySelectorAll(':scope > svg > text')].map(text => text.textContent)"
    named = [int(text) for text in browser.value(texts) if text.isdigit()]
    assert set(range(every, 101, every)) <= {*named}


@pytest.mark.parametrize("width", [390, 800, 1600])
def test_nothing_is_wider_than_the_window(browser: Page, written: Path, width: int) -> None:
    browser.open(written, width)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert (
        browser.value("Math.min(...[...document.querySelectorAll('.chart')].map(c => c.clientWidth))") > 300
    )


def test_it_is_dark_where_the_reader_wishes_and_printable(browser: Page, written: Path) -> None:
    def ground() -> int:
        channels: str = browser.value("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, channels.removeprefix("rgb(").removesuffix(")").split(",")))

    browser.open(written, dark=True)
    assert ground() < 150
    browser.open(written)
    assert ground() > 700
    browser.call("Emulation.setEmulatedMedia", media="print")
    controls = "[...document.querySelectorAll('.controls, nav')].every(c => c.clientHeight === 0)"
    assert browser.value(controls)
    browser.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("levels", [2, 3])
def test_baselines_are_told_apart_and_their_names_cover_no_line(
    browser: Page, tmp_path: Path, levels: int
) -> None:
    guesses = {f"guess {number}": {"loss": 1.0 + number} for number in range(levels)}
    run = made(tmp_path, final={"train_loss": [1.0]}, baselines={"train": guesses})
    path = tmp_path / "r.html"
    rows = [f"{epoch},0,{3 / epoch},{2 if epoch == 9 else ''},0.1,1" for epoch in range(1, 10)]
    with_rows(run, rows, "epoch,seed,train_loss,test_loss,lr,seconds")
    write_page(report_of_run(read_record(run), Parts()), path)
    browser.open(path)
    of_all = "[...document.querySelectorAll('.chart%s')].map(e => %s)"
    dashes = browser.value(of_all % (" > svg .level", "e.getAttribute('stroke-dasharray')"))
    assert len({*dashes}) == len(dashes) == levels
    assert browser.value(of_all % (" .legend .level", "e.getAttribute('stroke-dasharray')")) == dashes
    names = browser.value(of_all % (" > svg .name", "e.textContent"))
    assert names == (["guess 0, train", "guess 1, train"] if levels == 2 else [])
    assert "epoch" in browser.value(of_all % (" > svg > text", "e.textContent"))
    before = "(a, b) => Boolean(a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING)"
    if names:
        line = "document.querySelector('.chart > svg polyline.line')"
        assert browser.value(f"({before})(document.querySelector('.chart .name'), {line})")
    # a line of one epoch is a dot, and the legend shows one
    assert browser.value(of_all % (" .legend button", "e.querySelectorAll('circle').length")) == [
        0,
        1,
        *[0] * levels,
    ]
