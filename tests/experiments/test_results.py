"""The page of results is what its command makes of the results."""

from experiments import results


def test_page_is_generated():
    assert (results.DOCS / "results.md").read_text(encoding="utf-8") == results.render()
