"""Events to bytes and back: MessagePack with the field names inside, behind a codec byte in the frame.

Names cost some bytes and buy that an older dispatcher reads a newer worker's events.
"""

import msgspec

from bus.errors import Undecodable
from bus.event import ExchangeBegan, ExchangeFinished

_encoder = msgspec.msgpack.Encoder()
_finished = msgspec.msgpack.Decoder(ExchangeFinished)
_began = msgspec.msgpack.Decoder(ExchangeBegan)

encode = _encoder.encode


def decode_finished(payload: bytes) -> ExchangeFinished:
    """Raises Undecodable."""
    try:
        return _finished.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Undecodable(f"no event: {error}") from error


def decode_began(payload: bytes) -> ExchangeBegan:
    """Raises Undecodable."""
    try:
        return _began.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Undecodable(f"no begin: {error}") from error
