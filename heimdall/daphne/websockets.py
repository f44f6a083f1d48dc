"""WebSockets with compression and back-pressure, whose frames are encoded once for all clients."""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache
from typing import Any

import autobahn.twisted.websocket
import autobahn.websocket.protocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet.tcp import Connection

from realtime.protocol import Close

MAX_FRAME_BYTES = MAX_WRITE_BYTES = 64 * 1024
# Shorter texts are sent as they are.
MIN_COMPRESSED_BYTES = 128
TEXT, COMPRESSED_TEXT = 0x81, 0xC1  # RFC 6455, 5.2 and RFC 7692, 6


def _leave_unformatted(value: object) -> object:
    return value


# Autobahn formats the arguments of its debug messages even if they are not logged. This took a
# tenth of the time of a handshake.
autobahn.websocket.protocol.pformat = _leave_unformatted
for _module in (autobahn.websocket.protocol, autobahn.twisted.websocket):
    _module.hltype = _module.hlval = _leave_unformatted


class BackpressureProtocol(WebSocketProtocol):
    """Pauses sending while the client does not read, and reading: each ping is answered."""

    may_write: asyncio.Event | None = None
    _window_bits = 0  # of the compression; 0: none

    def onOpen(self) -> None:  # noqa: N802
        self.may_write = asyncio.Event()
        self.may_write.set()
        if self._perMessageCompress is not None:
            self._window_bits = self._perMessageCompress.server_max_window_bits
        # Twisted calls pauseProducing when the socket's buffer is full, resumeProducing when empty.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        super().onOpen()

    def pauseProducing(self) -> None:  # noqa: N802
        assert self.may_write is not None
        self.may_write.clear()
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:  # noqa: N802
        assert self.may_write is not None
        self.may_write.set()
        self.transport.resumeProducing()

    stopProducing = resumeProducing  # noqa: N815

    def write_texts(self, texts: tuple[bytes, ...]) -> bool:
        """Write all text messages immediately, or none of them and return False."""
        may_write = self.may_write
        if may_write is None or not may_write.is_set() or self.state != self.STATE_OPEN:
            return False
        if may_write._waiters:  # noqa: SLF001
            return False  # earlier messages come first
        data = encode_texts(texts, self._window_bits)
        if len(data) > MAX_WRITE_BYTES:
            return False
        _write(self.transport, data)
        return True

    def serverSend(self, content: Any, binary: bool = False) -> None:  # noqa: N802
        if binary or self.state != self.STATE_OPEN:
            super().serverSend(content, binary)
        else:
            _write(self.transport, encode_texts((content.encode(),), self._window_bits))

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802
        if code == Close.SERVICE_RESTART:
            # Not sendClose, which accepts no code in the range 1000 to 2999 but 1000.
            self.sendCloseFrame(code=code, reasonUtf8=b"service restart")
        else:
            super().serverClose(code)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: N802, N803
        if self.may_write is not None:
            self.may_write.set()
        super().onClose(wasClean, code, reason)


# Many sockets get the same frames one after another.
@lru_cache(maxsize=8)
def encode_texts(texts: tuple[bytes, ...], window_bits: int) -> bytes:
    """The text messages as they are sent; `window_bits` of the compression, or 0 without it."""
    return b"".join(_encode_text(text, window_bits) for text in texts)


def _encode_text(text: bytes, window_bits: int) -> bytes:
    is_compressed = window_bits > 0 and len(text) >= MIN_COMPRESSED_BYTES
    payload = _deflate(text, window_bits) if is_compressed else text
    opcode, size = COMPRESSED_TEXT if is_compressed else TEXT, len(payload)
    if size < 126:
        head = bytes([opcode, size])
    elif size < 1 << 16:
        head = bytes([opcode, 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([opcode, 127]) + size.to_bytes(8, "big")
    return head + payload


def _deflate(text: bytes, window_bits: int) -> bytes:
    """Compress a message by itself (RFC 7692, 7.2.1).

    With the context of earlier messages it would be shorter, but each client would need its own
    compressor of 256 kB and its own bytes.
    """
    compressor = zlib.compressobj(wbits=-window_bits)
    return (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _write(transport: Any, data: bytes) -> None:
    """Write directly to the socket where its buffer is empty.

    Twisted would write in the next iteration of the loop and change the set of watched sockets
    twice for every frame. With TLS the transport is not the connection but encrypts for it, though
    it has all attributes of the connection too.
    """
    if (
        isinstance(transport, Connection)
        and not transport._tempDataBuffer  # noqa: SLF001
        and not transport.dataBuffer
        and transport.connected
    ):
        try:
            sent = transport.socket.send(data)
        except OSError:  # the buffer is full or the socket is closed; `write` handles both
            sent = 0
        data = data[sent:]
    if data:
        transport.write(data)


class CompressingFactory(WebSocketFactory):
    """Accepts permessage-deflate, which daphne declines by default."""

    protocol = BackpressureProtocol

    def setProtocolOptions(self, **options: Any) -> None:  # noqa: N802
        """Override the limit of one megabyte that daphne sets when it starts."""
        overrides = {
            "perMessageCompressionAccept": _accept_compression,
            # Client messages are short; a longer one closes the connection with code 1009.
            "maxFramePayloadSize": MAX_FRAME_BYTES,
            "maxMessagePayloadSize": MAX_FRAME_BYTES,
            "failByDrop": False,
        }
        super().setProtocolOptions(**{**options, **overrides})


def _accept_compression(offers: list[Any]) -> PerMessageDeflateOfferAccept | None:
    deflate = [offer for offer in offers if isinstance(offer, PerMessageDeflateOffer)]
    return PerMessageDeflateOfferAccept(deflate[0], no_context_takeover=True) if deflate else None
