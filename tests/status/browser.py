"""A headless Chromium, spoken to over a pipe: as much of its DevTools protocol as it takes to look at a page."""

import base64
import json
import os
import shutil
import subprocess
import tempfile


def program():
    """The path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
    return next((path for path in map(shutil.which, names) if path), None)


class Browser:
    """One, with one page. To be used in a `with`."""

    def __enter__(self):
        self.files = tempfile.TemporaryDirectory(prefix="magent-chromium-")
        read_by_it, self.to_it = os.pipe()
        self.from_it, written_by_it = os.pipe()

        def hand_over():
            # It reads descriptor 3 and writes 4. First out of the way: either may have the other's number.
            ours = [os.dup(read_by_it), os.dup(written_by_it)]
            ours = [os.dup2(fd, 20 + place) for place, fd in enumerate(ours)]
            for place, fd in enumerate(ours):
                os.dup2(fd, 3 + place)

        self.process = subprocess.Popen(
            [program(), "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
             "--hide-scrollbars", f"--user-data-dir={self.files.name}", "about:blank"],
            preexec_fn=hand_over, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read_by_it)
        os.close(written_by_it)
        self.input = os.fdopen(self.from_it, "rb")
        self.number, self.session, self.unread, self.said = 0, None, b"", []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for room in ("Page", "Log", "Network", "Accessibility"):
            self.ask(f"{room}.enable")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.input.close()
        os.close(self.to_it)
        self.files.cleanup()

    def hear(self):
        while b"\0" not in self.unread:
            more = os.read(self.from_it, 1 << 16)
            if not more:
                raise RuntimeError("Chromium has ended")
            self.unread += more
        message, self.unread = self.unread.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_it, json.dumps(message).encode() + b"\0")
        while True:
            heard = self.hear()
            if heard.get("id") == self.number:
                if "error" in heard:
                    raise RuntimeError(f"{method}: {heard['error']['message']}")
                return heard["result"]
            self.said.append(heard)

    def dress(self, width, dark, language):
        """The next page is seen like this."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.ask("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})

    def open(self, url):
        """Opens a page, and returns what it complained of and which addresses it asked for."""
        self.said = []
        self.ask("Page.navigate", url=url)
        while not any(heard.get("method") == "Page.loadEventFired" for heard in self.said):
            self.said.append(self.hear())
        complaints = [heard["params"]["entry"]["text"] for heard in self.said if heard.get("method") == "Log.entryAdded"]
        asked = [heard["params"]["request"]["url"] for heard in self.said
                 if heard.get("method") == "Network.requestWillBeSent"]
        return complaints, asked

    def evaluate(self, expression):
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def text(self):
        return self.evaluate("document.body.innerText")

    def tree(self):
        """The accessibility tree: role and name of each node that is told."""
        nodes = self.ask("Accessibility.getFullAXTree")["nodes"]
        told = [node for node in nodes if not node.get("ignored")]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in told]

    def picture(self, height_max):
        """The page, down to there, as PNG."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], height_max), "scale": 1}
        data = self.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
        return base64.b64decode(data)
