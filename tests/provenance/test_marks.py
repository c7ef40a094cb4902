"""Metadata of a hostile file take no more than a moment, whatever they repeat."""

import subprocess
import sys

import pytest
from PIL import Image

from smoothswap_jax.faces.metadata import SEGMENT, Metadata
from smoothswap_jax.provenance.credentials import SOURCE_TYPE
from smoothswap_jax.provenance.marks import MADE_BY, marked, unmarked
from tests.places import ROOT

REPEATED = {
    "blanks": b" ",
    "lines": b"\r\n\t",
    "attributes": b' Iptc4xmpExt:DigitalSourceType="',
    "open attributes": b" Iptc4xmpExt:DigitalSourceType=",
    "elements": b"<Iptc4xmpExt:DigitalSourceType>",
    "orientations": b'tiff:Orientation="1',
    "ends": b"</rdf:RDF>",
    "options": b" (--",
}
LONG = 1 << 20
"""Bytes. Time that grows by their square is hours."""
READ = """
import sys
from pathlib import Path
from smoothswap_jax.faces.original import read_original
from smoothswap_jax.provenance.marks import marked, marks_in, unmarked
from smoothswap_jax.web.intake import in_words
for name in sys.argv[1:]:
    metadata = read_original(name).metadata
    marked(metadata)
    unmarked(metadata.xmp)
    marks_in(Path(name))
    in_words(ValueError(metadata.xmp.decode()), {Path(name): "it"})
    assert len(metadata.xmp) > 1_000_000, name
"""


def test_long_metadata_are_read_once(tmp_path):
    for name, part in REPEATED.items():
        xmp = b"<x>" + part * (LONG // len(part)) + b"</x>"
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.webp", xmp=xmp)
    names = [str(tmp_path / f"{name}.webp") for name in REPEATED]
    done = subprocess.run([sys.executable, "-c", READ, *names], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("blank", [b" ", b"\n      "])
def test_what_a_photo_said_of_its_source_is_replaced(blank):
    old = b'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"'
    xmp = b"<rdf:RDF><rdf:Description%bdc:a='1'%b%b%bdc:b='2'/></rdf:RDF>" % (blank, blank, old, blank)
    found = marked(Metadata(xmp=xmp))
    assert found.software == MADE_BY and b"digitalCapture" not in found.xmp
    assert found.xmp.count(SOURCE_TYPE.encode()) == 1 and b"dc:a='1'" in found.xmp and b"dc:b='2'" in found.xmp
    assert unmarked(found.xmp).split() == unmarked(xmp).split() and marked(found) == found


def test_xmp_that_a_jpeg_would_not_hold_stays():
    xmp = b"<rdf:RDF>" + b" " * SEGMENT + b"</rdf:RDF>"
    assert marked(Metadata(xmp=xmp)) == Metadata(xmp=xmp, software=MADE_BY)
