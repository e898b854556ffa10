"""Server: the process that serves one review, to the browser that it opens.

lock → port → session.py, routes.py → guard.py → uvicorn, until it is interrupted
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from thresher.errors import ParameterError, RunError
from thresher.review.guard import Guard
from thresher.review.routes import routes
from thresher.review.session import Review
from thresher.run_folder import RunFolder

__all__ = ["LOOPBACK", "LOOPBACKS", "ReviewServer"]

LOOPBACK = "127.0.0.1"
LOOPBACKS = (LOOPBACK, "localhost", "::1")
WILDCARDS = ("0.0.0.0", "::", "")


class ReviewServer:
    """Serves one review until it is interrupted.

    Args:
        folder: A finished run with an audit.
        data: Folder of the images, when they have moved.
        host: Where to listen; anything but loopback is the caller's to warn of.
        port: 0 = any that is free.

    Raises:
        RunError: the run cannot be reviewed, or is being reviewed already.
        ParameterError: the port is taken, or the host is none of this machine.

    Attributes:
        review: Queue, evidence and decisions.
        url: Opens the review, once.
        address: The same without the token.
        named: The host as addresses name it.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        data: Path | None = None,
        host: str = LOOPBACK,
        port: int = 0,
    ) -> None:
        self._lock = ReviewLock(folder)
        try:
            self._socket = listening(host, port)
            try:
                self.review = Review(folder, data)
            except BaseException:
                self._socket.close()
                raise
        except BaseException:
            self._lock.release()
            raise
        self.port: int = self._socket.getsockname()[1]
        self.named = f"[{host}]" if ":" in host else host
        # a tunnel's beginning is a loopback address, wherever its end is
        names = {self.named, LOOPBACK, "localhost"}
        hosts = frozenset(f"{name.lower()}:{self.port}" for name in names)
        self.address = f"http://{self.named}:{self.port}/"
        self.app = Guard(routes(self.review), hosts)
        self.url = f"{self.address}open?token={self.app.token}"
        self._lock.tell(self.address)
        self.decided = 0  # samples, when it has ended

    def serve(self) -> None:
        """Serve until interrupted; KeyboardInterrupt is what ends it."""
        import uvicorn

        config = uvicorn.Config(
            self.app,
            access_log=False,  # an access log would hold the token
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=2,
            lifespan="off",
            loop="asyncio",
            http="h11",
        )
        try:
            uvicorn.Server(config).run(sockets=[self._socket])
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the port, the log and the lock."""
        self.decided = self.review.count()
        self._socket.close()
        self.review.log.close()
        self._lock.release()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ParameterError: the port is taken or out of range, or the host is none of this machine, or
            all of its addresses.
    """
    if host in WILDCARDS:
        raise ParameterError(
            f'"{host}" is every address of this machine; the page answers to one name alone.',
            "Name the address that the other machine will use.",
        )
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen()
    except (OSError, OverflowError) as error:
        found.close()
        raise ParameterError(
            f"Cannot listen on {host}:{port}: {error}.", "Leave --port out to take a free one."
        ) from error
    return found


class ReviewLock:
    """One review at a time: a locked file in the run folder with the address of the one at work.

    The lock ends with the process, however that ends. File systems without locks have none.

    Raises:
        RunError: there is another one, or the folder cannot be written.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path / ".review"
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise RunError(
                f"Cannot write to {folder.path}: {os.strerror(error.errno or 0)}.",
                "Decisions are kept in the run folder: make it writable, or copy the run.",
            ) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            address = os.read(self._handle, 1000).decode(errors="replace")
            os.close(self._handle)
            where = f" at {address}" if address else ""
            raise RunError(
                f"The run in {folder.path} is being reviewed already{where}.",
                "Go on there, or stop that review with Ctrl+C.",
            ) from error
        except OSError:
            pass

    def tell(self, address: str) -> None:
        """Write where the review is."""
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, address.encode(), 0)

    def release(self) -> None:
        """Let others review."""
        if self._handle >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = -1
