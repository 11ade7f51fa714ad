"""Version texts: what they mean and which version they pick."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Algorithmia.server.services import versions
from Algorithmia.server.services.versions import Wanted

part = st.integers(0, 999_999_999)
number = st.tuples(part, part, part)
small = st.integers(0, 11)
small_numbers = st.lists(st.tuples(small, small, small))


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("", Wanted()),
        ("latest", Wanted()),
        ("latestPrivate", Wanted(latest_private=True)),
        ("1.2.3", Wanted(exact=(1, 2, 3))),
        ("10.20.30", Wanted(exact=(10, 20, 30))),
        ("1.2.*", Wanted(prefix=(1, 2))),
        ("0.2.x", Wanted(prefix=(0, 2))),
        ("1.2", Wanted(prefix=(1, 2))),
        ("1.*", Wanted(prefix=(1,))),
        ("1.*.*", Wanted(prefix=(1,))),
        ("1", Wanted(prefix=(1,))),
        ("A" * 40, Wanted(commit="a" * 40)),
        ("1" * 40, Wanted(commit="1" * 40)),
    ],
)
def test_documented_forms(text: str, wanted: Wanted) -> None:
    assert versions.parse(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["x", "*", "v1.2.3", "1.2.3.4", "1.2.3.*", "1.*.3", "01.2.3", "-1.2.3", "1..3", "1.2.", ".1", "1.2.3 ", "1.2.3\n"]
    + ["Latest", "latestprivate", "a" * 39, "a" * 41, "g" * 40, "\u0661.2.3", "9" * 10 + ".0.0", "1.2.3-beta"],
)
def test_anything_else_means_nothing(text: str) -> None:
    assert versions.parse(text) is None


@given(st.text(max_size=60))
def test_no_text_is_too_odd(text: str) -> None:
    wanted = versions.parse(text)
    if wanted is not None and wanted.exact is not None:
        assert versions.format_number(wanted.exact) == text


@given(number)
def test_numbers_survive(value: versions.Number) -> None:
    text = versions.format_number(value)
    assert versions.parse_number(text) == value
    assert versions.parse(text) == Wanted(exact=value)


@given(small_numbers, st.lists(small, max_size=3).map(tuple))
def test_the_newest_match_wins_numerically(numbers: list[versions.Number], prefix: tuple[int, ...]) -> None:
    found = versions.newest(numbers, prefix)
    matching = [value for value in numbers if list(value[: len(prefix)]) == list(prefix)]
    if found is None:
        assert not matching
    else:
        assert found in matching
        assert all(
            (other[0], other[1], other[2]) <= (found[0], found[1], found[2]) for other in matching
        )


@given(number, small_numbers)
def test_every_partial_form_of_a_version_covers_it(value: versions.Number, others: list[versions.Number]) -> None:
    major, minor, _ = value
    for text in ("", "latest", f"{major}.*", f"{major}.{minor}", f"{major}.{minor}.*", f"{major}.{minor}.x"):
        wanted = versions.parse(text)
        assert wanted is not None and wanted == Wanted(prefix=wanted.prefix)  # only public versions are looked at
        found = versions.newest([*others, value], wanted.prefix)
        assert found is not None and found >= value


def test_order_is_by_number_and_not_by_text() -> None:
    assert versions.newest([(1, 9, 0), (1, 10, 0), (1, 2, 11)]) == (1, 10, 0)
