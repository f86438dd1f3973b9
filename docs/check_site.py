"""What a built site asks for, and where its links lead: nothing is elsewhere, no link is broken.

python docs/check_site.py SITE

Writes SITE/external-links.txt, the links to elsewhere, which are not tried. Exits 1 where a page
asks another machine for anything, or a link within the site has no target.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {
    "script": ("src",), "img": ("src", "srcset"), "source": ("src", "srcset"), "iframe": ("src",),
    "video": ("src", "poster"), "audio": ("src",), "embed": ("src",), "object": ("data",),
    "image": ("href", "xlink:href"), "use": ("href", "xlink:href"), "input": ("src",),
}  # fmt: skip
"""Elements → their attributes whose content a browser fetches by itself."""
FETCHED_LINKS = {
    "stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch",
    "manifest", "apple-touch-icon", "mask-icon",
}  # fmt: skip
"""Kinds of <link> that a browser acts upon."""
IN_STYLES = re.compile(r"@import\s+(?:url\()?\s*['\"]?([^'\"();\s]+)|url\(\s*['\"]?([^'\")]+)")
ELSEWHERE = re.compile(r"(?i)^\s*(?:[a-z][a-z0-9+.-]*:)?//")


class Page(HTMLParser):
    """A page as a browser reads it.

    Attributes:
        fetched: addresses that it asks for by itself.
        links: addresses that a reader may follow.
        anchors: places on it that a link may name.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self._in_style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        for name in FETCHED.get(tag, ()):
            if name in given:
                several = given[name].split(",") if name == "srcset" else [given[name]]
                self.fetched += [one.split()[0] for one in several if one.split()]
        if tag == "link" and set(given.get("rel", "").split()) & FETCHED_LINKS:
            self.fetched.append(given.get("href", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.fetched += list(in_styles(given.get("style", "")))
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        """See `HTMLParser`."""
        if self._in_style:
            self.fetched += list(in_styles(data))

    def handle_endtag(self, tag: str) -> None:
        """See `HTMLParser`."""
        self._in_style = self._in_style and tag != "style"


def in_styles(text: str) -> Iterator[str]:
    """What a style sheet asks for."""
    return (a or b for a, b in IN_STYLES.findall(text))


def asked_elsewhere(addresses: Iterable[str]) -> list[str]:
    """Those addresses that are on another machine."""
    return [address for address in addresses if ELSEWHERE.match(address)]


def check(site: Path) -> tuple[list[str], dict[str, set[str]]]:
    """Look at every page and style sheet of a site.

    Returns:
        What is wrong, a line each; and address elsewhere → the pages that link it.
    """
    pages = {path.resolve(): Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    wrong, elsewhere = [], defaultdict(set)
    for path, page in pages.items():
        name = str(path.relative_to(site.resolve()))
        wrong += [f"{name}: asks for {one}" for one in asked_elsewhere(page.fetched)]
        for link in page.links:
            if ELSEWHERE.match(link) or urlsplit(link).scheme:
                elsewhere[link].add(name)
            elif not leads_somewhere(path, link, pages):
                wrong.append(f"{name}: its link {link} has no target")
    for path in sorted(site.rglob("*.css")):
        found = asked_elsewhere(in_styles(path.read_text()))
        wrong += [f"{path.relative_to(site)}: asks for {one}" for one in found]
    return wrong, elsewhere


def leads_somewhere(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    """Whether a relative link of a page has a target."""
    place, anchor = urlsplit(link).path, unquote(urlsplit(link).fragment)
    target = (path.parent / unquote(place)).resolve() if place else path
    if target.is_dir():
        target /= "index.html"
    if target in pages:
        return not anchor or anchor in pages[target].anchors
    return target.is_file()


def main(arguments: list[str]) -> str | None:
    """Check the site that is named; what to exit with."""
    site = Path(arguments[0])
    if not (site / "index.html").is_file():
        return f"error: {site}: has no index.html; make docs builds it"
    wrong, elsewhere = check(site)
    lines = [f"{link}  ({', '.join(sorted(pages))})\n" for link, pages in sorted(elsewhere.items())]
    (site / "external-links.txt").write_text("".join(lines))
    return "\n".join([*wrong, f"error: {len(wrong)} faults in {site}"]) if wrong else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
