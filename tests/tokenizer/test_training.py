"""Counting and training are the same however the text is split, ordered, spilled or resumed."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter as Counts
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from curate.cli import app
from curate.errors import InputError, RecipeError
from tokenizer import corpus, counts, reference, training
from tokenizer.balance import ONE, shares_of, weights_of
from tokenizer.corpus import Part, line_blocks, parts_of, text_batches
from tokenizer.counts import Counter, merged, totals_of
from tokenizer.pretokenize import PATTERNS, splitter
from tokenizer.train import Train, add_batch, learn
from tokenizer.training import CountWorker, train_on_files
from tokenizer.vocabulary import load

COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
texts = st.lists(st.text("ab é\n", max_size=20), max_size=12)
TINY = 1  # byte of memory: every table is written out as soon as it is full


def counted(path, column="piece"):
    rows = pq.read_table(path).to_pylist()
    return {(row["group"], row["piece"]): row["count"] for row in rows}


def summed(paths, memory=1 << 30):
    found = Counts()
    for tallies in merged(paths, memory):
        for group, tally in tallies.items():
            for row in tally.counted()[0].to_pylist():
                found[group, row["piece"]] += row["count"]
    return found


def plain(texts, group=""):
    found = Counts()
    for text in texts:
        found.update((group, piece) for piece in reference.pieces(text, PATTERNS["gpt2"]))
    return found


def count(texts, path, memory=1 << 30, groups=None):
    counter = Counter(splitter("gpt2"), path.with_suffix(".runs"), memory)
    for k, text in enumerate(texts):
        counter.add(pa.array([text]), pa.array([groups[k]]) if groups else None)
    counter.finish(path)
    return path


@settings(deadline=None, max_examples=30)
@given(texts=texts, seed=st.integers(0, 5))
def test_the_split_and_order_of_the_input_do_not_matter(texts, seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("counts")
    order = random.Random(seed)
    shuffled = order.sample(texts, len(texts))
    cut = order.randint(0, len(texts))
    parts = [
        count(part, folder / f"{k}.parquet")
        for k, part in enumerate((shuffled[:cut], shuffled[cut:]))
    ]
    assert summed(parts) == plain(texts)
    assert summed([count(texts, folder / "whole.parquet")]) == plain(texts)


def words(number, seed=0):
    order = random.Random(seed)
    letters = "abcdefghijklmnop"
    sizes = [1 + int(order.expovariate(0.15)) for _ in range(number)]
    return ["".join(order.choices(letters, k=size)) for size in sizes]


@pytest.mark.skipif(not COMPILED, reason="a hundred thousand words take long as plain Python")
def test_a_file_of_counts_is_the_same_whatever_memory_there_was(tmp_path, monkeypatch):
    monkeypatch.setattr(counts, "LEAST", 1 << 20)
    batches = [" ".join(words(4000, seed)) for seed in range(20)]
    groups = ["en" if k % 3 else "de" for k in range(20)]
    whole = count(batches, tmp_path / "whole.parquet", groups=groups)
    little = count(batches, tmp_path / "little.parquet", TINY, groups)
    assert whole.read_bytes() == little.read_bytes()
    assert not (tmp_path / "little.runs").exists()
    expected = plain([t for t, g in zip(batches, groups, strict=True) if g == "en"], "en")
    expected += plain([t for t, g in zip(batches, groups, strict=True) if g == "de"], "de")
    assert counted(whole) == expected


@pytest.mark.skipif(not COMPILED, reason="a hundred thousand words take long as plain Python")
def test_many_runs_are_each_opened_once_in_a_round(tmp_path, monkeypatch):
    monkeypatch.setattr(counts, "LEAST", 1 << 19)
    opened = Counts()

    class Opened(pq.ParquetFile):
        def __init__(self, path):
            opened[path.name] += 1
            super().__init__(path)

    monkeypatch.setattr(counts.pq, "ParquetFile", Opened)
    batches = [" ".join(words(3000, seed)) for seed in range(50)]
    little = count(batches, tmp_path / "little.parquet", TINY)
    monkeypatch.undo()
    # Two rounds: a run that others were merged into has the name of the first of them.
    assert len(opened) > counts.WAYS
    assert max(opened.values()) == 2
    assert little.read_bytes() == count(batches, tmp_path / "whole.parquet").read_bytes()


@pytest.mark.skipif(not COMPILED, reason="a hundred thousand words take long as plain Python")
def test_many_stretches_of_hashes_hold_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr(counts, "LEAST", 1 << 20)
    paths = [count([" ".join(words(3000, k))], tmp_path / f"{k}.parquet") for k in range(4)]
    paths.append(count([" ".join(words(60_000, 9) * 16)], tmp_path / "large.parquet"))
    assert pq.read_metadata(paths[-1]).num_row_groups > pq.read_metadata(paths[0]).num_row_groups
    parts = list(merged(paths, 1 << 20))
    assert len(parts) > pq.read_metadata(paths[-1]).num_row_groups
    assert summed(paths, 1 << 20) == summed(paths)


def test_counts_pass_32_bits_when_files_are_merged(tmp_path):
    path = count(["ab ab"], tmp_path / "a.parquet")
    large = {"": (1 << 33) + 1}
    (tallies,) = merged([path, path], 1 << 30, large)
    rows = {row["piece"]: row["count"] for row in tallies[""].counted()[0].to_pylist()}
    assert rows == {b"ab": (1 << 34) + 2, b" ab": (1 << 34) + 2}
    vocabulary = learn([path] * 3, Train(vocab_size=258))[0]
    assert vocabulary.tokens[256] == b"ab"


@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=60), size=st.integers(1, 20), block=st.integers(1, 16))
def test_every_line_belongs_to_one_part(data, size, block, tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "PART_BYTES", size)
        patch.setattr(corpus, "BLOCK_BYTES", block)
        parts = parts_of(path)
        found = [b"".join(line_blocks(part)) for part in parts]
    assert b"".join(found) == data
    for part, lines in zip(parts, found, strict=True):
        begins = part.begin == 0 or data[part.begin - 1 : part.begin] == b"\n"
        assert not lines or lines.endswith(b"\n") or data.endswith(lines)
        assert begins or not lines or data[data.rfind(lines) - 1 : data.rfind(lines)] == b"\n"


def test_row_groups_are_shared_out(tmp_path, monkeypatch):
    rows = [f"text {k}" for k in range(10)]
    pq.write_table(pa.table({"text": rows}), tmp_path / "a.parquet", row_group_size=3)
    monkeypatch.setattr(corpus, "PART_BYTES", 1)
    parts = parts_of(tmp_path / "a.parquet")
    assert [(part.begin, part.end) for part in parts] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    found = [t for part in parts for b in text_batches(part) for t in b["text"].to_pylist()]
    assert found == rows


def write_corpus(folder):
    folder.mkdir()
    rows = [{"text": f"{' '.join(words(30, k))}\n", "language": "en"} for k in range(40)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.table({"text": [row["text"] for row in rows[:20]]}), folder / "b.parquet")
    (folder / "c.txt").write_text("".join(row["text"] for row in rows[10:30]))
    (folder / "d.txt.gz").write_bytes(gzip.compress(b"the end of the line\n" * 5))
    return sorted(folder.iterdir())


def fingerprints(folder, paths, workers, memory):
    said = train_on_files(paths, Train(vocab_size=400), folder, (workers, memory))
    return said["fingerprint"], (folder / "tokenizer.json").read_bytes(), said["parts"]


def test_the_tokenizer_is_the_same_for_any_workers_order_split_and_memory(tmp_path, monkeypatch):
    paths = write_corpus(tmp_path / "in")
    whole = fingerprints(tmp_path / "a", paths, 0, None)
    assert fingerprints(tmp_path / "b", paths[::-1], 2, None)[:2] == whole[:2]
    monkeypatch.setattr(corpus, "PART_BYTES", 1000)
    split = fingerprints(tmp_path / "c", paths, 0, 16 << 20)
    assert split[:2] == whole[:2]
    assert split[2] > whole[2]
    assert not (tmp_path / "c" / "work").exists()


def test_a_training_that_was_cut_off_goes_on(tmp_path, monkeypatch):
    paths = write_corpus(tmp_path / "in")
    uncut = fingerprints(tmp_path / "uncut", paths, 0, None)
    run = CountWorker.run
    done = []

    def cut_off(self, task, progress):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task["source"])
        return run(self, task, progress)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CountWorker, "run", cut_off)
        train_on_files(paths, Train(vocab_size=400), tmp_path / "cut")
    # One of the two that are there is damaged: it is counted again, the other one is not.
    first = sorted((tmp_path / "cut" / "work" / "pieces").iterdir())[0] / "pieces.parquet"
    first.write_bytes(first.read_bytes()[:-1])
    said = train_on_files(paths, Train(vocab_size=400), tmp_path / "cut")
    assert (said["parts"], said["reused"]) == (4, 1)
    assert said["fingerprint"] == uncut[0]
    assert (tmp_path / "cut" / "tokenizer.json").read_bytes() == uncut[1]


def test_a_file_that_changed_after_it_was_cut_off_is_counted_again(tmp_path, monkeypatch):
    paths = write_corpus(tmp_path / "in")

    def cut_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "learned", cut_off)
        train_on_files(paths, Train(vocab_size=400), tmp_path / "cut")
    text, times = paths[2], paths[2].stat()
    text.write_bytes(text.read_bytes().replace(b"e", b"o"))
    os.utime(text, ns=(times.st_atime_ns, times.st_mtime_ns))
    said = train_on_files(paths, Train(vocab_size=400), tmp_path / "cut")
    assert (said["parts"], said["reused"]) == (4, 3)
    assert said["fingerprint"] == fingerprints(tmp_path / "uncut", paths, 0, None)[0]


def test_a_link_is_read_as_its_own_name_says(tmp_path):
    jsonl, link, copy = (tmp_path / name for name in ("a.jsonl", "b.txt", "c.txt"))
    jsonl.write_text('{"text": "to be"}\n' * 9)
    copy.write_text(jsonl.read_text())
    link.symlink_to(jsonl)
    said = [
        train_on_files([jsonl, one], Train(vocab_size=300), tmp_path / "o") for one in (link, copy)
    ]
    assert said[0]["fingerprint"] == said[1]["fingerprint"]
    assert said[0]["bytes"] == said[1]["bytes"] == 9 * (len("to be") + len('{"text": "to be"}\n'))


@pytest.mark.skipif(not COMPILED, reason="as plain Python it is not done before it is killed")
def test_a_killed_command_goes_on(tmp_path):
    paths = write_corpus(tmp_path / "in")
    uncut = fingerprints(tmp_path / "uncut", paths, 0, None)
    command = [sys.executable, "-m", "curate", "tokenizer", "train", "--vocab-size", "400"]
    command += ["--json"]
    command += ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "cut")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    pieces = tmp_path / "cut" / "work" / "pieces"
    while process.poll() is None and not (pieces.is_dir() and any(pieces.iterdir())):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = subprocess.run(command, check=True, capture_output=True)
    assert json.loads(again.stdout)["fingerprint"] == uncut[0]
    assert (tmp_path / "cut" / "tokenizer.json").read_bytes() == uncut[1]


# Balance


def test_weights_bring_groups_to_their_ratios():
    totals = {"en": [2, 9000], "de": [1, 1000], "": [1, 0]}
    weights = weights_of(totals, 1.0, {"en": 1, "de": 1})
    assert weights == {"en": round(ONE * 5 / 9), "de": 5 * ONE, "": 0}
    shares = shares_of(totals, weights)
    assert round(shares["de"]["trained_share"], 4) == 0.5
    assert shares["de"]["share"] == 0.1
    assert weights_of(totals, 1.0, {}) == {"en": ONE, "de": ONE, "": 0}
    # 0.9^.5 : 0.1^.5 = 3 : 1
    assert weights_of(totals, 0.5, {}) == {
        "en": round(ONE * 7.5 / 9),
        "de": round(2.5 * ONE),
        "": 0,
    }


def test_ratios_that_name_no_group_are_refused():
    with pytest.raises(InputError, match="none of the groups that there are: 'en'"):
        weights_of({"en": [1, 5]}, 1.0, {"english": 1})


def test_the_balance_of_languages_decides_what_is_merged_first(tmp_path):
    rows = [("the the the the", "en")] * 50 + [("und und und und", "de")] * 5
    table = pa.table({"text": [t for t, _ in rows], "language": [g for _, g in rows]})
    pq.write_table(table, tmp_path / "a.parquet")

    def first(**how):
        section = Train(vocab_size=260, special_tokens=(), balance="language", **how)
        said = train_on_files([tmp_path / "a.parquet"], section, tmp_path / "out")
        return load(tmp_path / "out").tokens[256], said["groups"]

    assert first(alpha=1.0)[0] == b"he"
    token, groups = first(ratios={"en": 1, "de": 3})
    assert token == b"nd"
    assert round(groups["de"]["trained_share"], 3) == 0.75
    assert groups["en"]["weight"] < 1 < groups["de"]["weight"]


def test_weighted_training_is_training_on_repeated_text(tmp_path):
    batches = [" ".join(words(300, seed))[:1500] for seed in range(4)]
    groups = ["a", "b", "a", "b"]
    path = count(batches, tmp_path / "a.parquet", groups=groups)
    assert totals_of([path]) == {g: [2, 3000] for g in "ab"}
    # Of as much text, b counts three times what a does: a half and three halves.
    section = Train(vocab_size=600, balance="language", ratios={"a": 1, "b": 3}, min_frequency=1)
    weighted, said = learn([path], section)
    assert [group["weight"] for group in said["groups"].values()] == [0.5, 1.5]
    repeated = [t for t, g in zip(batches, groups, strict=True) for _ in range(1 + 2 * (g == "b"))]
    path = count(repeated, tmp_path / "b.parquet")
    expected, _ = learn([path], Train(vocab_size=600, min_frequency=2))
    assert weighted.tokens == expected.tokens
    assert len(expected.tokens) == 599


# Settings


def test_reserved_tokens_come_last_and_the_size_is_a_multiple(tmp_path):
    path = count([" ".join(words(3000))], tmp_path / "a.parquet")
    section = Train(vocab_size=700, reserved_tokens=200, multiple_of=128)
    vocabulary, said = learn([path], section)
    assert (vocabulary.size, said["vocab_size"], said["missing"]) == (768, 768, 0)
    names = list(vocabulary.special_tokens)
    assert (names[0], names[1], names[-1]) == (
        "<|endoftext|>",
        "<|reserved_0|>",
        "<|reserved_199|>",
    )
    assert vocabulary.special_tokens["<|reserved_199|>"] == 767


def test_a_text_with_too_few_pairs_is_said(tmp_path):
    said = learn([count(["abab"], tmp_path / "a.parquet")], Train(vocab_size=512))[1]
    assert (said["vocab_size"], said["missing"]) == (258, 254)


def test_rare_pieces_are_left_out_on_request_and_counted(tmp_path):
    path = count(["the the the cat sat sat"], tmp_path / "a.parquet")
    said = learn([path], Train(min_count=2))[1]
    # the, " the" twice, " cat", " sat" twice
    assert (said["pieces"], said["distinct_pieces"]) == (6, 4)
    assert (said["left_out"], said["distinct_left_out"]) == (2, 2)


def test_learning_refuses_more_pieces_than_memory(tmp_path):
    path = count([" ".join(words(3000))], tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"give --memory \d+M, or leave out rare ones"):
        learn([path], Train(), 1000)


@pytest.mark.parametrize(
    "texts",
    [
        ["\U0001e030 \U0001e030", "ﬁ e\u0301"],
        ["\U00016d67\U00016d67"],
        [b"\xff\xef\xac\x81 \xff", b"e"],
    ],
)
def test_what_is_counted_is_what_the_encoder_sees(texts, tmp_path):
    setup = Train(vocab_size=300, normalization="NFKC")
    batch = pa.record_batch({"text": pa.array(texts)})
    counter = Counter(splitter(setup.pattern), tmp_path / "runs")
    add_batch(counter, batch, setup)
    counter.finish(tmp_path / "a.parquet")
    vocabulary, _ = learn([tmp_path / "a.parquet"], setup)
    seen, _ = vocabulary.preparation()(batch.column("text"))
    again = Counter(splitter(setup.pattern), tmp_path / "more")
    again.add(seen)
    again.finish(tmp_path / "b.parquet")
    assert counted(tmp_path / "a.parquet") == counted(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"reserved_tokens": -1}, "reserved_tokens: -1; write 0 to"),
        ({"multiple_of": 0}, "multiple_of: 0; write 1 to"),
        ({"vocab_size": 400, "reserved_tokens": 200}, "vocab_size: 400; write 457"),
        ({"alpha": 2.0}, "alpha: 2; write 0 to 1"),
        ({"ratios": {"en": 1.0}}, "name the column"),
        ({"balance": "language", "ratios": {"en": -1.0}}, "numbers of 0 or more"),
        ({"normalization": "NFX"}, "write NFC or NFKC"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(setting, message):
    with pytest.raises(RecipeError, match=message):
        Train(**setting)


# The command


def command(*arguments):
    return CliRunner().invoke(app, ["tokenizer", "train", *map(str, arguments)])


def test_the_command_says_what_came_of_it(tmp_path):
    write_corpus(tmp_path / "in")
    inputs = ("--input", tmp_path / "in", "--output", tmp_path / "out")
    done = command(*inputs, "--vocab-size", 500, "--normalization", "NFC", "--min-count", 2)
    assert done.exit_code == 0, done.output
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line.strip())
    assert (rows["files"].strip(), rows["vocabulary"].strip()) == ("4", "500")
    assert "learn merges: " in done.stderr
    assert "500 of 500 tokens" in done.stderr
    again = command(*inputs, "--vocab-size", 500, "--json")
    said = json.loads(again.stdout)
    assert said["files"] == said["parts"] == 4
    assert "rare pieces left out" in done.output
    assert "changed to NFC" in done.output
    assert (tmp_path / "out" / "tokenizer.json").exists()


def test_a_crawl_dump_is_refused_with_the_way_to_its_text(tmp_path):
    (tmp_path / "a.warc.gz").write_bytes(b"")
    done = command("--input", tmp_path / "a.warc.gz", "--output", tmp_path / "out")
    assert isinstance(done.exception, InputError)
    assert "curate run" in str(done.exception)
    (tmp_path / "b.data").write_bytes(b"WARC/1.0\r\nWARC-Type: warcinfo\r\n")
    done = command("--input", tmp_path / "b.data", "--output", tmp_path / "out")
    assert "crawl dump" in str(done.exception)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--ratio", "en"), "write a name and a number"),
        (("--memory", "lots"), "write a number of bytes"),
        (("--balance", "tongue"), "no column 'tongue'"),
        (("--ratio", "en=1"), "--ratio: name the column they are about, as `--balance`"),
        (("--vocab-size", "257", "--reserved", "5"), "--vocab-size: 257; write 262"),
        (("--pattern", "gpt3"), "did you mean gpt2"),
    ],
)
def test_an_option_that_cannot_work_is_refused(option, message, tmp_path):
    (tmp_path / "a.txt").write_text("some text\n")
    done = command("--input", tmp_path / "a.txt", "--output", tmp_path / "out", *option)
    assert message in str(done.exception)
    # Of a mistake in a recipe it would be said how to check the recipe.
    assert type(done.exception) is InputError


def test_a_column_that_is_not_there_is_told_with_those_of_the_file(tmp_path):
    table = pa.table({"text": ["a"], "lang": ["en"], "url": ["u"]})
    pq.write_table(table, tmp_path / "a.parquet")
    inputs = ("--input", tmp_path / "a.parquet", "--output", tmp_path / "out")
    done = command(*inputs, "--balance", "language")
    assert "there are: text, lang, url" in str(done.exception)


def test_the_help_names_every_pattern():
    told = command("--help").stdout
    assert all(name in told for name in PATTERNS)


def test_many_groups_are_told_by_the_largest(tmp_path):
    rows = [{"text": f"a text {'of words ' * k}", "language": f"l{k}"} for k in range(25)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    inputs = ("--input", tmp_path / "a.jsonl", "--output", tmp_path / "out")
    done = command(*inputs, "--balance", "language", "--vocab-size", 260)
    assert "and 5 more" in done.stdout
    assert "l24" in done.stdout
    assert "l3 " not in done.stdout


def test_pieces_of_one_part_that_are_too_many_are_told_before_the_next_is_counted(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(" ".join(words(20_000, ord(name))))
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    with pytest.raises(InputError, match=r"learning from at least .* distinct pieces needs"):
        train_on_files(files, Train(), tmp_path / "out", (0, 100_000))
    assert len([*(tmp_path / "out" / "work" / "pieces").iterdir()]) == 1


def test_a_part_that_cannot_be_read_is_told_by_its_name(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": ')
    with pytest.raises(InputError, match=r"a\.jsonl: cannot be read"):
        train_on_files([tmp_path / "a.jsonl"], Train(), tmp_path / "out")
    assert Part(str(tmp_path / "a.jsonl")).end is None
    assert Path(tmp_path / "out" / "work").exists()
