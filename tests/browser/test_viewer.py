"""The report's viewer in a browser: slider, zoom, difference and bits, by mouse, by keys and by touch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from chromium import Page, browser
from intaglio import allocation, results


def laid(pixels: np.ndarray, stage: np.ndarray) -> tuple[np.ndarray, slice, slice]:
    """The picture enlarged by whole numbers to fit the stage, and the stage's rows and columns that it takes."""
    scale = min(stage.shape[0] // pixels.shape[0], stage.shape[1] // pixels.shape[1])
    large = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    starts = [int(np.floor((stage.shape[axis] - large.shape[axis]) / 2 + 0.5)) for axis in (0, 1)]
    rows, columns = (slice(start, start + large.shape[axis]) for axis, start in enumerate(starts))
    return large, rows, columns


def halves(page: Page, left: np.ndarray, right: np.ndarray) -> bool:
    """Whether the stage shows one picture left of the divider, and the other right of it, sample for sample."""
    stage = page.stage()
    (first, rows, columns), (second, _, _) = laid(left, stage), laid(right, stage)
    part = float(page.js("return parseFloat(document.getElementById('divider').style.left)"))
    edge = round(part) - columns.start
    expected = np.concatenate([first[:, :edge], second[:, edge:]], axis=1)
    return 0 < edge < expected.shape[1] and bool(np.array_equal(stage[rows, columns], expected))


def test_the_viewer_shows_both_pictures_sample_for_sample(viewer: Page, versions: list[np.ndarray]) -> None:
    assert viewer.text("#viewer-title").splitlines() == ["budgie.webp", "280 \u00d7 200 px"]
    assert viewer.text("#tag-left") == "Original"
    assert viewer.text("#tag-right").startswith("Intaglio · 30, ")
    assert viewer.js("return document.activeElement.id") == "divider"
    assert halves(viewer, versions[0], versions[1])


def test_dragging_the_slider_uncovers_the_other_picture(viewer: Page, versions: list[np.ndarray]) -> None:
    height, width = viewer.stage().shape[:2]
    viewer.drag((width // 2, height // 2), (width // 2 - 200, height // 2 + 40))
    assert viewer.find("#divider").get_attribute("aria-valuenow") == str(round(100 * (width // 2 - 200) / width))
    assert halves(viewer, versions[0], versions[1])
    viewer.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert viewer.find("#divider").get_attribute("aria-valuenow") == str(round(100 * (width // 2 - 200) / width + 4))
    assert halves(viewer, versions[0], versions[1])


def test_codecs_are_switched_by_lists_and_by_keys(viewer: Page, versions: list[np.ndarray]) -> None:
    viewer.press("#right option[value='3']")
    viewer.wait("document.getElementById('tag-right').textContent.startsWith('WebP · 5')")
    assert halves(viewer, versions[0], versions[3])
    viewer.js("document.getElementById('divider').focus()")
    viewer.keys("2")
    viewer.wait("document.getElementById('tag-right').textContent.startsWith('JPEG 4:2:0 · 8')")
    ActionChains(viewer.driver).key_down(Keys.SHIFT).send_keys("1").key_up(Keys.SHIFT).perform()
    viewer.wait("document.getElementById('tag-left').textContent.startsWith('Intaglio')")
    assert halves(viewer, versions[1], versions[2])
    viewer.keys("x")
    viewer.wait("document.getElementById('tag-left').textContent.startsWith('JPEG')")
    assert halves(viewer, versions[2], versions[1])
    viewer.keys("0")
    viewer.wait("document.getElementById('tag-right').textContent === 'Original'")
    assert halves(viewer, versions[2], versions[0])


def test_the_wheel_zooms_where_the_pointer_is_and_pixels_stay_square(viewer: Page, versions: list[np.ndarray]) -> None:
    before = viewer.stage()
    _, rows, columns = laid(versions[0], before)
    at = columns.start + 402, rows.start + 202  # in the middle of a pixel of the picture, which is enlarged by four
    viewer.wheel(at, -400)
    zoom = float(viewer.text("#zoom").split()[0])
    assert zoom > 600
    after = viewer.stage()
    assert np.array_equal(after[at[1], at[0]], before[at[1], at[0]])
    inside = after[100:-100, 50 : after.shape[1] // 2 - 30].astype(int)
    steps = np.flatnonzero(np.abs(np.diff(inside, axis=1)).max(axis=(0, 2)))
    assert len(steps) > 10
    assert np.diff(steps).min() >= int(zoom / 100), "two steps within one enlarged pixel: something was smoothed"


def test_dragging_pans_both_sides_together(viewer: Page) -> None:
    viewer.keys("+", "+", "+", "+")
    before = viewer.stage()
    middle = before.shape[1] // 2
    viewer.drag((middle - 250, 300), (middle - 190, 330))
    after = viewer.stage()
    for side in (slice(100, middle - 100), slice(middle + 100, before.shape[1] - 100)):
        moved = slice(side.start + 60, side.stop + 60)
        assert np.array_equal(after[130:430, moved], before[100:400, side])
    ActionChains(viewer.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    assert np.array_equal(viewer.stage()[100:400, 100 : middle - 200], after[100:400, 164 : middle - 136])


def test_buttons_and_keys_zoom_to_the_same_places(viewer: Page) -> None:
    whole = viewer.text("#zoom")
    viewer.press("#zoom-in")
    closer = viewer.text("#zoom")
    viewer.press("#fit")
    assert viewer.text("#zoom") == whole != closer
    viewer.keys("+")
    assert viewer.text("#zoom") == closer
    viewer.keys("z")
    assert viewer.text("#zoom") == "100 %"
    viewer.keys("f")
    assert viewer.text("#zoom") == whole
    for _ in range(60):
        viewer.keys("+")
    assert viewer.text("#zoom") == "6,400 %"


def test_the_difference_is_the_difference_times_the_gain(viewer: Page, versions: list[np.ndarray]) -> None:
    viewer.keys("2", "d")
    viewer.wait("document.getElementById('tag-left').textContent === '|Original \u2212 JPEG 4:2:0 · 8| \u00d7 8'")
    apart = np.abs(versions[0].astype(int) - versions[2])
    for gain in (8, 2):
        stage = viewer.stage()
        expected, rows, columns = laid(np.minimum(gain * apart, 255), stage)
        assert np.array_equal(stage[rows, columns], expected)
        viewer.press("#gain option[value='2']")
    assert not viewer.find("#divider").is_displayed()
    viewer.js("document.getElementById('canvas').focus()")
    viewer.keys("d")
    assert viewer.find("#divider").is_displayed()
    assert halves(viewer, versions[0], versions[2])


def test_the_keys_go_on_working_where_the_divider_goes(viewer: Page) -> None:
    assert viewer.js("return document.activeElement.id") == "divider"
    for key, mode in (("d", "difference"), ("b", "bits"), ("d", "difference"), ("s", "slider")):
        viewer.keys(key)
        assert viewer.js("return document.querySelector('#mode input:checked').value") == mode


def test_the_bits_lie_where_the_map_says(viewer: Page, folder: Path) -> None:
    path = allocation.beside(results.kept_path(folder, "budgie.webp", "intaglio", "30"))
    found = allocation.load(path)
    viewer.keys("3", "b")
    viewer.wait("document.getElementById('tag-right').textContent.startsWith('Bits of Intaglio · 30')")
    assert viewer.text("#scale").split("\n")[-1] == f"{found.top:.2f} bit/px"
    viewer.keys(Keys.HOME)
    stage = viewer.stage()
    blocks = np.zeros((200, 280, 3), np.uint8)
    blocks[...] = found.samples.repeat(16, axis=0).repeat(16, axis=1)[:200, :280, None]
    _, rows, columns = laid(blocks, stage)
    shown = stage[rows, columns].astype(float).sum(axis=2)
    rank = np.corrcoef(shown.ravel(), laid(blocks, stage)[0][..., 0].ravel())[0, 1]
    assert rank > 0.8, f"brightness and bits have a correlation of {rank:.2f}"


def test_the_pixel_under_the_pointer_is_told(viewer: Page, versions: list[np.ndarray]) -> None:
    stage = viewer.stage()
    _, rows, columns = laid(versions[0], stage)
    scale = (rows.stop - rows.start) // 200
    box = viewer.js("return document.getElementById('stage').getBoundingClientRect()")
    actions = ActionChains(viewer.driver, 20).w3c_actions
    actions.pointer_action.move_to_location(
        int(box["x"] + columns.start + 50 * scale + 1), int(box["y"] + rows.start + 30 * scale + 1)
    )
    actions.perform()
    left, right = (" ".join(map(str, each[30, 50])) for each in versions[:2])
    assert viewer.text("#probe").split("   ") == ["x 50, y 30", f"left {left}", f"right {right}"]


def test_other_pictures_keep_what_was_chosen_and_escape_closes(viewer: Page) -> None:
    viewer.keys("2", Keys.PAGE_DOWN)
    viewer.wait("document.getElementById('viewer-title').textContent.startsWith('colosseum.webp')")
    viewer.wait("document.getElementById('tag-right').textContent.startsWith('JPEG 4:2:0 · 8')")
    viewer.press("#previous")
    viewer.wait("document.getElementById('viewer-title').textContent.startsWith('budgie.webp')")
    viewer.keys(Keys.ESCAPE)
    assert not viewer.js("return document.getElementById('viewer').open")
    assert viewer.js("return document.activeElement.getAttribute('aria-label')") == "Look at budgie.webp"


def test_the_page_behind_stays_where_it_is_while_the_viewer_is_open(viewer: Page) -> None:
    before = viewer.js("return scrollY")
    box = viewer.js("return document.getElementById('viewer').getBoundingClientRect()")
    # A lock takes the scrollbar away, so that the viewer has the whole window.
    assert (box["x"], box["width"]) == (0, viewer.js("return innerWidth"))
    assert viewer.js("return document.documentElement.clientWidth") == box["width"]
    wheel = {"type": "mouseWheel", "x": 400, "y": 20, "deltaX": 0, "deltaY": 500}  # over the title, not the stage
    viewer.driver.execute_cdp_cmd("Input.dispatchMouseEvent", wheel)
    viewer.js("return new Promise((done) => setTimeout(done, 300))")
    assert viewer.js("return scrollY") == before
    viewer.keys(Keys.ESCAPE)
    viewer.driver.execute_cdp_cmd("Input.dispatchMouseEvent", wheel)
    viewer.wait("scrollY > arguments[0]", before)


def test_everything_that_can_be_pressed_has_a_name_and_shows_its_focus(viewer: Page) -> None:
    nameless = viewer.js(
        "return [...document.querySelectorAll('button, select, input, [role=slider], [tabindex]')].filter((each) =>"
        "!(each.getAttribute('aria-label') || each.getAttribute('aria-labelledby') || each.textContent.trim()"
        "|| (each.labels && each.labels.length))).map((each) => each.outerHTML)"
    )
    assert nameless == []
    reached = []
    for _ in range(16):
        viewer.keys(Keys.TAB)
        reached.append(viewer.js("return document.activeElement.id || document.activeElement.value"))
    assert {"previous", "left", "right", "swap", "zoom-in", "close", "canvas", "divider"} <= set(reached)
    viewer.js("document.getElementById('close').focus({focusVisible: true})")
    assert viewer.js("return getComputedStyle(document.getElementById('close')).outlineStyle") == "solid"


def test_a_phone_shows_everything_and_is_moved_by_fingers(folder: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "phone", (390, 844), phone=True) as phone:
        phone.open(folder / results.REPORT)
        assert phone.js("return [innerWidth, document.documentElement.scrollWidth]") == [390, 390]
        phone.look_at(0)
        box = phone.js("return document.getElementById('stage').getBoundingClientRect()")
        assert box["height"] > 500
        outside = phone.js(
            "return [...document.querySelectorAll('#viewer button, #viewer select')].filter((each) => {"
            "const b = each.getBoundingClientRect(); return b.width && (b.left < 0 || b.right > 390)})"
            ".map((each) => each.id)"
        )
        assert outside == []
        y = box["y"] + box["height"] / 2
        phone.touch("touchStart", (195, y))
        phone.touch("touchMove", (150, y))
        phone.touch("touchMove", (100, y))
        phone.touch("touchEnd")
        assert abs(int(phone.find("#divider").get_attribute("aria-valuenow") or 0) - 26) <= 1
        before = phone.js("return document.getElementById('zoom').textContent")
        phone.touch("touchStart", (150, y), (240, y))
        phone.touch("touchMove", (100, y), (290, y))
        phone.touch("touchMove", (60, y), (330, y))
        phone.touch("touchEnd")
        zoomed = phone.js("return document.getElementById('zoom').textContent")
        assert float(zoomed.split()[0]) > 2 * float(before.split()[0])
        assert phone.complaints() == []
