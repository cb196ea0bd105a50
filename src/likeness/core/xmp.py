"""XMP: the block of XML in which pictures carry what they are, and where it lies in each format."""

import re
import struct
from xml.sax.saxutils import escape, unescape

_QUOTES = {'"': "&quot;", "\n": "&#10;"}
_BACK = {"&quot;": '"', "&#10;": "\n"}
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:likeness="https://likeness.invalid/ns/1.0/"
 Iptc4xmpExt:DigitalSourceType="{source}"
 likeness:note="{note}"/>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def packet(source: str, note: str = "") -> bytes:
    """A packet with IPTC's kind of source and our note (a line of JSON, or words)."""
    about = {"source": escape(source, _QUOTES), "note": escape(note, _QUOTES)}
    return _PACKET.format(**about).encode("utf-8")


def read_packet(data: bytes) -> tuple[str, str] | None:
    """The kind of source and our note in a packet, or anything that contains one."""
    text = data.decode("utf-8", errors="replace")
    source = re.search(r'DigitalSourceType(?:="|>)([^"<]*)', text)
    if source is None:
        return None
    note = re.search(r'likeness:note="([^"]*)"', text)
    return unescape(source[1], _BACK), unescape(note[1], _BACK) if note else ""


def gif_with_comment(data: bytes, about: bytes) -> bytes:
    """A GIF with an XMP application block before its end."""
    trailer = bytes([1, *range(255, -1, -1), 0])  # lets readers that skip blocks find their way
    block = b"\x21\xff\x0bXMP DataXMP" + about + trailer
    return data[:-1] + block + data[-1:]


def webp_with_xmp(data: bytes, about: bytes, width: int, height: int) -> bytes:
    """A WebP file with an XMP chunk; one without an extended header gets it."""
    chunks = data[12:]
    if chunks[:4] != b"VP8X":
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        alpha = 0x10 if chunks[:4] == b"VP8L" else 0
        chunks = b"VP8X" + struct.pack("<II", 10, alpha) + size + chunks
    chunks = chunks[:8] + bytes([chunks[8] | 0x4]) + chunks[9:]
    body = chunks + b"XMP " + struct.pack("<I", len(about)) + about + b"\0" * (len(about) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
