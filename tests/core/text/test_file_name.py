import mimetypes

import pytest

from waguard.core.text.file_name import suffixes


@pytest.mark.parametrize(
    ("name", "mimetype"),
    [
        ("x.tar.gz", "application/x-tar"),
        ("a.b.tar.gz", "application/x-tar"),
        ("https://[1]/x.tar.gz", "application/x-tar"),
        ("Report 1.2.pdf", "application/pdf"),
        ("//[x.pdf", "application/pdf"),
        ("1. Re: #2.pdf", "application/pdf"),
        ("a.b?c=d.pdf", "application/pdf"),
        ("x.a:b", None),
        ("x", None),
        ("", None),
        (".pdf", None),
    ],
)
def test_the_type_of_a_file_by_its_name(name: str, mimetype: str | None) -> None:
    assert mimetypes.guess_type(suffixes(name))[0] == mimetype
