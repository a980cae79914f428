"""`curate shards`: what is written, checked, told and compared, and what is refused at once."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate.errors import CurateError, InputError
from curate.store import describe, sealed
from tests.chaos.harness import digest
from tests.chaos.zygote import Quiet
from tokenizer import documents, vocabulary
from tokenizer.corpus import Part
from tokenizer.counting import count_pieces
from tokenizer.dataset import TokenDataset
from tokenizer.encode import Encoder
from tokenizer.shards_commands import app
from tokenizer.shuffle import Shards
from tokenizer.train import Train, train
from tokenizer.verify import verify
from tokenizer.writing import Asked, write_shards

TEXTS = [f"the river {i} and the garden " * (i % 4) for i in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Texts as JSON lines and as Parquet, two tokenizers, and shards."""
    folder = tmp_path_factory.mktemp("shards")
    for name, size in (("tok", 300), ("other", 280)):
        train(count_pieces(pa.array(TEXTS), "gpt2"), Train(vocab_size=size)).save(folder / name)
    text = folder / "text"
    text.mkdir()
    lines = [
        json.dumps({"text": t, "id": f"d{i}", "score": i / 2, "language": "en"}) + "\n"
        for i, t in enumerate(TEXTS[:30])
    ]
    (text / "a.jsonl").write_text("\n".join(["", *lines]))
    urls = [f"http://a/{i}" for i in range(30, 60)]
    scores = [i / 2 for i in range(30, 60)]
    table = pa.table({"text": TEXTS[30:], "url": urls, "score": scores})
    pq.write_table(table, text / "b.parquet", row_group_size=7)
    write_shards([str(text)], folder / "tok", folder / "made", small(("score",)))
    return folder


def small(columns: tuple[str, ...] = (), workers: int = 0) -> Asked:
    return Asked(Shards(shard_bytes=400, columns=columns), workers=workers)


def shards(*words) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [*map(str, words)])
    if done.exception and not isinstance(done.exception, CurateError | SystemExit):
        raise done.exception
    told = str(done.exception) if isinstance(done.exception, CurateError) else done.stderr
    return done.exit_code, done.stdout, told


def test_documents_are_written_with_all_that_is_known_of_them(folder):
    made = folder / "made"
    assert verify(made, vocabulary.load(folder / "tok")) == []
    dataset, encoder = TokenDataset(made), Encoder(vocabulary.load(folder / "tok"))
    texts = [encoder.decode(dataset.document(i)).decode() for i in range(dataset.documents)]
    assert sorted(texts) == sorted(TEXTS)
    paths = sorted(made.glob("*.docs.parquet"))
    assert len(paths) > 2
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    place = {text: i for i, text in enumerate(TEXTS) if text}
    for text, row in zip(texts, rows, strict=True):
        assert row["content_hash"] == blake2b(text.encode(), digest_size=16).digest()
        assert row["n_bytes"] == len(text)
        number = place.get(text, round(row["score"] * 2))
        assert row["score"] == number / 2
        if number < 30:
            assert row["doc_id"] == blake2b(f"d{number}".encode(), digest_size=16).digest()
            assert (row["source"], row["language"], row["url"]) == ("a.jsonl", "en", None)
        else:
            assert row["origin"] == f"b.parquet@{number - 30}"
            assert row["url"] == f"http://a/{number}"
            assert row["language"] is None


def test_a_line_is_named_by_the_byte_where_it_begins(tmp_path):
    lines = [json.dumps({"text": "é" * i}).encode() + b"\n" for i in range(30)]
    content = b"\n".join(lines)
    (tmp_path / "a.jsonl").write_bytes(content)
    found = {}
    for begin, end in ((0, 100), (100, 101), (101, 500), (500, len(content))):
        part = Part(str(tmp_path / "a.jsonl"), begin, end, 0)
        for batch in documents.document_batches(part, "a", "text", ()):
            found |= dict(zip(batch["offset"].to_pylist(), batch["text"].to_pylist(), strict=True))
    assert [*found.values()] == ["é" * i for i in range(30)]
    for offset, text in found.items():
        assert content[offset:].startswith(json.dumps({"text": text}).encode())


@pytest.mark.ray
def test_bytes_do_not_depend_on_workers(folder, tmp_path):
    write_shards([str(folder / "text")], folder / "tok", tmp_path / "two", small(("score",), 2))
    assert digest(tmp_path / "two") == digest(folder / "made")


def test_the_same_command_again_finds_the_same_shards_and_another_is_refused(folder):
    options = ("--tokenizer", folder / "tok", "--output", folder / "made", "--shard-bytes", 400)
    before = digest(folder / "made")
    code, told, _ = shards("write", folder / "text", *options, "--columns", "score")
    assert code == 0
    assert "60 documents" in told
    assert digest(folder / "made") == before
    code, _, told = shards("write", folder / "text", *options)
    assert (code, "holds other shards" in told) == (1, True)
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "file").touch()
    with pytest.raises(CurateError, match="has file in it"):
        write_shards([str(folder / "text")], folder / "tok", folder / "mine")


class Stopped(Quiet):
    """Somebody who stops a command when its first phase is over."""

    def end(self) -> None:
        raise KeyboardInterrupt


def test_what_was_cut_off_goes_on(folder, tmp_path):
    output = tmp_path / "cut"
    asked = small(("score",))
    with pytest.raises(KeyboardInterrupt):
        write_shards([str(folder / "text")], folder / "tok", output, asked, Stopped())
    assert "not finished" in verify(output)[0]
    pieces = {path.parent.name for path in output.glob("work/pieces/*/piece.json")}
    assert len(pieces) == 2
    (output / "part-00099.bin").write_bytes(b"left by another attempt")
    write_shards([str(folder / "text")], folder / "tok", output, asked)
    assert digest(output) == digest(folder / "made")


def test_without_a_shuffle_documents_stay_as_they_came(folder, tmp_path):
    code, _, _ = shards(
        *("write", folder / "text", "--tokenizer", folder / "tok", "--shuffle", "no"),
        *("--output", tmp_path / "made"),
    )
    assert code == 0
    dataset, encoder = TokenDataset(tmp_path / "made"), Encoder(vocabulary.load(folder / "tok"))
    assert [encoder.decode(dataset.document(i)).decode() for i in range(60)] == TEXTS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--columns", "scor"], "no column 'scor'; there are: .*; did you mean score"),
        (["--text-key", "txt"], "no column 'txt'; there are: .*; did you mean text"),
        (["--text-key", "score"], "holds double, not text"),
        (["--shuffle", "maybe"], "--shuffle maybe: write a seed, such as 0, or no"),
        (["--shuffle", "-1"], "--shuffle: -1; write 0"),
        (["--shard-bytes", "many"], "--shard-bytes many: write a number of bytes"),
        (["--columns", "a,a"], "--columns: each must be different"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(folder, tmp_path, options, message):
    output = tmp_path / "made"
    code, _, told = shards(
        "write", folder / "text", "--tokenizer", folder / "tok", "--output", output, *options
    )
    assert code != 0
    assert re.search(message, told), told
    assert not output.exists()


def test_rows_without_text_are_counted_and_not_written(folder, tmp_path):
    pq.write_table(pa.table({"text": ["a", None, "b", None]}), tmp_path / "holes.parquet")
    options = ("--tokenizer", folder / "tok", "--output", tmp_path / "made")
    code, told, noted = shards("write", tmp_path / "holes.parquet", *options)
    assert code == 0
    assert "2 documents" in told
    assert "2 rows have no text" in noted


def test_input_that_is_none_is_refused(folder, tmp_path):
    (tmp_path / "list.jsonl").write_text("[1]\n")
    (tmp_path / "torn.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (tmp_path / "page.txt").write_text("words\n")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    for name, message in (
        ("list.jsonl", "expected a JSON object on each line"),
        ("torn.jsonl", "no JSON object on each line"),
        ("page.txt", "neither Parquet nor JSON lines"),
        ("bad.parquet", "cannot be read"),
        ("none*", "matches no file"),
    ):
        with pytest.raises(CurateError, match=message):
            write_shards([str(tmp_path / name)], folder / "tok", tmp_path / "made")
    (tmp_path / "empty.jsonl").touch()
    made = write_shards([str(tmp_path / "empty.jsonl")], folder / "tok", tmp_path / "none")
    assert (made["documents"], made["parts"]) == (0, [])
    assert verify(tmp_path / "none") == []


def test_verify_lists_every_problem_and_ends_with_2(folder, tmp_path):
    copy = shutil.copytree(folder / "made", tmp_path / "copy")
    code, told, _ = shards("verify", copy, "--tokenizer", folder / "tok")
    assert (code, "60 documents" in told) == (0, True)
    (copy / "part-00000.bin").write_bytes(b"\0" + (copy / "part-00000.bin").read_bytes()[1:])
    (copy / "part-00001.idx").unlink()
    (copy / "more").touch()
    code, told, _ = shards("verify", copy)
    assert code == 2
    assert told.splitlines() == [
        "part-00001.idx: missing",
        "more: not in the manifest",
        "part-00000.bin: damaged",
    ]


def test_verify_knows_another_tokenizer_and_texts_that_are_not_those(folder, tmp_path):
    code, told, _ = shards("verify", folder / "made", "--tokenizer", folder / "other")
    assert code == 2
    assert "the tokenizer has another fingerprint than that of the shards" in told
    assert "280 ids, the shards are of 300" in told
    copy = shutil.copytree(folder / "made", tmp_path / "copy")
    whole = json.loads((copy / "manifest.json").read_bytes())
    del whole["self"]
    whole["probe"]["ids"][0] += 1
    rows = pq.read_table(copy / "part-00000.docs.parquet")
    hashes = pa.array([bytes(16), *rows["content_hash"].to_pylist()[1:]], pa.binary(16))
    pq.write_table(
        rows.set_column(rows.schema.get_field_index("content_hash"), "content_hash", hashes),
        copy / "part-00000.docs.parquet",
    )
    entry = whole["parts"][0]["files"]
    entry["part-00000.docs.parquet"] = describe(copy / "part-00000.docs.parquet")
    (copy / "manifest.json").write_bytes(sealed(whole))
    assert verify(copy) == []
    assert verify(copy, vocabulary.load(folder / "tok")) == [
        "the tokenizer gives other ids to the probe in the manifest",
        "part-00000: 1 documents decode to other texts, the first is document 0",
    ]


def test_inspect_adds_up(folder):
    code, told, _ = shards("inspect", folder / "made", "--json")
    found = json.loads(told)
    assert code == 0
    manifest = json.loads((folder / "made" / "manifest.json").read_bytes())
    assert found["documents"] == 60
    for name in ("tokens", "bytes", "documents"):
        assert sum(one[name] for one in found["sources"]) == manifest[name]
        assert sum(one[name] for one in found["languages"]) == manifest[name]
    assert {one["name"] for one in found["languages"]} == {"en", None}
    assert found["lengths"]["0"] == 1  # an end of text alone
    code, told, _ = shards("inspect", folder / "made", "--tokenizer", folder / "tok")
    assert code == 0
    assert "shuffled, seed 0" in told
    assert "b.parquet" in told
    assert "| " in told


def test_every_token_is_traced_to_its_document(folder):
    dataset = TokenDataset(folder / "made")
    stream = dataset.window(0, dataset.tokens).tolist()
    paths = sorted((folder / "made").glob("*.docs.parquet"))
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    at = 0
    for row in rows[:12]:
        for position in {0, row["n_tokens"] - 1}:
            code, told, _ = shards("trace", folder / "made", "--token", at + position, "--json")
            found = json.loads(told)
            assert code == 0
            assert found["doc_id"] == row["doc_id"].hex()
            assert found["url"] == row["url"]
            assert (found["position"], found["token_id"]) == (position, stream[at + position])
        at += row["n_tokens"]


def test_a_token_is_counted_in_its_part_and_shown_in_its_text(folder):
    made = folder / "made"
    manifest = json.loads((made / "manifest.json").read_bytes())
    first = manifest["parts"][0]["tokens"]
    options = ("--tokenizer", folder / "tok", "--json")
    found = [
        json.loads(shards("trace", made, *where, *options)[1])
        for where in (
            ("--token", first + 5),
            ("--part", 1, "--token", 5),
            ("--part", "part-00001", "--token", 5),
        )
    ]
    assert found[0] == found[1] == found[2]
    assert "".join(found[0]["context"]).replace("<|endoftext|>", "") in " ".join(TEXTS)
    code, told, _ = shards("trace", made, "--token", first + 5)
    assert (code, "b.parquet" in told or "a.jsonl" in told) == (0, True)
    for where, message in (
        (("--token", manifest["tokens"]), "there are [0-9,]+ tokens"),
        (("--token", "-1"), "there are [0-9,]+ tokens"),
        (("--part", 77, "--token", 0), "there are part-00000"),
    ):
        assert re.search(message, shards("trace", made, *where)[2])
    wrong = ("--tokenizer", folder / "other")
    assert "another fingerprint" in shards("trace", made, "--token", 0, *wrong)[2]


def test_diff_tells_what_is_added_removed_and_changed(folder, tmp_path):
    rows = [{"id": str(i), "text": f"text {i}"} for i in range(9)]
    changed = [*rows[1:8], {"id": "0", "text": "another"}, {"id": "new", "text": "x"}, rows[3]]
    for name, content in (("a", rows), ("b", changed)):
        pq.write_table(pa.Table.from_pylist(content), tmp_path / f"{name}.parquet")
        source = [str(tmp_path / f"{name}.parquet")]
        write_shards(source, folder / "tok", tmp_path / name)
    assert shards("diff", tmp_path / "a", tmp_path / "a")[0] == 0
    code, told, _ = shards("diff", tmp_path / "a", tmp_path / "b", "--json")
    found = json.loads(told)
    assert code == 1

    def ids(*names: str) -> list[str]:
        return sorted(blake2b(name.encode(), digest_size=16).hexdigest() for name in names)

    assert found["removed"] == ids("8")
    assert found["added"] == ids("new")
    assert found["changed"] == ids("0")
    assert found["other_copies"] == ids("3")
    assert found["other_tokens"] == []
    write_shards([str(tmp_path / "a.parquet")], folder / "other", tmp_path / "c")
    code, told, _ = shards("diff", tmp_path / "a", tmp_path / "c")
    assert code == 1
    assert re.search(r"tokenizer +another", told)
    assert re.search(r"order +the same", told)


def test_view_says_what_is_linked(folder, tmp_path):
    made = folder / "made"
    code, told, noted = shards("view", made, "--as", "megatron", "--output", tmp_path / "view")
    count = len([*made.glob("*.bin")])
    assert code == 0
    assert f"{2 * count} files, {2 * count} are hard links, 0 written" in told
    assert noted == ""
    code, _, told = shards("view", made, "--as", "megatrn", "--output", tmp_path / "other")
    assert (code, "there are: megatron" in told) == (1, True)


@pytest.mark.parametrize("suffix", ["bin", "offsets.npy", "docs.parquet"])
@pytest.mark.parametrize("how", ["cut", "gone", "empty"])
def test_damaged_files_are_an_error_that_says_how_to_find_them(folder, tmp_path, suffix, how):
    made = tmp_path / "made"
    shutil.copytree(folder / "made", made)
    for path in made.glob(f"*.{suffix}"):
        content = path.read_bytes()
        path.unlink()
        if how != "gone":
            path.write_bytes(content[:-3] if how == "cut" else b"")
    for words in (("inspect", made), ("trace", made, "--token", 1), ("diff", made, made)):
        code, _, told = shards(*words, *(("--tokenizer", folder / "tok") * (words[0] != "diff")))
        if (words[0], suffix, how) != ("inspect", "bin", "cut"):  # its first texts are there
            assert (code, str(made) in told) == (1, True), words


def test_a_number_that_is_no_decimal_is_no_part(folder):
    code, _, told = shards("trace", folder / "made", "--token", 0, "--part", "²")
    assert (code, "there are part-00000" in told) == (1, True)


def test_json_lines_that_are_no_utf8_are_refused_wherever_they_are(folder, tmp_path):
    path = tmp_path / "late.jsonl"
    lines = json.dumps({"text": "x " * 1000}).encode() + b"\n"
    path.write_bytes(lines * (documents.HEAD // len(lines) + 2) + b'{"text":"\xff"}\n')
    with pytest.raises(InputError, match=r"late.jsonl: cannot be read: .*UTF8"):
        write_shards([str(path)], folder / "tok", tmp_path / "made")


def test_a_name_that_is_no_utf8_is_refused(folder, tmp_path):
    (tmp_path / "text").mkdir()
    path = tmp_path / "text" / os.fsdecode(b"\xff.jsonl")
    path.write_text('{"text":"a"}\n')
    with pytest.raises(InputError, match="not UTF-8; rename it"):
        write_shards([str(tmp_path / "text")], folder / "tok", tmp_path / "made")


def test_the_column_of_the_text_can_be_asked_for(folder, tmp_path):
    pq.write_table(pa.table({"body": ["a", "b"]}), tmp_path / "a.parquet")
    asked = Asked(Shards(columns=("body",)), text_key="body")
    write_shards([str(tmp_path / "a.parquet")], folder / "tok", tmp_path / "made", asked)
    rows = pq.read_table(tmp_path / "made" / "part-00000.docs.parquet")
    assert sorted(rows["body"].to_pylist()) == ["a", "b"]


def test_columns_that_cannot_be_what_they_are_for_are_refused(folder, tmp_path):
    table = pa.table({"text": ["a"], "source": ["x"], "offset": [[1]]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet.*Unsupported cast"):
        write_shards([str(tmp_path / "a.parquet")], folder / "tok", tmp_path / "made")


def test_an_output_within_the_input_is_refused(folder):
    with pytest.raises(InputError, match="lies within the input"):
        write_shards([str(folder / "text")], folder / "tok", folder / "text" / "made")
    assert not (folder / "text" / "made").exists()


LIMITED = """
import resource, sys
from pathlib import Path
from tokenizer.writing import write_shards
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
folder = Path(sys.argv[2])
try:
    write_shards([str(folder / "text")], folder / "tok", Path(sys.argv[3]))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("most", [100, 1000, 2000, 4000])
def test_a_full_disk_is_an_error_wherever_it_is_met_and_the_same_command_goes_on(
    folder, tmp_path, most
):
    """Files of more than so many bytes fail, as if there were no room for them."""
    output = tmp_path / "made"
    words = [sys.executable, "-c", LIMITED, str(most), str(folder), str(output)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert told.startswith("DiskError"), told
    assert not (output / "manifest.json").exists()
    write_shards([str(folder / "text")], folder / "tok", output)
    write_shards([str(folder / "text")], folder / "tok", tmp_path / "whole")
    assert digest(output) == digest(tmp_path / "whole")


def test_killed_at_any_time_it_ends_as_one_that_was_not(folder, tmp_path):
    """Once in the midst of encoding, once while parts are gathered."""
    command = [sys.executable, "-m", "curate", "shards", "write", str(folder / "text")]
    command += ["--tokenizer", str(folder / "tok"), "--shard-bytes", "400", "--columns", "score"]
    command += ["--output", str(tmp_path / "killed")]
    pieces = tmp_path / "killed" / "work" / "pieces"
    for count in (1, 4):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and len([*pieces.glob("*")]) < count:
            time.sleep(0.001)
        process.kill()
        process.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert digest(tmp_path / "killed") == digest(folder / "made")
