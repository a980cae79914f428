"""GPT-2's table: the printable characters by which byte-level files write bytes."""

PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]
HIDDEN = [byte for byte in range(256) if byte not in PRINTED]
BYTES = {chr(byte): byte for byte in PRINTED} | {
    chr(256 + i): byte for i, byte in enumerate(HIDDEN)
}


def spelled(token: str) -> bytes:
    """The bytes of a token that is written so."""
    return bytes(BYTES[letter] for letter in token)
