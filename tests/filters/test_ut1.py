"""Categories of hosts by lists in UT1's layout, and RedPajama's ids of them."""

import json
from itertools import chain, combinations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import recipe
from curate.decide import decide
from curate.errors import RecipeError
from curate.plan import plan
from curate.run import Job, run
from curate.stored import stored
from filters.ut1 import CATEGORIES, Category, combination_id
from tests.chaos.zygote import Quiet

LISTS = {
    "adult": "bad.com\nbad.dating.org\n\n1.2.3.4\n",
    "dating": "dating.org \r\nbad.dating.org\nDating.COM\n",
    "phishing": "sub.mixed.co.uk\n# no comments there\nm\xfcller.de\n",
}


def write_lists(folder, lists):
    for name, domains in lists.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "domains").write_bytes(domains.encode("latin-1"))
    (folder / "README").write_text("no category")
    return folder


@pytest.fixture(scope="session")
def blacklists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("ut1"), LISTS)


def found(blacklists, *urls, **how):
    with Category(lists=str(blacklists), **how).open() as stage:
        return stage(pa.record_batch({"url": pa.array(urls, pa.string())})).to_pydict()


def test_a_host_has_the_categories_of_its_domain(blacklists):
    hosts = {
        "http://bad.com/x": "adult",
        "https://user@www.Bad.com.:8080/": "adult",
        "http://notbad.com/": None,
        "http://com/": None,
        "http://dating.org": "dating",
        "http://dating.com": "dating",
        "http://a.bad.dating.org": "adult,dating",
        "http://x.sub.mixed.co.uk/?q=bad.com": "phishing",
        "http://mixed.co.uk/": None,
        "http://1.2.3.4/": "adult",
        "http://[::1": None,
        "": None,
        None: None,
    }
    assert found(blacklists, *hosts)["ut1"] == list(hosts.values())
    assert found(blacklists)["ut1"] == []


def test_without_subdomains_only_the_listed_host_counts(blacklists):
    urls = ("http://bad.com", "http://www.bad.com", "http://bad.dating.org", "http://x.dating.org")
    assert found(blacklists, *urls, subdomains=False)["ut1"] == [
        *("adult", None, "adult,dating", None)
    ]


@given(st.data())
def test_categories_are_what_a_set_of_names_says(tmp_path_factory, data):
    labels = st.lists(st.sampled_from(["a", "b", "com", "x-1"]), min_size=1, max_size=4)
    domains = labels.map(".".join)
    lists = data.draw(st.dictionaries(st.sampled_from(CATEGORIES), st.sets(domains), min_size=1))
    folder = tmp_path_factory.mktemp("lists")
    write_lists(folder, {name: "\n".join(sorted(own)) for name, own in lists.items()})
    hosts = data.draw(st.lists(domains, max_size=6))

    def expected(host: str, subdomains: bool) -> str | None:
        parts = host.split(".")
        for first in range(len(parts) if subdomains else 1):
            domain = ".".join(parts[first:])
            names = sorted(name for name, own in lists.items() if domain in own)
            if names:
                return ",".join(names)
        return None

    urls = [f"http://{host}/" for host in hosts]
    for subdomains in (True, False):
        names = found(folder, *urls, subdomains=subdomains)["ut1"]
        assert names == [expected(host, subdomains) for host in hosts]


def test_ids_are_places_among_all_combinations_as_redpajama_lists_them():
    for count in range(1, 8):
        every = chain.from_iterable(
            combinations(range(count), size) for size in range(1, count + 1)
        )
        assert all(combination_id(one, count) == place for place, one in enumerate(every))
    # The last one of as many categories as there may be.
    assert combination_id(tuple(range(62)), 62) == 2**62 - 2


def test_redpajama_s_ids_count_a_category_that_ut1_does_not_have(blacklists):
    urls = ("http://bad.com", "http://dating.org", "http://bad.dating.org", "http://none.org")
    # adult is the first of 13, dating the sixth; behind 13 single ones comes (0, 1), (0, 2), ...
    assert len(CATEGORIES) == 13 and sorted(CATEGORIES)[5] == "dating"
    assert found(blacklists, *urls)["ut1_id"] == [0, 5, 13 + 4, None]
    few = found(blacklists, *urls, categories=("dating", "adult"), column="c")
    assert few["c_id"] == [0, 1, 2, None] and few["c"][2] == "adult,dating"


def test_only_listed_categories_are_dropped(blacklists):
    urls = ("http://bad.com", "http://dating.org", "http://bad.dating.org", "http://none.org")
    assert "dropped_by" not in found(blacklists, *urls)
    reasons = found(blacklists, *urls, drop=("dating", "adult"))["dropped_by"]
    assert reasons == ["ut1.adult", "ut1.dating", "ut1.dating", None]


def test_settings_that_mean_nothing_are_refused(tmp_path, blacklists):
    with pytest.raises(RecipeError, match="lists: none given"):
        Category()
    with pytest.raises(RecipeError, match="column: 'url' is taken"):
        Category(lists="x", column="url")
    with pytest.raises(RecipeError, match="'datting' is not among the categories; did you mean"):
        Category(lists="x", drop=("datting",))
    with pytest.raises(RecipeError, match="'warez' is not among the categories; add it to"):
        Category(lists="x", drop=("warez",))
    with pytest.raises(RecipeError, match="categories: name 1 to 62, each once"):
        Category(lists="x", categories=("adult", "adult"))
    with pytest.raises(RecipeError, match="name the folder of UT1's categories"):
        found(tmp_path, "http://a.org")
    with pytest.raises(RecipeError, match=r"no .*/violence/domains"):
        found(blacklists, "http://a.org", drop=("adult", "violence"))


def test_another_list_of_what_to_drop_is_decided_from_the_stored_categories(tmp_path, blacklists):
    urls = ("http://bad.com", "http://dating.org", "http://bad.dating.org", "http://none.org")
    rows = [json.dumps({"text": f"Page {url}.", "url": url}) + "\n" for url in urls]
    (tmp_path / "in.jsonl").write_text("".join(rows))
    text = f"name: t\nstages:\n  - html.Extract\n  - ut1.Category: {{lists: {blacklists}%s}}\n"
    inputs = [str(tmp_path / "in.jsonl")]
    run(Job(text % "", "t.yaml", inputs, tmp_path / "o", workers=0), Quiet())
    (documents,) = (tmp_path / "o" / "documents").iterdir()
    assert pq.read_table(documents)["ut1"].to_pylist().count(None) == 1
    other = recipe.parse(text % ", drop: [adult]", "other.yaml")
    decision = decide(stored(tmp_path / "o"), other)
    assert not decision.fates.missing and int(decision.fates.kept.sum()) == 2
    models = plan(other, inputs, tmp_path / "o").models
    assert set(models) == {f"{blacklists}/{name}" for name in LISTS}
