"""Numbers of bytes as people write and read them."""

from curate.errors import RecipeError

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse(given: str, option: str) -> int:
    """The bytes that 512M or 4G stands for; raises RecipeError, naming the option."""
    unit = UNITS.get(given[-1:].upper(), 0)
    number = given[:-1] if unit else given
    if not (number.isascii() and number.isdigit() and int(number)):
        raise RecipeError(f"{option} {given}: write a number of bytes, such as 512M or 4G")
    return int(number) * (unit or 1)


def shown(count: int) -> str:
    """Bytes with a unit."""
    for unit in ("T", "G", "M", "K"):
        if count >= UNITS[unit]:
            return f"{count / UNITS[unit]:,.1f} {unit}iB"
    return f"{count} bytes"
