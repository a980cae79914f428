"""What the documentation says about files and code holds."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from curate.cli import app

ROOT = Path(__file__).resolve().parents[1]


def test_the_rule_sets_of_the_quality_page_are_files():
    page = (ROOT / "docs" / "quality.md").read_text()
    named = set(re.findall(r"`(\w+\.py)`", page))
    assert len(named) > 20
    there = {path.name for path in (ROOT / "filters").glob("*.py")}
    assert named <= there


def test_the_filter_of_the_readme_passes_the_test_of_the_readme(tmp_path):
    source, test = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for package in ("curate", "filters", "tokenizer"):
        shutil.copytree(ROOT / package, tmp_path / package)
    (tmp_path / "filters" / "shouting.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-c", test], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_command_of_a_page_has_the_options_that_it_is_given(page):
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"^    (?:curate|.*-m curate) (.*)$", text, re.MULTILINE):
        words = shlex.split(line, comments=True)
        command = typer.main.get_command(app)
        while hasattr(command, "commands"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        given = {word.strip("[]").partition("=")[0] for word in words}
        assert {word for word in given if word.startswith("--")} <= options, line
