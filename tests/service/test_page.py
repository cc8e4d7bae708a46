"""The page in a browser: search, compare, judge, the blind mode, keys, a narrow screen, hostile text."""

import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from browser import browser
from service import start, write_documents
from tiny import TEXTS

from ruri_kedro.service.app import create_app
from ruri_kedro.service.serve import bound_socket

pytestmark = pytest.mark.slow  # a browser takes its time on a busy machine

HOSTILE = [
    "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script> 東京の駅",
    "\u202eさかさ\u202c 東京の駅 &lt;b&gt; 𠮷野家 😀 の東京",
    "A" * 500 + " 東京の駅",
]


@contextmanager
def served(service, token=None):
    listening = bound_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(service, token), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def chromium():
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_documents(folder / "documents.jsonl", [*TEXTS, *HOSTILE])
    return folder


@pytest.fixture(scope="module")
def address(folders, root):
    with served(start(root, folders / "embedder", folders / "late", folders / "reranker")) as found:
        yield found


@pytest.fixture
def page(chromium, address):
    """The page in English, in a profile of its own; whatever its scripts report is an error of the test."""
    context = chromium.new_context(locale="en-GB")
    made = context.new_page()
    faults = []
    made.on("pageerror", lambda error: faults.append(str(error)))
    made.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    made.goto(address)
    until(made, "document.getElementById('about').textContent !== ''")
    yield made
    context.close()
    assert faults == []


def until(page, expression):
    """Wait for an expression to hold; Playwright's own way is one that the page's policy forbids."""
    deadline = time.monotonic() + 60
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


def search(page, query, count=None):
    page.fill("#query", query)
    if count:
        page.fill("#count", str(count))
    page.press("#query", "Enter")
    page.wait_for_selector(".hit")
    until(page, "/ms|ミリ秒/.test(document.getElementById('status').textContent)")


def titles(page):
    return page.locator(".column h2").all_inner_texts()


def test_search_and_compare(page):
    search(page, "東京の図書館", 3)
    assert titles(page) == ["BM25", "Dense", "Fused", "Reranked", "Late interaction", "Fused", "Reranked"]
    assert page.locator(".column").nth(1).locator(".hit").count() == 3
    assert "東京" in page.locator("mark").all_inner_texts()[0]
    moves = page.locator(".column").nth(1).locator(".up, .down").all_inner_texts()
    assert moves and all(move[0] in "▲▼n" for move in moves)
    assert page.locator(".column").nth(0).locator(".up, .down").count() == 0  # the reference
    page.select_option("#reference", "dense")
    assert page.locator(".column").nth(1).locator(".up, .down").count() == 0
    page.uncheck("#compare")
    page.press("#query", "Enter")
    until(page, "document.querySelectorAll('.column').length === 4")


def test_tokens_of_late_interaction(page):
    search(page, "京都の美術館")
    card = page.locator(".column", has_text="Late interaction").locator(".hit").first
    card.locator(".tokens").click()
    page.wait_for_selector(".heat .token")
    painted = card.locator(".heat .token").evaluate_all("all => all.map(one => one.style.backgroundColor)")
    assert all(color.startswith("rgba") for color in painted) and len(set(painted)) > 1
    assert card.locator(".best").count() >= 1
    card.locator(".asked button").nth(1).click()
    assert card.locator(".best").count() == 1
    card.locator(".tokens").click()
    assert page.locator(".heat").count() == 0


def test_thumbs_are_kept(page, root):
    search(page, "札幌の駅")
    thumb = page.locator(".column").nth(0).locator(".hit").first.locator('[data-relevance="1"]')
    thumb.click()
    page.wait_for_selector('[data-relevance="1"][aria-pressed="true"]')
    qrels = (root / "judgments/documents.jsonl/task/qrels.tsv").read_text("utf-8")
    assert qrels.count("\n") == 1 and qrels.endswith("\t1\n")
    page.reload()
    search(page, "札幌の駅")
    assert page.locator('[data-relevance="1"][aria-pressed="true"]').count() >= 1
    page.locator('[data-relevance="1"][aria-pressed="true"]').first.click()
    until(page, "!document.querySelector('[data-relevance][aria-pressed=\"true\"]')")
    assert (root / "judgments/documents.jsonl/task/qrels.tsv").read_text("utf-8") == ""


def test_blind_mode(page):
    page.click("#mode-blind")
    page.fill("#query", "那覇の図書館")
    page.press("#query", "Enter")
    page.wait_for_selector("#vote:not([hidden])")
    assert titles(page) == ["Left", "Right"]
    shown = page.inner_text("#columns")
    assert "embedder" not in shown and "late" not in shown
    page.locator(".hit").first.focus()
    page.keyboard.press("1")
    until(page, "document.getElementById('status').textContent.includes('p = ')")
    told = page.inner_text("#status")
    assert "embedder won" in told and "late won" in told
    assert set(page.locator(".column .model").all_inner_texts()) == {"embedder", "late"}


def test_keys(page):
    search(page, "東京の図書館", 3)

    def focused():
        return page.evaluate(
            "() => { const card = document.activeElement.closest('.hit'); if (!card) return document.activeElement.id;"
            "const columns = [...document.querySelectorAll('.column')];"
            "return [columns.indexOf(card.closest('.column')), [...card.parentElement.children].indexOf(card)]; }"
        )

    for key, place in (("ArrowDown", [0, 0]), ("ArrowDown", [0, 1]), ("ArrowRight", [1, 1]), ("ArrowUp", [1, 0]),
                       ("ArrowLeft", [0, 0]), ("/", "query")):  # fmt: skip
        page.keyboard.press(key)
        assert focused() == place, key
    page.keyboard.press("ArrowDown")
    page.keyboard.press("+")
    page.wait_for_selector('[data-relevance="1"][aria-pressed="true"]')
    page.keyboard.press("+")
    until(page, "!document.querySelector('[data-relevance][aria-pressed=\"true\"]')")
    page.locator(".column", has_text="Late interaction").locator(".hit").first.focus()
    page.keyboard.press("t")
    page.wait_for_selector(".heat .token")


def test_a_narrow_screen(page):
    page.set_viewport_size({"width": 360, "height": 640})
    search(page, "東京の図書館", 3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    lefts = page.locator(".column").evaluate_all("all => all.map(one => one.getBoundingClientRect().left)")
    assert len(set(lefts)) == 1  # one below the other


def test_both_languages(page):
    page.click("#language")
    assert page.get_attribute("html", "lang") == "ja"
    search(page, "東京の図書館")
    assert titles(page)[:2] == ["BM25", "密ベクトル"]
    page.reload()
    until(page, "document.getElementById('about').textContent !== ''")
    assert page.inner_text('#form button[type="submit"]') == "検索"


def test_hostile_text_stays_text(page):
    search(page, HOSTILE[0], 20)
    texts = page.locator(".hit .text").all_inner_texts()
    assert any("<script>document.title='broken'</script>" in text for text in texts)
    assert page.title() == "ruri-kedro" and page.locator("#columns img, #columns script").count() == 0
    search(page, "𠮷野家 😀 の東京", 20)
    marks = page.locator(".hit", has_text="𠮷野家").first.locator("mark").all_inner_texts()
    assert any("東京" in text for text in marks)  # behind characters of two units
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_nothing_is_fetched_from_elsewhere(chromium, address):
    page = chromium.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.goto(f"{address}/docs")
    page.wait_for_selector("pre")
    page.close()
    assert all(url.startswith((address, "data:")) for url in asked) and len(asked) > 5
    assert "POST /search" in page_text(chromium, f"{address}/docs")


def page_text(chromium, url):
    page = chromium.new_page()
    page.goto(url)
    page.wait_for_selector("pre")
    text = page.inner_text("body")
    page.close()
    return text


def test_a_token_is_asked_for(chromium, folders, root):
    with served(start(root, folders / "embedder"), "secret") as address:
        page = chromium.new_page()
        page.goto(address)
        page.wait_for_selector("#token-form:not([hidden])")
        page.fill("#token", "secret")
        page.press("#token", "Enter")
        until(page, "document.getElementById('about').textContent !== ''")
        search(page, "東京の駅")
        page.close()


@pytest.mark.skipif("SCREENSHOTS" not in os.environ, reason="SCREENSHOTS names no folder to write to")
def test_screenshots(page):
    """The pictures of docs/service.md, of what is served at SERVICE."""
    folder = Path(os.environ["SCREENSHOTS"])
    page.set_viewport_size({"width": 1200, "height": 760})
    if "SERVICE" in os.environ:
        page.goto(os.environ["SERVICE"])
        until(page, "document.getElementById('about').textContent !== ''")
    search(page, os.environ.get("QUERY", "東京の図書館"), 3)
    page.screenshot(path=folder / "service-search.png")
    page.set_viewport_size({"width": 390, "height": 760})
    page.screenshot(path=folder / "service-narrow.png")
