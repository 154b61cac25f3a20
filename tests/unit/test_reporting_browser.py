"""The HTML page in a real browser: it fits a phone and a desk, its script works, it looks like something."""

import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from reports import report_of, score_row
from vlm2vec_cli import catalogue
from vlm2vec_cli.reporting.rendering import render

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """
addEventListener("load", () => {
  const heads = [...document.querySelectorAll("th[data-sort] button")];
  heads[1].click();
  const body = heads[1].closest("table").tBodies[0];
  const cells = [...body.rows].map((row) => parseFloat(row.children[1].dataset.value));
  const sorted = cells.every((one, at) => at === 0 || cells[at - 1] >= one);
  const wide = document.documentElement.scrollWidth > innerWidth;
  document.body.dataset.probe = [wide, sorted, cells.length].join(" ");
});
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]


@pytest.fixture(scope="module")
def page() -> str:
    rows = [
        score_row(name, (at * 37 % 89 + 5) / 100, model, main_metric=task["main_metric"], num_queries=1000)
        for model in ("some-organisation/a-model-with-a-rather-long-name", "runs/ours")
        for at, (name, task) in enumerate(catalogue.tasks().items(), start=len(model))
    ]
    return render(report_of(rows), "html")


def browse(tmp_path: Path, page: str, *options: str) -> bytes:
    assert BROWSER is not None
    path = tmp_path / "page.html"
    path.write_text(page)
    fixed = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={tmp_path}",
    )
    run = subprocess.run(
        [BROWSER, *fixed, *options, path.as_uri()], capture_output=True, check=True, timeout=240
    )
    return run.stdout


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window_and_its_tables_sort(tmp_path: Path, page: str, width: int) -> None:
    probed = re.sub(r"<meta http-equiv[^>]*>", "", page).replace(
        "</body>", f"</body><script>{PROBE}</script>"
    )
    found = browse(tmp_path, probed, f"--window-size={width},900", "--dump-dom").decode()
    probe = re.search(r'data-probe="([^"]*)"', found)
    assert probe is not None
    assert probe[1] == "false true 78"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_drawn_light_and_dark(tmp_path: Path, page: str, width: int, scheme: str) -> None:
    colours = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    target = tmp_path / "page.png"
    browse(tmp_path, page, f"--window-size={width},1200", f"--screenshot={target}", *colours)
    picture = Image.open(io.BytesIO(target.read_bytes())).convert("RGB")
    assert picture.width == width
    ground = picture.getpixel((2, 2))
    assert isinstance(ground, tuple)
    assert (sum(ground) < 200) == (scheme == "dark")
    assert len(picture.getcolors(1 << 24) or ()) > 50
    edge = picture.crop((width - 3, 0, width, 1200)).getcolors(1 << 16)
    assert edge is not None
    assert max(edge)[0] > 0.9 * 3 * 1200  # nothing is cut off at the right
