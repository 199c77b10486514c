"""What is known about an address: country, city and network out of mmdb files, categories out of address lists.

Everything comes from files in one directory (MILEPOST_IP_DATA_DIR); none is needed. What is loaded is one snapshot,
built beside the one in use and put in its place whole. Files are read into memory, never mapped: an operator who
copies a new file over an old one would else pull it out from under the process.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path as FilePath
from threading import Lock
from typing import Any

import maxminddb_rust

from edge.classify.address_lists import AddressList, IntervalTable, parse_list
from edge.classify.geo_records import CLEAN, Layout, Path, as_number, country_code, layout_of, text
from edge.classify.signals import CATEGORY_NAMES, CRAWLER, NetworkVerdict
from edge.client_ip import ClientAddress
from edge.recent import Known

NOT_CONFIGURED = "Not configured"
OPERATIONAL = "Operational"
DEGRADED = "Degraded"
UNKNOWN_COUNTRY = "ZZ"

_LIST_FILES = {f"{name}.txt": category for category, name in CATEGORY_NAMES.items()}
_SAMPLED_RECORDS = 500
_SETTLE_SECONDS = 1.0
_REMEMBERED_NETWORKS = 16_384
_KIND_OF = tuple(
    next((category for category in CATEGORY_NAMES if bits & category), 0) for bits in range(1 << len(CATEGORY_NAMES))
)
"""The deciding category for every set of categories."""
_WITHOUT_PLACE = tuple(
    NetworkVerdict(UNKNOWN_COUNTRY, "", "", "", 0, kind, categories) for categories, kind in enumerate(_KIND_OF)
)
"""The verdict for every set of categories where no mmdb file is loaded: the same for all addresses, so made once."""

Stamp = tuple[int, int, int]
"""Time of change in ns, size, inode: what tells one state of a file from another."""


@dataclass(frozen=True, slots=True)
class FileStatus:
    """One file for system status. `entries`: networks of a list, records' tree nodes of an mmdb; `as_of`: when its
    content was made, in seconds since 1970; `problem` is empty when the last look went well."""

    name: str
    entries: int
    as_of: float
    problem: str

    def age(self, now: float) -> float:
        """Seconds since the content was made; never negative."""
        return max(0.0, now - self.as_of)


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """What of the directory is in use. `summary` is NOT_CONFIGURED, DEGRADED or OPERATIONAL."""

    summary: str
    files: tuple[FileStatus, ...]


@dataclass(frozen=True, slots=True)
class _Database:
    reader: Any
    layout: Layout
    entries: int
    as_of: float
    v6: bool


@dataclass(frozen=True, slots=True)
class _Loaded:
    """One good reading of a file."""

    stamp: Stamp
    content: _Database | AddressList
    as_of: float
    entries: int


_Source = tuple[int, Callable[[str, Path], Any], Path, Callable[[Any], Any] | None, str]
"""One place where a field may be found: the field's number, how to ask the file, where in the record, what tells
whether the next place must be asked too (None for the last), and the file's name. Asking for one place costs a tenth
of building the whole record with its names in eight languages."""

_Raw = tuple[Any, ...]
"""What the files hold of the five fields of CLEAN, and the categories."""


@dataclass(frozen=True, slots=True)
class _Family:
    """All that is known about addresses of one family."""

    table: IntervalTable
    sources: tuple[_Source, ...]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    v4: _Family
    v6: _Family
    has_crawler_ranges: bool


class UnreadableFile(Exception):
    """A file is no mmdb or no address list, or changed while it was read. The message says which."""


class NetworkData:
    """The address data of one directory. Look-ups may run while another thread reloads."""

    def __init__(self, directory: FilePath, settle_seconds: float = _SETTLE_SECONDS) -> None:
        """Reads what is there. A missing directory or a broken file is no error: see `problems`.

        A file that has a good predecessor in use is read again only when it has not changed for `settle_seconds`,
        because half a list still looks like a list.
        """
        self._directory = directory
        self._settle_ns = int(settle_seconds * 1e9)
        self._files: dict[str, _Loaded] = {}
        self._tried: dict[str, Stamp] = {}
        self._problems: dict[str, str] = {}
        self._reloading = Lock()
        self._verdicts: Known[_Raw, NetworkVerdict] = Known(_REMEMBERED_NETWORKS, _verdict)
        self._snapshot = _build({})
        self.has_crawler_ranges = False
        """Whether any published crawler range is loaded, so that an address can be off all of them. A plain attribute,
        because every click asks."""
        self.reload_if_changed()

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong, by file name; empty when all is well. A named file may still be in use in its former
        state."""
        return dict(self._problems)

    def lookup(self, address: ClientAddress) -> NetworkVerdict:
        """What the files say about an address. Unknown parts: country ZZ, asn 0, empty texts, no category.
        Never raises: a record that cannot be read is passed over and its file named in `problems`."""
        snapshot = self._snapshot
        family = snapshot.v4 if address.version == 4 else snapshot.v6
        categories = family.table.categories(address.packed)
        if not family.sources:
            return _WITHOUT_PLACE[categories]
        written = address.text
        found: list[Any] = [None, None, None, None, None, categories]
        for place, get_path, path, is_value, name in family.sources:
            if found[place] is None:
                try:
                    value = get_path(written, path)
                except (RuntimeError, ValueError) as error:
                    self._problems[name] = f"a record cannot be read: {error}"
                    continue
                if value is not None:
                    found[place] = value if is_value is None else is_value(value)
        try:
            return self._verdicts[tuple(found)]
        except TypeError:  # a record with a list or map where a value belongs
            return _verdict(tuple(found))

    def reload_if_changed(self) -> bool:
        """Reads files that are new or changed, forgets those that are gone; True when look-ups now see another
        state. Takes seconds for large files: call it from a thread. A call during another one returns False."""
        if not self._reloading.acquire(blocking=False):
            return False
        try:
            return self._reload()
        finally:
            self._reloading.release()

    def _reload(self) -> bool:
        present = dict(self._listed())
        # Beside what is in use, so that `status` never names a file that look-ups do not see yet.
        files = {name: loaded for name, loaded in self._files.items() if name in present}
        for name in (self._tried.keys() | self._problems.keys()) - present.keys():
            self._tried.pop(name, None)
            self._problems.pop(name, None)
        changed = len(files) < len(self._files)
        for name, stamp in present.items():
            if self._tried.get(name) != stamp and not (name in files and self._unsettled(stamp)):
                changed |= self._take(name, stamp, files)
        if changed:
            self._snapshot = _build(files)
            self.has_crawler_ranges = self._snapshot.has_crawler_ranges
            self._files = files
        return changed

    def _listed(self) -> Iterator[tuple[str, Stamp]]:
        try:
            paths = sorted(self._directory.iterdir())
        except OSError:
            return  # a directory that is not there or not readable has no files; `status` says Not configured
        for path in paths:
            if path.suffix == ".mmdb" or path.name in _LIST_FILES:
                stamp = _stamp(path)
                if stamp is not None:
                    yield path.name, stamp

    def _unsettled(self, stamp: Stamp) -> bool:
        return 0 <= time.time_ns() - stamp[0] < self._settle_ns

    def _take(self, name: str, stamp: Stamp, files: dict[str, _Loaded]) -> bool:
        path = self._directory / name
        try:
            content = _read_database(path) if path.suffix == ".mmdb" else _read_list(path)
            if _stamp(path) != stamp:
                raise UnreadableFile("changed while it was read; it is tried again")
        except UnreadableFile as error:
            self._problems[name] = str(error)
            # a file caught in the middle of a change gets another try even if its stamp comes back
            if _stamp(path) == stamp:
                self._tried[name] = stamp
            return False
        self._tried[name] = stamp
        self._problems.pop(name, None)
        if isinstance(content, AddressList):
            if content.bad_lines:
                self._problems[name] = _bad_lines(content)
            files[name] = _Loaded(stamp, content, stamp[0] / 1e9, content.entries)
        else:
            files[name] = _Loaded(stamp, content, content.as_of, content.entries)
        return True

    def status(self) -> NetworkStatus:
        """Every file in use or refused, by name, for health and system status."""
        names = sorted(self._files.keys() | self._problems.keys())
        files = []
        for name in names:
            loaded = self._files.get(name)
            files.append(
                FileStatus(
                    name=name,
                    entries=loaded.entries if loaded else 0,
                    as_of=loaded.as_of if loaded else 0.0,
                    problem=self._problems.get(name, ""),
                )
            )
        state = DEGRADED if self._problems else OPERATIONAL
        return NetworkStatus(state if files else NOT_CONFIGURED, tuple(files))


def _build(files: dict[str, _Loaded]) -> _Snapshot:
    lists = {
        _LIST_FILES[name]: loaded.content for name, loaded in files.items() if isinstance(loaded.content, AddressList)
    }
    v4 = IntervalTable({category: addresses.v4 for category, addresses in lists.items()}, bits=32)
    v6 = IntervalTable({category: addresses.v6 for category, addresses in lists.items()}, bits=128)
    return _Snapshot(
        v4=_Family(v4, tuple(_sources(files, 4))),
        v6=_Family(v6, tuple(_sources(files, 6))),
        has_crawler_ranges=CRAWLER in lists and lists[CRAWLER].entries > 0,
    )


def _verdict(raw: _Raw) -> NetworkVerdict:
    country, region, city, isp, asn, categories = raw
    return NetworkVerdict(
        country_code(country) or UNKNOWN_COUNTRY,
        text(region) or "",
        text(city) or "",
        text(isp) or "",
        as_number(asn) or 0,
        _KIND_OF[categories],
        categories,
    )


def _sources(files: dict[str, _Loaded], version: int) -> Iterator[_Source]:
    places = list(_places(files, version))
    last = {place: number for number, (place, *_) in enumerate(places)}
    for number, (place, get_path, path, clean, name) in enumerate(places):
        yield place, get_path, path, clean if number < last[place] else None, name


def _places(files: dict[str, _Loaded], version: int) -> Iterator[tuple[int, Any, Path, Callable[[Any], Any], str]]:
    # several files may have a field: the first by name that knows the address gives it
    for name, loaded in sorted(files.items()):
        database = loaded.content
        if isinstance(database, _Database) and (version == 4 or database.v6):
            for place, (field, clean) in enumerate(CLEAN.items()):
                for path in database.layout.get(field, ()):
                    yield place, database.reader.get_path, path, clean, name


def _stamp(path: FilePath) -> Stamp | None:
    try:
        state = path.stat()
    except OSError:
        return None  # gone between listing and looking, or not for us: as if it were not there
    return state.st_mtime_ns, state.st_size, state.st_ino


def _read_database(path: FilePath) -> _Database:
    try:
        reader = maxminddb_rust.open_database(path, maxminddb_rust.MODE_MEMORY)
        metadata = reader.metadata()
        layout = layout_of(record for _, record in islice(reader, _SAMPLED_RECORDS))
    except (OSError, RuntimeError, ValueError) as error:
        raise UnreadableFile(f"not a usable mmdb: {error}") from error
    return _Database(reader, layout, metadata.node_count, metadata.build_epoch, metadata.ip_version == 6)


def _read_list(path: FilePath) -> AddressList:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"not a readable text: {error}") from error
    addresses = parse_list(text)
    if addresses.bad_lines > addresses.entries:
        raise UnreadableFile(f"not an address list: {_bad_lines(addresses)}")
    return addresses


def _bad_lines(addresses: AddressList) -> str:
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{addresses.bad_lines} lines are no address ({'; '.join(addresses.examples)}), seen {when}"
