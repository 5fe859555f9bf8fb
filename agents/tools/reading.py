"""A fetched page as text that a model can read: what was written for people, without what surrounds it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser, LexborNode

from aiagents.lib.outbound import Answer

# What a page may be, for `Limits.content_types`.
READABLE = ("text/", "application/json", "application/xml", "application/xhtml+xml", "application/rss+xml", "application/atom+xml")
_HTML = ("text/html", "application/xhtml+xml")
_NOISE = "script, style, noscript, template, svg, canvas, iframe, object, form, nav, footer, aside, [hidden], [aria-hidden=true]"
_BLOCKS = frozenset({
    "p", "div", "section", "article", "main", "header", "ul", "ol", "dl", "dt", "dd", "table", "tr", "blockquote", "pre", "figure",
    "figcaption", "details", "summary", "address", "h1", "h2", "h3", "h4", "h5", "h6", "li", "hr", "br", "body",
})  # fmt: skip
_MOST_NODES = 200_000
# Below this the page has put its text somewhere else than in its <main>.
_FEW = 200


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    text: str


def readable(answer: Answer) -> Page:
    """The page's title and text. Text that is not HTML is taken as it is."""
    if answer.media_type in _HTML or (not answer.media_type and answer.body[:200].lstrip().startswith((b"<!", b"<html"))):
        return of_html(answer.text, answer.url)
    return Page("", answer.text.strip())


def of_html(html: str, base: str = "") -> Page:
    """The page's main part: paragraphs, headings, lists, table rows, and links with their addresses."""
    tree = LexborHTMLParser(html)
    title = tree.css_first("title")
    heading = _squeezed(title.text()) if title else ""
    for node in tree.css(_NOISE):
        node.decompose()
    whole = tree.body
    if whole is None:
        return Page(heading, "")
    main = tree.css_first("main, [role=main]") or tree.css_first("article")
    text = _text(main, base) if main is not None else ""
    return Page(heading[:300], text if len(text) >= _FEW else _text(whole, base))


def _text(root: LexborNode, base: str) -> str:
    """A walk without recursion: the depth of a page is the page's choice."""
    lines: list[str] = [""]
    stack: list[LexborNode | str] = [root]
    seen = 0
    while stack and seen < _MOST_NODES:
        node = stack.pop()
        seen += 1
        if isinstance(node, str):
            _write(lines, node)
            continue
        tag = node.tag or ""
        if tag == "-text":
            _write(lines, re.sub(r"\s+", " ", node.text_content or ""))
            continue
        before, after = _around(node, tag, base)
        _write(lines, before)
        stack.append(after)
        children = []
        child = node.child
        while child is not None:
            children.append(child)
            child = child.next
        stack.extend(reversed(children))
    text = "\n".join(_squeezed(line) for line in lines)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _around(node: LexborNode, tag: str, base: str) -> tuple[str, str]:
    """What is written before and after an element's content; line breaks end the line."""
    if tag == "a":
        link = _address(node.attributes.get("href") or "", base)
        return ("[", f"]({link})") if link else ("", "")
    if tag == "img":
        return "", f" (image: {_squeezed(alt)}) " if (alt := node.attributes.get("alt")) else ""
    if tag in ("td", "th"):
        return "", " | "
    if tag == "li":
        return "\n- ", "\n"
    if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
        return f"\n\n{'#' * int(tag[1])} ", "\n\n"
    if tag in ("p", "table", "blockquote", "pre"):
        return "\n\n", "\n\n"
    return ("\n", "\n") if tag in _BLOCKS else ("", "")


def _address(href: str, base: str) -> str:
    """The link's whole address; nothing for those that lead nowhere a reader could go."""
    href = href.strip()
    if not href or href.startswith("#") or len(href) > 500:
        return ""
    try:
        found = urljoin(base, href)
    except ValueError:
        return ""
    return found if found.startswith(("http://", "https://")) and not re.search(r"[\s()]", found) else ""


def _write(lines: list[str], text: str) -> None:
    first, *others = text.split("\n")
    lines[-1] += first
    lines.extend(others)


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
