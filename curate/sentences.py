"""Where sentences end: by a rule that needs no list, no model and no language.

A sentence ends with . ? ! … or a wide form of them, closing quotes and brackets behind it
included, before white space or the end of its line (at once after a wide one); the rest of a line
is one more.
"""

import numpy as np

from curate.column import Bytes
from curate.eight import HIGH, ONES, below, eight, first, same, zeros
from curate.kernel import borrowing, helper
from curate.utf8 import break_size, code_point, may_be_space, space_size, starts_character

_NO_END, _SOFT_END, _WIDE_END, _CLOSER = 0, 1, 2, 3


@helper
def _role(code: int) -> int:
    """What a character is to the sentence that it may end."""
    if code < 0x80:
        if code == 46 or code == 63 or code == 33:
            return _SOFT_END
        return _CLOSER if code == 34 or code == 39 or code == 41 or code == 93 else _NO_END
    if code == 0x2026:  # "…"
        return _SOFT_END
    if code == 0x3002 or code == 0xFF01 or code == 0xFF1F:  # "。！？"
        return _WIDE_END
    quote = code == 0x2019 or code == 0x201D or code == 0xBB  # "’”»"
    wide = code == 0x300D or code == 0x300F or code == 0xFF09  # "」』）"
    return _CLOSER if quote or wide else _NO_END


_BETWEEN, _INSIDE, _AFTER_SOFT, _AFTER_WIDE = 0, 1, 2, 3


@helper
def _next_state(state: int, role: int) -> int:
    if role == _WIDE_END or (role != _NO_END and state == _AFTER_WIDE):
        return _AFTER_WIDE
    if role == _SOFT_END or (role == _CLOSER and state == _AFTER_SOFT):
        return _AFTER_SOFT
    return _INSIDE


@borrowing
def _matter(found: np.uint64) -> np.uint64:
    """The mask of the bytes that can end a sentence or its line, or begin a character that does."""
    ends = same(found, np.uint64(46)) | same(found, np.uint64(63)) | same(found, np.uint64(33))
    ends |= below(found, np.uint64(32))
    if found & HIGH != 0:
        ends |= same(found, np.uint64(0xC2)) | same(found, np.uint64(0xEF))
        ends |= zeros((found & np.uint64(0xFE) * ONES) ^ np.uint64(0xE2) * ONES)
    return np.uint64(ends)


@borrowing
def sentence_count(text: Bytes, start: int, end: int) -> int:
    """How many sentences this stretch has; a line break, as `str.splitlines` sees it, ends one."""
    count, state, at = 0, _BETWEEN, start
    while at < end:
        if state == _INSIDE and at + 8 <= end:
            ends = _matter(eight(text, at))
            if ends == 0:
                at += 8
                continue
            at += first(ends)
        byte = text[at]
        size = space_size(text, at, end) if may_be_space(byte) else 0
        if size > 0:
            ended = state >= _AFTER_SOFT or (state == _INSIDE and break_size(text, at, end) > 0)
            count += ended
            state = _BETWEEN if ended else state
            at += size
            continue
        if starts_character(byte):
            before = state
            state = _next_state(state, _role(code_point(text, at, end)))
            count += before == _AFTER_WIDE and state != _AFTER_WIDE
        at += 1
    return count + (state != _BETWEEN)


@borrowing
def sentence_end(text: Bytes, at: int, end: int) -> int:
    """Where the sentence that begins here ends, closing signs included; here is no white space."""
    state = _BETWEEN
    while at < end:
        if state == _INSIDE and at + 8 <= end:
            ends = _matter(eight(text, at))
            if ends == 0:
                at += 8
                continue
            at += first(ends)
        byte = text[at]
        size = space_size(text, at, end) if may_be_space(byte) else 0
        if size > 0:
            if state >= _AFTER_SOFT or (state == _INSIDE and break_size(text, at, end) > 0):
                return at
            at += size
            continue
        if starts_character(byte):
            before = state
            state = _next_state(state, _role(code_point(text, at, end)))
            if before == _AFTER_WIDE and state != _AFTER_WIDE:
                return at
        at += 1
    return at
