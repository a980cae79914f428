"""The only file but `vectors.py` that imports numba: how kernels are compiled, cached and driven.

A kernel is a plain function `float64(Document)`. It is compiled when it is first driven, and comes
back from the disk cache in the next process. All kernels have one type, so one driver serves all.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numba import types
from numba.core import errors
from numba.core.caching import FunctionCache, UserProvidedCacheLocator
from numba.core.runtime.nrt import rtsys

from curate.column import Bytes, Hashes, Numbers, Offsets, View
from curate.errors import KernelError

_ROOT = Path(__file__).parents[1]
_HELPS = re.compile(r"^@(helper|borrowing|inlined|intrinsic)$", re.MULTILINE)
_IMPORT = re.compile(
    r"^from ((?:curate|filters|tokenizer)[.\w]*) import (\([^)]*\)|.*)$", re.MULTILINE
)
_CONSTANT = re.compile(r"\b[A-Z][A-Z\d_]+\b")
_TABLE = re.compile(r'"([\w/-]+\.(?:txt|tsv))"')


@cache
def _sources(path: Path) -> frozenset[Path]:
    """A file of kernels, files whose helpers or constants it imports, the tables named in these."""
    text = path.read_text(encoding="utf-8")
    found = {path}
    for name in _TABLE.findall(text):
        places = (path.parent, *(_ROOT / "filters").glob("lists/**/"))
        found |= {place / name for place in places if (place / name).is_file()}
    for module, names in _IMPORT.findall(text):
        source = _ROOT / f"{module.replace('.', '/')}.py"
        if not source.is_file():
            continue
        if _HELPS.search(source.read_text(encoding="utf-8")):
            found |= _sources(source)
        elif _CONSTANT.search(names):
            found.add(source)
    return frozenset(found)


def cache_folder(path: Path = Path(__file__)) -> Path:
    """Where the compiled kernels of a file are kept, named after all that numba's check overlooks.

    numba notices a change in the file of a kernel, but neither in a helper of another file nor in a
    table that the kernel froze. Tables are therefore read from files that are named in quotes where
    they are read.
    """
    key = hashlib.sha256(numba.__version__.encode())
    for source in sorted(_sources(path)):
        key.update(source.read_bytes())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "crawl-to-model" / f"{path.stem}-{key.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # no home, or one that cannot be written
        folder = Path(tempfile.gettempdir()) / f"crawl-to-model-{os.getuid()}" / folder.name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


Function = TypeVar("Function", bound=Callable[..., Any])

_settings: Any = numba.config


@cache
def _folder(path: Path) -> Path:
    return cache_folder(path)


class Place(UserProvidedCacheLocator):
    """Kernels lie in the folder itself, wherever their source lies.

    numba puts the path of the source below it, so that a second checkout, another node's copy or
    an installed package would compile everything again.
    """

    @classmethod
    def get_suitable_cache_subpath(cls, _py_file: str) -> str:
        return ""


class Loaded(FunctionCache):
    """Kernels that are kept are loaded without what compiles kernels.

    numba imports and registers all that it knows to compile before it loads any: 0.3 s and 27 MB.
    It does so again by itself before it compiles.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)
        load: Any = self._load_overload
        return load(sig, target_context)


@contextmanager
def _kept(function: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """While this function is declared, numba's settings and options keep it in its file's folder.

    They are put back, for a process may use numba for other things than ours.
    """
    before = _settings.CACHE_DIR, _settings.CACHE_LOCATOR_CLASSES
    _settings.CACHE_DIR = str(_folder(Path(function.__code__.co_filename)))
    _settings.CACHE_LOCATOR_CLASSES = f"{__name__}.{Place.__name__}"
    try:
        yield {"error_model": "numpy"}
    finally:
        _settings.CACHE_DIR, _settings.CACHE_LOCATOR_CLASSES = before


# What numba's answer to a usual mistake does not say.
_ADVICE = {
    r"array\(uint8, 1d, C\)": "document.text is an array of byte values",
    r"<class 'function'>": "decorate it with @helper, from curate/kernel.py",
    r"No conversion from none to float64": "return a number on every path, math.nan if undefined",
    r"NRT required|Only accept returning of array": (
        "a kernel makes no arrays and lists; document.slots, counts and keys are scratch space"
    ),
}
_REASON_LETTERS = 200


@contextmanager
def compiling(name: str, function: Callable[..., Any] | None = None) -> Iterator[None]:
    """Turn a mistake that numba finds in a filter into an error that says where and what."""
    try:
        yield
    except (errors.NumbaError, errors.UnsupportedBytecodeError) as error:
        raise KernelError(_mistake(name, function, str(error))) from error


def _mistake(name: str, function: Callable[..., Any] | None, said: str) -> str:
    said = re.sub(r"\bDocument\(.*\)", "Document", said)  # all its types, on one line
    where = re.search(r'^File "(.+)", line (\d+)', said, re.MULTILINE)  # indented: inside numba
    place = ""
    if where:
        place = f"{where[1]}:{where[2]}: "
    elif function:
        path = os.path.relpath(function.__code__.co_filename)
        place = f"{path}:{function.__code__.co_firstlineno}: "
    lines = [line for line in said.splitlines() if not line.startswith("Failed in nopython")]
    reason = next(filter(str.strip, lines), said).strip()
    call = re.search(r"^\s*>>> (.+)", said, re.MULTILINE)
    if reason.endswith("for signature:") and call:
        reason = f"there is no {call[1]} in a kernel"
    if len(reason) > _REASON_LETTERS:
        reason = f"{reason[:_REASON_LETTERS]} ..."
    advice = [text for pattern, text in _ADVICE.items() if re.search(pattern, said)]
    return "; ".join([f"{place}{name} cannot be compiled: {reason}", *advice[:1]])


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    """The function as numba compiles it, kept in the folder of its file."""
    with _kept(function) as kept:
        compiled = numba.njit(**kept, **options)(function)
        if not _settings.DISABLE_JIT:
            make: Any = Loaded
            compiled._cache = make(function)  # numba has no other way in
        return compiled


def helper(function: Any) -> Any:
    """Compile a function over arrays and numbers; callable from kernels and from Python."""
    return _compiled(function, nogil=True)


def inlined(function: Function) -> Function:
    """A helper that numba itself copies into its callers, where `borrowing` is too slow.

    Takes about twice as long to compile, and is mostly no faster; but fastText's sums, which take
    arrays out of tuples at every word, were 1.6 times as fast.
    """
    return cast(Function, _compiled(function, inline="always"))


def borrowing(function: Function) -> Function:
    """A helper that only borrows its arrays, and always becomes a part of its caller.

    It counts no references to arrays, and makes none; what it calls borrows as well. Counting costs
    about 40 ns a call with an array, and a call itself 10 to 30: an array is seven words on the
    stack. Left to itself LLVM calls what is long, and merging a piece took half as long again;
    compiling everything takes no longer.
    """
    return cast(Function, _compiled(function, nogil=True, _nrt=False, forceinline=True))


class Spans(NamedTuple):
    """Pieces of a text: piece i is text[starts[i]:ends[i]]."""

    starts: Offsets
    ends: Offsets
    characters: Offsets
    hashes: Hashes  # equal pieces have equal hashes, and (but for one in 2**64) only they


class Grams(NamedTuple):
    """The n-grams of up to ten words that occur twice or more, by size and then by place.

    Those of n words are entries ends[n - 1] to ends[n]; `places` says with which word each begins,
    `firsts` with which word the first that equals it.
    """

    places: Offsets
    firsts: Offsets
    ends: Offsets  # eleven


class Document(NamedTuple):
    """One text and its index, as a kernel sees it; `slots`, `counts`, `keys` are scratch space."""

    text: Bytes
    characters: int
    words: Spans  # separated by white space
    lines: Spans  # separated by "\n"; a text has one more line than newlines
    paragraphs: Spans  # of the stripped text, separated by two newlines or more
    repeats: Bytes  # for each word the largest n <= 10 whose n words from here occur elsewhere too
    grams: Grams
    rows: int  # lines of `str.splitlines`, blank ones too
    heads: Offsets  # the first word of each of these lines that has any
    traits: Bytes  # for each word LETTER if it has a letter, WIDE if it is not ASCII alone
    slots: Offsets  # at least twice as long as there are words or lines
    counts: Offsets
    keys: Hashes


LETTER, WIDE = 1, 2


class Index(NamedTuple):
    """A column of texts, cut once: row i has the words from word_offsets[i] on, and so forth."""

    text: View
    characters: Offsets
    words: Spans
    word_offsets: Offsets
    lines: Spans
    line_offsets: Offsets
    paragraphs: Spans
    paragraph_offsets: Offsets
    repeats: Bytes
    grams: Grams  # row i has the ends from 11 i on
    rows: Offsets
    heads: Offsets
    head_offsets: Offsets
    traits: Bytes
    slots: Offsets
    counts: Offsets
    keys: Hashes


Measure = Callable[[Document], float]


def _array(dtype: Any, *, mutable: bool = False) -> Any:
    return types.Array(dtype, 1, "C", readonly=not mutable)


_OFFSETS = _array(types.int32)
_SPANS = types.NamedTuple([_OFFSETS, _OFFSETS, _OFFSETS, _array(types.uint64)], Spans)
_DOCUMENT = types.NamedTuple(
    [
        *(_array(types.uint8), types.int32, _SPANS, _SPANS, _SPANS, _array(types.uint8)),
        types.NamedUniTuple(_OFFSETS, 3, Grams),
        *(types.int32, _OFFSETS, _array(types.uint8)),
        *(_array(types.int32, mutable=True), _array(types.int32, mutable=True)),
        _array(types.uint64, mutable=True),
    ],
    Document,
)


@cache
def kernel(measure: Measure) -> Any:
    """The compiled kernel of a plain function, from the disk cache where it is there.

    As a C callback it has no wrapper that unpacks a Document from Python: 30 kernels were loaded
    and driven in 0.7 s, as ordinary jitted functions in 11 s.
    """
    if _settings.DISABLE_JIT:
        return measure
    name = f"{measure.__module__.rpartition('.')[2]}.{measure.__name__}"
    with _kept(measure) as kept, compiling(name, measure):
        options: Any = {**kept, "cache": True, "_nrt": False}  # see `borrowing`
        return numba.cfunc(types.float64(_DOCUMENT), **options)(measure)


@borrowing
def _pieces(spans: Spans, first: int, last: int) -> Spans:
    return Spans(
        spans.starts[first:last],
        spans.ends[first:last],
        spans.characters[first:last],
        spans.hashes[first:last],
    )


@borrowing
def _drive(measure: Any, index: Index, numbers: Numbers) -> None:
    data, offsets = index.text
    for row in range(len(numbers)):
        word, next_word = index.word_offsets[row], index.word_offsets[row + 1]
        line, next_line = index.line_offsets[row], index.line_offsets[row + 1]
        first, last = index.paragraph_offsets[row], index.paragraph_offsets[row + 1]
        numbers[row] = measure(
            Document(
                data[offsets[row] : offsets[row + 1]],
                int(index.characters[row]),
                _pieces(index.words, word, next_word),
                _pieces(index.lines, line, next_line),
                _pieces(index.paragraphs, first, last),
                index.repeats[word:next_word],
                Grams(
                    index.grams.places,
                    index.grams.firsts,
                    index.grams.ends[11 * row : 11 * row + 11],
                ),
                int(index.rows[row]),
                index.heads[index.head_offsets[row] : index.head_offsets[row + 1]],
                index.traits[word:next_word],
                index.slots,
                index.counts,
                index.keys,
            )
        )


def each(measure: Measure, index: Index) -> Numbers:
    """What the kernel measures on each document of the index."""
    numbers = np.empty(len(index.text.offsets) - 1, np.float64)
    _drive(kernel(measure), index, numbers)
    return numbers
