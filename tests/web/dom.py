"""Reading a page as a browser would: elements, attributes and text, without a library."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass
class Element:
    """One element with all the text under it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    children: list[Element] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.all: list[Element] = []
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.all.append(element)
        if self._open:
            self._open[-1].children.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.all.append(element)
        if self._open:
            self._open[-1].children.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


def parse(page: str) -> list[Element]:
    """All elements in order; fails where tags are not nested."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert not reader._open, f"left open: {[e.tag for e in reader._open]}"
    return reader.all


def all_in(element: Element) -> list[Element]:
    """Everything under an element, in order."""
    return [found for child in element.children for found in (child, *all_in(child))]


def find(elements: list[Element], tag: str, **attributes: str) -> list[Element]:
    """Elements of that tag with these attributes (``_`` stands for ``-``)."""
    wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    return [
        element
        for element in elements
        if element.tag == tag
        and all(element.attributes.get(name) == value for name, value in wanted.items())
    ]
