"""URL signals against datatrove's rules, and block lists of the user."""

import re
from importlib.resources import files

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import recipe
from curate.errors import RecipeError
from curate.filter import Filter
from curate.plan import plan
from filters import url


def words(name: str) -> set[str]:
    lines = (files("filters") / "lists" / name).read_text(encoding="utf-8").splitlines()
    return {re.sub("[^a-zA-Z0-9]+", "", line).lower() for line in lines if line[0] != "#"}


BANNED, SOFT = words("url_banned_words.txt"), words("url_soft_words.txt")
SUBWORDS = words("url_banned_subwords.txt")


def batch(*urls: str | None) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"url": pa.array(urls, pa.string())})


def reasons(stage, *urls: str | None) -> list[str | None]:
    marked = stage(batch(*urls))
    if "dropped_by" not in marked.schema.names:
        return [None] * len(urls)
    return marked["dropped_by"].to_pylist()


PARTS = [*sorted(BANNED)[:3], *sorted(SOFT)[:3], *sorted(SUBWORDS)[:3], "/", "-", "Www", ".", "é"]


@given(st.lists(st.sampled_from(PARTS)).map("".join))
def test_signals_are_what_datatrove_counts(address):
    parts = set(re.split("[^a-zA-Z0-9]+", address))
    packed = re.sub("[^a-zA-Z0-9]+", "", address).lower()
    one = batch(address)
    assert url.banned_words.measure(one).tolist() == [sum(word in parts for word in BANNED)]
    assert url.soft_words.measure(one).tolist() == [sum(word in parts for word in SOFT)]
    found = url.banned_subwords.measure(one)[0] > 0
    assert found == any(word in packed for word in SUBWORDS)


def test_the_lists_are_as_long_as_datatrove_s():
    assert (len(BANNED), len(SOFT), len(SUBWORDS)) == (203, 87, 134)


def test_a_banned_word_counts_only_as_a_whole_part_in_lower_case():
    stage = Filter((url.banned_words,))
    word = sorted(BANNED)[0]
    assert reasons(
        stage, f"http://a.org/{word}", f"http://a.org/x{word}", f"http://a.org/{word.upper()}"
    ) == ["url.banned_words", None, None]


def test_one_soft_word_is_kept_and_two_are_not():
    stage = Filter((url.soft_words,))
    first, second = sorted(SOFT)[:2]
    kept, dropped = f"http://a.org/{first}/{first}", f"http://a.org/{first}/{second}"
    assert reasons(stage, kept, dropped) == [None, "url.soft_words"]


def test_a_document_without_a_url_is_kept():
    stage = Filter((url.banned_words, url.soft_words, url.banned_subwords))
    assert reasons(stage, None, "") == [None, None]


def test_a_listed_domain_blocks_its_subdomains_and_no_other(tmp_path):
    listed = tmp_path / "domains"
    listed.write_text("# a comment\nbad.com\nsub.mixed.co.uk\n")
    stage = url.Blocked(domains=str(listed))
    assert reasons(
        stage,
        "http://bad.com/x",
        "https://a.b.BAD.com.:8080/x",
        "http://notbad.com/bad.com",
        "http://mixed.co.uk",
        "http://x.sub.mixed.co.uk",
        "http://[broken",
        "no url at all",
        None,
    ) == [*["url.blocked_domain"] * 2, None, None, "url.blocked_domain", None, None, None]


def test_a_listed_url_blocks_itself_only(tmp_path):
    listed = tmp_path / "urls"
    listed.write_text("http://a.org/bad\n")
    stage = url.Blocked(urls=str(listed))
    assert reasons(stage, "http://a.org/bad", "http://a.org/bad/x") == ["url.blocked_url", None]


def test_a_list_that_is_missing_is_named(tmp_path):
    with pytest.raises(RecipeError, match="gone"):
        url.Blocked(domains=str(tmp_path / "gone"))(batch("http://a.org"))


def test_a_list_is_part_of_a_run_s_key(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "a", "url": "http://bad.com"}\n')
    (tmp_path / "domains").write_text("bad.com\n")
    listed = str(tmp_path / "domains")
    text = f"stages:\n  - html.Extract\n  - url.Blocked: {{domains: {listed}}}\n"

    def planned():
        return plan(recipe.parse(text, "x.yaml"), [str(tmp_path / "in.jsonl")], tmp_path / "o")

    before = planned()
    assert before.recipe.resolved()["stages"][1]["settings"]["domains"] == listed
    (tmp_path / "domains").write_text("worse.com\n")
    assert before.models.keys() == {listed} and planned().models != before.models
    (tmp_path / "domains").unlink()
    with pytest.raises(RecipeError, match=r"cannot read the list .*domains: no such file"):
        planned()
