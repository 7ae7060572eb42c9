"""A small DNS server: one name, whose addresses a test chooses."""

import socket
import struct
import threading
from typing import Self

A, IN = 1, 1
NO_ERROR, NO_SUCH_NAME = 0x8180, 0x8183


class Dns:
    """Answers questions for the IPv4 addresses of ``name`` with `addresses`; all others with "no such name"."""

    def __init__(self, name: str, addresses: list[str]) -> None:
        self.name, self.addresses = name, addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                message, caller = self._socket.recvfrom(4096)
            except OSError:
                return
            self._socket.sendto(self._answer(message), caller)

    def _answer(self, message: bytes) -> bytes:
        end = message.index(b"\0", 12)
        labels, at = [], 12
        while at < end:
            labels.append(message[at + 1 : at + 1 + message[at]].decode("ascii"))
            at += 1 + message[at]
        (kind,) = struct.unpack_from(">H", message, end + 1)
        known = ".".join(labels) == self.name
        addresses = self.addresses if known and kind == A else []
        flags = NO_ERROR if known and self.addresses else NO_SUCH_NAME
        records = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", A, IN, 1, 4) + socket.inet_aton(address)
            for address in addresses
        )
        head = message[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
        return head + message[12 : end + 5] + records
