"""Links: those out of the pages' folder lead to pages of the site, and those of the built site are followed."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sphinx.util import logging

#: Pages that stand outside this folder, and the page of the site that shows each.
SHOWN_ELSEWHERE = {
    "](../README.md": "](index.md",
    "](../weights/README.md": "](project/weights.md",
    "](../CHANGELOG.md": "](project/changelog.md",
    "](../CONTRIBUTING.md": "](project/contributing.md",
}


def setup(app: Any) -> None:
    app.connect("source-read", _redirect)
    app.connect("build-finished", _warn)


def _redirect(app: Any, name: str, source: list[str]) -> None:
    for there, here in SHOWN_ELSEWHERE.items():
        source[0] = source[0].replace(there, here)


def _warn(app: Any, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html":
        for fault in broken_links(Path(app.outdir)):
            logging.getLogger(__name__).warning(fault)


class _Page(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for key, value in attributes:
            if key in ("href", "src") and value:
                self.targets.add(value)
            elif key in ("id", "name") and value:
                self.places.add(value)


def broken_links(site: Path) -> list[str]:
    """Links of a built site that lead nowhere: files and places within it; addresses elsewhere by their form alone."""
    pages = {path: _Page(path) for path in sorted(site.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        for target in sorted(page.targets):
            reason = _fault(path, target, pages)
            if reason:
                faults.append(f"{path.relative_to(site)} links to {target}: {reason}")
    return faults


def _fault(path: Path, target: str, pages: dict[Path, _Page]) -> str:
    parts = urlsplit(target)
    if parts.scheme in ("data", "mailto"):
        return ""
    if parts.scheme or parts.netloc:
        return "" if parts.scheme in ("http", "https") and "." in parts.netloc and " " not in target else "no address"
    there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not there.exists():
        return "there is no such file"
    if parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].places:
        return "there is no such place in it"
    return ""
