"""Published archives: fetched, checked against their published checksum, then unpacked."""

import dataclasses
import hashlib
import http.client
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from lin_jax.errors import CorpusError


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip or tar file of a public record and its published MD5."""

    name: str
    md5: str


def fetch(archive: Archive, url: str, folder: Path) -> None:
    """Download and unpack an archive into a folder; a folder that already holds it is left alone.

    The archive is unpacked only when its checksum is right, and the folder is marked only when all
    of it is there, so an interrupted download is simply run again.

    Args:
        archive: what to fetch.
        url: the address it has.
        folder: where to unpack; made when missing.

    Raises:
        CorpusError: no connection, a wrong checksum, a broken archive, or no space.
    """
    done = folder / f".{archive.name}.md5"
    if done.exists() and done.read_text() == archive.md5:
        return
    part = folder / f".{archive.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        checksum = _download(url, part)
        if checksum != archive.md5:
            raise CorpusError(
                f"{url}: checksum {checksum} is not the published {archive.md5}: "
                "run again; if it stays so, download the archive by hand"
            )
        if archive.name.endswith(".zip"):
            with zipfile.ZipFile(part) as file:
                file.extractall(folder)
        else:
            with tarfile.open(part) as file:
                file.extractall(folder, filter="data")
        done.write_text(archive.md5)
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
    ) as error:
        raise CorpusError(
            f"cannot fetch {url} ({error}): check the connection and run again"
        ) from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise CorpusError(f"{url}: not a whole archive ({error}): run again") from error
    except OSError as error:
        raise CorpusError(
            f"cannot write to {folder} ({error.strerror or error}): free space or permissions"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _download(url: str, path: Path) -> str:
    """Stream an address into a file with a progress bar; returns the MD5 of what came."""
    from tqdm import tqdm

    digest = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(url, timeout=60) as response, path.open("wb") as file:
        total = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(
            total=total, unit="B", unit_scale=True, desc=path.stem.lstrip("."), disable=None
        ) as bar:
            while block := response.read(1 << 20):
                digest.update(block)
                file.write(block)
                bar.update(len(block))
    return digest.hexdigest()
