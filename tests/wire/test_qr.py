import base64
import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Final

import pytest
import zxingcpp
from PIL import Image, ImageOps

from waguard.wire import qr

# as WhatsApp shows them: about 240 characters
RAW: Final = ",".join(
    ["2@" + "Zm9v/bar+" * 10, "QUJDREVGR0hJSktMTU5PUA==" * 2, "c29tZSBrZXk=" * 4, "x+/9aW5k"]
)
RAWS: Final = [RAW, "2@x", "é 👋", "0123456789"]
ON: Final = {"█": (1, 1), "▀": (1, 0), "▄": (0, 1), " ": (0, 0)}


def scan(image: Image.Image) -> str:
    (code,) = zxingcpp.read_barcodes(image.convert("L"))
    text: str = code.text
    return text


def picture(shown: str) -> Image.Image:
    """A terminal's picture: two pixels a character, light on dark."""
    lines = shown.rstrip("\n").split("\n")
    image = Image.new("L", (len(lines[0]), len(lines) * 2))
    for y, line in enumerate(lines):
        for x, character in enumerate(line):
            for half, lit in enumerate(ON[character]):
                image.putpixel((x, y * 2 + half), 255 * lit)
    return image.resize((image.width * 6, image.height * 6), Image.Resampling.NEAREST)


@pytest.mark.parametrize("raw", RAWS)
def test_a_phone_reads_the_png(raw: str) -> None:
    assert scan(Image.open(io.BytesIO(qr.png(raw)))) == raw


@pytest.mark.parametrize("raw", RAWS)
def test_a_phone_reads_the_data_url(raw: str) -> None:
    head, _, encoded = qr.data_url(raw).partition(",")
    assert head == "data:image/png;base64"
    assert scan(Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))) == raw


def test_the_png_is_large_enough_and_has_its_quiet_zone() -> None:
    image = Image.open(io.BytesIO(qr.png(RAW))).convert("L")
    assert image.width == image.height >= 300
    inside = ImageOps.invert(image).getbbox()
    assert inside == (24, 24, image.width - 24, image.height - 24)  # four modules of six pixels


def test_the_svg_is_a_document_with_a_light_ground() -> None:
    """Without one it would be black on black on a dark page."""
    root = ET.fromstring(qr.svg(RAW))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert int(root.attrib["width"]) == int(root.attrib["height"])
    fills = [element.get("fill") for element in root.iter()]
    assert "#fff" in fills


@pytest.mark.parametrize("raw", RAWS)
def test_a_terminal_shows_blocks_alone_and_a_phone_reads_them(raw: str) -> None:
    shown = qr.terminal(raw)
    assert set(shown) <= {*ON, "\n"}
    assert len({len(line) for line in shown.rstrip("\n").split("\n")}) == 1
    assert scan(picture(shown)) == raw


@pytest.mark.parametrize("raw", RAWS)
def test_a_light_terminal_will_do_too(raw: str) -> None:
    assert scan(ImageOps.invert(picture(qr.terminal(raw)))) == raw


def test_a_code_fits_on_a_terminal_of_80_columns() -> None:
    lines = qr.terminal(RAW).rstrip("\n").split("\n")
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("draw", [qr.png, qr.svg, qr.data_url, qr.terminal])
def test_the_same_code_is_always_the_same_picture(draw: Callable[[str], object]) -> None:
    assert draw(RAW) == draw(RAW)
    assert draw(RAW) != draw(RAW + "x")
