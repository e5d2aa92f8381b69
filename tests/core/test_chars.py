"""The table of character classes against the definitions of the RFCs, and the modules that read it."""
import re
import string
from pathlib import Path

import mailfilter._core as core

ALNUM = string.ascii_letters + string.digits
CLASSES = {
    "ATEXT": set(ALNUM + "!#$%&'*+-/=?^_`{|}~"),
    "LET_DIG": set(ALNUM + "_"),
    "QTEXT": {chr(c) for c in (32, 33, *range(35, 92), *range(93, 127))},
    "DCONTENT": {chr(c) for c in (*range(33, 91), *range(94, 127))},
    "KEYWORD": set(ALNUM),
    "VALUE": {chr(c) for c in (*range(33, 61), *range(62, 127))},
    "FTEXT": {chr(c) for c in (*range(33, 58), *range(59, 127))},
    "UNPRINTABLE": {chr(c) for c in (*range(9), *range(10, 32), 127)},
}


def test_table():
    source = Path(core.__file__).with_name("chars.pxd").read_text()
    bits = {name: int(bit) for name, bit in re.findall(r"#define CHAR_(\w+) (\d+)", source)}
    table = [int(number) for number in re.search(r"\{([^}]*)\};", source)[1].replace("{", "").split(",")]
    assert bits.keys() == CLASSES.keys()
    assert len(table) == 256
    for name, members in CLASSES.items():
        assert {chr(c) for c in range(256) if table[c] & bits[name]} == members, name
