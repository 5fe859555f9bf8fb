"""Converts HTML to the text that people read, without menus and markup.

reading.py runs this file as a separate, bounded process: a hostile page keeps any tree builder busy for minutes
(100,000 nested lists do), and the parser is written in C. So this file imports none of our modules.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser, LexborNode

# Limits of the process that parses one page.
_SECONDS = 3
_MEMORY_BYTES = 1024 * 1024 * 1024
_NOISE = "script, style, noscript, template, svg, canvas, iframe, object, form, nav, footer, aside, [hidden], [aria-hidden=true]"
_BLOCKS = frozenset({
    "p", "div", "section", "article", "main", "header", "ul", "ol", "dl", "dt", "dd", "table", "tr", "blockquote", "pre", "figure",
    "figcaption", "details", "summary", "address", "h1", "h2", "h3", "h4", "h5", "h6", "li", "hr", "br", "body",
})  # fmt: skip
_MOST_NODES = 200_000
# A <main> with fewer characters does not hold the page's text.
_FEW = 200


def text_of_html(html: str, base: str) -> tuple[str, str]:
    """Return the page's title and the text of its main part: paragraphs, headings, lists, table rows and links."""
    tree = LexborHTMLParser(html)
    title = tree.css_first("title")
    heading = _squeezed(title.text()) if title else ""
    for node in tree.css(_NOISE):
        node.decompose()
    whole = tree.body
    if whole is None:
        return heading, ""
    main = tree.css_first("main, [role=main]") or tree.css_first("article")
    text = _text(main, base) if main is not None else ""
    return heading[:300], text if len(text) >= _FEW else _text(whole, base)


def _text(root: LexborNode, base: str) -> str:
    """Return the element's text. Traverses without recursion, because a page may be nested to any depth."""
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
    """Return the text before and after an element's content. Line breaks in it end the line."""
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
    """Return the link's full URL; empty for links that are not http or https."""
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


def main() -> None:
    """Read the page's URL (a line of JSON) and its HTML from stdin; write title and text as JSON to stdout."""
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    address, _, html = sys.stdin.buffer.read().partition(b"\n")
    found = text_of_html(html.decode("utf-8", "replace"), json.loads(address))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
