"""A student's hands: notebooks 04, 09 and 10 and assignment A1 in JupyterLab, in headless Chromium, by mouse and keys.

    pip install playwright && python -m pytest tests/browser

needs Chromium (Debian: apt install chromium); without either it is skipped. Screenshots: outputs/browser/.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "outputs" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
MINUTE = 60_000  # milliseconds
POOL_FORGOTTEN = """def receptive_fields(convolutions):
    field, stride, stages = 1, 1, []
    for count in convolutions:
        field, stride = field + 2 * stride * count, 2 * stride
        stages.append((field, stride))
    return stages
"""

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (apt install chromium)")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab over a copy of the notebooks, so that running them changes no committed file."""
    folder = tmp_path_factory.mktemp("lab")
    SHOTS.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for name in ("pyramid", "data"):
        (folder / name).symlink_to(ROOT / name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--no-browser", "--allow-root", f"--port={port}", "--ServerApp.token=", "--ServerApp.password="]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(folder / "config")}
    log = (folder / "lab.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder}"],
        cwd=folder, env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
            break
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, (folder / "lab.log").read_text()
            time.sleep(0.3)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(30)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def run_notebook(lab, browser):
    """Opens a notebook, runs all its cells, and returns the page with the panel in view."""
    pages = []

    def opened(name: str, control: str):
        page = browser.new_page(viewport={"width": 1400, "height": 1100})
        pages.append(page)
        page.goto(f"{lab}/lab/workspaces/{name[:2]}/tree/notebooks/{name}.ipynb?reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=2 * MINUTE)
        page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=2 * MINUTE)
        page.click("text=Run >> nth=0")
        page.click("text=Run All Cells >> nth=0")
        page.wait_for_selector(control, timeout=4 * MINUTE)
        page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=4 * MINUTE)
        return page

    yield opened
    for page in pages:
        page.close()


def shown(page) -> str:
    """The address of the picture that the panel shows: a new one whenever it is redrawn."""
    return page.locator("img.widget-image, .widget-image img, img.jupyter-widgets.widget-image").last.get_attribute(
        "src"
    )


def wait_for_change(page, before: str) -> str:
    deadline = time.monotonic() + 30
    while shown(page) == before:
        assert time.monotonic() < deadline, "the picture did not change within half a minute"
        page.wait_for_timeout(100)
    return shown(page)


def settled(page) -> str:
    """The address of the picture once the panel has drawn all that was asked of it."""
    deadline, before = time.monotonic() + 30, ""
    while shown(page) != before or not page.locator("text=/^ready$/").last.is_visible():
        assert time.monotonic() < deadline, "the panel was still drawing after half a minute"
        before = shown(page)
        page.wait_for_timeout(1500)
    return before


def drag(page, box: dict, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press at `start`, move to `end`, release; in shares of a box on the page."""
    (x0, y0), (x1, y1) = (
        (box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in (start, end)
    )  # fmt: skip
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=12)
    page.mouse.up()


def no_errors(page) -> None:
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert page.locator("text=Error displaying widget").count() == 0


def test_a_slider_redraws_the_picture(run_notebook):
    page = run_notebook("04_semantic_pyramid", ".noUi-handle")
    handle = page.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    before = shown(page)
    drag(page, handle.bounding_box(), (0.5, 0.5), (8, 0.5))
    wait_for_change(page, before)
    no_errors(page)
    page.screenshot(path=SHOTS / "04-slider.png")


def test_a_painted_region_is_repainted(run_notebook):
    page = run_notebook("10_repainting", "canvas")
    canvas = page.locator("canvas").last
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    before = shown(page)
    drag(page, canvas.bounding_box(), (0.35, 0.4), (0.65, 0.6))
    wait_for_change(page, before)
    no_errors(page)
    page.screenshot(path=SHOTS / "10-painted.png")


def test_a_finger_paints(run_notebook):
    page = run_notebook("10_repainting", "canvas")
    canvas = page.locator("canvas").last
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    before, box = shown(page), canvas.bounding_box()
    chromium = page.context.new_cdp_session(page)
    chromium.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    for event, across in (("touchStart", 0.3), ("touchMove", 0.5), ("touchMove", 0.7)):
        finger = {"x": box["x"] + across * box["width"], "y": box["y"] + box["height"] / 2}
        chromium.send("Input.dispatchTouchEvent", {"type": event, "touchPoints": [finger]})
    chromium.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_for_change(page, before)
    no_errors(page)
    page.screenshot(path=SHOTS / "10-finger.png")


def test_a_region_is_marked_from_the_keyboard_alone(run_notebook):
    page = run_notebook("10_repainting", "canvas")
    choice = page.locator("button:has-text('sliders')")
    choice.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    before = settled(page)
    choice.focus()
    page.keyboard.press("Enter")
    wait_for_change(page, before)  # the sliders' box counts
    assert not page.locator("canvas").last.is_visible()
    before = settled(page)
    page.keyboard.press("Tab")  # shape
    page.keyboard.press("Tab")  # left
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector("text=0.38", timeout=MINUTE)  # from 0.3 by four steps of 0.02
    wait_for_change(page, before)
    before = settled(page)
    page.screenshot(path=SHOTS / "10-sliders.png")
    page.locator("button:has-text('erase'):visible").focus()
    page.keyboard.press("Space")
    wait_for_change(page, before)  # nothing is marked any more
    no_errors(page)


def test_the_study_hides_its_pair_after_a_second(run_notebook):
    page = run_notebook("09_study", "button:has-text('start')")
    start = page.locator("button.jupyter-button:has-text('start')")
    start.scroll_into_view_if_needed()
    start.click()
    pair = page.locator(".pair")
    pair.wait_for(state="visible", timeout=MINUTE)
    asked = time.monotonic()
    page.screenshot(path=SHOTS / "09-pair.png")
    pair.wait_for(state="hidden", timeout=10_000)  # by the browser: nothing was asked of the kernel
    assert time.monotonic() - asked < 3
    page.screenshot(path=SHOTS / "09-hidden.png")
    page.locator("button.jupyter-button:has-text('the left one')").click()
    page.wait_for_selector("text=Training: the photograph was at the", timeout=MINUTE)
    page.wait_for_selector("text=(2 of 36)", timeout=MINUTE)
    no_errors(page)


def test_the_study_from_the_keyboard_alone_and_for_longer(run_notebook):
    page = run_notebook("09_study", "button:has-text('start')")
    longer = page.locator("button:has-text('10 s')")
    longer.scroll_into_view_if_needed()
    longer.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")  # into the field for keys
    page.keyboard.press("Space")  # starts
    pair, asked = page.locator(".pair"), page.locator("text=/Which one is the photograph.*of 36/")
    pair.wait_for(state="visible", timeout=MINUTE)
    page.wait_for_timeout(3000)
    assert pair.is_visible()  # for three seconds, and seven more
    page.screenshot(path=SHOTS / "09-keys.png")
    for key in "fj":
        before = asked.text_content()
        page.keyboard.press(key)
        page.wait_for_function("before => !document.body.innerText.includes(before)", arg=before, timeout=MINUTE)
        pair.wait_for(state="visible", timeout=MINUTE)
        page.wait_for_timeout(500)  # a rater looks
    assert page.locator("input[placeholder='f: left, j: right']").input_value() == ""
    no_errors(page)


def test_an_assignment_is_answered_and_checked(run_notebook):
    """A typical mistake gets its sentence, the right answer passes, each written into the cell and run by the keys."""
    page = run_notebook("assignments/a1_receptive_fields", "text=There is nothing here yet")
    written, checked = (page.locator(".jp-CodeCell", has_text=text) for text in ("def receptive_fields", '"a1_1"'))

    def answer(source: str, sentence: str) -> None:
        written.locator(".cm-content").click()
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(source)
        page.keyboard.press("Shift+Enter")
        checked.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        checked.locator(".jp-OutputArea", has_text=sentence).wait_for(timeout=MINUTE)
        assert "Error at line" not in checked.inner_text()

    answer(POOL_FORGOTTEN, "The convolutions are counted and the pool is not")
    page.screenshot(path=SHOTS / "a1-mistake.png")
    answer(POOL_FORGOTTEN.replace("2 * stride * count,", "2 * stride * count + stride,"), "a1_1 passed!")
    assert "The convolutions are counted" not in checked.inner_text()
    no_errors(page)
    page.screenshot(path=SHOTS / "a1-passed.png")
