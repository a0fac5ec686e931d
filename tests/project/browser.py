"""Headless Chromium, by its DevTools protocol over two pipes: what a page does when it is opened."""

import json
import os
import select
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

WAIT_S = 120.0

LOOK = """(() => {
  const bidi = /[\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\u0000-\\u0008\\u001b]/;
  const all = [...document.querySelectorAll("*")], style = each => getComputedStyle(each);
  const head = document.querySelector("h1"), box = head.getBoundingClientRect();
  const top = document.elementFromPoint(box.left + 2, box.top + Math.min(box.height, 20) / 2);
  return {
    ran: window.ran === undefined ? "" : String(window.ran),
    scripts: document.scripts.length,
    handlers: all.flatMap(each => each.getAttributeNames().filter(name => name.startsWith("on"))),
    active: all.filter(each => /^(iframe|object|embed|base|form|input|link|video|audio)$/i.test(each.tagName)).length,
    sources: all.map(each => each.getAttribute("src") || "").filter(each => each && !each.startsWith("data:image/")),
    links: all.map(each => each.getAttribute("href") || "").filter(each => each && !/^(#|cells\\/)/.test(each)),
    fixed: all.filter(each => style(each).position === "fixed" || style(each).position === "absolute").length,
    covered: !(top === head || head.contains(top)),
    hidden: bidi.test(document.body.innerText) || bidi.test(document.title),
    wide: document.documentElement.scrollWidth - window.innerWidth,
    text: document.body.innerText,
  };
})()"""


@dataclass
class Seen:
    """What a page did.

    Parameters
    ----------
    found : dict
        What `LOOK` found in it.
    asked : list of str
        Addresses that it wanted to load, besides itself and pictures in its text.
    said : list of str
        Words of its dialogs and its console.
    """

    found: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


class Browser:
    """One Chromium; to be closed."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        read, self.to = os.pipe()
        self.back, write = os.pipe()
        options = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe"
        command = f'exec "$@" 3<&{read} 4>&{write}'
        self.process = subprocess.Popen(
            [
                "bash",
                "-c",
                command,
                "chromium",
                CHROMIUM,
                *options.split(),
                "--window-size=1000,800",
                f"--user-data-dir={profile}",
            ],
            pass_fds=(read, write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self.left, self.number, self.events = b"", 0, list[dict[str, Any]]()

    def call(self, method: str, session: str | None = None, **values: Any) -> dict[str, Any]:
        """Send a command, and wait for its answer; what comes before it is an event."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": values} | ({"sessionId": session} if session else {})
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)
            if answer.get("method") == "Page.javascriptDialogOpening":
                # Unanswered it stops the page.
                self.number += 1
                dialog = {"id": self.number, "method": "Page.handleJavaScriptDialog", "params": {"accept": False}}
                os.write(self.to, json.dumps({**dialog, "sessionId": answer["sessionId"]}).encode() + b"\0")
                self.number -= 1

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + WAIT_S
        while b"\0" not in self.left:
            ready, _, _ = select.select([self.back], [], [], until - time.monotonic())
            block = os.read(self.back, 1 << 20) if ready else b""
            assert block, "the browser does not answer"
            self.left += block
        text, _, self.left = self.left.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def open(self, path: Path, look: str = LOOK) -> Seen:
        """Open a page, wait until it is loaded, and look at it by an expression of JavaScript."""
        self.events.clear()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable", session)
        self.call("Page.navigate", session, url=path.resolve().as_uri())
        until = time.monotonic() + WAIT_S
        while self._value(session, "document.readyState") != "complete" and time.monotonic() < until:
            time.sleep(0.05)
        # A handler of a picture that is missing runs after it.
        self._value(session, "new Promise(done => setTimeout(done, 200))")
        seen = Seen(self._value(session, look))
        self.call("Target.closeTarget", targetId=target)
        for event in self.events:
            values = event.get("params", {})
            if event.get("method") == "Network.requestWillBeSent":
                address = values["request"]["url"]
                if not address.startswith("data:image/") and address != path.resolve().as_uri():
                    seen.asked.append(address)
            elif event.get("method") in ("Page.javascriptDialogOpening", "Runtime.consoleAPICalled"):
                seen.said.append(str(values))
        return seen

    def _value(self, session: str, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", session, expression=expression, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def close(self) -> None:
        os.close(self.to)
        os.close(self.back)
        self.process.terminate()
        self.process.wait(timeout=60)
