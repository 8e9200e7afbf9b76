"""The page in a real Chromium: Run, Stop, scrub, paint, branch, languages, re-attaching. Screenshots go to screenshots/."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Gated, redrawer, served, shelf_with, slipping

import app
from agents import desk
from agents.loop import DrawAgent
from agents.scripted import maze_model
from agents.settings import Settings
from agents.tasks import TASKS, foreign, maze
from agents.trace import Trace

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("No Chromium was found: install the system's chromium package to run the browser tests.", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="The browser tests need the Python package playwright.")

pytestmark = pytest.mark.browser
SHOTS = Path(__file__).resolve().parent.parent / "screenshots"
PATIENCE = 180_000
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "locale": "zh-CN", "color_scheme": "dark"}
PIXELS = """async ([x, y]) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 539, height: 539 }).getContext("2d");
  const image = document.getElementById("picture");
  for (const src of [image.style.backgroundImage.slice(5, -2), image.src]) {
    const layer = Object.assign(new Image(), { src });
    await layer.decode();
    canvas.drawImage(layer, 0, 0);
  }
  return [...canvas.getImageData(539 * x, 539 * y, 1, 1).data.slice(0, 3)];
}"""
"""The colour that the visitor sees at a place of the picture, its two layers put together."""
ROWS = ["S..#", "##..", "#G.#", "####"]
NASTY = "<img src=x onerror=alert(1)>${alert(2)}{{alert(3)}}<script>alert(4)</script>\\"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(slipping()) as address:
        yield address


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page; in the end no page may have asked anything of other hosts, popped up a dialog or met an error of its own."""
    contexts, faults = [], []

    def open_page(address: str, **look: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", "reduced_motion": "reduce"} | look)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        host = re.match(r"https?://[^/]+", address)[0]
        page.on("request", lambda request: None if request.url.startswith((host, "data:", "blob:")) else faults.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.goto(address)
        page.wait_for_selector("#editor [role=gridcell]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def shot(page: Any, name: str, full: bool = True) -> None:
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=full)


def paint(page: Any, rows: list[str]) -> None:
    """Put a board on the page as a visitor who was sent a link."""
    letters = str.maketrans("#.SG", "wfsg")
    page.evaluate("hash => { location.hash = hash }", "maze=" + "-".join(row.translate(letters) for row in rows))
    page.wait_for_function("n => document.querySelectorAll('#editor [role=gridcell]').length === n", arg=len(rows) ** 2)


def finished(page: Any) -> None:
    page.wait_for_function("!document.getElementById('run').disabled && document.querySelectorAll('#timeline .item').length > 1")


def run(page: Any) -> None:
    page.click("#run")
    page.wait_for_selector("#answer:not([hidden])")
    finished(page)


def at(page: Any) -> int:
    return int(page.get_attribute("#timeline [aria-current=step]", "data-at"))


def test_run_scrub_and_compare(url: str, visit: Callable[..., Any]) -> None:
    page = visit(url)
    paint(page, ROWS)
    run(page)
    assert "correct" in page.inner_text("#answer-verdict") and "right" in page.inner_text("#answer-moves")
    shot(page, "answer")
    last = at(page)
    page.keyboard.press("ArrowLeft")
    assert at(page) == last - 1
    page.keyboard.press("Home")
    assert at(page) == 0 and page.get_attribute("#picture", "alt").startswith("The maze, 4 by 4")
    page.locator("#scrub").fill("2")
    assert at(page) == 2 and page.inner_text("#step-kind") == "Draw"
    page.click("#timeline .item.no >> nth=0")
    assert page.locator(".mark-fault").count() and page.locator(".mark-fault").first.get_attribute("data-cell") == "a1"
    assert "no agent" in page.get_attribute("#picture", "alt") and "not kept" in page.inner_text("#step-facts")
    assert "Both reject" in page.inner_text("#agreement") and page.locator(".verdict.no").count() == 2
    assert page.is_hidden("#said")  # a bare verdict is on its card already
    shot(page, "fault")
    after = page.get_attribute("#picture", "src")
    page.click("#compare [data-mode=before]")
    assert page.get_attribute("#picture", "src") != after
    page.click("#compare [data-mode=wipe]")
    assert page.is_visible("#picture-before") and page.is_visible("#wipe")
    page.click("#inside summary")
    page.click("#latents .latent >> nth=0")
    assert page.inner_text("#step-kind") == "Think" and page.locator(".mark-heat").count() == 4
    page.hover("#thought button.cell")
    assert page.locator(".mark-told").count() == 1
    shot(page, "inside")


def test_steps_on_the_visitors_own_picture(url: str, visit: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "maze.png").write_bytes(foreign.draw(maze.paint(ROWS).board).to_png())
    for name, look in (("own-picture", {}), ("own-picture-phone", PHONE)):
        page = visit(url, **look)
        assert page.is_hidden("#own")
        page.set_input_files("#picture-file", tmp_path / "maze.png")
        page.wait_for_function("document.querySelectorAll('#editor [role=gridcell]').length === 16")
        run(page)
        ours = page.get_attribute("#picture", "src")
        page.click("#own")
        assert page.get_attribute("#own", "aria-checked") == "true" and page.get_attribute("#picture", "src") != ours
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        page.click("#timeline [data-kind=draw] >> nth=-1")
        page.evaluate("scrollTo(0, 0)")
        shot(page, name, full=False)
        assert page.evaluate(PIXELS, [0.375, 0.625]) == list(maze.PALETTE["agent"])  # it has arrived
        assert page.evaluate(PIXELS, [0.01, 0.5]) == [255, 255, 255]  # the visitor's margin, which our canvas has not
        page.click("#compare [data-mode=wipe]")
        assert page.is_visible("#picture-before")
    page.reload()  # the picture belongs to the run
    page.wait_for_selector("#answer:not([hidden])")
    assert page.is_visible("#own")
    page.set_input_files("#picture-file", tmp_path / "maze.png")
    page.wait_for_function("document.getElementById('board-word').textContent.includes('4 × 4')")
    page.click("#brushes [data-tile='#']")
    page.click("#editor [role=gridcell] >> nth=7")
    page.click("#run")
    page.wait_for_function("document.getElementById('own').hidden")  # another maze than the picture's
    finished(page)


def test_play_reaches_the_end(url: str, visit: Callable[..., Any]) -> None:
    page = visit(url)
    paint(page, ROWS)
    run(page)
    last = at(page)
    page.keyboard.press("Home")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    page.wait_for_function("last => document.querySelector('#timeline [aria-current=step]').dataset.at === String(last)", arg=last)


def test_stop_keeps_what_was_drawn(visit: Callable[..., Any]) -> None:
    model = Gated(maze_model())
    with served(model) as address:
        page = visit(address)
        paint(page, ROWS)
        page.click("#run")
        assert page.inner_text("#progress") and page.is_enabled("#stop") and page.is_disabled("#run")
        model.let(2)
        page.wait_for_selector("#timeline [data-kind=critique]")
        shot(page, "running")
        with page.expect_event("requestfinished", lambda request: "/call/stop/" in request.url):
            page.click("#stop")
        model.let(100)
        finished(page)
        assert "stopped by you" in page.inner_text("#progress")
        assert page.locator("#timeline [data-kind=draw] img").count() >= 1


def test_paint_by_mouse_and_keys(url: str, visit: Callable[..., Any]) -> None:
    page = visit(url)
    page.select_option("#size", "4")
    page.click("#clear")
    cells = page.locator("#editor [role=gridcell]")
    assert cells.count() == 16
    page.click("#brushes [data-tile='#']")
    first, end = cells.nth(4).bounding_box(), cells.nth(7).bounding_box()
    page.mouse.move(first["x"] + 5, first["y"] + 5)
    page.mouse.down()
    page.mouse.move(end["x"] + 5, end["y"] + 5, steps=12)
    page.mouse.up()
    assert [cells.nth(i).get_attribute("aria-label") for i in range(4, 8)] == [f"{name}2: Wall" for name in "abcd"]
    page.wait_for_selector("#board-word.bad")
    assert "No route" in page.inner_text("#board-word")
    page.click("#run")
    page.wait_for_selector("#notice:not([hidden])")
    assert "No route" in page.inner_text("#notice-text") and cells.nth(4).get_attribute("aria-label") == "a2: Wall"
    shot(page, "impossible")
    cells.nth(7).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("f")
    page.wait_for_selector("#board-word:not(.bad)")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("g")
    assert cells.nth(10).get_attribute("aria-label") == "c3: Goal" and cells.nth(15).get_attribute("aria-label") == "d4: Floor"
    run(page)
    assert "correct" in page.inner_text("#answer-verdict")
    shown = page.locator("#timeline .item").count()
    cells.nth(6).focus()
    page.keyboard.press("w")
    page.wait_for_selector("#board-word.bad")
    page.click("#run")
    page.wait_for_selector("#notice:not([hidden])")
    assert page.locator("#timeline .item").count() == shown and page.is_visible("#answer")


def test_branch_from_a_thought(url: str, visit: Callable[..., Any]) -> None:
    page = visit(url)
    paint(page, ROWS)
    run(page)
    before = page.locator("#timeline .item").count()
    page.click("#timeline [data-kind=think] >> nth=0")
    page.click("#branch summary")
    page.fill("#branch-thought", "dead ends : d2 . grey them .")
    page.click("#branch-go")
    page.wait_for_selector("#branches:not([hidden])")
    assert page.locator("#branches button").count() == 2
    shot(page, "branch")
    page.click("#branches button >> nth=0")
    assert page.locator("#timeline .item").count() == before


def test_break_this_picture_and_let_it_be_repaired(url: str, visit: Callable[..., Any]) -> None:
    page = visit(url)
    paint(page, ROWS)
    run(page)
    page.click("#timeline [data-kind=draw] >> nth=0")
    page.click("#break summary")
    assert page.is_disabled("#break-judge")
    page.click("#break-inks [data-ink=floor]")
    page.locator("#break-layer").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    whole = page.get_attribute("#break-picture", "src")
    page.keyboard.press("Enter")  # the wall at d1 becomes floor
    page.wait_for_function("src => document.getElementById('break-picture').src !== src", arg=whole)
    page.click("#break-judge")
    page.wait_for_selector("#break-repair:visible")
    assert page.locator("#break-verdicts .verdict.no").count() == 2 and "d1" in page.inner_text("#break-verdicts [data-by=model]")
    assert page.get_attribute("#break-marks .mark-fault", "data-cell") == "d1"
    shot(page, "break")
    page.click("#break-repair")
    page.wait_for_selector("#branches:not([hidden])")
    finished(page)
    assert page.locator("#branches button").count() == 2 and page.locator("#timeline [data-kind=revise]").count()
    page.click("#timeline [data-kind=draw] >> nth=0")
    page.click("#break-tools [data-tool=brush]")
    box = page.locator("#break-layer").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.6)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.9, steps=4)
    page.mouse.up()
    page.click("#break-judge")
    page.wait_for_selector("#break-verdicts [data-by=program].no")
    page.click("#break-clear")
    assert page.is_disabled("#break-judge") and page.is_hidden("#break-result")


def test_two_ways_side_by_side(url: str, visit: Callable[..., Any]) -> None:
    page = visit(url, viewport={"width": 390, "height": 844})
    paint(page, ROWS)
    page.click("#to-duel")
    page.click("#duel-kinds [data-kind=critique]")
    page.click("#duel-run")
    page.wait_for_selector("[data-side='1'] .final")
    with_it, without = (page.locator(f"[data-side='{index}']") for index in (0, 1))
    assert with_it.locator(".final.ok").count() == 1 and without.locator(".final.no").count() == 1
    assert with_it.locator(".item").count() > with_it.locator(".item.ok").count() >= 1 and without.locator(".item.ok").count() == 0
    first = with_it.locator(".side-plate img").get_attribute("src")
    with_it.locator(".item").first.click()
    assert with_it.locator(".side-plate img").get_attribute("src") != first
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shot(page, "compare-phone")
    page.set_viewport_size({"width": 1280, "height": 800})
    shot(page, "compare")
    with_it.locator(".side-open").click()
    finished(page)
    assert page.locator("#timeline .item.no").count() >= 1


@pytest.mark.skipif("compose" not in TASKS, reason="needs the task compose")
def test_a_scene_in_words_and_a_change_to_one(url: str, visit: Callable[..., Any]) -> None:
    page = visit(f"{url}#task=compose")
    page.wait_for_function("document.getElementById('words-word').textContent.includes('new scene')")
    page.click("#clauses summary")
    page.select_option("[data-clause=form]", "no")
    page.select_option("[data-clause=shape]", "")
    page.fill("#words", "three green stars")
    page.click("#add-clause")
    assert page.input_value("#words") == "three green stars , no red"
    page.click("#from summary")
    page.click("#scene-pens [data-pen=triangle]")
    page.click("#scene [data-place=b2]")
    page.fill("#words", "make the triangle green")
    page.wait_for_function("document.getElementById('words-word').textContent.includes('change to the scene')")
    page.locator("#scene [data-place=b2]").focus()
    page.keyboard.press("Delete")
    page.wait_for_selector("#words-word.bad")
    page.click("#run")
    page.wait_for_selector("#notice:not([hidden])")
    shot(page, "compose-panel")
    page.click("#tasks [data-task=maze]")
    assert "task=" not in page.url and page.is_visible("#editor")


def test_all_labels_change_at_once(url: str, visit: Callable[..., Any]) -> None:
    page = visit(url)
    run(page)
    texts = json.loads((app.ASSETS / "ui" / "texts.json").read_text(encoding="utf-8"))
    for code, shown in (("zh", "zh-CN"), ("en", "en"), ("zh", "zh-CN")):
        page.click(f"#lang-{code}")
        labels = page.eval_on_selector_all("#page [data-t]", "nodes => nodes.map(node => [node.dataset.t, node.textContent])")
        assert labels and all(texts[code][key] == text for key, text in labels)
        names = page.eval_on_selector_all("#page [data-label]", "nodes => nodes.map(node => [node.dataset.label, node.ariaLabel])")
        assert names and all(texts[code][key] == text for key, text in names)
        assert page.evaluate("document.documentElement.lang") == shown
    for part in ("#trace-title", "#step-kind", "#answer-verdict", "#timeline", "#progress", "#board-word", "#brushes", "#steer", "#where"):
        words = page.inner_text(part).replace("scripted maze", "")
        assert not re.search(r"[A-Za-z]{3,}", words), (part, words)
    shot(page, "chinese")


def test_dark_follows_the_system_and_the_switch(url: str, visit: Callable[..., Any]) -> None:
    page = visit(url, color_scheme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    run(page)
    shot(page, "dark")
    page.click("#theme")
    page.reload()
    page.wait_for_selector("#editor [role=gridcell]")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_phone_width(url: str, visit: Callable[..., Any]) -> None:
    page = visit(url, **PHONE)
    run(page)
    page.evaluate("scrollTo(0, 0)")
    shot(page, "phone", full=False)
    for summary in ("#settings", "#inside", "#branch", "#keep"):
        page.click(f"{summary} > summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shot(page, "phone-whole")


def test_reload_and_lost_connection_lose_nothing(visit: Callable[..., Any]) -> None:
    model = Gated(maze_model())
    with served(model) as address:
        page = visit(address)
        paint(page, ROWS)
        page.click("#run")
        model.let(2)
        page.wait_for_selector("#timeline [data-kind=critique]")
        page.reload()
        page.wait_for_selector("#timeline [data-kind=critique]")
        page.context.set_offline(True)
        model.let(4)
        page.context.set_offline(False)
        model.let(1000)
        page.wait_for_selector("#answer:not([hidden])")
        finished(page)
        kinds = page.eval_on_selector_all("#timeline .item", "items => items.map(item => item.dataset.kind)")
        expected = DrawAgent(maze_model(), TASKS["maze"], Settings()).invoke(maze.paint(ROWS)).path()
        assert kinds == ["start", *(step.kind for step in expected)]
        other = visit(page.url)
        other.wait_for_selector("#answer:not([hidden])")
        assert other.inner_text("#answer-moves") == page.inner_text("#answer-moves")


def test_recorded_run_opens_by_itself(visit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = DrawAgent(slipping(), TASKS["maze"], Settings()).invoke(maze.paint(ROWS))
    trace.save(tmp_path / "one.json")
    monkeypatch.setattr(desk, "recorded", lambda: {"one": tmp_path / "one.json"})
    with served(slipping()) as address:
        page = visit(address)
        page.wait_for_selector("#timeline .item >> nth=5")
        assert "recorded run" in page.inner_text("#trace-title") and at(page) == 0
        shot(page, "first-sight", full=False)


def test_a_verdict_is_shown_as_the_model_said_it(visit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    path = next(path for path in desk.recorded().values() if Trace.load(path).task == "compose")
    monkeypatch.setattr(desk, "recorded", lambda: {"one": path})
    with served(slipping()) as address:
        page = visit(address)
        page.click("#timeline .item >> nth=3")
        assert page.inner_text("#step-kind") == "Judge" and page.is_visible("#said")
        page.click("#said summary")
        said = next(c.words for entry in Trace.load(path).rounds() if (c := entry.verdict("model")))
        assert page.inner_text("#said-words").replace(" ", "") == said.replace(" ", "")
        page.click("#timeline .item >> nth=0")
        assert page.is_hidden("#said")


def test_a_verdict_that_is_taken_at_its_reading_says_so(visit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = json.loads(next(path for path in desk.recorded().values() if Trace.load(path).task == "geometry").read_text())
    judged = [verdict for step in data["steps"] for verdict in step["critiques"] if verdict["by"] == "model"]
    reasons = ["Its reading counts" if number % 2 else "What its eye sees counts" for number in range(len(judged))]
    for verdict, reason in zip(judged, reasons, strict=True):
        seen = "none that can be told" if "eye" in reason else "connect a1 to b7"
        said = re.sub(r"see : .*? \. ", f"see : {seen} . ", re.sub(r"(wrong \. .*|correct \.)$", "", verdict["words"]))
        verdict |= {"ok": False, "fault": "stayed", "where": None, "words": f"{said}correct .", "told": f"{said}wrong . picture stayed ."}
        verdict["doubts"] = [0.0] * 63 + [0.8]
    (tmp_path / "one.json").write_text(json.dumps(data))
    monkeypatch.setattr(desk, "recorded", lambda: {"one": tmp_path / "one.json"})
    with served(slipping()) as address:
        page = visit(address)
        page.wait_for_selector("#timeline .item >> nth=5")
        shown = []
        for item in page.locator("#timeline .item").all():
            item.click()
            if page.inner_text("#step-kind") == "Judge":
                said = page.inner_text("#verdicts")
                refuses = page.locator("#verdicts .no[data-by=model]").count() > 0
                shown += [reason for reason in dict.fromkeys(reasons) if reason in said] or [""] * refuses
                if refuses:
                    shot(page, "reading")
                    assert "up to 80 %" in said and page.locator("#overlay .mark-heat").last.get_attribute("fill-opacity") == "0.600"
        assert len(reasons) > 1 and shown == reasons


def test_bad_and_nasty_files(url: str, visit: Callable[..., Any], tmp_path: Path) -> None:
    page = visit(url)
    paint(page, ROWS)
    run(page)
    shown = page.locator("#timeline .item").count()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "image.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    (tmp_path / "cut.json").write_text('{"version": 1, "steps": [')
    for field, name, words in (
        ("#picture-file", "text.png", "not a PNG"), ("#picture-file", "image.svg", "not a PNG"),
        ("#trace-file", "cut.json", "not readable JSON"),
    ):  # fmt: skip
        page.evaluate("document.getElementById('notice').hidden = true")
        page.set_input_files(field, tmp_path / name)
        page.wait_for_selector("#notice:not([hidden])")
        assert words in page.inner_text("#notice-text")
        assert page.locator("#timeline .item").count() == shown
    shot(page, "bad-file", full=False)
    data = DrawAgent(slipping(), TASKS["maze"], Settings()).invoke(maze.paint(ROWS)).to_dict()
    data |= {"model": NASTY, "answer": NASTY, "words": NASTY, "moves": [NASTY]}
    for step in data["steps"]:
        step |= {"thought": NASTY, "about": NASTY}
        for critique in step["critiques"]:
            critique |= {"by": NASTY if critique["by"] == "model" else "program", "fault": NASTY, "words": NASTY, "ok": False}
        for latent in step["latents"]:
            latent |= {"token": NASTY, "words": [[NASTY, 0.5]]}
    (tmp_path / "nasty.json").write_text(Trace.from_dict(data).to_json())
    page.set_input_files("#trace-file", tmp_path / "nasty.json")
    page.wait_for_function("document.getElementById('trace-title').textContent.includes('<img')")
    for index in range(page.locator("#timeline .item").count()):
        page.keyboard.press("Home") if index == 0 else page.keyboard.press("ArrowRight")
    page.click("#inside summary")
    page.click("#timeline [data-kind=critique] >> nth=0")
    assert page.locator("#page img[onerror]").count() == 0 and page.locator("#page script").count() == 0
    assert "<script>" in page.inner_text("#thought")


def test_download_and_open_again(url: str, visit: Callable[..., Any], tmp_path: Path) -> None:
    page = visit(url)
    paint(page, ROWS)
    run(page)
    page.click("#keep summary")
    for kind, start in (("json", b"{"), ("gif", b"GIF8"), ("png", b"\x89PNG")):
        with page.expect_download() as download:
            page.click(f"#save-{kind}")
        download.value.save_as(tmp_path / f"run.{kind}")
        assert (tmp_path / f"run.{kind}").read_bytes().startswith(start)
    count = page.locator("#timeline .item").count()
    page.set_input_files("#trace-file", tmp_path / "run.json")
    page.wait_for_function("document.getElementById('trace-title').textContent.startsWith('An opened run')")
    assert page.locator("#timeline .item").count() == count


def test_models_are_chosen_and_absent_ones_say_how_to_get_them(visit: Callable[..., Any]) -> None:
    gate = Gated(redrawer())

    def load(name: str) -> Gated:
        gate.permits.acquire()
        return gate

    with served(slipping(), shelf_with(load, "janus-pro-1b")) as address:
        page = visit(address)
        paint(page, ROWS)
        page.click("#models summary")
        assert page.inner_text("#models-title").endswith("star-tiny") and page.is_hidden("#model-word")
        assert page.is_disabled("[data-model=bagel-7b-mot]")
        assert "python -m unimm.models --get bagel-7b-mot" in page.inner_text("#model-list")
        page.click("[data-model=janus-pro-1b]")
        assert "cannot edit" in page.inner_text("#model-word")
        shot(page, "models")
        page.click("#run")
        page.wait_for_function("document.getElementById('progress').textContent.includes('janus-pro-1b is loading')")
        gate.let(1000)
        page.wait_for_selector("#answer:not([hidden])")
        finished(page)
        assert "janus-pro-1b" in page.inner_text("#trace-title")
        page.click("[data-model=star-tiny]")
        run(page)
        assert "scripted maze" in page.inner_text("#trace-title")
        phone = visit(address, **PHONE)
        phone.wait_for_selector("#models:not([hidden])")
        phone.click("#models summary")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        phone.locator("#models").scroll_into_view_if_needed()
        shot(phone, "models-phone", full=False)


def test_link_holds_maze_and_settings(url: str, visit: Callable[..., Any]) -> None:
    page = visit(url)
    paint(page, ROWS)
    page.click("#settings summary")
    page.click("#steer [data-steer=both]")
    page.locator("#set-rounds").fill("5")
    page.click("#share")
    link = page.input_value("#share-link")
    other = visit(link)
    other.wait_for_function("document.querySelectorAll('#editor [role=gridcell]').length === 16")
    other.click("#settings summary")
    assert other.get_attribute("#steer [data-steer=both]", "aria-checked") == "true" and other.input_value("#set-rounds") == "5"
    run(other)
    assert "correct" in other.inner_text("#answer-verdict")
