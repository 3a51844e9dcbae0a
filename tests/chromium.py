"""A real headless Chromium for the tests of the report, driven by Selenium through Debian's chromedriver."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-device-scale-factor=1"
)
_WAIT = 20  # seconds; the machine may be busy


class Page:
    """The report in the browser. Coordinates on the stage are screen pixels from its upper left corner."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        """Loads a file."""
        self.driver.get(path.as_uri())

    def js(self, code: str, *arguments: Any) -> Any:
        """What a function body returns."""
        return self.driver.execute_script(code, *arguments)

    def find(self, selector: str) -> WebElement:
        """The one element of a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """Every element of a CSS selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def press(self, selector: str) -> None:
        """A click with the mouse."""
        self.find(selector).click()

    def keys(self, *keys: str) -> None:
        """Keys to whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def text(self, selector: str) -> str:
        """The visible text of an element."""
        return self.find(selector).text

    def wait(self, code: str, *arguments: Any) -> Any:
        """Waits until an expression is true, and returns it."""
        return WebDriverWait(self.driver, _WAIT, 0.03).until(lambda _: self.js(f"return {code}", *arguments), code)

    def look_at(self, index: int) -> None:
        """Opens the viewer by a click on a thumbnail, and waits until it has drawn."""
        self.driver.find_elements(By.CSS_SELECTOR, "button.tile")[index].click()
        self.wait("document.getElementById('tag-right').textContent !== ''")

    def stage(self) -> np.ndarray:
        """What the stage shows, uint8 (H,W,3)."""
        # Read through a copy: reading the canvas itself makes Chromium complain.
        code = """const from = document.getElementById("canvas"), {width, height} = from;
            const to = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
            to.drawImage(from, 0, 0);
            const bytes = to.getImageData(0, 0, width, height).data;
            let text = "";
            for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
            return [height, width, btoa(text)];"""
        height, width, data = self.js(code)
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Drags the mouse over the stage from one point to another."""
        box = self.js("return document.getElementById('stage').getBoundingClientRect()")
        mouse = ActionChains(self.driver, 20).w3c_actions
        pointer = mouse.pointer_action
        pointer.move_to_location(int(box["x"] + start[0]), int(box["y"] + start[1])).pointer_down()
        middle = [(start[axis] + end[axis]) // 2 for axis in (0, 1)]
        for x, y in (middle, end):
            pointer.move_to_location(int(box["x"] + x), int(box["y"] + y))
        pointer.pointer_up()
        mouse.perform()

    def wheel(self, at: tuple[int, int], delta: int) -> None:
        """Turns the wheel over a point of the stage; a negative delta is away from oneself."""
        box = self.js("return document.getElementById('stage').getBoundingClientRect()")
        place = {"x": box["x"] + at[0], "y": box["y"] + at[1], "deltaX": 0, "deltaY": delta}
        before = self.text("#zoom")
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseWheel", **place})
        self.wait("document.getElementById('zoom').textContent !== arguments[0]", before)

    def touch(self, kind: str, *fingers: tuple[float, float]) -> None:
        """Fingers on the screen, in points of the window: kind is touchStart, touchMove or touchEnd."""
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
        self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def complaints(self) -> list[str]:
        """What the console said since the last call."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # pyright: ignore[reportUnknownMemberType]


@contextmanager
def browser(folder: Path, size: tuple[int, int] = (1280, 900), phone: bool = False) -> Iterator[Page]:
    """A browser with a new profile in `folder` and a window of this size; a phone has a touch screen."""
    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*_FLAGS.split(), f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}"):
        options.add_argument(flag)
    if phone:
        metrics = {"width": size[0], "height": size[1], "pixelRatio": 2.0, "touch": True}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    try:
        yield Page(driver)
    finally:
        driver.quit()
