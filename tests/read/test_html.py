"""Pages to text: hostile pages cost only themselves, and every page has a text or a reason."""

import os
import signal
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import schema
from curate.errors import RecipeError
from curate.read import html
from curate.read.charset import clean
from curate.read.child import main_content
from curate.read.html import Extract
from curate.stage import mark

ARTICLE = (
    "<html><body><main><p>The quick brown fox jumps over the lazy dog.</p></main></body></html>"
)
SENTENCE = "The quick brown fox jumps over the lazy dog."


def batch(*pages: bytes | str, media_type: str = "text/html", charset: str = "utf-8"):
    payloads = [page.encode() if isinstance(page, str) else page for page in pages]
    count = len(pages)
    rows = {
        "id": [row.to_bytes(16, "big") for row in range(count)],
        "source": ["test"] * count,
        "offset": list(range(count)),
        "content_type": [media_type] * count,
        "charset": [charset] * count,
        "payload": payloads,
    }
    arrays = [pa.array(rows.get(field.name, [None] * count), field.type) for field in schema.RAW]
    return pa.RecordBatch.from_arrays(arrays, schema=schema.RAW)


def extracted(*pages, stage: Extract | None = None, **given):
    with (stage or Extract()).open() as extract:
        result = extract(batch(*pages, **given))
    assert result.num_rows == len(pages)
    return result.to_pydict()


def child_of_this_process() -> int:
    """The extraction child's process id."""
    for folder in Path("/proc").iterdir():
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except (OSError, NotADirectoryError):
            continue
        if status[1] == str(os.getpid()) and b"curate.read.child" in command and status[0] != "Z":
            return int(folder.name)
    raise LookupError


def test_a_page_becomes_its_text_and_its_bytes_are_gone():
    result = extracted(ARTICLE)
    assert result["text"] == [SENTENCE]
    assert not {"payload", "charset", "content_type"} & result.keys()
    assert result["dropped_by"] == [None]


def test_the_extractor_decides_what_is_text():
    page = "<body><nav><a href=x>Menu</a></nav>" + ARTICLE
    assert "Menu" not in extracted(page)["text"][0]
    assert "Menu" in extracted(page, stage=Extract(extractor="resiliparse-all"))["text"][0]


def test_plain_text_is_only_decoded():
    page = "a <b> &amp; \0c\r\nd\x1b"
    assert extracted(page, media_type="text/plain")["text"] == ["a <b> &amp; c\nd"]


def test_plain_text_of_another_charset_is_decoded():
    page = "Широкая электрификация южных губерний".encode("koi8-r")
    result = extracted(page, media_type="text/plain", charset="koi8-r")
    assert result["text"] == ["Широкая электрификация южных губерний"]


def test_pages_of_every_kind_of_charset_come_out_as_utf8():
    text = "Zażółć gęślą jaźń w pięknym języku polskim"
    page = f"<body><p>{text}</p>"
    encoded = [
        page.encode(),
        page.encode("iso-8859-2").replace(b"<body>", b'<meta charset="iso-8859-2"><body>'),
        ("\ufeff" + page).encode("utf-16-le"),
        ("\ufeff" + page).encode("utf-16-be"),
        page.encode("utf-16-le"),
    ]
    assert extracted(*encoded, charset="")["text"] == [text] * len(encoded)


def test_deep_markup_hidden_in_utf16_is_seen():
    page = ("\ufeff" + "<div>" * 3000).encode("utf-16-le")
    assert extracted(page, ARTICLE)["dropped_by"] == ["html.too_deep", None]


def test_rows_that_have_a_verdict_are_left_alone():
    rows = batch(ARTICLE, ARTICLE)
    rows = mark(rows, [True, False], "http.status", quarantined=False)
    with Extract().open() as extract:
        result = extract(rows).to_pydict()
    assert result["text"] == ["", SENTENCE]
    assert result["dropped_by"] == ["http.status", None]


def test_missing_payloads_and_empty_batches_are_answered():
    rows = batch(ARTICLE, b"")
    nothing = pa.array([None, None], pa.binary())
    rows = rows.set_column(rows.schema.get_field_index("payload"), "payload", nothing)
    with Extract().open() as extract:
        assert extract(rows).to_pydict()["dropped_by"] == ["html.empty", "html.empty"]
        assert extract(batch()).num_rows == 0


def test_a_sliced_batch_sees_its_own_rows():
    with Extract().open() as extract:
        result = extract(batch("<p>one", "<p>two", "<p>three").slice(1, 1)).to_pydict()
    assert result["text"] == ["two"]


def mixed(*patterns: tuple[str, int]) -> bytes:
    return "".join(pattern * times for pattern, times in patterns).encode()


def numbered(pattern: str, times: int) -> bytes:
    return "".join(pattern.format(number) for number in range(times)).encode()


# Reliability notes, section C, by their numbers; None: kept. The sizes are theirs, but for those
# that would only show the limit on bytes.
HOSTILE = {
    "C1 nested div": (mixed(("<div>", 100_000)), "html.too_deep"),
    "C2 a million of them": (mixed(("<div>", 1_000_000)), "html.too_deep"),
    "C3 attributes": (b"<p " + numbered("a{}=1 ", 200_000) + b">x", "html.too_many_attributes"),
    "C4 formatting": (
        numbered("<b n={0}>", 4000) + numbered("<i n={0}>", 4000) + mixed(("x</b>", 4000)),
        "html.formatting_bomb",
    ),
    "C5 paragraphs in formatting": (
        b"<p>" + numbered("<b id={}>", 5000) + mixed(("</p><p>x", 2000)),
        "html.formatting_bomb",
    ),
    "C5 below the limit, but often": (
        b"<p>" + numbered("<b id={}>", 190) + mixed(("</p><p>x", 20_000)),
        "html.formatting_bomb",
    ),
    "C6 nested lists": (mixed(("<ul><li>x", 30_000)), "html.too_deep"),
    "C7 items": (mixed(("<li>x", 200_000)), None),
    "C8 foster parents": (b"<table>" + mixed(("<b></b>x<tr><td>y</td>", 10_000)), None),
    "C9 a long attribute": (b"<p title='" + b"x" * 7_000_000 + b"'>" + ARTICLE.encode(), None),
    "C10 one text node": (b"<p>" + b"word " * 1_600_000, None),
    "C10 one too long": (b"<p>" + b"word " * 10_000_000, "html.too_large"),
    "C11 references": (b"<p>x" + b"&amp;" * 200_000 + b"&#x110000;&#0;&#xD800;", None),
    "C12 comments": (ARTICLE.encode() + b"<!--" * 500_000, None),
    "C12 brackets": (ARTICLE.encode() + b"<" * 5_000_000, None),
    "C12 sections": (ARTICLE.encode() + b"<![CDATA[" * 500_000, None),
    "C13 script": (ARTICLE.encode() + b"<script>secret()", None),
    "C13 style": (ARTICLE.encode() + b"<style>secret{}", None),
    "C14 drawings": (mixed(("<svg><g>", 20_000)), "html.too_deep"),
    "C14 formulas": (mixed(("<math><mi>", 20_000)), "html.too_deep"),
    "C14 templates": (mixed(("<template>", 20_000)), "html.too_deep"),
    "C14 selects": (mixed(("<select><option>", 20_000)), "html.too_deep"),
    "C14 frames": (mixed(("<frameset>", 20_000)), "html.too_deep"),
    "C15 NUL": (ARTICLE.encode() + b"\0" * 1_000_000, None),
    "C17 wrong UTF-8": (ARTICLE.encode() + b"\xc0\xaf", None),
    "C17 much of it": (b"<p>" + b"\xc3\xa9\xff " * 5000, "text.mojibake"),
    "C19 spaces": (b" \n\t " * 1000, "html.empty"),
    "C19 nothing": (b"", "html.empty"),
    "C21 one line": (ARTICLE.encode() + b"<p>" + b"QUJD" * 1_900_000, None),
}


# As plain Python the scan takes a second for each megabyte.
compiled = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="megabytes")


@pytest.fixture(scope="module")
def survived():
    """Every hostile page with a harmless neighbour on either side, in one batch."""
    pages = [ARTICLE.encode()]
    for page, _ in HOSTILE.values():
        pages += [page, ARTICLE.encode()]
    return extracted(*pages)


@compiled
def test_the_neighbours_of_hostile_pages_are_unaffected(survived):
    assert set(survived["text"][::2]) == {SENTENCE}
    assert set(survived["dropped_by"][::2]) == {None}


@compiled
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_page_is_kept_or_has_its_own_reason(survived, name):
    row = 2 * list(HOSTILE).index(name) + 1
    reason = HOSTILE[name][1]
    assert survived["dropped_by"][row] == reason
    if reason is None:
        assert survived["text"][row].strip() and "secret" not in survived["text"][row]
    else:
        assert survived["quarantined"][row] == (reason != "html.empty")


def test_entities_are_not_expanded_to_files_or_bombs():
    bomb = "<!DOCTYPE x [<!ENTITY a 'lol'>" + "".join(
        f"<!ENTITY a{n} '&a{n - 1};&a{n - 1};'>" for n in range(1, 30)
    )
    thief = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><p>x &f; y'
    texts = extracted(bomb + "]><p>&a29; z", thief)["text"]
    assert len(texts[0]) < 5000
    assert "root:" not in texts[1]


def test_a_page_that_another_program_had_broken_is_mojibake():
    result = extracted("<p>" + "caf\ufffd " * 50)
    assert result["dropped_by"] == ["text.mojibake"]
    assert abs(result["value"][0] - 0.2) < 0.01 and result["bound"] == [0.05]


def test_an_empty_extraction_from_a_page_with_text_has_a_reason_of_its_own():
    page = "<body><nav>" + "<a href=x>Menu entry</a> " * 400 + "</nav>"
    result = extracted(page, "<body><nav>Menu</nav>")
    assert result["dropped_by"] == ["html.extract_empty", "html.empty"]
    assert result["value"][0] == 400 * 9 and result["bound"][0] == html.VISIBLE_BYTES


def test_a_page_beyond_the_timer_is_quarantined_and_the_next_ones_are_read():
    # Limits that let everything through leave the timer alone.
    loose = Extract(max_depth=10**6, cpu_seconds=0.2)
    slow = b"<div>" * 30_000
    result = extracted(ARTICLE, slow, ARTICLE, slow, ARTICLE, stage=loose)
    assert result["dropped_by"] == [None, "html.timeout", None, "html.timeout", None]
    assert result["quarantined"][1] and result["text"][::2] == [SENTENCE] * 3


@compiled
def test_a_page_beyond_the_memory_is_quarantined_and_the_next_ones_are_read():
    loose = Extract(max_page_bytes=1 << 30, cpu_seconds=60, memory_bytes=128 << 20)
    result = extracted(ARTICLE, b"<p>x" * 5_000_000, ARTICLE, stage=loose)
    assert result["dropped_by"] == [None, "html.memory", None]
    assert result["text"][::2] == [SENTENCE] * 2


def test_a_page_that_is_only_slow_gets_its_second_chance():
    calm, hurried = Extract(max_depth=10**6), Extract(max_depth=10**6, cpu_seconds=0.001)
    page = b"<div><p>Words of this page.</p></div>" * 3000
    with html.Parser("resiliparse", 0.001, 1 << 30) as parser:
        answer = parser.text(
            html.Page(memoryview(page), "utf-8", True, False), html.charset.Utf8Count(0, 0)
        )
    assert isinstance(answer, bytes | html.Death)
    assert extracted(page, stage=calm)["dropped_by"] == [None]
    assert extracted(page, stage=hurried)["dropped_by"][0] in (None, "html.timeout")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_child_killed_while_idle_costs_nothing(number):
    with Extract().open() as extract:
        assert extract(batch(ARTICLE)).to_pydict()["text"] == [SENTENCE]
        os.kill(child_of_this_process(), number)
        result = extract(batch(ARTICLE, ARTICLE)).to_pydict()
    assert result["text"] == [SENTENCE] * 2 and result["dropped_by"] == [None] * 2


@compiled
def test_children_killed_while_they_work_change_nothing(shared):
    pages = real_pages(shared)[:60]
    calm = extracted(*pages)
    over = threading.Event()

    def kill() -> None:
        for _ in range(6):
            time.sleep(0.15)
            try:
                os.kill(child_of_this_process(), signal.SIGKILL)
            except (LookupError, ProcessLookupError):
                continue
        over.set()

    killer = threading.Thread(target=kill)
    with Extract().open() as extract:
        killer.start()
        while not over.is_set():
            assert extract(batch(*pages)).to_pydict() == calm
        killer.join()


def test_a_stopped_child_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(html, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(html, "PATIENCE_FACTOR", 0)
    with Extract().open() as extract:
        assert extract(batch(ARTICLE)).to_pydict()["text"] == [SENTENCE]
        monkeypatch.setattr(html, "PATIENCE_SECONDS", 60.0)
        os.kill(child_of_this_process(), signal.SIGSTOP)
        result = extract(batch(ARTICLE)).to_pydict()
    assert result["text"] == [SENTENCE]


def test_the_child_is_gone_when_the_stage_is_closed():
    with Extract().open() as extract:
        extract(batch(ARTICLE))
        child = child_of_this_process()
    assert not Path(f"/proc/{child}").exists()


def test_the_child_gets_no_secret_of_its_parent(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    with Extract().open() as extract:
        extract(batch(ARTICLE))
        environment = Path(f"/proc/{child_of_this_process()}/environ").read_bytes()
    assert b"canary" not in environment and environment.startswith(b"PYTHONPATH=")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=2000), max_size=6), st.sampled_from(["", "utf-8", "gbk", "x"]))
def test_any_bytes_end_as_text_or_with_a_reason(opened, pages, charset):
    result = opened(batch(*pages, charset=charset))
    assert result.num_rows == len(pages)
    for text, reason in zip(
        result.column("text").to_pylist(), result.column("dropped_by").to_pylist(), strict=True
    ):
        assert text.strip() or reason is not None


@pytest.fixture(scope="module")
def opened():
    with Extract().open() as extract:
        yield extract


def real_pages(shared):
    with (shared / "crawl" / "realweb.warc.gz").open("rb") as file:
        records = ArchiveIterator(file, record_types=WarcRecordType.response)
        return [record.reader.read() for record in records]


@compiled
def test_real_pages_are_as_if_extracted_here_and_none_is_quarantined(shared):
    pages = real_pages(shared)[::5]
    result = extracted(*pages)
    assert not any(result["quarantined"])
    here = [clean(main_content(page).encode()).decode() for page in pages]
    same = sum(ours == theirs for ours, theirs in zip(result["text"], here, strict=True))
    # One page in a thousand lies about its charset.
    assert same >= 0.99 * len(pages)


def test_an_unknown_extractor_is_answered_with_the_nearest():
    with pytest.raises(RecipeError, match=r"'resiliparse-al'; did you mean resiliparse-all\?"):
        Extract(extractor="resiliparse-al")


@pytest.mark.parametrize("setting", ["max_page_bytes", "max_depth", "cpu_seconds", "memory_bytes"])
def test_a_limit_that_nothing_can_pass_is_refused(setting):
    with pytest.raises(RecipeError, match=setting):
        Extract(**{setting: 0})


def test_too_little_memory_to_start_is_refused():
    with pytest.raises(RecipeError, match="write 134217728 or more"):
        Extract(memory_bytes=1 << 20)
