from pathlib import Path

from waguard.core.lifecycle import diagram

DOCUMENT = Path(__file__).parents[2] / "docs/architecture.md"


def test_the_diagram_in_the_docs_is_the_table() -> None:
    shown = (
        DOCUMENT.read_text().partition("<!-- lifecycle -->")[2].partition("<!-- /lifecycle -->")[0]
    )
    assert shown.strip() == f"```mermaid\n{diagram()}\n```", (
        "docs/architecture.md is out of date: replace the block by `diagram()`'s output"
    )
