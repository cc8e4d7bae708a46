"""Pages in a real browser: their own script runs under their policy, tables are sorted and searched."""

import re
import shutil
import subprocess

import pytest

from ruri_kedro.benchmark.comparing.comparison import compare
from ruri_kedro.benchmark.comparing.page import comparison_page
from ruri_kedro.text.pages import markdown_page, without_pictures

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<script>document.title='run'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page() -> str:
    """A comparison of models, one of which has a hostile name."""
    scores = {"bm25": 0.5, "base": 0.1, HOSTILE: 0.9}
    models = {
        name: [{("task", "ndcg@10"): {f"q{query}": (mean + query / 50) % 1 for query in range(12)}}]
        for name, mean in scores.items()
    }
    return comparison_page(compare(models, "bm25", None, 200, 0), {})


def test_pictures_that_lie_beside_a_page_stand_in_it_and_no_others(tmp_path):
    for place in (tmp_path / "chart.svg", tmp_path / "notes.txt", tmp_path.parent / "outside.svg"):
        place.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "utf-8")
    named = [
        "chart.svg",
        "missing.svg",
        "notes.txt",
        "../outside.svg",
        "https://example.org/x.svg",
        str(tmp_path / "chart.svg"),
    ]
    made = markdown_page(
        "# Report\n\n" + "\n\n".join(f'![picture {n} "a"]({name})' for n, name in enumerate(named)), tmp_path
    )
    assert made.count("<img") == 1 and '<img src="data:image/svg+xml;base64,' in made
    assert 'alt="picture 0 &quot;a&quot;">' in made and "<p>picture 1 &quot;a&quot;</p>" in made
    assert "alert" not in made and "outside.svg" not in made and "example.org" not in made
    assert "<img" not in markdown_page("# Report\n\n![picture](chart.svg)")


def test_a_report_is_told_without_its_pictures():
    page = "# Report\n\n![all figures](metrics.png)\n\nText ![inside](a.svg) stays.\n"
    assert without_pictures(page) == "# Report\n\nText ![inside](a.svg) stays.\n"


def shown(page: str, folder) -> str:
    """What a browser has made of a page when its scripts have run."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    (folder / "page.html").write_text(page, "utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
               "--virtual-time-budget=2000", "--dump-dom", f"file://{folder / 'page.html'}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_page_is_whole_and_escaped(page):
    assert "<img src=x" not in page and "&lt;img src=x" in page
    assert not re.findall(r"<[a-z][^>]*\b(?:src|href|action|style|on[a-z]+)\s*=|@import|url\(|https?://", page)
    assert page.count("<script>") == 1 and "default-src 'none'" in page


def test_its_script_runs_under_its_policy_and_that_of_others_does_not(page, tmp_path):
    dom = shown(page.replace("</body>", "<script>document.title = 'run'</script></body>"), tmp_path)
    assert '<div id="controls">' in dom, "shown by the page's own script"
    assert "<title>run</title>" not in dom
    assert re.search(r"<th[^>]*><button type=\"button\">model</button>", dom)


def test_tables_are_sorted_and_searched(page, tmp_path):
    """A script as of a user's hand, on a copy without the policy."""
    script = """
    const table = document.querySelector("table"), log = [];
    const column = (n) => [...table.tBodies[0].rows].map((r) => r.cells[n].textContent);
    const number = [...table.tHead.rows[0].cells].findIndex((c) => c.className === "n");
    const click = () => table.tHead.rows[0].cells[number].querySelector("button").click();
    click(); log.push(column(number).join(" ")); click(); log.push(column(number).join(" "));
    log.push(table.tHead.rows[0].cells[number].getAttribute("aria-sort"));
    const box = document.querySelector("#controls input");
    box.value = "ＢＡＳＥ"; box.dispatchEvent(new Event("input"));
    log.push([...table.tBodies[0].rows].filter((r) => !r.hidden).length);
    document.querySelector("#controls button").click(); log.push(document.documentElement.dataset.theme);
    document.title = log.join("|");
    """
    copy = re.sub(r"<meta http-equiv=.*?>\n", "", page).replace("</body>", f"<script>{{{script}}}</script></body>")
    title = re.search(r"<title>(.*?)</title>", shown(copy, tmp_path))[1]
    falling, rising, direction, found, theme = title.split("|")
    values = [float(value) for value in falling.split()]
    assert values == sorted(values, reverse=True) and falling.split()[::-1] == rising.split()
    assert (direction, found, theme) == ("ascending", "1", "dark")


def test_a_report_in_markdown_is_such_a_page(tmp_path):
    report = f"---\nlicense: mit\n---\n# Evaluation of `x`\n\n{HOSTILE}\n\n![bars](https://elsewhere/x.png)\n\n"
    made = markdown_page(report + "| model | ndcg@10 |\n| --- | ---: |\n| b | **0.5** |\n| a | 0.25 |\n")
    assert "<title>Evaluation of x</title>" in made and "license" not in made and "<img" not in made
    assert "&lt;script&gt;" in made and made.count("<script>") == 1
    dom = shown(made, tmp_path)
    assert re.search(r"<th[^>]*><button type=\"button\">ndcg@10</button>", dom)
