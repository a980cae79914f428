from dataclasses import fields

import pytest

from curate.errors import RecipeError
from curate.read.reader import Read


def test_lists_from_a_recipe_become_tuples():
    assert Read(types=["Conversion"]).types == ("conversion",)  # type: ignore[arg-type] # as YAML


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"types": ["request"]}, "request"),
        ({"types": []}, "types"),
        ({"types": "response"}, "types"),
        ({"content_types": [1]}, "content_types"),
        ({"batch_rows": 0}, "batch_rows"),
        ({"batch_bytes": -1}, "batch_bytes"),
        ({"batch_bytes": 1 << 31}, "batch_bytes and max_payload_bytes: .* together"),
        ({"split_bytes": 1.5}, "split_bytes"),
        ({"max_payload_bytes": True}, "max_payload_bytes"),
        ({"max_payload_bytes": "1"}, "max_payload_bytes"),
        ({"max_member_bytes": 10}, "max_member_bytes"),
        ({"text_key": ""}, "text_key"),
        ({"url_key": None}, "url_key"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(settings: dict, told: str):
    with pytest.raises(RecipeError, match=told):
        Read(**settings)


def test_every_field_has_a_default():
    assert len(fields(Read())) == 12
