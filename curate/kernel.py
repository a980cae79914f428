"""The only file that imports numba: how kernels are compiled, cached and driven.

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
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.core.caching import UserProvidedCacheLocator
from numba.cpython.unsafe.numbers import trailing_zeros as _trailing_zeros
from numba.extending import intrinsic

from curate.column import Bytes, Hashes, Numbers, Offsets, View
from curate.errors import KernelError

_ROOT = Path(__file__).parents[1]
_HELPS = re.compile(r"^@(helper|borrowing|inlined)$", re.MULTILINE)
_IMPORT = re.compile(r"^from ((?:curate|filters|tokenizer)[.\w]*) import", re.MULTILINE)
_TABLE = re.compile(r'"([\w/-]+\.(?:txt|tsv))"')


@cache
def _sources(path: Path) -> frozenset[Path]:
    """A file of kernels, the files with helpers that it imports, and the tables that these name."""
    text = path.read_text(encoding="utf-8")
    found = {path}
    for name in _TABLE.findall(text):
        places = (path.parent, *(_ROOT / "filters").glob("lists/**/"))
        found |= {place / name for place in places if (place / name).is_file()}
    for module in _IMPORT.findall(text):
        source = _ROOT / f"{module.replace('.', '/')}.py"
        if source.is_file() and _HELPS.search(source.read_text(encoding="utf-8")):
            found |= _sources(source)
    return frozenset(found)


def cache_folder(path: Path = Path(__file__)) -> Path:
    """Where the compiled kernels of a file are kept, named after all that numba's check overlooks.

    numba notices a change in the file of a kernel, but neither in a helper of another file nor in a
    table that the kernel froze. Constants of kernels therefore stand in files that have helpers,
    and tables are read from files that are named in quotes where they are read.
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


@contextmanager
def _kept(function: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """While this function is declared, numba's settings and options keep it in its file's folder.

    They are put back, for a process may use numba for other things than ours.
    """
    before = _settings.CACHE_DIR, _settings.CACHE_LOCATOR_CLASSES
    _settings.CACHE_DIR = str(_folder(Path(function.__code__.co_filename)))
    _settings.CACHE_LOCATOR_CLASSES = f"{__name__}.{Place.__name__}"
    try:
        yield {"cache": True, "error_model": "numpy"}
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
        return numba.njit(**kept, **options)(function)


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


def _plain_trailing_zeros(bits: Any) -> int:
    return (int(bits) & -int(bits)).bit_length() - 1


@intrinsic
def _prefetch(_context: Any, array: Any, place: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(made.data, [arguments[1]]), cgutils.voidptr_t)
        words = [cgutils.int32_t] * 3
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, *words])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # To be read, kept as near as can be, data.
        builder.call(function, [address, *(cgutils.int32_t(word) for word in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, place), build


def _plain_prefetch(_array: Any, _place: Any) -> None:
    return None


def _loaded(context: Any, builder: Any, signature: Any, arguments: Any, count: int) -> Any:
    """So many entries of an array from a place on, as one vector."""
    made = context.make_array(signature.args[0])(context, builder, arguments[0])
    address = builder.gep(made.data, [arguments[1]])
    kind = ir.VectorType(address.type.pointee, count)
    vector = builder.load(builder.bitcast(address, kind.as_pointer()))
    vector.align = signature.args[0].dtype.bitwidth // 8
    return vector


@intrinsic
def _least_of_32(_context: Any, array: Any, place: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _loaded(context, builder, signature, arguments, 32)
        kind = ir.FunctionType(vector.type.element, [vector.type])
        name = f"llvm.vector.reduce.umin.v32i{vector.type.element.width}"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [vector])

    return array.dtype(array, place), build


def _plain_least_of_32(array: Any, place: Any) -> Any:
    return array[int(place) : int(place) + 32].min()


@intrinsic
def _alike_of_8(_context: Any, array: Any, place: Any, key: Any, mask: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _loaded(context, builder, signature, arguments, 8)
        kind = vector.type

        def eightfold(value: Any) -> Any:
            first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(cgutils.int32_t, 0))
            return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(cgutils.int32_t, 8), [0] * 8))

        differing = builder.and_(builder.xor(vector, eightfold(arguments[2])), eightfold(arguments[3]))
        equal = builder.icmp_unsigned("==", differing, ir.Constant(kind, [0] * 8))
        return builder.zext(builder.bitcast(equal, ir.IntType(8)), ir.IntType(64))

    return types.uint64(array, place, key, mask), build


def _plain_alike_of_8(array: Any, place: Any, key: Any, mask: Any) -> Any:
    alike = (array[int(place) : int(place) + 8] ^ key) & mask == 0
    return np.uint64(sum(1 << k for k in range(8) if alike[k]))


# Ask for an entry of an array before it is needed: what is not in a core's own cache comes
# meanwhile.
prefetch: Any = _plain_prefetch if _settings.DISABLE_JIT else _prefetch

# The smallest of 32 unsigned numbers from a place on. LLVM makes a chain of 31 comparisons of the loop that says the same.
least_of_32: Any = _plain_least_of_32 if _settings.DISABLE_JIT else _least_of_32
# Which of eight words from a place on equal a key in the bits of a mask, a bit for each.
alike_of_8: Any = _plain_alike_of_8 if _settings.DISABLE_JIT else _alike_of_8

# How many zeros a number other than 0 ends in, as bits; one instruction. numba has it for itself.
trailing_zeros: Any = _plain_trailing_zeros if _settings.DISABLE_JIT else _trailing_zeros


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
        options: Any = {**kept, "_nrt": False}  # see `borrowing`
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
