"""Reports as a browser shows them: nothing off the page, too small, or from elsewhere."""

import re
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "axe" / "axe.min.js"
GRAVE = ("serious", "critical")
SMALLEST = 11
"""px."""
FIGURE_TEXT = 9 * 130 / 72
"""px of the words in a figure that is shown in its own size."""
SMALL_TEXT = """smallest => {
    const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const own = walk.currentNode.parentElement;
        const size = parseFloat(getComputedStyle(own).fontSize);
        if (walk.currentNode.textContent.trim() && size < smallest)
            found.push(own.tagName + ' ' + size + ' ' + walk.currentNode.textContent.slice(0, 40));
    }
    return found;
}"""
SMALL_PICTURES = """([full, smallest]) => [...document.images]
    .filter(i => !i.complete || !i.naturalWidth || full * i.clientWidth / i.naturalWidth < smallest)
    .map(i => i.alt.slice(0, 60) + ' ' + i.clientWidth + '/' + i.naturalWidth)"""
BEYOND = """() => {
    const wide = document.documentElement.clientWidth, found = [];
    if (document.documentElement.scrollWidth > wide) found.push('the page');
    for (const own of document.querySelectorAll('table, img, pre, nav, p, h1, h2')) {
        const box = (own.closest('.scroll') || own).getBoundingClientRect();
        if (box.left < 0 || box.right > wide + 0.5) found.push(own.tagName + ' ' + box.right);
    }
    return found;
}"""


@pytest.fixture(params=["weather", "systems"])
def report(request):
    return request.param, request.getfixturevalue(request.param)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_report_is_whole_legible_and_open_to_all(browser, shots, report, width, scheme, capsys):
    (name, path), asked, said = report, [], []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: said.append(line.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(own => own.open = true)")
    page.wait_for_function("[...document.images].every(own => own.complete)")
    shot = shots / f"{name}-{width}-{scheme}.png"
    page.screenshot(path=shot, full_page=True)
    with capsys.disabled():
        sys.stdout.write(f"\nscreenshot: {shot}\n")
    afar = [url[:80] for url in asked if not re.match(r"(data:|file:///.*report\.html$)", url)]
    assert afar == [] and said == []
    assert page.evaluate(BEYOND) == []
    assert page.evaluate(SMALL_TEXT, SMALLEST) == []
    assert page.evaluate(SMALL_PICTURES, [FIGURE_TEXT, SMALLEST]) == []
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run()")["violations"]
    grave = [
        (one["id"], one["impact"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in GRAVE
    ]
    assert grave == []
    page.close()


def test_contents_lead_to_every_section(browser, report):
    page = browser.new_page()
    page.goto(report[1].as_uri())
    titles = page.locator("main h2").all_inner_texts()
    assert page.locator("nav li").all_inner_texts() == titles and len(titles) > 5
    for link in page.locator("nav a").all():
        assert page.locator(f"main {link.get_attribute('href')}").count() == 1
    page.close()


def test_a_report_prints_without_what_is_folded(browser, shots, report):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(report[1].as_uri())
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden() and page.locator("h1").is_visible()
    assert not any(own.is_visible() for own in page.locator("details").all())
    made = shots / f"{report[0]}.pdf"
    page.pdf(path=made, format="A4")
    assert made.read_bytes().startswith(b"%PDF")
    page.close()


def test_what_is_wrong_is_seen(browser, tmp_path):
    """The checks of this file find a page that breaks all of them."""
    page = browser.new_page(viewport={"width": 400, "height": 900})
    page.set_content(
        "<html><body><table><tr><td style='font-size:9px'><div style='width:600px'>tiny</div></td>"
        "</tr></table><img src='data:,' alt='x'><img src='data:image/png;base64,x'></body></html>"
    )
    assert page.evaluate(BEYOND)[0] == "the page"
    assert page.evaluate(SMALL_TEXT, SMALLEST) == ["DIV 9 tiny"]
    assert len(page.evaluate(SMALL_PICTURES, [FIGURE_TEXT, SMALLEST])) == 2
    page.add_script_tag(path=AXE)
    impacts = {one["impact"] for one in page.evaluate("axe.run()")["violations"]}
    assert impacts & set(GRAVE)
    page.close()
