"""A headless Chromium, spoken to over its debugging pipe: no driver, no websocket, no package."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--metrics-recording-only",
    "--remote-debugging-pipe",
)


def chromium() -> str | None:
    """The browser of this machine; None when there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Pipe:
    """Commands out, answers and events in: JSON, each ended by a zero byte."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._buffer = b""
        self._number = 0

    def call(
        self,
        method: str,
        parameters: dict[str, Any],
        session: str | None,
        note: Callable[[dict[str, Any]], None],
    ) -> dict[str, Any]:
        """The answer to a command; events that come before it go to ``note``."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            note(answer)

    def read(self) -> dict[str, Any]:
        """The next message."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], 120)
            assert ready, "the browser does not answer"
            self._buffer += os.read(self._from, 1 << 20)
        one, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(one)
        return message


class Page:
    """One tab in a profile of its own: no cookie of another test is there."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._session: str | None = None
        self._loaded = False
        self.console: list[str] = []
        self._context = self._call("Target.createBrowserContext")["browserContextId"]
        target = self._call("Target.createTarget", url="about:blank", browserContextId=self._context)[
            "targetId"
        ]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def close(self) -> None:
        """Close the tab and forget its profile."""
        self._session = None
        self._call("Target.disposeBrowserContext", browserContextId=self._context)

    def show_as(self, width: int, height: int, *, dark: bool = False) -> None:
        """The size of the window and the colours that the user prefers."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str) -> None:
        """Go to an address, and return when it has loaded; at once when only the fragment differs."""
        self._loaded = False
        if "loaderId" in self._call("Page.navigate", url=address):
            while not self._loaded:
                self._note(self._pipe.read())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; promises are awaited."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str, *, seconds: float = 60.0) -> Any:
        """The value of an expression as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                text = self.evaluate("document.body.innerText")
                raise AssertionError(f"never true: {expression}\n{text}\nconsole: {self.console}")
            time.sleep(0.05)
        return value

    def press(self, key: str, code: int = 0) -> None:
        """Press and release a key, e.g. ``Enter``; a single character types itself."""
        text = {"text": key} if len(key) == 1 else {}
        event = {"key": key, "windowsVirtualKeyCode": code}
        if key == "Enter":
            text = {"text": "\r"}
        self._call("Input.dispatchKeyEvent", type="keyDown", **event, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", **event)

    def screenshot(self, file: Path, *, whole: bool = True) -> None:
        """Save what the page looks like."""
        image = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(image["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._pipe.call(method, parameters, self._session, self._note)

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("sessionId") != self._session:
            return
        details = event.get("params", {})
        self._loaded = self._loaded or event.get("method") == "Page.loadEventFired"
        if event.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(details["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.console.append(f"{details['entry']['text']} {details['entry'].get('url', '')}")


@contextlib.contextmanager
def browser(binary: str) -> Iterator[Pipe]:
    """A running browser; ``Page`` opens a tab in it. It is gone afterwards."""
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # The browser reads commands from descriptor 3 and answers on 4.
        command = shlex.join([binary, *_FLAGS, f"--user-data-dir={profile}"])
        process = subprocess.Popen(
            ["/bin/bash", "-c", f"exec {command} 3<&{commands_out} 4>&{answers_in}"],
            pass_fds=(commands_out, answers_in),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HOME": profile},
        )
        os.close(commands_out)
        os.close(answers_in)
        try:
            yield Pipe(commands_in, answers_out)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)
            os.close(commands_in)
            os.close(answers_out)
