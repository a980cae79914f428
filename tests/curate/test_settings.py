"""The settings of stages are told by their fields alone."""

import json
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import yaml

from curate import recipe
from curate.settings import Setting, as_yaml, given, settings
from curate.signal import Signal


@dataclass(frozen=True)
class Stage:
    """A stage."""

    model: str
    languages: tuple[str, ...] = ("en", "no")  # for YAML the second is no text
    # So many bytes,
    # at most.
    most: int = 3 * 1024
    low: float | None = None
    by: Literal["lines", "characters"] = "lines"  # "#" is no comment
    table: dict[str, float] = field(
        default_factory=dict,
    )  # {is: 0.8}
    switched: bool = True

    leaves_text: ClassVar = True


def test_a_field_is_a_setting_with_type_default_and_comment():
    assert settings(Stage) == [
        Setting("model", "text", "", ""),
        Setting("languages", "list of text", "[en, 'no']", "for YAML the second is no text"),
        Setting("most", "whole number", "3072", "So many bytes, at most."),
        Setting("low", "number or null", "null", ""),
        Setting("by", "lines or characters", "lines", '"#" is no comment'),
        Setting("table", "{text: number}", "{}", "{is: 0.8}"),
        Setting("switched", "true or false", "true", ""),
    ]


def test_what_is_given_is_what_is_no_default():
    stage = Stage("m", languages=("de",), most=3072, table={"is": 0.8})
    assert given(stage) == {"model": "m", "languages": ("de",), "table": {"is": 0.8}}
    assert as_yaml(given(stage)) == "{model: m, languages: [de], table: {is: 0.8}}"


def test_every_stage_and_section_tells_defaults_that_can_be_written_in_a_recipe():
    every = {**recipe.catalogue(), **recipe.SECTIONS}
    for name, stage in every.items():
        if isinstance(stage, Signal):
            continue
        told = settings(stage)
        document = {one.name: yaml.safe_load(one.default) for one in told if one.default}
        if all(one.default and one.default != "''" for one in told):
            built = recipe.build(stage, document, name)
            # Near-duplicates spell out the bands that a preset, or nothing, stands for.
            assert given(built) == {} or name == "minhash.MinHash", name
            again = json.loads(json.dumps(given(built)))
            assert recipe.build(stage, again, name) == built, name
