"""The recipes of RefinedWeb's family keep prose, and say why they drop what is none."""

import pyarrow as pa
import pytest

from curate import recipe
from curate.dedup.minhash import MinHash

PROSE = """\
The harbour was quiet when the first boats came in, and the gulls had not begun to call.
Nobody on the pier spoke of the storm that had been promised for the evening before.
An old man with a basket waited for his brother, who was late, as he always was in spring.
When the sun rose over the hills, the water turned from grey to a thin and shaking gold.
Women came down from the houses to buy fish, and they laughed about prices and the weather.
By noon the nets were mended, the baskets were empty, and the village had gone back to sleep."""
TEXT_STAGES = ("filter", "dclm_urls", "dclm_lines", "olmo_lines")


def fates(name: str, pages: list[tuple[str, str]]) -> list[str | None]:
    """What becomes of pages that are English texts already: the reason each is dropped for."""
    batch = pa.RecordBatch.from_pydict(
        {"url": [url for url, _ in pages], "text": [text for _, text in pages]}
    )
    for step in recipe.load(name).steps:
        if step.label.startswith(TEXT_STAGES):
            batch = step.stage(batch)
    return batch["dropped_by"].to_pylist()


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("dclm", ["url_dclm.hard_words", "dclm.word_count", "dclm.duplicate_lines"]),
        (
            "refinedweb",
            ["url_dclm.hard_words", "repetition.top_2gram", "repetition.duplicate_lines"],
        ),
        ("olmo3", ["url_dclm.olmo_hard_words", "olmo.character_count", "olmo.duplicate_lines"]),
    ],
)
def test_prose_is_kept_and_what_is_none_is_dropped_with_its_reason(name, reasons):
    lines = PROSE.splitlines()
    furniture = PROSE + "\nSHARE THIS PAGE WITH ALL OF YOUR FRIENDS NOW\n3 likes\nHome"
    pages = [
        ("https://example.com/harbour", PROSE),
        ("https://example.com/porn/", PROSE),
        ("https://example.com/short", "Too short."),
        ("https://example.com/twice", "\n".join(lines[:3] * 4)),
        ("https://example.com/furniture", furniture),
    ]
    found = fates(name, pages)
    module = "olmo_lines" if name == "olmo3" else "dclm_lines"
    assert found[0] is None
    assert found[1:4] == reasons
    assert found[4] == f"{module}.removed"


def test_near_duplicates_are_sought_with_the_bands_of_their_sources():
    bands = {
        name: next(
            (step.stage.ngram, step.stage.bands, step.stage.rows)
            for step in recipe.load(name).steps
            if isinstance(step.stage, MinHash)
        )
        for name in ("dclm", "refinedweb", "olmo3")
    }
    assert bands == {"dclm": (5, 93, 15), "refinedweb": (5, 450, 20), "olmo3": (5, 26, 11)}
