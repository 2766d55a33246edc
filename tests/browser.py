"""A headless Chromium, driven over its DevTools protocol.

>>> with Browser(camera="film.y4m") as browser:
...     page = browser.page("http://127.0.0.1:7000/")
...     page.click("#start")
...     page.wait_for("trtmatte.frames > 10", seconds=20)
...     assert not page.problems
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, Final

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    *("--headless=new", "--no-sandbox", "--no-first-run", "--disable-breakpad", "--disable-background-networking"),
    *("--disable-sync", "--disable-component-update", "--enable-unsafe-swiftshader", "--use-fake-ui-for-media-stream"),
    "--remote-debugging-port=0",
)
_KEYS: Final = {" ": ("Space", 32, " "), "Enter": ("Enter", 13, "\r"), "Tab": ("Tab", 9, "")}
_BOX: Final = """(() => {{ const element = document.querySelector({});
  element.scrollIntoView({{ block: "nearest", behavior: "instant" }});
  const box = element.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; }})()"""
_ANSWER_S: Final = 60.0
_POLL_S: Final = 0.03

Event = dict[str, Any]


class BrowserError(Exception):
    """The browser did not do what it was told. The text has that of the page's exception, if there is one."""


def executable() -> str | None:
    """Return the path of the browser, or None if there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Browser:
    """A browser with a profile of its own, which ends with it.

    `camera` is a Y4M film that its camera shows again and again. Without one there is no camera.
    """

    def __init__(self, camera: str | Path | None = None, *, flags: Sequence[str] = ()) -> None:
        if (found := executable()) is None:
            raise BrowserError(f"none of {', '.join(_NAMES)} is installed; install one of them")
        self._profile = Path(tempfile.mkdtemp(prefix="browser-"))
        fake = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"] if camera else []
        command = [found, *_FLAGS, f"--user-data-dir={self._profile}", *fake, *flags, "about:blank"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
        try:
            self._connection = _Connection(self._address())
        except BaseException:
            self._end(0)
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrowserError):
            self._connection.call("Browser.close")
        self._connection.close()
        self._end(3)

    def page(self, address: str, *, traffic: bool = False) -> Page:
        """Open a page. With `traffic`, the messages of its WebSockets are kept."""
        target = self._connection.call("Target.createTarget", {"url": "about:blank"})
        attached = self._connection.call("Target.attachToTarget", {**target, "flatten": True})
        page = Page(self._connection, attached["sessionId"], traffic)
        page.open(address)
        return page

    def _address(self) -> str:
        port, end = self._profile / "DevToolsActivePort", time.monotonic() + _ANSWER_S
        while time.monotonic() < end and self._process.poll() is None:
            lines = port.read_text().split() if port.exists() else []
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            time.sleep(_POLL_S)
        raise BrowserError(f"the browser did not start in {_ANSWER_S:.0f} s; its exit code is {self._process.poll()}")

    def _end(self, patience: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its children are in its group
        self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)


class Page:
    """A page. `problems` has its exceptions, errors, and breaches of its content security policy.

    `traffic` has the messages of its WebSockets, each with True if the page sent it.
    """

    def __init__(self, connection: _Connection, session: str, traffic: bool) -> None:
        self._connection, self._session = connection, session
        self.problems, self.warnings = list[str](), list[str]()
        self.traffic: list[tuple[bool, bytes | str]] = []
        connection.listeners[session].append(self._hear)
        for domain in ("Page", "Runtime", "Log", *(["Network"] if traffic else [])):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol."""
        return self._connection.call(method, parameters, self._session)

    def open(self, address: str) -> None:
        if failure := self.call("Page.navigate", url=address).get("errorText"):
            raise BrowserError(f"{address}: {failure}")
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def close(self) -> None:
        self.call("Page.close")

    def evaluate(self, expression: str, await_promise: bool = True) -> Any:
        """Return the value of an expression, which may do what needs a user's click."""
        options = {"awaitPromise": await_promise, "returnByValue": True, "userGesture": True}
        answer = self.call("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {_text(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 10.0) -> Any:
        """Wait until an expression is true. Returns its value."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > end:
                raise BrowserError(f"{expression} is still {value!r} after {seconds:g} s; problems: {self.problems}")
            time.sleep(_POLL_S)
        return value

    def press(self, key: str) -> None:
        """Press a key: a letter, or one of `_KEYS`."""
        code, number, text = _KEYS.get(key, (f"Key{key.upper()}", ord(key[0].upper()), key))
        fields = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **fields)
        self.call("Input.dispatchKeyEvent", type="keyUp", **fields)

    def click(self, selector: str) -> None:
        """Click into the middle of an element."""
        x, y, width, height = self.evaluate(_BOX.format(json.dumps(selector)))
        if not width:
            raise BrowserError(f"{selector} is hidden")
        place = {"x": x + width / 2, "y": y + height / 2, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **place)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **place)

    def choose(self, selector: str, *files: str | Path) -> None:
        """Give files to an <input type="file">, which may be hidden."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")["result"]
        if "objectId" not in found:
            raise BrowserError(f"{selector}: there is no such element")
        paths = [str(Path(each).absolute()) for each in files]
        self.call("DOM.setFileInputFiles", objectId=found["objectId"], files=paths)

    def screenshot(self, path: str | Path) -> None:
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def downloads(self, folder: str | Path) -> None:
        """Let downloads go into a folder. One that is not complete has another name."""
        behaviour = {"behavior": "allow", "downloadPath": str(Path(folder).absolute())}
        self._connection.call("Browser.setDownloadBehavior", behaviour)

    def _hear(self, method: str, event: Event) -> None:
        if method in ("Network.webSocketFrameSent", "Network.webSocketFrameReceived"):
            frame = event["response"]
            data = frame["payloadData"] if frame["opcode"] == 1 else base64.b64decode(frame["payloadData"])
            self.traffic.append((method.endswith("Sent"), data))
        elif method == "Page.javascriptDialogOpening":  # as a page that would lose something is left
            self._connection.send("Page.handleJavaScriptDialog", {"accept": True}, self._session)
        elif method == "Runtime.exceptionThrown":
            self.problems.append(_text(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            words = (str(each.get("value", each.get("description"))) for each in event["args"])
            self._note(event["type"], " ".join(words))
        elif method == "Log.entryAdded":
            self._note(event["entry"]["level"], f"{event['entry']['text']} {event['entry'].get('url', '')}")

    def _note(self, level: str, text: str) -> None:
        if level in ("error", "assert", "warning"):
            (self.warnings if level == "warning" else self.problems).append(text)


class _Connection:
    """The connection to the browser. A thread reads the answers and the events."""

    def __init__(self, address: str) -> None:
        self.listeners: dict[str, list[Callable[[str, Event], None]]] = defaultdict(list)  # by the page's session
        self._answers: dict[int, futures.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._opened = connect(address, max_size=None, compression=None)
        self._socket = self._opened.__enter__()
        threading.Thread(target=self._read, name="browser", daemon=True).start()

    def call(self, method: str, parameters: Event | None = None, session: str | None = None) -> dict[str, Any]:
        try:
            got = self.send(method, parameters, session).result(_ANSWER_S)
        except (ConnectionClosed, futures.TimeoutError) as error:
            raise BrowserError(f"{method}: no answer: {str(error) or f'{_ANSWER_S:g} s have passed'}") from error
        if "error" in got:
            raise BrowserError(f"{method}: {got['error']['message']}")
        return dict(got["result"])

    def send(self, method: str, parameters: Event | None, session: str | None) -> futures.Future[dict[str, Any]]:
        number, answer = next(self._numbers), futures.Future[dict[str, Any]]()
        self._answers[number] = answer
        message = {"id": number, "method": method, "params": parameters or {}}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        return answer

    def close(self) -> None:
        self._opened.__exit__(None, None, None)

    def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for text in self._socket:
                message = json.loads(text)
                if "id" not in message:
                    for listener in self.listeners[message.get("sessionId", "")]:
                        listener(message["method"], message["params"])
                elif answer := self._answers.pop(message["id"], None):
                    answer.set_result(message)
        for answer in list(self._answers.values()):
            answer.set_result({"error": {"message": "the browser has ended"}})


def _text(details: Event) -> str:
    return str(details.get("exception", {}).get("description") or details["text"])
