"""Snakemake's report in a headless Chromium: one clicks through it, while every request and every complaint is kept."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
EMBEDDED = ("data:", "blob:", "about:")
GENERAL = {"Workflow": "#app #rulegraph", "Statistics": "#app #runtimes", "About": None}  # what entries of the menu draw

SUBCATEGORIES = "Object.fromEntries(Object.entries(categories).map(([name, parts]) => [name, Object.keys(parts)]))"
CAPTIONS = "Object.fromEntries(Object.entries(results).map(([path, result]) => [path, result.caption]))"
FIGURE = """async path => {
    const image = document.querySelector("#app img:not(nav *)");
    await image.decode();
    image.closest(".overflow-auto").scrollTo(0, 0);
    const {left, top, right, height} = image.getBoundingClientRect();
    const whole = left >= 0 && top >= 0 && right <= innerWidth && height > 0;
    return {own: image.src === results[path].data_uri, whole, width: image.naturalWidth};
}"""
# the description is there, and scrolling can bring its beginning into view
DESCRIPTION = """() => {
    const text = document.querySelector("#app .prose:not(nav *)");
    text.closest(".overflow-auto").scrollTo(0, 0);
    const {left, top, right} = text.getBoundingClientRect();
    const rows = Array.from(text.querySelectorAll("tbody tr"), row => row.innerText);
    const widest = Math.max(right, ...Array.from(text.querySelectorAll("table"), table => table.getBoundingClientRect().right));
    return {text: text.innerText, rows, whole: left >= 0 && top >= 0 && widest <= innerWidth};
}"""


def find() -> str | None:
    """The system's Chromium, if it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launch(program: str) -> Iterator[Browser]:
    """A running browser; without its sandbox, which it refuses to build for root."""
    with sync_playwright() as playwright:
        with closing(playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])) as browser:
            yield browser


class Report:
    """An opened report. Nothing is blocked."""

    def __init__(self, context: BrowserContext, path: Path):
        self.url = path.resolve().as_uri()
        self.requests: list[str] = []
        self.errors: list[str] = []
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", self._keep_console_error)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        self.page = context.new_page()
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.goto(self.url)
        self.menu = self.page.locator("nav").first
        self.menu.get_by_role("link", name="Workflow", exact=True).wait_for()

    def _keep_console_error(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def leaks(self) -> list[str]:
        """Requests for anything but the report itself and what it holds; files beside it count too, for it is one file."""
        outside = [url for url in self.requests if not url.startswith(EMBEDDED)]
        return [url for url in outside if unquote(url.split("#")[0]) != unquote(self.url)]

    def follow(self, name: str) -> None:
        """Click an entry of the menu."""
        self.menu.get_by_role("link", name=name, exact=True).last.click()

    def home(self) -> None:
        self.menu.locator("nav a").first.click()

    def open_general(self) -> None:
        """Open the menu's entries on the workflow, and wait until their graphs are drawn."""
        for name, drawing in GENERAL.items():
            self.follow(name)
            if drawing:
                self.wait_for_drawing(drawing)
        self.home()

    def wait_for_drawing(self, place: str) -> None:
        self.page.locator(f"{place} :is(canvas, svg.marks)").first.wait_for()

    def lists(self) -> list[list[str]]:
        """Entries of the menu to follow, one after the other, to each list of results."""
        categories = self.page.evaluate(SUBCATEGORIES)
        named = {name if len(categories) > 1 else "Results": parts for name, parts in categories.items()}
        return [[name, part] if len(parts) > 1 else [name] for name, parts in named.items() for part in parts]

    def open_list(self, entries: list[str]) -> None:
        self.home()
        for entry in entries:
            self.follow(entry)

    def open_each(self) -> Iterator[str]:
        """Open every result that the menu leads to, and its description after it; yields the path of the result on show."""
        for entries in self.lists():
            self.open_list(entries)
            rows = self.menu.locator("tbody tr")
            rows.first.wait_for()
            for index in range(rows.count()):
                rows.nth(index).locator("[iconname=eye]").click()
                yield self.page.evaluate("app.state.resultPath")
                rows.nth(index).locator("[iconname=information-circle]").click()
                self.menu.get_by_text("Snakemake rule").wait_for()
                self.open_list(entries)

    def figure(self, path: str) -> dict:
        """Of the image on show: whether it is the one at `path` and whole, and its width in pixels of its own."""
        self.page.locator("#app img:not(nav *)").wait_for()
        return self.page.evaluate(FIGURE, path)

    def table_rows(self) -> list[str]:
        """Visible text of each row of the page on show inside the report."""
        rows = self.page.frame_locator("iframe").locator("tr")
        rows.first.wait_for()
        return rows.all_inner_texts()

    def captions(self) -> dict[str, str]:
        """HTML of every result's caption by path."""
        return self.page.evaluate(CAPTIONS)

    def description(self) -> dict | None:
        """The landing page's text, its tables' rows and whether it can be read whole; None where it is empty."""
        if not self.page.evaluate("workflow_desc"):
            return None
        if self.page.locator("#app #rulegraph").count():  # beside the description; its size changes the page's
            self.wait_for_drawing("#app #rulegraph")
        return self.page.evaluate(DESCRIPTION)


@contextmanager
def open_report(browser: Browser, path: Path) -> Iterator[Report]:
    """The report at `path` on its landing page."""
    with closing(browser.new_context(viewport={"width": 1280, "height": 800})) as context:
        yield Report(context, path)
