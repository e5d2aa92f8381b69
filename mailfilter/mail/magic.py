"""What a file is, by how it begins: media types of what mail filters care for.

A short table instead of a library's thousands of rules: an answer is for deciding, so it holds what is dangerous, what is packed,
and what everybody sends. Must not know: names of files, which are what is not believed here.
"""
__all__ = ["BEGINNING_OCTETS", "media_type"]

BEGINNING_OCTETS = 4096
"""So much of a file is looked at."""

_AT_START = (
    (b"MZ", "application/x-dosexec"), (b"\x7fELF", "application/x-executable"),
    (b"\xfe\xed\xfa\xce", "application/x-mach-binary"), (b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe", "application/x-mach-binary"), (b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xca\xfe\xba\xbe", "application/java-vm"), (b"\0asm", "application/wasm"), (b"#!", "text/x-shellscript"),
    (b"L\0\0\0\x01\x14\x02\0", "application/x-ms-shortcut"),
    (b"%PDF-", "application/pdf"), (b"{\\rtf", "application/rtf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", "application/onenote"),
    (b"ITSF", "application/vnd.ms-htmlhelp"), (b"\x78\x9f\x3e\x22", "application/ms-tnef"),
    (b"PK\x03\x04", "application/zip"), (b"PK\x05\x06", "application/zip"), (b"PK\x07\x08", "application/zip"),
    (b"Rar!\x1a\x07", "application/x-rar"), (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x1f\x8b", "application/gzip"), (b"BZh", "application/x-bzip2"), (b"\xfd7zXZ\0", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"), (b"\x1f\x9d", "application/x-compress"), (b"LZIP", "application/x-lzip"),
    (b"MSCF", "application/vnd.ms-cab-compressed"), (b"ISc(", "application/x-installshield"),
    (b"\x60\xea", "application/x-arj"), (b"!<arch>\n", "application/x-archive"),
    (b"MSWIM\0\0\0", "application/x-ms-wim"), (b"vhdxfile", "application/x-vhdx"), (b"conectix", "application/x-vhd"),
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"), (b"II*\0", "image/tiff"), (b"MM\0*", "image/tiff"), (b"\0\0\1\0", "image/vnd.microsoft.icon"),
    (b"CWS", "application/x-shockwave-flash"), (b"FWS", "application/x-shockwave-flash"),
    (b"ID3", "audio/mpeg"), (b"OggS", "application/ogg"), (b"fLaC", "audio/flac"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"-----BEGIN PGP", "application/pgp"), (b"\x1aE\xdf\xa3", "video/x-matroska"),
)
_INSIDE = (
    (257, b"ustar", "application/x-tar"), (7, b"**ACE**", "application/x-ace"), (2, b"-lh", "application/x-lzh"),
    (4, b"ftyp", "video/mp4"), (8, b"WEBP", "image/webp"), (8, b"WAVE", "audio/wav"), (8, b"AVI ", "video/x-msvideo"),
)
_MARKUP = ((b"<!doctype html", "text/html"), (b"<html", "text/html"), (b"<head", "text/html"), (b"<script", "text/html"),
           (b"<svg", "image/svg+xml"), (b"<hta:", "application/hta"), (b"<job", "text/xml"))


def media_type(beginning):
    """The media type of a file that begins with these octets; None when it is not known."""
    for sign, kind in _AT_START:
        if beginning.startswith(sign):
            return _kind_of_zip(beginning) if kind == "application/zip" else kind
    for place, sign, kind in _INSIDE:
        if beginning.startswith(sign, place):
            return kind
    text = beginning[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for sign, kind in _MARKUP:
        if text.startswith(sign):
            return kind
    if text.startswith(b"<?xml"):
        for sign, kind in _MARKUP:
            if sign in text:
                return kind
        return "text/xml"
    return None


def _kind_of_zip(beginning):
    """What is packed as ZIP names its first file; the order is the packer's, so that this tells what most send."""
    if b"META-INF/MANIFEST.MF" in beginning:
        return "application/java-archive"
    if beginning[30:38] == b"mimetype":
        kind = beginning[38:138].split(b"PK", 1)[0]
        if kind.startswith(b"application/") and all(32 < octet < 127 for octet in kind):
            return kind.decode("ascii")
    if b"[Content_Types].xml" in beginning:
        for folder, kind in ((b"word/", "wordprocessingml.document"), (b"xl/", "spreadsheetml.sheet"),
                             (b"ppt/", "presentationml.presentation")):
            if folder in beginning:
                return f"application/vnd.openxmlformats-officedocument.{kind}"
        return "application/vnd.openxmlformats-officedocument"
    return "application/zip"
