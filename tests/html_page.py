"""A page as a parser sees it, to test what it shows."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "img", "br", "hr", "link", "input"}
"""Elements that have no end tag."""


class Page(HTMLParser):
    """Checks that tags nest, and keeps tags with their attributes and the text of each tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == [], f"unclosed {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.text.append((self.open[-1], data.strip()))

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def texts(self, tag: str) -> list[str]:
        return [text for name, text in self.text if name == tag]

    @property
    def words(self) -> list[str]:
        """All text that is shown."""
        return [text for tag, text in self.text if tag not in ("style", "script")]

    def rows(self) -> str:
        """The same in one line, with bars between cells and sentences."""
        return " | ".join(self.words)

    def kinds(self, tag: str, kind: str) -> list[dict[str, Any]]:
        """The elements of a class."""
        return [attributes for attributes in self.all(tag) if kind in (attributes.get("class") or "").split()]
