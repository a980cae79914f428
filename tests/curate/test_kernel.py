"""Kernels are plain functions that come back from the disk cache in the next process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate import kernel
from curate.column import view
from curate.errors import KernelError
from curate.index import index
from filters import fineweb, gopher
from tokenizer import pretokenize

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"


def test_a_kernel_measures_each_document():
    texts = index(view(pa.array(["two words", "", "one"])))
    assert kernel.each(gopher.word_count.measure, texts).tolist() == [2, 0, 1]


def test_no_documents_give_no_numbers():
    texts = index(view(pa.array([], pa.string())))
    assert kernel.each(gopher.word_count.measure, texts).tolist() == []


def test_a_kernel_is_compiled_once():
    measure = gopher.word_count.measure
    assert kernel.kernel(measure) is kernel.kernel(measure)


def test_a_kernel_is_plain_python_too():
    texts = index(view(pa.array(["two words"])))
    document = kernel.Document(
        texts.text.data,
        int(texts.characters[0]),
        texts.words,
        texts.lines,
        texts.paragraphs,
        texts.repeats,
        texts.grams,
        int(texts.rows[0]),
        texts.heads,
        texts.traits,
        texts.slots,
        texts.counts,
        texts.keys,
    )
    assert gopher.word_count.measure(document) == 2
    assert gopher.mean_word_length.measure(document) == 4


SCRIPT = """
import numba.core.event as event
compiled = []
class Listener(event.Listener):
    def on_start(self, start):
        compiled.append(str(start.data))
    def on_end(self, end):
        pass
event.register("numba:compile", Listener())
import pyarrow as pa
from curate.filter import Filter
from filters import gopher, repetition
stage = Filter((gopher.word_count, gopher.bullet_lines, repetition.top_2gram))
stage(pa.RecordBatch.from_pydict({"text": ["some words here"]}))
assert not compiled, compiled
"""


@pytest.mark.skipif(PLAIN, reason="nothing is compiled")
def test_a_second_process_compiles_nothing_and_a_copy_elsewhere_neither(tmp_path):
    root = Path(__file__).resolve().parents[2]
    for package in ("curate", "filters", "tokenizer"):
        shutil.copytree(root / package, tmp_path / package)
    warm = SCRIPT.replace("assert not compiled, compiled", "")
    for folder, script in ((root, warm), (root, SCRIPT), (tmp_path, SCRIPT)):
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("file", "changed", "matters"),
    [
        (fineweb, "fineweb.py", True),
        (fineweb, "utf8.py", True),  # its helpers
        (fineweb, "letters.txt", True),  # the table of those helpers
        (fineweb, "terminal_punctuation.txt", True),
        (fineweb, "signal.py", False),  # holds no helpers
        (fineweb, "url_soft_words.txt", False),  # of another file
        (pretokenize, "automaton.py", True),  # its constants
        (pretokenize, "vectors.py", True),
    ],
)
def test_a_cache_is_named_after_all_that_its_kernels_are_made_of(
    file, changed, matters, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = Path(file.__file__)
    first = kernel.cache_folder(source)
    assert first.is_dir() and first.is_relative_to(tmp_path)
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: real(path) + b"#" * (path.name == changed))
    assert (kernel.cache_folder(source) != first) == matters


def undecorated(text):
    return len(text)


@kernel.helper
def decoded(text):
    return text.decode()


def decodes(document):
    return float(len(document.text.decode()))


def decodes_in_a_helper(document):
    return decoded(document.text)


def calls_a_plain_function(document):
    return float(undecorated(document.text))


def allocates(document):
    return float(len(np.zeros(len(document.text))))


def returns_nothing(document):
    pass


def asks_for_more(document):
    return document.colour


BYTES = "Unknown attribute 'decode' of type readonly array(uint8, 1d, C); document.text is an array"


@pytest.mark.skipif(PLAIN, reason="nothing is compiled")
@pytest.mark.parametrize(
    ("measure", "at", "said"),
    [
        (decodes, decodes, BYTES),
        (decodes_in_a_helper, decoded.py_func if not PLAIN else decoded, BYTES),
        (calls_a_plain_function, calls_a_plain_function, "decorate it with @helper"),
        (allocates, allocates, "there is no zeros(int64) in a kernel; a kernel makes no arrays"),
        (returns_nothing, returns_nothing, "return a number on every path"),
        (asks_for_more, asks_for_more, "Unknown attribute 'colour' of type Document"),
    ],
)
def test_a_mistake_in_a_filter_is_told_by_place_and_reason(measure, at, said):
    with pytest.raises(KernelError) as caught:
        kernel.kernel(measure)
    (line,) = str(caught.value).splitlines()
    place, _, rest = line.partition(": ")
    path, _, number = place.rpartition(":")
    assert Path(path).resolve() == Path(__file__).resolve()
    assert 0 <= int(number) - at.__code__.co_firstlineno <= 2
    assert rest.startswith(f"test_kernel.{measure.__name__} cannot be compiled: ")
    assert said in rest


OOPS = '''"""Oops: a mistake."""

import pyarrow as pa

from curate.kernel import helper
from curate.signal import index_signal, signal


@helper
def twice(text):
    return text.decode() * 2


@signal(low=1)
def wrong(document) -> float:
    """Wrong."""
    return float(len(document.text.decode()))


@index_signal(low=1)
def indexed(batch, index):
    """Wrong in a helper of its own."""
    return twice(index.text.data)
'''


@pytest.mark.skipif(PLAIN, reason="nothing is compiled")
def test_a_run_with_a_mistaken_filter_ends_with_one_line(tmp_path):
    root = Path(__file__).resolve().parents[2]
    for package in ("curate", "filters", "tokenizer", "trainer", "pipelines"):
        shutil.copytree(root / package, tmp_path / package)
    (tmp_path / "filters" / "oops.py").write_text(OOPS)
    (tmp_path / "one.jsonl").write_text('{"text": "a text"}\n')
    for name, line in (("wrong", 17), ("indexed", 11)):
        recipe = f"stages: [html.Extract, filter: [oops.{name}]]"
        (tmp_path / "oops.yaml").write_text(recipe)
        command = [sys.executable, "-m", "curate", "run", "oops.yaml", "--input", "one.jsonl"]
        done = subprocess.run(
            [*command, "--output", f"out-{name}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"curate: filters/oops.py:{line}: ") and "'decode'" in last
        assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 2


@pytest.mark.skipif(PLAIN, reason="plain Python compiles nothing")
def test_a_helper_that_is_kept_is_loaded_without_what_compiles_helpers():
    script = (
        "import sys; from tokenizer.counting import count_pieces; import pyarrow as pa\n"
        "assert count_pieces(pa.array(['a text']), 'gpt2').num_rows == 2\n"
        "print('numba.np.linalg' in sys.modules)"
    )
    said = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert said[1].stdout == "False\n"


def test_helpers_take_arrays_and_numbers():
    @kernel.helper
    def total(numbers, factor):
        found = 0.0
        for number in numbers:
            found += number * factor
        return found

    assert total(np.array([1.0, 2.0]), 3.0) == 9.0
