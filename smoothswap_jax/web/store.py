"""The files of the page: in one folder, under random names, for a while.

Who knows the name of a file may have it, and nobody else: names are drawn at random, 128 bits long, and are not listed.
Nothing of what a browser says becomes part of a path.
"""

import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smoothswap_jax.web.limits import Limits, Refused


@dataclass
class Item:
    """A file, and what is known of it."""

    name: str
    path: Path
    media: str
    """Its media type, as the browser is told."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    """Names of items that go with it: previews and crops."""
    used: float = field(default_factory=time.monotonic)


@dataclass
class Store:
    folder: Path
    limits: Limits
    items: dict[str, Item] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def new_path(self, suffix: str = "") -> tuple[str, Path]:
        """A name that nobody knows, and where its file is to be."""
        name = secrets.token_urlsafe(16)
        return name, self.folder / f"{name}{suffix}"

    def add(self, item: Item) -> Item:
        with self.lock:
            self.items[item.name] = item
        return item

    def get(self, name: str) -> Item:
        """The item of that name, which is kept for longer now; Refused where there is none."""
        with self.lock:
            item = self.items.get(name)
        if item is None:
            raise Refused(404, "found no such file, or no longer; wanted one that was sent a while ago at most")
        self.use(item)
        return item

    def use(self, item: Item) -> None:
        """Keeps an item, and what goes with it, for longer."""
        with self.lock:
            for one in (item, *(self.items[part] for part in item.parts if part in self.items)):
                one.used = time.monotonic()

    def remove(self, name: str) -> None:
        with self.lock:
            item = self.items.pop(name, None)
        if item is not None:
            item.path.unlink(missing_ok=True)
            for part in item.parts:
                self.remove(part)

    def sweep(self) -> int:
        """Deletes what nobody used for a while; returns how many."""
        late = time.monotonic() - 60 * self.limits.minutes
        with self.lock:
            old = [name for name, item in self.items.items() if item.used < late]
        for name in old:
            self.remove(name)
        return len(old)

    def check_room(self) -> None:
        """Raises Refused where the folder is full."""
        held = sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())
        if held > self.limits.gigabytes * 1e9:
            raise Refused(507, f"found {held / 1e9:.1f} GB of files already; wanted fewer: try again later")

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
