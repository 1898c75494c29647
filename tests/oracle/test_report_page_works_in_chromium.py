"""The HTML review in a real Chromium, from a file, offline: lists, chains, map, changes, keyboard, small screens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slimmer.closure.model import ClosureWarning, Reason
from slimmer.packages.model import Package, PackageType
from slimmer.report.build import ReportBuilder
from slimmer.report.findings import Finding, Severity
from slimmer.report.html import write_html
from slimmer.report.model import KeptPath, Mark, RemovedPath, Report, Risk, Subject
from slimmer.report.output import Output
from slimmer.report.vulnerabilities import assess
from slimmer.report.words import size
from slimmer.report.write import write_manifest, write_removed, write_report
from slimmer.root.model import Entry, FileType
from tests.report_outputs import make_output
from tests.support import plant, requires

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

pytestmark = requires("chromium", "chromedriver")

Drive = Callable[..., Any]
QUIET = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
]

STATUS = """\
Package: libssl
Status: install ok installed
Version: 3.0
Architecture: amd64

Package: dash
Status: install ok installed
Version: 0.5
Architecture: amd64
"""
TREE: dict[str, str | bytes | None] = {
    "usr/bin/app": "#755 " + "a" * 300,
    "usr/bin/dash": "#755 " + "d" * 5000,
    "usr/bin/su": "#755 s",
    "usr/lib/libssl.so.3": "l" * 90_000,
    "usr/lib/libcrypto.so.3": "c" * 400_000,
    "usr/lib/libunused.so.1": "u" * 700_000,
    "usr/share/doc/<img src=x onerror=alert(1)>": "evil",
    "etc/naïve.conf": "x",
    "var/lib/dpkg/status": STATUS,
    "var/lib/dpkg/info/libssl.list": "/usr/lib/libssl.so.3\n/usr/lib/libcrypto.so.3\n",
    "var/lib/dpkg/info/dash.list": "/usr/bin/dash\n",
}
KEPT = {
    "/usr/bin/app": (Reason("recorded", "started by the exercise"),),
    "/usr/lib/libssl.so.3": (Reason("elf", "NEEDED by /usr/bin/app", "/usr/bin/app"),),
    "/usr/lib/libcrypto.so.3": (Reason("elf", "NEEDED by /usr/lib/libssl.so.3", "/usr/lib/libssl.so.3"),),
    "/usr/bin/su": (Reason("include", "named by --include"),),
    "/etc/naïve.conf": (Reason("recorded", "<b>opened</b> by /usr/bin/app"),),
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A page, and one with the changes since another output."""
    top = tmp_path_factory.mktemp("page")
    fat = plant(top / "fat", TREE)
    (fat / "usr/bin/su").chmod(0o4755)
    warnings = [ClosureWarning("dlopen-string", "/usr/lib/libssl.so.3", "names libx.so, which is not kept", 60)]
    old = make_output(top / "old", fat, {path: KEPT[path] for path in list(KEPT)[:3]})
    new = make_output(top / "new", fat, KEPT, warnings=warnings)
    for name, against in (("plain.html", None), ("diff.html", Output(old))):
        with open(top / name, "w", encoding="utf-8") as stream:
            write_html(stream, Output(new), against)
    return top / "plain.html", top / "diff.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield found
    found.quit()


@pytest.fixture
def page(browser: Any) -> Iterator[Drive]:
    """Opens a file in a window of a size; afterwards the console must be empty."""

    def visit(path: Path, place: str = "", width: int = 1280, height: int = 900) -> Any:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get("about:blank")
        browser.get(path.as_uri() + place)
        WebDriverWait(browser, 60).until(
            lambda found: found.execute_script("return document.body.dataset.ready") == "yes"
        )
        return browser

    yield visit
    assert browser.get_log("browser") == []


def rows(driver: Any, tab: str) -> list[str]:
    """What the lead cell of each drawn row says."""
    script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)"
    found: list[str] = []
    until = time.monotonic() + 3.0
    while not found and time.monotonic() < until:  # what a click asks for is drawn an event later
        found = driver.execute_script(script, f"#tab-{tab} .row .lead")
    return found


def count(driver: Any, tab: str) -> str:
    return str(driver.find_element(By.CSS_SELECTOR, f"#tab-{tab} .count").text)


def search(driver: Any, tab: str, text: str) -> None:
    box = driver.find_element(By.ID, f"{tab}-search")
    box.clear()
    box.send_keys(text)
    grid = driver.find_element(By.CSS_SELECTOR, f"#tab-{tab} .grid")
    WebDriverWait(driver, 60).until(lambda found: grid.get_attribute("aria-busy") is None)


def panel(driver: Any) -> str:
    return str(driver.find_element(By.CSS_SELECTOR, "aside.panel").text)


def test_the_figures_stand_in_the_markup(outputs: tuple[Path, Path]) -> None:
    text = outputs[0].read_text(encoding="utf-8")
    report = Output(outputs[0].parent / "new").report()
    assert f"{size(report.fat.bytes)} → {size(report.slim.bytes)}</span>" in text
    assert f"5 of {report.fat.files} files stay" in text
    assert 'http-equiv="Content-Security-Policy" content="default-src &#x27;none&#x27;;' in text
    assert "unsafe" not in text.split("</head>")[0]


def test_search_finds_words_in_any_order(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[0], "#kept")
    search(driver, "kept", "so lib")
    assert rows(driver, "kept") == ["/usr/lib/libcrypto.so.3", "/usr/lib/libssl.so.3"]
    assert count(driver, "kept").startswith("2 of ")
    search(driver, "kept", "nothing like this")
    assert "Nothing fits" in driver.find_element(By.CSS_SELECTOR, "#tab-kept .grid").text


def test_a_click_on_a_header_sorts_and_another_turns_it_round(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[0], "#kept")
    head = driver.find_element(By.CSS_SELECTOR, "#tab-kept [role=columnheader]:nth-child(2)")
    head.find_element(By.TAG_NAME, "button").click()
    assert rows(driver, "kept")[:2] == ["/usr/lib/libcrypto.so.3", "/usr/lib/libssl.so.3"]
    assert head.get_attribute("aria-sort") == "descending"
    head.find_element(By.TAG_NAME, "button").click()
    assert rows(driver, "kept")[-1] == "/usr/lib/libcrypto.so.3"
    assert head.get_attribute("aria-sort") == "ascending"


def test_filters_choose_by_package_risk_type_and_rule(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[0], "#kept")

    def choose(name: str, words: str) -> list[str]:
        driver.find_element(By.CSS_SELECTOR, "#tab-kept .plain").click()
        for option in driver.find_elements(By.CSS_SELECTOR, f"#kept-{name} option"):
            if option.text == words:
                option.click()
        return rows(driver, "kept")

    assert choose("package", "libssl (deb)") == ["/usr/lib/libcrypto.so.3", "/usr/lib/libssl.so.3"]
    assert choose("risk", "setuid") == ["/usr/bin/su"]
    assert choose("rule", "include") == ["/usr/bin/su"]
    assert "/usr" in choose("type", "directory")
    assert "/usr/bin/su" not in rows(driver, "kept")


def test_a_click_on_a_kept_path_shows_its_chain_to_the_recording(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[0], "#kept")
    search(driver, "kept", "libcrypto")
    driver.find_element(By.CSS_SELECTOR, "#tab-kept .row").click()
    steps = [each.text for each in driver.find_elements(By.CSS_SELECTOR, "aside.panel ol.chain li")]
    assert [step.splitlines()[0] for step in steps] == [
        "/usr/lib/libcrypto.so.3",
        "/usr/lib/libssl.so.3",
        "/usr/bin/app",
    ]
    assert "started by the exercise" in steps[2]
    assert "libssl 3.0 (deb)" in panel(driver)
    driver.find_elements(By.CSS_SELECTOR, "aside.panel ol.chain .link")[1].click()
    assert driver.find_element(By.ID, "panel-title").text == "/usr/bin/app"


def test_a_removed_path_says_how_to_keep_it(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[0], "#path=/usr/lib/libunused.so.1")
    assert "--include '/usr/lib/libunused.so.1'" in panel(driver)
    assert "Nothing needed it" in panel(driver)


def test_the_row_of_a_whole_tree_says_what_it_held(page: Drive, tmp_path: Path) -> None:
    fat = plant(tmp_path / "fat", {**TREE, "opt/data/": None})
    out = make_output(tmp_path / "out", fat, KEPT)
    removed = out / "removed.json"
    row = '{"path": "/opt/data", "type": "directory"'
    assert removed.read_text("ascii").count(row) == 1
    removed.write_text(
        removed.read_text("ascii").replace(row, f'{row}, "tree": {{"paths": 1200, "files": 1200, "bytes": 12000}}'),
        "ascii",
    )
    with open(tmp_path / "page.html", "w", encoding="utf-8") as stream:
        write_html(stream, Output(out))
    driver = page(tmp_path / "page.html", "#removed")
    search(driver, "removed", "opt data")
    assert rows(driver, "removed") == ["/opt/data/ with 1,200 paths (12.0 kB)"]
    assert count(driver, "removed").endswith("12.0 kB")


def test_names_and_reasons_are_text_and_never_markup(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[0], "#removed")
    search(driver, "removed", "onerror")
    assert rows(driver, "removed") == ["/usr/share/doc/<img src=x onerror=alert(1)>"]
    assert driver.find_elements(By.CSS_SELECTOR, "img") == []
    driver = page(outputs[0], "#path=/etc/na%C3%AFve.conf")
    assert "<b>opened</b> by /usr/bin/app" in panel(driver)


def test_packages_lead_to_their_paths(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[0], "#packages")
    assert rows(driver, "packages") == ["dash", "libssl"]
    driver.find_elements(By.CSS_SELECTOR, "#tab-packages .row")[1].click()
    assert "kept whole" in panel(driver)
    driver.find_element(By.XPATH, "//aside//button[text()='show']").click()
    assert rows(driver, "kept") == ["/usr/lib/libcrypto.so.3", "/usr/lib/libssl.so.3"]


def test_a_risk_in_the_figures_leads_to_its_paths(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[0])
    driver.find_element(By.CSS_SELECTOR, "[data-risk=shell]").click()
    assert rows(driver, "risks") == ["/usr/bin/dash"]
    driver.find_element(By.ID, "go-warnings").click()
    assert rows(driver, "warnings") == ["/usr/lib/libssl.so.3"]


def test_the_map_shows_weights_and_opens_folders(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[0])
    WebDriverWait(driver, 60).until(lambda found: found.find_elements(By.CSS_SELECTOR, "#map .cell"))
    labels = [each.get_attribute("aria-label") for each in driver.find_elements(By.CSS_SELECTOR, "#map .cell")]
    assert labels[0] == "usr/lib/libunused.so.1: 700 kB, nothing stays"
    assert "usr/lib/libcrypto.so.3: 400 kB, 400 kB stays" in labels
    areas = [
        float(each.get_attribute("width")) * float(each.get_attribute("height"))
        for each in driver.find_elements(By.CSS_SELECTOR, "#map .cell .edge")
    ]
    assert areas[0] / areas[1] == pytest.approx(700 / 400, rel=0.01)
    driver.find_element(By.XPATH, "//button[text()='by packages']").click()
    labels = [each.get_attribute("aria-label") for each in driver.find_elements(By.CSS_SELECTOR, "#map .cell")]
    assert labels == ["libssl: 490 kB, 490 kB stays", "dash: 5.00 kB, nothing stays"]


def test_everything_can_be_done_from_the_keyboard(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[0])
    driver.find_element(By.ID, "go-overview").send_keys(Keys.ARROW_RIGHT)
    assert driver.switch_to.active_element.get_attribute("id") == "go-kept"
    grid = driver.find_element(By.CSS_SELECTOR, "#tab-kept .grid")
    grid.send_keys(Keys.END)
    here = grid.get_attribute("aria-activedescendant")
    assert "libssl.so.3" in driver.find_element(By.ID, here).text.splitlines()
    grid.send_keys(Keys.ARROW_UP, Keys.ENTER)
    assert driver.switch_to.active_element.get_attribute("id") == "panel-title"
    assert driver.switch_to.active_element.text == "/usr/lib/libcrypto.so.3"
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not driver.find_element(By.CSS_SELECTOR, "aside.panel").is_displayed()
    assert "grid" in driver.switch_to.active_element.get_attribute("class")


def test_the_roles_say_what_a_screen_reader_needs(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[0], "#kept")
    tree = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node.get("ignored")}
    for role, name in [
        ("tab", "Kept 12"),
        ("tabpanel", "Kept 12"),
        ("searchbox", "Search kept paths"),
        ("grid", "kept paths"),
        ("columnheader", "Path"),
        ("combobox", "Package"),
    ]:
        assert any(each == role and text.replace("\n", " ").startswith(name[:4]) for each, text in named), (role, name)
    grid = driver.find_element(By.CSS_SELECTOR, "#tab-kept .grid")
    assert grid.get_attribute("aria-rowcount") == str(1 + int(count(driver, "kept").split()[0]))


def test_the_changes_since_another_output_are_listed(page: Drive, outputs: tuple[Path, Path]) -> None:
    driver = page(outputs[1], "#changes")
    listed = rows(driver, "changes")
    assert "/usr/bin/su" in listed
    assert "/etc/naïve.conf" in listed
    assert any(each.startswith("setuid") for each in listed)
    assert driver.find_elements(By.ID, "go-changes")
    assert not page(outputs[0]).find_elements(By.ID, "go-changes")


def test_a_scans_findings_have_a_part_of_their_own(page: Drive, outputs: tuple[Path, Path], tmp_path: Path) -> None:
    findings = [
        Finding("CVE-2024-1", "libssl", "", (PackageType.DEB,), severity=Severity.CRITICAL),
        Finding("CVE-2024-2", "<b>dash</b>", "1", (PackageType.DEB,), severity=Severity.LOW),
    ]
    output = Output(outputs[0].parent / "new")
    with open(tmp_path / "scanned.html", "w", encoding="utf-8") as stream:
        write_html(stream, output, scanned=assess(output, findings))
    driver = page(tmp_path / "scanned.html", "#vulnerabilities", width=360, height=740)
    first, second = driver.find_elements(By.CSS_SELECTOR, "#tab-vulnerabilities li")
    assert "stays critical CVE-2024-1 libssl" in first.text.replace("\n", " ")
    assert "NEEDED by" in first.text
    assert "<b>dash</b> 1" in second.text
    assert driver.execute_script("return document.documentElement.scrollWidth") == 360
    assert driver.find_element(By.ID, "go-vulnerabilities").get_attribute("aria-selected") == "true"


@pytest.mark.parametrize("place", ["#overview", "#kept", "#packages", "#risks", "#path=/usr/bin/app"])
def test_nothing_is_wider_than_a_small_screen(page: Drive, outputs: tuple[Path, Path], place: str) -> None:
    driver = page(outputs[0], place, width=360, height=740)
    assert driver.execute_script("return document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_light_and_dark(
    page: Drive, outputs: tuple[Path, Path], scheme: str
) -> None:
    driver = page(outputs[0])
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    script = """
      const lum = (rgb) => {
        const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const parse = (text) => text.match(/[\\d.]+/g).map(Number);
      const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
          const color = parse(getComputedStyle(at).backgroundColor);
          if (color.length < 4 || color[3] > 0) return color.slice(0, 3);
        }
        return [255, 255, 255];
      };
      const what = ".soft, .about, .link, .badge, td, th, h1, h2, .tabs button, .big, .share";
      return [...document.querySelectorAll(what)].filter((each) => each.offsetParent).map((each) => {
        const front = lum(parse(getComputedStyle(each).color).slice(0, 3)), back = lum(ground(each));
        return [each.className || each.tagName, (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05)];
      });"""
    ratios = driver.execute_script(script)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(ratios) > 20
    assert [each for each in ratios if each[1] < 4.5] == []  # WCAG 2.2, 1.4.3


def big_output(top: Path, paths: int) -> Output:
    packages = [Package(PackageType.DEB, f"lib{number}", "1") for number in range(300)]
    builder = ReportBuilder()

    def row(number: int) -> Entry:
        name = f"/usr/lib/part{number // 5000:03d}/module{number // 100 % 50:02d}/file{number % 100:02d}.so"
        return Entry(name, FileType.FILE, 0o644, 0, 0, number * 37 % 90_000, 0)

    def kept() -> Iterator[KeptPath]:
        for number in range(0, paths, 100):
            made = KeptPath(row(number), "0" * 64, {}, packages[number % 300], (Reason("recorded", "opened"),))
            builder.kept(made)
            yield made

    def removed() -> Iterator[RemovedPath]:
        marks = (Mark(Risk.WORLD_WRITABLE),)
        for number in range(paths):
            if number % 100:
                made = RemovedPath(row(number), packages[number % 300], marks if number % 1000 == 7 else ())
                builder.removed(made)
                yield made

    with open(top / "manifest.json", "w", encoding="utf-8") as stream:
        write_manifest(stream, kept())
    with open(top / "removed.json", "w", encoding="utf-8") as stream:
        write_removed(stream, removed())
    report: Report = builder.finish(Subject(source="big"))
    with open(top / "report.json", "w", encoding="utf-8") as stream:
        write_report(stream, report)
    return Output(top)


def test_two_hundred_thousand_rows_are_drawn_as_they_come_into_view(page: Drive, tmp_path: Path) -> None:
    output = big_output(tmp_path, 200_000)
    with open(tmp_path / "big.html", "w", encoding="utf-8") as stream:
        write_html(stream, output)
    assert (tmp_path / "big.html").stat().st_size < 4_000_000
    driver = page(tmp_path / "big.html", "#removed")
    assert count(driver, "removed").startswith("60,000 of 60,000")
    assert len(rows(driver, "removed")) < 80
    driver.find_element(By.CSS_SELECTOR, "#tab-removed .grid").send_keys(Keys.END)
    assert rows(driver, "removed")[-1] == "/usr/lib/part012/module06/file06.so"  # what is left is in removed.json
    search(driver, "removed", "part011 module07 file42")
    assert rows(driver, "removed") == ["/usr/lib/part011/module07/file42.so"]
    assert json.loads(driver.execute_script("return JSON.stringify(document.querySelectorAll('.row').length)")) < 160
