"""The page in a real browser: each tab from upload to finished result, cancel, an error, an example, the sliders."""

import re
import shutil

import pytest

pytest.importorskip("gradio", reason="the extra `ui` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium: apt-get install chromium", allow_module_level=True)

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream"),
    "--use-fake-device-for-media-stream",
]
TABS = ("Animate", "Talk", "Dub", "Edit", "Group", "Live", "About")
PHONE = {"width": 390, "height": 844}
expect = playwright.expect
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def chromium(web_page, files):
    camera = files / "camera.mjpeg"
    film_a_face(files / "portrait.png", camera)
    with playwright.sync_playwright() as start:
        arguments = [*ARGUMENTS, f"--use-file-for-fake-video-capture={camera}"]
        browser = start.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(chromium, web_page):
    """Opens new pages; at the end nobody but the server was asked for anything."""
    pages, asked = [], set()

    def new(**options):
        page = chromium.new_context(**options).new_page()
        page.set_default_timeout(40_000)
        page.on("request", lambda request: asked.add(request.url))
        pages.append(page)
        return page

    yield new
    for page in pages:
        page.context.close()
    assert not [url for url in asked if not url.startswith((web_page.url, "data:", "blob:"))]


@pytest.fixture(scope="module")
def tab(opened, web_page):
    """Opens a tab that nobody has touched: on the same page as before while there is one."""
    state = {"page": None, "used": set()}

    def go(name):
        if state["page"] is None or name in state["used"]:
            state["page"] = opened(viewport={"width": 1440, "height": 900}, permissions=["camera"])
            state["page"].goto(web_page.url)
            state["used"] = set()
        state["used"].add(name)
        state["page"].get_by_role("tab", name="Animate").wait_for()
        state["page"].evaluate(HEARD)
        open_tab(state["page"], name)
        return state["page"]

    return go


def open_tab(page, name):
    page.wait_for_timeout(300)
    button = page.get_by_role("tab", name=name, exact=True)
    if not button.is_visible():
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=name).click()
    else:
        button.click()


def panel(page):
    return page.locator("div[role=tabpanel]:visible")


def put(page, which, path):
    """Uploads a file into the n-th input that the tab still has (a filled one goes), and waits until it is there."""
    with page.expect_response(re.compile("/upload")):
        panel(page).locator("input[type=file]").nth(which).set_input_files(str(path))


def status(page):
    return panel(page).locator(".mien-status")


HEARD = """() => {
  window.heard = [];
  const hear = () => document.querySelectorAll(".mien-status").forEach((e) => window.heard.push(e.textContent));
  new MutationObserver(hear).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""


def told(page, words):
    """Waits until the page has said so, be it for a moment."""
    page.wait_for_function(
        "(words) => window.heard.some((each) => each.toLowerCase().includes(words))", arg=words, timeout=60_000
    )


def unfold(page, name):
    panel(page).locator("button.label-wrap", has_text=re.compile(rf"^\s*{name}")).click()


def quick(page):
    unfold(page, "More")
    panel(page).get_by_label("Warp and prior alone, faster").check()


def result_video(page):
    video = panel(page).locator("video[src*='file=']").last
    expect(video).to_be_visible()
    return video


def test_animate_with_an_uploaded_portrait(tab, files, motion_file):
    page = tab("Animate")
    unfold(page, "Move it")
    put(page, 2, motion_file)
    put(page, 0, files / "portrait.png")
    expect(panel(page).locator("img[src*='portrait']").first).to_be_visible()
    quick(page)
    page.locator("#animate-run").click()
    expect(status(page)).to_contain_text("frames of 256×256")
    result_video(page)
    line = re.compile("^mien animate -s portrait.png -o portrait-clip.mp4 -m clip.safetensors --method prior$")
    expect(page.locator("#animate-command textarea")).to_have_value(line)
    with page.expect_download() as download:
        panel(page).get_by_role("link", name="Download").or_(panel(page).get_by_label("Download")).first.click()
    assert download.value.suggested_filename.endswith(".mp4")
    shown = result_video(page).get_attribute("src")
    panel(page).get_by_label("Begin at second").fill("99")
    page.locator("#animate-run").click()
    expect(page.locator(".toast-body").last).to_be_visible()
    expect(status(page)).not_to_contain_text("frames of 256×256")
    assert result_video(page).get_attribute("src") == shown


def test_an_example_starts_at_one_click_shows_a_preview_and_progress_and_can_be_cancelled(tab):
    pytest.importorskip("skimage", reason="the extra `demo` brings the example's portrait")
    page = tab("Animate")
    panel(page).get_by_role("button", name="surprise", exact=True).click()
    told(page, "quick preview")
    result_video(page)
    expect(status(page)).to_contain_text(re.compile(r"Animating: frame \d+ of \d+, [\d.]+ frames/s"))
    page.locator("#animate-cancel").click()
    expect(status(page)).to_contain_text("Cancelled")
    page.wait_for_timeout(700)
    expect(status(page)).to_contain_text("Cancelled")
    expect(page.locator("#animate-out video[src*='file=']")).to_have_count(0)


def test_an_example_moves_as_it_says_though_a_clip_lies_there(tab, motion_file):
    pytest.importorskip("skimage", reason="the extra `demo` brings the example's portrait")
    page = tab("Animate")
    unfold(page, "Move it")
    put(page, 2, motion_file)
    panel(page).get_by_role("button", name="nod", exact=True).click()
    told(page, "quick preview")
    expect(page.locator("#animate-command textarea")).to_have_value(re.compile("-m nod"))
    page.locator("#animate-cancel").click()
    expect(status(page)).to_contain_text("Cancelled")


def test_a_mistake_is_one_sentence_and_no_stack(tab, files):
    page = tab("Animate")
    put(page, 0, files / "noise.png")
    page.locator("#animate-run").click()
    expect(page.locator(".toast-body").last).to_contain_text("No face is found in noise.png")
    expect(status(page)).to_contain_text("No face is found in noise.png")
    assert "Traceback" not in page.content()


@pytest.mark.parametrize("name", ["Edit", "Group"])
def test_a_picture_without_a_face_is_told_at_once(tab, files, name):
    page = tab(name)
    put(page, 0, files / "noise.png")
    expect(page.locator(".toast-body").last).to_contain_text("No face is found in noise.png")


def test_cancel_ends_nothing_of_another_tab(tab, files):
    pytest.importorskip("skimage", reason="the extra `demo` brings the example's portrait")
    page = tab("Animate")
    panel(page).get_by_role("button", name="wink", exact=True).click()
    told(page, "quick preview")
    open_tab(page, "Talk")
    page.locator("#talk-cancel").click()
    expect(status(page)).to_contain_text("Cancelled")
    open_tab(page, "Animate")
    expect(status(page)).to_contain_text("frames of 512×512", timeout=90_000)


def test_talk(tab, files):
    page = tab("Talk")
    put(page, 1, files / "tone.wav")
    put(page, 0, files / "portrait.png")
    quick(page)
    page.locator("#talk-run").click()
    expect(status(page)).to_contain_text("25 frames of 256×256")
    result_video(page)


def test_dub(tab, files):
    page = tab("Dub")
    put(page, 1, files / "tone.wav")
    put(page, 0, files / "clip.mp4")
    quick(page)
    panel(page).get_by_role("radio", name="trim").first.check()
    page.locator("#dub-run").click()
    expect(status(page)).to_contain_text("10 frames of 256×256")


def test_dub_shows_an_example_and_a_preview(tab):
    pytest.importorskip("skimage", reason="the extra `demo` brings the example's portrait")
    page = tab("Dub")
    page.locator("#dub-example").click()
    told(page, "shown so far: the quick preview")
    result_video(page)
    page.locator("#dub-cancel").click()
    expect(status(page)).to_contain_text("Cancelled")


def test_sliders_change_the_picture_at_once(tab, files):
    page = tab("Edit")
    put(page, 0, files / "portrait.png")
    picture = panel(page).locator("#edit-out img").first
    expect(picture).to_be_visible()
    expect(page.locator("#edit-png")).to_be_enabled()
    before = picture.get_attribute("src")
    slider = page.locator("#edit-mouth_open input[type=range]")
    slider.click(position={"x": slider.bounding_box()["width"] * 0.7, "y": 5})
    expect(picture).not_to_have_attribute("src", before)
    number = page.locator("#edit-yaw input[type=number]")
    number.fill("20")
    number.press("Tab")
    page.locator("#edit-run").click()
    expect(page.locator("#edit-command textarea")).to_have_value(re.compile("portrait-edited.safetensors"))
    with page.expect_download() as download:
        page.locator("#edit-key").click()
    assert download.value.suggested_filename.endswith(".safetensors")


def test_group_by_clicks(tab, duo):
    page = tab("Group")
    put(page, 0, duo / "duo.png")
    faces = page.locator("#group-faces img")
    expect(faces).to_be_visible()
    box = faces.bounding_box()
    faces.click(position={"x": box["width"] * 0.73, "y": box["height"] * 0.4})
    expect(panel(page).get_by_label("right", exact=True)).to_be_checked()
    panel(page).get_by_label("What moves this face").click()
    page.get_by_role("option", name="wink").click()
    expect(page.locator("#group-cast textarea")).to_have_value("right=wink")
    quick(page)
    page.locator("#group-run").click()
    expect(status(page)).to_contain_text("frames of 512×256")


def test_a_group_of_examples_starts_at_one_click(tab):
    pytest.importorskip("skimage", reason="the extra `demo` brings the example's portrait")
    page = tab("Group")
    panel(page).get_by_role("button", name="a smile and a wink").click()
    expect(page.locator("#group-faces img")).to_be_visible()
    told(page, "quick preview")
    result_video(page)


def test_live_draws_the_camera_and_tells_the_latency(tab, files):
    page = tab("Live")
    put(page, 0, files / "portrait.png")
    panel(page).get_by_label("Warp and prior alone, faster").check()
    page.locator("#live-run").click()
    said = page.locator("#mien-live-status")
    expect(said).to_contain_text(re.compile(r"[\d.]+ frames/s, \d+ ms from camera to screen, \d+ old frames dropped"))
    page.locator("#live-cancel").click()
    expect(said).to_contain_text("The camera is off.")


def test_about(tab):
    page = tab("About")
    expect(panel(page)).to_contain_text("Animate people only with their consent")
    expect(panel(page)).to_contain_text("mediapipe")


def test_every_tab_fits_a_phone(opened, web_page):
    page = opened(viewport=PHONE, is_mobile=True, has_touch=True)
    page.goto(web_page.url)
    page.get_by_role("tab", name="Animate").wait_for()
    for name in TABS:
        open_tab(page, name)
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name


def test_a_phone_shows_the_result_and_keeps_the_buttons_in_sight(opened, web_page, files):
    page = opened(viewport=PHONE, is_mobile=True, has_touch=True)
    page.goto(web_page.url)
    page.get_by_role("tab", name="Animate").wait_for()
    expect(page.locator("#animate-run")).to_be_in_viewport()
    put(page, 0, files / "noise.png")
    page.locator("#animate-run").click()
    expect(status(page)).to_contain_text("No face is found in noise.png")
    expect(status(page)).to_be_in_viewport()
    expect(page.locator("#animate-cancel")).to_be_in_viewport()


def film_a_face(portrait, path):
    """A film for the browser's pretended camera."""
    import cv2

    from animate.media import read_image

    image = cv2.resize(read_image(portrait), (480, 480))
    with path.open("wb") as file:
        for shift in (0, 2, 4, 2):
            moved = cv2.warpAffine(image, _shift(shift), (480, 480))
            file.write(cv2.imencode(".jpg", moved[..., ::-1])[1].tobytes())


def _shift(pixels):
    import numpy as np

    return np.float32([[1, 0, pixels], [0, 1, 0]])
