"""OpenAI's o200k_base, whose vocabulary is shipped: counting needs no network. Loaded when it is first needed.

Loading takes about a second of a thread and 75 MiB that stay. Other makers' models cut text a little differently: the
count is an estimate for them, and is marked so in any case.
"""

import lzma
import threading
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tiktoken import Encoding

VOCABULARY: Final = Path(__file__).with_name("vendor") / "o200k_base.tiktoken.xz"
"""A line for each token: base64 of its bytes, and its rank."""
_PIECE: Final = 8192  # characters that are cut at once: the pattern goes back far in long runs of one kind
_PATTERN: Final = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


class Tokenizer:
    """For threads."""

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._encoding: Encoding | None = None

    @property
    def is_loaded(self) -> bool:
        return self._encoding is not None

    def count(self, text: str) -> int:
        """The number of model tokens. Blocks, the first time for a second."""
        with self._loading:
            encoding = self._encoding = self._encoding or _load()
        pieces = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
        return sum(len(encoding.encode_ordinary(piece)) for piece in pieces)


def _load() -> "Encoding":
    from tiktoken import Encoding  # here: most workers never need it

    lines = lzma.decompress(VOCABULARY.read_bytes()).splitlines()
    ranks = {b64decode(token): rank for rank, token in enumerate(line.partition(b" ")[0] for line in lines)}
    return Encoding("o200k_base", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
