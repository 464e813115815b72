"""A browser that shows a page, scrolls it and clicks, driven by its DevTools protocol over pipes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services.required import require_service, starts_service

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 800, 600
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27}
AXE = Path(__file__).with_name("axe") / "axe.min.js"
"""axe-core 4.14.1 of Deque Systems (Mozilla Public License 2.0). It finds what keeps people out of pages."""


class Browser:
    """One tab of Chromium, 800 pixels wide and 600 high.

    Args:
        reading: the file that the browser writes to.
        writing: the file that the browser reads.
    """

    def __init__(self, reading: Any, writing: Any) -> None:
        self._reading, self._writing = reading, writing
        self._number = 0
        self._session = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.resize(WIDTH, HEIGHT)

    def resize(self, width: int, height: int) -> None:
        """Give the window a size in pixels."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **screen)

    def prefer(self, scheme: str, zone: str = "UTC") -> None:
        """Be a system that prefers the colors `light` or `dark`, in a time zone."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", features=features)
        self._call("Emulation.setTimezoneOverride", timezoneId=zone)

    def press(self, key: str) -> None:
        """Press a key that types no letter, such as Tab or Escape, in the focused element."""
        for kind in ("rawKeyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key]
            )

    def screenshot(self, file: Path) -> None:
        """Store what the window shows as a PNG."""
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def violations(self) -> list[str]:
        """Return what axe-core finds on the page and calls serious or critical, with the elements."""
        self.run(AXE.read_text(encoding="utf-8") + "; 0")
        found = self.run("axe.run(document).then((result) => result.violations)")
        return [
            f"{rule['id']}: {', '.join(str(node['target']) for node in rule['nodes'])}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
        ]

    def open(self, url: str) -> None:
        """Show a page, and wait until it is loaded."""
        self._call("Page.navigate", url=url)
        self.run("""new Promise((done) => document.readyState === "complete"
          ? done() : addEventListener("load", () => done()))""")

    def run(self, script: str) -> Any:
        """Return the value of an expression of JavaScript; wait for a promise."""
        found = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        place = self.run(f"""(() => {{
          const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();
          return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def _call(self, method: str, **params: Any) -> Any:
        """Send a command, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._writing.write(json.dumps(message).encode() + b"\0")
        self._writing.flush()
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        read = bytearray()
        while (byte := self._reading.read(1)) != b"\0":
            assert byte, "Chromium ended"
            read += byte
        return json.loads(read)


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start Chromium with a profile in a folder; end it after the block."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        require_service(f"no browser found: install one of {', '.join(PROGRAMS)}")
    starts_service("Chromium")
    (given, writing), (reading, taken) = os.pipe(), os.pipe()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", "about:blank"]
    # The protocol has fixed numbers: the browser reads from 3 and writes to 4.
    line = ["bash", "-c", f'exec "$@" 3<&{given} 4>&{taken}', "chromium", program, *options]
    with (folder / "chromium.log").open("ab") as log:
        process = subprocess.Popen(line, pass_fds=(given, taken), stdout=log, stderr=log)
    for end in (given, taken):
        os.close(end)
    try:
        with os.fdopen(reading, "rb") as answers, os.fdopen(writing, "wb") as commands:
            yield Browser(answers, commands)
    finally:
        process.terminate()
        process.wait()
