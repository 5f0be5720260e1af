"""The report: whole, safe, asking for nothing, and working in a browser."""

import json
import os
import re
import shutil
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from video_ae.charts import Chart, Line
from video_ae.commands import evaluate, train
from video_ae.commands.tasks.task import TASKS
from video_ae.report.charts import Bar, Lane, line_chart, time_line
from video_ae.report.markup import element, join
from video_ae.report.run import try_to_write, write_run
from video_ae.report.tables import best_cells
from video_ae.run_folder import RunFolder
from video_ae.visualize import Clip, save_sheet

HOSTILE = '<img src=x onerror="document.title=1">&\'</script><script>document.title=1</script>'
SMALL = ["--image-size", "28", "--num-digits", "1", "--input-frames", "3", "--future-frames", "2", "--hidden-size", "6"]
TRAINING = ["-b", "4", "--steps", "2", "--device", "cpu", "--validation-clips", "8"]
FEW = ["--labels-per-class", "1", "2", "--num-seeds", "2", "--steps", "2", "--device", "cpu", "--clips", "20"]


class Page(HTMLParser):
    """The text, the tags and the attributes of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two runs and, of the first one, an evaluation."""
    folder = tmp_path_factory.mktemp("runs")
    assert train.command(["--composite", *SMALL, *TRAINING, "--output-dir", str(folder / "both")]) == 0
    assert train.command(["--predict", *SMALL, *TRAINING, "--output-dir", str(folder / "future")]) == 0
    assert evaluate.command([str(folder / "both"), "--clips", "12", "--device", "cpu"]) == 0
    return folder


@pytest.fixture
def run(runs, tmp_path) -> Path:
    """A copy to change."""
    return shutil.copytree(runs / "both", tmp_path / "run")


@pytest.fixture(scope="module")
def comparison(runs) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("video_ae.commands.tasks.labelled.LABELLED_CLIPS", 100)
        compared = [str(runs / "both"), str(runs / "future")]
        assert evaluate.command(["--compare", *compared, *FEW, "--output-dir", str(runs / "compared")]) == 0
    return runs / "compared" / "report.html"


@pytest.fixture(scope="module")
def everything(runs) -> Path:
    """The report of a run that every task with a section has judged."""
    run = shutil.copytree(runs / "both", runs / "everything")
    tasks = ("predict", "rollout", "map", "anomaly", "features", "ood", "architecture")
    few = ["--clips", "6", "--device", "cpu"]
    assert evaluate.command([str(run), "--tasks", *tasks, "--quantile", "0.5", "--rollout-steps", "4", *few]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("video_ae.commands.tasks.labelled.LABELLED_CLIPS", 100)
        assert evaluate.command([str(run), "--tasks", "classify", "probe", *FEW]) == 0
    return run / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A Chromium on a screen as wide as a phone's, which writes down what it is asked for."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install -e '.[dev]'")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium and chromedriver are not installed, see CONTRIBUTING.md")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    quiet = ("quic", "gpu", "background-networking", "component-update", "sync", "dev-shm-usage")
    folder = tmp_path_factory.mktemp("chromium")
    for flag in ("headless", "no-sandbox", "no-first-run", f"user-data-dir={folder}", *(f"disable-{x}" for x in quiet)):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    screen = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    yield browser
    browser.quit()


def look(browser, path: Path) -> None:
    """Open a report, wait until its players have begun, and refuse what every report must not do."""
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(path.as_uri())
    begun = """const done = arguments[0], look = () =>
        document.querySelector('.controls[hidden]') ? setTimeout(look, 20) : done(); look();"""
    browser.execute_async_script(begun)
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {path.as_uri()}
    width, screen = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width <= screen, "the page scrolls sideways"


def test_a_run_that_was_evaluated_has_everything_in_one_file(runs):
    """A part that fails leaves a note, which nobody would read; a path instead of a picture breaks in a mail."""
    path = runs / "both" / "report.html"
    page, text = Page(path), path.read_text()
    assert "could not be shown" not in text
    command = json.loads((runs / "both" / "env.json").read_text())[0]["command"]
    for words in (f"python {command}", "What it predicts", "mean frame", "How to repeat it", "hidden size"):
        assert words in page.text, words
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.all("img"))
    assert not {"iframe", "object", "form", "base"} & {name for name, _ in page.tags}
    assert page.all("link") == [{"rel": "icon", "href": "data:,"}]
    assert [script for script in page.all("script") if script] == []
    assert len([svg for svg in page.all("svg") if svg.get("role") == "img"]) == 2  # errors by step, training


def test_a_run_that_was_only_trained_has_a_report(runs):
    """Most parts are missing then, and a model with one decoder has no line for the other."""
    text = write_run(RunFolder(runs / "future"), TASKS).read_text()
    assert "Not evaluated yet" in text
    assert "future, validation" in text
    assert "reconstruction, validation" not in text
    assert "could not be shown" not in text


def test_results_elsewhere_have_a_report_beside_them(runs, tmp_path, capsys):
    """The run folder may be somebody else's, and read-only."""
    before = (runs / "both" / "report.html").read_bytes()
    words = [str(runs / "both"), "--clips", "9", "--device", "cpu", "--output-dir", str(tmp_path / "here")]
    assert evaluate.command(words) == 0
    assert f"report   {tmp_path / 'here' / 'report.html'}" in capsys.readouterr().out
    assert "9 clips of moving-mnist" in Page(tmp_path / "here" / "report.html").text
    assert (runs / "both" / "report.html").read_bytes() == before


def test_names_do_not_become_markup(run):
    """A class or a file of somebody else's data may be named like a tag; so may a run and a task."""
    hostile = run.rename(run.with_name("<b>run"))
    curve = [{"labels_per_class": 1, HOSTILE: {"mean": 0.5, "std": None}, "encoder_init": {"mean": 0.6, "std": 0.1}}]
    results = {"curve": curve, "verdicts": [HOSTILE], "class_names": [HOSTILE], "task": HOSTILE, "test_videos": 1}
    folder = hostile / "evaluation"
    folder.mkdir(exist_ok=True)
    (folder / "classify.json").write_text(json.dumps(results | {"dataset": HOSTILE}))
    (folder / "<u>.json").write_text(json.dumps({HOSTILE: HOSTILE, "rows": {HOSTILE: {HOSTILE: HOSTILE}}}))
    (folder / "broken.json").write_text(HOSTILE)
    path = write_run(RunFolder(hostile), TASKS)
    page = Page(path)
    assert not {"b", "u"} & {name for name, _ in page.tags}
    assert len(page.all("script")) == 1
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.text.count(HOSTILE) > 10  # and nothing was lost


def test_a_damaged_file_costs_its_own_part_only(run, capsys):
    """A report that stopped at what an older version wrote would fail an evaluation of an hour at its end."""
    (run / "evaluation" / "clips-12" / "predict.json").write_text("{}")
    (run / "evaluation" / "clips-12" / "odd.png").write_text("no picture")
    text = write_run(RunFolder(run), TASKS).read_text()
    assert text.count("could not be shown") >= 2
    assert "How to repeat it" in text
    (run / "config.json").unlink()
    try_to_write(lambda: write_run(RunFolder(run), TASKS))
    assert "no report: FileNotFoundError" in capsys.readouterr().err


def test_unknown_tasks_show_their_numbers_and_pictures(run):
    """New tasks need no word in the report."""
    folder = run / "evaluation"
    results = {
        "score": 0.12345,
        "seed": None,
        "parts": {"left": {"a": 1, "b": 2000}, "right": {"a": 3}},
        "long": [1, 2],
    }
    (folder / "newtask.json").write_text(json.dumps(results))
    Image.new("RGB", (30, 20), "white").save(folder / "newtask-what-it-saw.png")
    page = Page(write_run(RunFolder(run), TASKS))
    for words in ("newtask", "0.1235", "left", "2,000", "right", "what it saw"):
        assert words in page.text, words
    assert any(image["alt"] == "what it saw" for image in page.all("img"))


def test_large_pictures_are_compressed(run):
    """The weights of a large model as pictures are megabytes of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 2000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(run / "evaluation" / "newtask-noise.png")
    before = (run / "report.html").stat().st_size
    path = write_run(RunFolder(run), TASKS)
    assert (run / "evaluation" / "newtask-noise.png").stat().st_size > 5e6
    assert path.stat().st_size - before < 2e6


def test_a_sheet_holds_every_frame_where_the_player_looks(tmp_path):
    """Cells that were counted otherwise here than in page.js would play another clip; sheets may not be too wide."""
    frames, width = 9, 500  # 8 columns: the ninth frame begins a row
    values = np.linspace(0.1, 0.9, 2 * frames, dtype=np.float32).reshape(2, frames, 1, 1, 1)
    clips = [Clip(*np.split(np.broadcast_to(v, (frames, 1, 2, width)), [4]), None, 1 - v[4:]) for v in values]
    clips = [c._replace(prediction=np.broadcast_to(c.prediction, c.future.shape)) for c in clips]
    save_sheet(tmp_path / "sheet.png", clips)
    with Image.open(tmp_path / "sheet.png") as sheet:
        about, pixels = json.loads(sheet.info["sheet"]), np.asarray(sheet) / 255
    assert about == {"clips": 2, "frames": 9, "inputs": 4, "width": 500, "height": 2, "rebuilt": 0, "predicted": 1}
    columns = pixels.shape[1] // width
    assert columns == 8
    for clip in range(2):
        for frame in range(frames):
            row, column = divmod(clip * frames + frame, columns)
            truth, made = pixels[4 * row, column * width], pixels[4 * row + 2, column * width]
            assert truth == pytest.approx(values[clip, frame].item(), abs=0.003)
            expected = 63 / 255 if frame < 4 else 1 - values[clip, frame].item()
            assert made == pytest.approx(expected, abs=0.01)


def test_charts_survive_gaps_single_points_and_constant_lines():
    """A floor of no error, one validation, and a line on which nothing happens: no axis of zero length, no NaN."""
    lines = [
        Line("gaps", [1, 2, 3], [1.0, float("nan"), None], "mean"),
        Line("one", [2], [5.0], "future", dots=True),
        Line("nothing", [], [], "floor"),
    ]
    drawing = line_chart(Chart(lines, "x", "y"))
    assert "nan" not in drawing.lower()
    assert "nothing" not in drawing
    assert line_chart(Chart([Line("flat", [0, 1], [0.0, 0.0], "mean")], "x", "y")).count("<path") > 3
    assert "<circle" in line_chart(Chart([Line("one", [5], [0.5], "mean", [0.1], dots=True)], "x", "y", log_x=True))
    assert line_chart(Chart([], "x", "y")) == ""


def test_a_chart_puts_values_where_its_ticks_are():
    """A point on the value of a tick is at the height of that tick, and says what it is; gaps have no point."""
    line = Line("line", [0, 5, 10], [0.0, None, 100.0], "mean", dots=True)
    drawing = line_chart(Chart([line], "x", "y", from_zero=True))
    grid = (
        r'<path d="M [\d.]+ ([\d.]+) L [\d. ]+"></path></g><g><g></g></g><g><text text-anchor="end"[^>]*>(\w+)</text>'
    )
    ticks = {text: float(y) for y, text in re.findall(grid, drawing)}
    dots = re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)" r="3"><title>([^<]+)</title>', drawing)
    assert [about for _, about in dots] == ["0 at 0", "100 at 10"]
    assert [float(y) for y, _ in dots] == pytest.approx([ticks["0"], ticks["100"]], abs=0.1)


def test_bars_are_where_and_as_long_as_they_last():
    """On one axis for all lanes, of steps that begin anywhere; the labels that there is room for do not overlap."""
    bars = [Bar(100, 109, "9", "nine", 9), Bar(111, 111, "8", "eight", 8), Bar(160, 199, "7", HOSTILE, 7)]
    drawing = time_line([Lane("one", 100, 199, "from here to there", bars), Lane("two", 100, 149, "", [])])
    places = re.findall(r'<rect x="([\d.]+)%" width="([\d.]+)%"', drawing)
    found = [tuple(map(float, place)) for place in places]
    assert found == [(0, 100), (0, 10), (11, 1), (60, 40), (0, 50)]
    assert re.findall(r'<text x="([\d.]+)%" y="1em" text-anchor="(\w+)">(\d)', drawing) == [
        ("5.00", "start", "9"),
        ("80.00", "middle", "7"),
    ]
    assert HOSTILE not in drawing
    assert drawing.count("onerror=&#34;") == 2  # for those who see it and for those who do not


def test_text_is_escaped_unless_it_is_markup():
    assert element("p", "a<b", Markup("<i>"), title='"') == '<p title="&#34;">a&lt;b<i></p>'
    assert join([element("br_", class_=None), "&"]) == "<br_></br_>&amp;"
    assert join(["a"]) + "<" == "a&lt;"  # what is added to markup is escaped as well


def test_a_browser_shows_and_plays_it(browser, runs):
    """The controls, as a keyboard reaches them: pause, steps in both directions, frames by slider, one clip alone."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select, WebDriverWait

    look(browser, runs / "both" / "report.html")
    play, back, on = browser.find_elements(By.CSS_SELECTOR, ".controls button")
    slider, output = (browser.find_element(By.CSS_SELECTOR, f".controls {tag}") for tag in ("input", "output"))
    views = browser.find_elements(By.CSS_SELECTOR, ".view")
    first = output.text
    WebDriverWait(browser, 5, 0.05).until(lambda _: output.text != first)  # it plays
    play.send_keys(Keys.SPACE)
    assert play.text == "Play"
    slider.send_keys(Keys.HOME)
    assert output.text == "frame 1 of 5: input above, its reconstruction below"
    back.send_keys(Keys.ENTER)
    assert output.text == "frame 5 of 5, step 2 after the input: true future above, the prediction below"
    on.send_keys(Keys.ENTER)
    on.send_keys(Keys.ENTER)
    assert output.text.startswith("frame 2 of 5")
    assert sum(view.is_displayed() for view in views) == 8
    Select(browser.find_element(By.CSS_SELECTOR, ".controls select")).select_by_visible_text("clip 3")
    assert [view.is_displayed() for view in views].index(True) == 2
    assert sum(view.is_displayed() for view in views) == 1
    drawn = """const [view, sheet] = [arguments[0], document.querySelector('.sheet')], side = 28;
        const pixels = (canvas) => [...canvas.getContext('2d').getImageData(0, 0, side, side).data];
        const [truth, model, difference] = [...view.querySelectorAll('canvas')].map(pixels);
        const expected = document.createElement('canvas');
        expected.width = expected.height = side;
        expected.getContext('2d').drawImage(sheet, -1 * side, -2 * 2 * side);
        return [truth.some((x, i) => i % 4 < 3 && x > 128), pixels(expected).every((x, i) => x === truth[i]),
                truth.every((x, i) => i % 4 === 3 || Math.abs(x - model[i]) === difference[i])];"""
    assert browser.execute_script(drawn, views[2]) == [True, True, True]


def test_every_picture_says_what_it_shows(everything):
    """A name of a file is no description; a task whose picture has none would be found here."""
    page = Page(everything)
    assert "could not be shown" not in page.text
    shown = {word for word in (task.title for task in TASKS.values()) if word and word in page.text}
    assert len(shown) == 9
    images = page.all("img")
    assert len(images) > 8
    stems = {path.stem for path in (everything.parent / "evaluation").rglob("*.*")}
    undescribed = {stem.replace("-", " ").partition(" ")[2] for stem in stems} | {"", None}
    assert [image["alt"] for image in images if image["alt"] in undescribed] == []
    drawings = [svg for svg in page.all("svg") if svg.get("aria-hidden") != "true"]
    assert drawings
    assert all(part.get("aria-label") for part in [*drawings, *page.all("canvas")])
    assert all(part.get("aria-label") for name in ("input", "select") for part in page.all(name))


def _colours(mode: int) -> dict[str, str]:
    """Those of the style sheet, light (0) or dark (1)."""
    style = files("video_ae.report").joinpath("page.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in blocks)
    assert light.keys() == dark.keys()
    return (light, dark)[mode]


def _contrast(one: str, other: str, opacity: float = 1) -> float:
    """Of two colours, by WCAG 2.2, where `one` is drawn on the `other`."""
    below = np.array([int(other[i : i + 2], 16) for i in (1, 3, 5)])
    above = np.array([int(one[i : i + 2], 16) for i in (1, 3, 5)]) * opacity + below * (1 - opacity)
    linear = [np.where(c / 255 <= 0.04045, c / 255 / 12.92, ((c / 255 + 0.055) / 1.055) ** 2.4) for c in (above, below)]
    low, high = sorted(float(colour @ [0.2126, 0.7152, 0.0722]) for colour in linear)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_as_by_hand():
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the known grey that just fails


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_have_the_contrast_of_wcag_aa(mode):
    """4.5 for text on either ground, 3 for lines, also faint ones: a new colour that is hard to see fails here."""
    colours = _colours(mode)
    grounds = [colours.pop(name) for name in ("paper", "panel")]
    del colours["line"]  # of ornaments
    style = files("video_ae.report").joinpath("page.css").read_text()
    (faint,) = {float(opacity) for opacity in re.findall(r"\bopacity: ([\d.]+)", style)}
    for name, colour in colours.items():
        text = name in ("ink", "muted", "accent", "future")  # the last two are of words in tables and players
        assert min(_contrast(colour, ground) for ground in grounds) >= (4.5 if text else 3), name
        assert name == "plain" or _contrast(colour, grounds[0], faint) >= 3, name  # of baselines, never faint


def test_a_keyboard_reaches_all_and_sees_where_it_is(browser, everything):
    """Every control of a page with everything, in order, with a frame around it; nothing is wider than a phone."""
    from selenium.webdriver.common.keys import Keys

    look(browser, everything)
    controls = "button, input, select, summary, [tabindex]"
    seen = f"[...document.querySelectorAll('{controls}')].filter((x) => x.checkVisibility())"
    wanted = browser.execute_script(f"return {seen}.map((x) => x.outerHTML)")
    body, found = browser.switch_to.active_element, []
    for _ in wanted:
        body.send_keys(Keys.TAB)
        body = browser.switch_to.active_element
        style = "const s = getComputedStyle(arguments[0]); return [s.outlineStyle, s.outlineWidth]"
        assert browser.execute_script(style, body) == ["solid", "2px"], body.get_attribute("outerHTML")[:300]
        found.append(body.get_attribute("outerHTML"))
    assert len(found) > 10
    assert found == wanted


def test_a_screen_reader_is_not_told_every_frame(browser, runs):
    look(browser, runs / "both" / "report.html")
    live = "return document.querySelector('.controls output').ariaLive"
    assert browser.execute_script(live) == "off"
    browser.find_element("css selector", ".controls .play").click()
    assert browser.execute_script(live) == "polite"


def test_runs_are_compared(comparison):
    """In what the runs differ comes first; the tables, the control from scratch."""
    page = Page(comparison)
    text = page.text
    assert "could not be shown" not in text
    assert text.index("How they differ") < text.index("Which is better") < text.index("The same clips")
    results = json.loads((comparison.parent / "compare.json").read_text())["runs"]
    lowest = min(results.values(), key=lambda row: row["future"]["nats"])["future"]["nats"]
    assert f"<strong>{lowest:.1f}</strong>" in comparison.read_text()
    for words in ("Which is better", "parameters", "0 both", "1 future", "model: decoders", "from scratch, as 0 both"):
        assert words in text, words


def test_the_best_of_each_column_is_marked():
    """Low errors, high accuracies; equals share it, and what stands alone is not the best of anything."""
    cells = [
        ("", "model", "reconstruction, nats", "future, nats", "accuracy at 1"),
        ("0 a", "both", "3.0", "20.0", "0.500 ± 0.100"),
        ("1 b", "future", "-", "9.5", "0.250"),
        ("from scratch, as 0 a", "none", "-", "-", "0.500"),
    ]
    assert best_cells(cells) == {(1, 2), (0, 3), (2, 3)}


def test_runs_on_data_without_classes_are_compared(tmp_path, capsys):
    """Series are predicted and nothing more, which is said; a flag that says how to classify them is an error."""
    rows = "\n".join(f"{np.sin(step / 4):.4f},{np.cos(step / 7):.4f}" for step in range(300))
    (tmp_path / "series.csv").write_text(f"x,y\n{rows}\n")
    data = ["--dataset", "sequences", "--data-dir", str(tmp_path / "series.csv"), "--input-frames", "5"]
    paths = [str(tmp_path / name) for name in ("small", "large")]
    for path, size in zip(paths, ("4", "8"), strict=True):
        words = [*data, "--future-frames", "2", "--hidden-size", size, "--steps", "2", "-b", "2", "--device", "cpu"]
        assert train.command(["--composite", *words, "--output-dir", path]) == 0
    words = ["--compare", *paths, "--device", "cpu", "--output-dir", str(tmp_path / "compared")]
    assert evaluate.command(words) == 0
    assert "has no classes" in capsys.readouterr().err
    page = Page(tmp_path / "compared" / "report.html")
    assert "could not be shown" not in page.text
    assert "accuracy" not in page.text.replace("the highest accuracy", "")
    assert [image["alt"].partition(":")[0] for image in page.all("img")] == ["0 small", "1 large"]
    assert evaluate.command([*words, "--labels-per-class", "1"]) == 1
    assert "has no classes" in capsys.readouterr().err


def test_a_browser_shows_runs_side_by_side(browser, comparison):
    """Clips of all runs play together, not those of the first run alone."""
    look(browser, comparison)
    shown = "return [...document.querySelectorAll('.view')].filter((view) => !view.hidden).map((v) => v.dataset.sheet)"
    assert browser.execute_script(shown) == ["0", "1"]


def test_a_browser_runs_nothing_that_data_brought(browser, run):
    """Even markup that got through the escaping would be refused by the policy of the page."""
    path = write_run(RunFolder(run), TASKS)
    path.write_text(path.read_text().replace("<main>", f"<main>{HOSTILE}"))
    browser.get(path.as_uri())
    assert browser.title == "run"


def test_a_sheet_without_script_is_a_picture(runs):
    """The players' controls are hidden until the script has begun; the sheet is not."""
    page = Page(runs / "both" / "report.html")
    (sheet,) = [image for image in page.all("img") if image.get("class") == "sheet"]
    assert "hidden" not in sheet
    (controls,) = [part for part in page.all("div") if part.get("class") == "controls"]
    assert "hidden" in controls


def test_the_report_follows_every_evaluation(run):
    """One written before the last task would lack it."""
    report = run / "report.html"
    os.utime(report, (0, 0))
    assert evaluate.command([str(run), "--tasks", "architecture"]) == 0
    text = Page(report).text
    assert text.index("What it predicts") < text.index("The model")  # although the former has a folder of its own
