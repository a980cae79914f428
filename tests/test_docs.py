"""What the documentation says about files and code holds."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

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
