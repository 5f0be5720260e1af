"""A few examples of each property; the campaign tries hundreds."""

import hypothesis
import pytest
from hypothesis import strategies as st

from benchmarks.torture.properties import PROPERTIES, examined


@pytest.mark.parametrize("held", PROPERTIES, ids=lambda held: held.__name__)
def test_properties_hold(held):
    assert examined(held, 10, seed=0) is None


def test_a_property_that_does_not_hold_is_told():
    """A campaign that cannot fail says nothing."""

    @hypothesis.given(number=st.integers(0, 100))
    def small(number):
        assert number < 20

    assert "number=20" in examined(small, 200, seed=0)
