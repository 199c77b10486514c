"""The copy of the routing table on disk: what survives a kill, a torn line, a flipped bit, a full disk.

Any content at all is in ../fuzz/test_routing_rows.py; an edge that starts from the copy in integration/edge/routing.
"""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from edge.copy_format import CopyError, Mark, decode_line, encode_line
from edge.salts import Salts
from edge.table import RawRow, Table, TableBuilder
from edge.table_copy import SPARE_BYTES, TableCopy
from shared.campaigns import AccountRow
from tests.unit.edge.builders import campaign_row

DAY = 20_000  # 2024-10-04
MARK = Mark("5eed", 1, {"2024-10-04": "aa" * 32}, 1_000)


def row(number: int, **changes: object) -> RawRow:
    return b"c:%d" % number, campaign_row(id=number, uuid=f"slug-{number}", **changes).to_json()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routing.json"


def written(path: Path, *rows: RawRow, mark: Mark = MARK, day: int = DAY) -> TableCopy:
    copy = TableCopy(path)
    draft = copy.draft()
    draft.add(rows)
    copy.replace(draft, mark, day)
    return copy


def table_of(path: Path) -> Table:
    builder = TableBuilder()
    mark = TableCopy(path).read(builder.add)
    assert mark is not None
    return builder.finish(mark.generation, mark.version, Salts({}, b""))


def test_rows_and_changes_read_back_for_this_user_alone(path: Path) -> None:
    account = (b"a:1", AccountRow(1, 1).to_json())
    copy = written(path, row(7), row(8, name="a\nb"), account)
    copy.append([row(8, version=2, status="paused"), row(9)], replace(MARK, version=2))
    table = table_of(path)
    assert {number: campaign.status for number, campaign in table.by_id.items()} == {
        7: "active",
        8: "paused",
        9: "active",
    }
    assert (table.generation, table.version, set(table.accounts)) == ("5eed", 2, {1})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_there_may_be_no_copy(path: Path) -> None:
    assert TableCopy(path).read(lambda *_: None) is None


@pytest.mark.parametrize("kept", range(0, 40, 3))
def test_a_torn_last_line_costs_itself_alone_and_is_cut_off(path: Path, kept: int) -> None:
    written(path, row(7)).append([row(8)], replace(MARK, version=2))
    sound = path.read_bytes()
    path.write_bytes(sound + encode_line(*row(7, version=3, status="paused"))[: kept * 10 or 1].rstrip(b"\n"))
    again = TableCopy(path)
    mark = again.read(lambda *_: None)
    assert mark == replace(MARK, version=2)
    again.resume(mark)
    assert path.read_bytes() == sound
    again.append([row(9)], replace(MARK, version=4))
    table = table_of(path)
    assert (set(table.by_id), table.by_id[7].status, table.version) == ({7, 8, 9}, "active", 4)


def test_a_flipped_bit_costs_its_line_and_everything_is_read_again_from_redis(path: Path) -> None:
    written(path, row(7), row(8), row(9))
    content = bytearray(path.read_bytes())
    content[content.index(b"slug-8")] ^= 1
    path.write_bytes(content)
    table = table_of(path)
    assert (set(table.by_id), table.generation) == ({7, 9}, "")


def test_a_table_that_is_not_whole_is_refused(path: Path) -> None:
    written(path, row(7), row(8))
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"mark") - 9])
    with pytest.raises(CopyError, match="not complete"):
        table_of(path)


def test_the_first_format_is_read(path: Path) -> None:
    head = {"format": 1, "version": 5, "campaigns": 2, "accounts": 1, "salts": {"2024-10-04": "aa" * 32}}
    texts = [row(7)[1], row(0)[1], AccountRow(1, 1).to_json()]  # the second is unreadable
    path.write_bytes(b"\n".join([orjson.dumps(head), *texts, b""]))
    table = table_of(path)
    assert (set(table.by_id), set(table.accounts), table.unreadable) == ({7}, {1}, 1)
    assert (table.generation, table.version) == ("", 5)
    for cut in (1, 20, len(path.read_bytes()) - 20):
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(CopyError):
            table_of(path)


def test_a_copy_of_another_format_is_refused(path: Path) -> None:
    for content in (b'{"format":99}\n', encode_line(b"head", b'{"format":99}'), b"\n", b"\0" * 100):
        path.write_bytes(content)
        with pytest.raises(CopyError):
            table_of(path)


def test_a_line_that_was_changed_is_none() -> None:
    line = encode_line(b"c:7", b'{"a":1}')
    assert decode_line(line) == (b"c:7", b'{"a":1}')
    assert all(decode_line(line[:cut]) is None for cut in range(len(line)))


def test_writing_anew_leaves_out_what_was_replaced_and_keeps_what_comes_meanwhile(path: Path) -> None:
    copy = written(path, *(row(number) for number in range(1, 3_001)))
    for version in range(2, 50):
        copy.append([row(5, version=version, name=f"name {version}")], replace(MARK, version=version))
    before = path.stat().st_size
    compacting = threading.Thread(target=copy.compact, args=(DAY,))
    compacting.start()
    while compacting.is_alive():
        version += 1
        copy.append([row(6, version=version, name=f"name {version}")], replace(MARK, version=version))
        time.sleep(0.001)
    compacting.join()
    assert version > 51, "something came meanwhile"
    copy.append([row(7, version=version, status="paused")], replace(MARK, version=version + 1))
    table = table_of(path)
    assert len(table.by_id) == 3_000
    assert (table.by_id[5].row.name, table.by_id[6].row.name) == ("name 49", f"name {version}")
    assert (table.by_id[7].status, table.version) == ("paused", version + 1)
    assert path.read_bytes().count(b"name 48") == 0
    assert path.stat().st_size < before + 100 * (version - 48) + 500 * (version - 48)


def test_it_is_due_for_its_size_and_once_a_day_for_its_salts(path: Path) -> None:
    salts = {"2024-10-01": "aa" * 32, "2024-10-02": "bb" * 32, "2024-10-04": "cc" * 32}
    copy = written(path, row(7), mark=replace(MARK, salts=salts))
    assert not copy.is_due(DAY)
    assert copy.is_due(DAY + 1)
    copy.compact(DAY)
    assert b"2024-10-01" not in path.read_bytes()
    assert TableCopy(path).read(lambda *_: None) == replace(
        MARK, salts={day: salts[day] for day in ("2024-10-02", "2024-10-04")}
    )
    text = b"x" * 500_000
    for _ in range(SPARE_BYTES // len(text) + 1):
        assert not copy.is_due(DAY)
        copy.append([(b"c:7", text)], MARK)
    assert copy.is_due(DAY)
    copy.compact(DAY)
    assert not copy.is_due(DAY)


def test_the_last_salt_is_kept_to_derive_from() -> None:
    salts = {"2024-09-01": "aa" * 32, "2024-09-02": "bb" * 32}
    assert replace(MARK, salts=salts).of_day(DAY).salts == {"2024-09-02": "bb" * 32}


def test_a_copy_that_somebody_removed_is_not_appended_to(path: Path) -> None:
    copy = written(path, row(7))
    path.unlink()
    with pytest.raises(CopyError, match="No such file"):
        copy.append([row(8)], MARK)
    assert copy.mark is None


def test_a_write_that_fails_in_its_middle_leaves_the_file_as_it_was(path: Path) -> None:
    """On a file system without room: a tmpfs of one page more than the file has."""
    script = """
import resource, signal, sys
from pathlib import Path
from dataclasses import replace
from edge.copy_format import CopyError
from tests.unit.edge.test_table_copy import MARK, row, written
path = Path(sys.argv[1])
copy = written(path, row(7))
before = path.read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 300, resource.RLIM_INFINITY))
try:
    copy.append([row(8)], replace(MARK, version=2))
except CopyError as error:
    assert path.read_bytes() == before, "the beginning of a line was left behind"
    assert copy.mark == MARK
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    copy.append([row(8)], replace(MARK, version=2))
else:
    sys.exit("the write did not fail")
"""
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=60)
    assert set(table_of(path).by_id) == {7, 8}


def test_a_kill_while_it_is_written_anew_loses_no_change(path: Path) -> None:
    """Killed at twelve moments of an endless row of changes and compactions; each change was told when it was kept."""
    script = """
import sys, threading
from dataclasses import replace
from pathlib import Path
from edge.table_copy import TableCopy
from tests.unit.edge.test_table_copy import DAY, MARK, row, written
path = Path(sys.argv[1])
copy = TableCopy(path)
mark = copy.read(lambda *_: None)
if mark is None:
    copy = written(path, *(row(number) for number in range(1, 1001)))
    mark = MARK
else:
    copy.resume(mark)
def compact():
    while True:
        copy.compact(DAY)
threading.Thread(target=compact, daemon=True).start()
version = mark.version
while True:
    version += 1
    copy.append([row(version % 1000 + 1, version=version)], replace(mark, version=version))
    print(version, flush=True)
"""
    kept = 0
    for attempt in range(12):
        with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            kept = int(process.stdout.readline())
            until = time.monotonic() + 0.02 * attempt + 0.01
            while time.monotonic() < until:
                kept = int(process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
            for line in process.stdout:
                kept = int(line) if line.endswith("\n") else kept
        table = table_of(path)
        assert table.version >= kept
        assert (len(table.by_id), table.generation) == (1_000, "5eed")
        newest = table.by_id[kept % 1000 + 1]
        assert newest.version >= kept
