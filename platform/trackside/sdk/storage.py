"""`ObjectStoragePath`: paths in object stores that read like `pathlib`, on fsspec and universal-pathlib (row 1.261).

For DAG files and tasks: `ObjectStoragePath("s3://conn_id@bucket/key")`, `ObjectStoragePath("file:///tmp/x")`. Needs
`trackside[storage]`, and the store's own package (`s3fs` for s3). A connection is asked for when the store is first touched,
never by building a path, so that DAG files may build them at their top. Next door: `stores.py` makes the file systems.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from trackside.sdk.stores import StoreMissing, attach, filesystem_for

try:
    from upath.extensions import ProxyUPath
except ImportError as error:
    raise StoreMissing("ObjectStoragePath needs universal-pathlib. Install it with: pip install 'trackside[storage]'") from error


class _OfInstance:
    """A class method that is told the instance, if it is called on one: what it makes keeps the instance's connection."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __get__(self, instance: Any, owner: type) -> Callable[..., Any]:
        return lambda upath, /: self._function(owner, instance, upath)


class StatResult(dict[str, Any]):
    """What a store says about an object, with the attributes of `os.stat`."""

    @property
    def st_size(self) -> int:
        """Bytes."""
        return int(self.get("size") or 0)

    @property
    def st_mtime(self) -> Any:
        """Moment of the last change, as the store gives it."""
        return next((self[name] for name in ("mtime", "LastModified", "last_modified", "updated") if self.get(name)), 0)

    @property
    def st_mode(self) -> int:
        """Mode bits where there are any, else those of a folder or a file."""
        return int(self.get("mode") or (0o040000 if self.get("type") == "directory" else 0o100000))


_Base: Any = ProxyUPath  # Airflow's signatures are not those of upath


class ObjectStoragePath(_Base):  # type: ignore[misc]
    """See the module. Paths made from one (`/`, `parent`, `iterdir`) keep its connection."""

    __version__: ClassVar[int] = 1
    __slots__ = ("_conn_id",)
    _conn_id: str | None

    def __init__(self, *args: Any, protocol: str | None = None, conn_id: str | None = None, **storage_options: Any) -> None:
        if args and isinstance(args[0], ObjectStoragePath):
            conn_id = conn_id or args[0].conn_id
            protocol = protocol or args[0].protocol
        elif args and "://" in (text := str(args[0])):
            parts = urlsplit(text)
            user, at, host = parts.netloc.rpartition("@")
            protocol = protocol or parts.scheme
            if at:
                conn_id = conn_id or user
                args = (text.replace(f"//{parts.netloc}", f"//{host}", 1), *args[1:])
        super().__init__(*args, protocol=protocol or "file", **storage_options)
        self._conn_id = conn_id
        self._connect(self.__wrapped__)

    def _make(cls: Any, instance: ObjectStoragePath | None, upath: Any) -> Any:
        if isinstance(upath, ObjectStoragePath):
            return upath
        made = object.__new__(cls)
        made.__wrapped__ = upath
        made._conn_id = instance._conn_id if instance is not None else None
        made._connect(upath)
        return made

    _from_upath = _OfInstance(_make)

    def _connect(self, upath: Any) -> None:
        if self._conn_id is not None:
            upath._fs_cached = _WhenTouched(self.protocol or "file", self._conn_id)

    @property
    def conn_id(self) -> str | None:
        """Connection by which the store is reached."""
        return self._conn_id

    @property
    def bucket(self) -> str:
        """Bucket, container or host."""
        return "" if self.protocol in ("", "file") else self.__wrapped__.path.lstrip("/").partition("/")[0]

    container = bucket

    @property
    def key(self) -> str:
        """Name within the bucket."""
        path: str = self.__wrapped__.path
        return path if self.protocol in ("", "file") else path.lstrip("/").partition("/")[2]

    @property
    def namespace(self) -> str:
        """Protocol and bucket."""
        return f"{self.protocol}://{self.bucket}" if self.bucket else str(self.protocol)

    def __hash__(self) -> int:
        return hash((self._conn_id, str(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectStoragePath) and (self._conn_id, str(self)) == (other._conn_id, str(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def is_relative_to(self, other: Any, /, *_: Any, **__: Any) -> bool:
        """Whether it lies below `other`, whatever connections lead to them."""
        there = other if isinstance(other, ObjectStoragePath) else ObjectStoragePath(other)
        mine, base = str(self.__wrapped__.path).rstrip("/"), str(there.__wrapped__.path).rstrip("/")
        return self.protocol == there.protocol and (mine == base or mine.startswith(base + "/"))

    def samestore(self, other: Any) -> bool:
        """Whether both are reached by the same protocol and connection."""
        return isinstance(other, ObjectStoragePath) and (self.protocol, self._conn_id) == (other.protocol, other._conn_id)

    def samefile(self, other_path: Any) -> bool:
        """Whether both name the same object."""
        other = other_path if isinstance(other_path, ObjectStoragePath) else ObjectStoragePath(other_path)
        return self.samestore(other) and self.__wrapped__.path == other.__wrapped__.path

    # Facts

    def stat(self, *, follow_symlinks: bool = True) -> StatResult:
        """What the store knows of it, also as `st_size` and the like."""
        return StatResult({**self.fs.stat(self.path), "protocol": self.protocol, "conn_id": self._conn_id})

    def size(self) -> int:
        """Bytes."""
        return int(self.fs.size(self.path))

    def checksum(self) -> int:
        """Changes when the content does."""
        return int(self.fs.checksum(self.path))

    def ukey(self) -> str:
        """Hash of what the store says of it."""
        return str(self.fs.ukey(self.path))

    def read_block(self, offset: int, length: int, delimiter: bytes | None = None) -> Any:
        """Some bytes, from delimiter to delimiter if one is given."""
        return self.fs.read_block(self.path, offset, length, delimiter=delimiter)

    def sign(self, expiration: int = 100, **kwargs: Any) -> Any:
        """An address by which anybody may read it for so many seconds."""
        return self.fs.sign(self.path, expiration, **kwargs)

    # Copying

    def copy(self, dst: Any, recursive: bool = False, **kwargs: Any) -> None:
        """Copy to `dst`, which may be in another store. A folder needs `recursive`."""
        target = dst if isinstance(dst, ObjectStoragePath) else ObjectStoragePath(str(dst))
        if self.is_dir():
            if not recursive:
                raise IsADirectoryError(f"{self} is a folder: copy it with recursive=True")
            if target.is_file():
                raise ValueError("Cannot copy directory to a file.")
            below = target / self.name if target.is_dir() else target
            for found in self.fs.find(self.path):
                relative = str(found).removeprefix(str(self.path).rstrip("/")).lstrip("/")
                (self / relative)._copy_file(below / relative, **kwargs)
            return
        if not self.exists():
            raise FileNotFoundError(f"{self} does not exist")
        self._copy_file(target / self.name if str(dst).endswith("/") or target.is_dir() else target, **kwargs)

    def _copy_file(self, target: ObjectStoragePath, **kwargs: Any) -> None:
        if target.protocol in ("", "file", "local", "memory"):
            target.parent.mkdir(parents=True, exist_ok=True)
        if self.samestore(target):
            self.fs.copy(self.path, target.path, **kwargs)
            return
        with self.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)

    def copy_into(self, target_dir: Any, recursive: bool = False, **kwargs: Any) -> None:
        """Copy into a folder, under its own name."""
        folder = target_dir if isinstance(target_dir, ObjectStoragePath) else ObjectStoragePath(str(target_dir))
        self.copy(folder / self.name, recursive, **kwargs)

    def move(self, path: Any, recursive: bool = False, **kwargs: Any) -> None:
        """Copy, then delete here; within a store the store may do it at once."""
        target = path if isinstance(path, ObjectStoragePath) else ObjectStoragePath(str(path))
        if self.samestore(target) and not self.is_dir() and not target.is_dir():
            self.fs.move(self.path, target.path, **kwargs)
            return
        self.copy(path, recursive, **kwargs)
        self.fs.rm(self.path, recursive=recursive)

    def move_into(self, target_dir: Any, recursive: bool = False, **kwargs: Any) -> None:
        """Move into a folder, under its own name."""
        folder = target_dir if isinstance(target_dir, ObjectStoragePath) else ObjectStoragePath(str(target_dir))
        self.move(folder / self.name, recursive, **kwargs)

    def replace(self, target: Any) -> Any:
        """Move, overwriting what is there; the new path."""
        there = target if isinstance(target, ObjectStoragePath) else ObjectStoragePath(str(target), conn_id=self._conn_id)
        self.move(there, recursive=self.is_dir())
        return there

    @classmethod
    def cwd(cls) -> Self:
        """Stores have no current folder."""
        raise NotImplementedError("an object store has no current folder")

    @classmethod
    def home(cls) -> Self:
        """Stores have no home."""
        raise NotImplementedError("an object store has no home folder")

    # As an XCom

    def serialize(self) -> dict[str, Any]:
        """Address, connection and options: what an XCom holds."""
        return {"path": str(self), "conn_id": self._conn_id, "kwargs": dict(self.storage_options)}

    @classmethod
    def deserialize(cls, data: dict[str, Any], version: int) -> ObjectStoragePath:
        """Inverse of `serialize`."""
        if version > cls.__version__:
            raise ValueError(f"Cannot deserialize version {version} of ObjectStoragePath; this worker knows {cls.__version__}")
        options = dict(data.get("kwargs") or {})
        return cls(data["path"], conn_id=data.get("conn_id") or options.pop("conn_id", None), **options)


class _WhenTouched:
    """Stands for a file system until something is asked of it."""

    def __init__(self, protocol: str, conn_id: str) -> None:
        self.__dict__["_where"] = (protocol, conn_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(attach(*self._where).fs, name)

    def __eq__(self, other: object) -> bool:
        return getattr(other, "_where", None) == self._where

    def __hash__(self) -> int:
        return hash(self._where)


__all__ = ["ObjectStoragePath", "StatResult", "attach", "filesystem_for"]
