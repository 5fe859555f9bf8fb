"""A person at the chat page: what they do, and a record of what the page did."""

from __future__ import annotations

import json
import re
import urllib.request
from collections import deque
from functools import partial
from typing import Any

_LISTEN = """
addEventListener("securitypolicyviolation", (event) =>
  report(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
const unwatched = window.fetch;
window.unansweredRequests = 0;
window.fetch = async (...request) => {
  window.unansweredRequests += 1;
  try {
    return await unwatched(...request);
  } finally {
    window.unansweredRequests -= 1;
  }
};
"""
# What an answer brings is drawn within a frame or two, and may ask for more.
_QUIET = """async () => {
  for (let frames = 0; frames < 3; ) {
    await new Promise((next) => setTimeout(next, 16));
    const busy = window.unansweredRequests > 0 || document.querySelector(".main [aria-busy=true]:not(.answer)");
    frames = busy ? 0 : frames + 1;
  }
}"""
_SESSION = """
if (!sessionStorage.getItem("seeded")) {
  sessionStorage.setItem("seeded", "1");
  sessionStorage.setItem("aiagents.session", "seeded");
  sessionStorage.setItem("aiagents.refresh", %s);
}
"""


class Visit:
    """`page` is Playwright's. `check()` fails on dialogs, policy violations, errors, and requests to anywhere else."""

    def __init__(self, context: Any, url: str) -> None:
        self.context, self.url = context, url
        self.access = ""
        self.trouble: list[str] = []
        # Console lines that a test provokes (a 401 that it asks for is logged by the browser).
        self.expected: list[str] = []
        # The last requests and frames, for the report of a failure.
        self.wire: deque[str] = deque(maxlen=40)
        context.set_default_timeout(30_000)
        self.page = self.new_page()

    def new_page(self) -> Any:
        page = self.context.new_page()
        # Not at every frame, as is Playwright's default: that alone keeps a browser without a graphics card busy.
        page.wait_for_function = partial(page.wait_for_function, polling=50)
        page.expose_function("report", lambda text: self.trouble.append(f"policy: {text}"))
        page.add_init_script(_LISTEN)
        page.on("dialog", self._dialog)
        page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        page.on("console", lambda line: self.trouble.append(f"console: {line.text}") if line.type in {"error", "warning"} else None)
        page.on("request", lambda request: self._request(request.url))
        page.on("websocket", self._socket)
        page.on("response", lambda answer: self.wire.append(f"{answer.request.method} {answer.url} {answer.status}"))
        return page

    def _socket(self, socket: Any) -> None:
        self._request(socket.url.replace("ws://", "http://"))
        socket.on("framesent", lambda frame: self.wire.append(f"sent {str(frame)[:300]}"))
        socket.on("framereceived", lambda frame: self.wire.append(f"received {str(frame)[:300]}"))
        socket.on("close", lambda _: self.wire.append("socket closed"))

    def seen(self) -> str:
        """The page's text, address and last exchanges as they are now."""
        text = self.page.evaluate("document.body.innerText")
        return "\n".join([self.page.url, text, *self.trouble, *self.wire])

    def _dialog(self, dialog: Any) -> None:
        self.trouble.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, url: str) -> None:
        if not url.startswith((self.url + "/", "data:", "blob:" + self.url)):
            self.trouble.append(f"request to elsewhere: {url}")

    def check(self) -> None:
        found = [line for line in self.trouble if not any(re.search(pattern, line) for pattern in self.expected)]
        assert not found, "\n".join(found)

    # --- what a person does -----------------------------------------------------------------------

    def enter(self, refresh: str) -> None:
        """Open the page in a tab that has a session: it renews that and goes on."""
        self.page.add_init_script(_SESSION % json.dumps(refresh))
        with self.page.expect_response(re.compile("/auth/refresh")) as answer:
            self.page.goto(self.url, wait_until="commit")
        self.access = answer.value.json()["access"]
        self.page.wait_for_selector(".welcome")

    def quiet(self) -> None:
        """Wait until every request of the page has been answered and no section says that it is busy."""
        self.page.evaluate(_QUIET)

    def ask(self, text: str) -> None:
        self.page.get_by_label("Your message").fill(text)
        self.page.keyboard.press("Enter")

    def answer(self, status: str = "complete", number: int = 1) -> Any:
        """The newest answer, once `number` answers stand there and it has the status."""
        self.page.wait_for_function(
            """([status, number]) => {
              const all = document.querySelectorAll(".answer");
              return all.length === number && all[number - 1].dataset.status === status;
            }""",
            arg=[status, number],
        )
        return self.page.locator(".answer").nth(number - 1)

    def written(self, length: int) -> None:
        """Wait until the newest answer has so many characters."""
        self.page.wait_for_function(
            "(length) => (document.querySelector('.answer:last-child .markdown')?.textContent.length ?? 0) >= length", arg=length
        )

    def conversation_id(self) -> str:
        self.page.wait_for_url(re.compile(r"\?c="))
        return self.page.url.rpartition("=")[2]

    def stored(self) -> list[dict[str, Any]]:
        """The messages of the open conversation as the API has them."""
        path = f"{self.url}/api/v1/chat/conversations/{self.conversation_id()}"
        return self.fetch(f"{path}/messages")["results"]

    def fetch(self, url: str) -> dict[str, Any]:
        answer = self.context.request.get(url, headers={"Authorization": f"Bearer {self.access}"})
        assert answer.ok, answer.text()
        return answer.json()


def api(one: Visit, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(f"{one.url}/api/v1/{path}", json.dumps(body).encode() if body is not None else None, method=method)
    request.add_header("Authorization", f"Bearer {one.access}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
