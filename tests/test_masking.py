import torch
from hypothesis import given
from hypothesis import strategies as st

from modalxai import masking


def _rows(lengths, dim=3):
    generator = torch.Generator().manual_seed(sum(lengths))
    return [torch.randn(length, dim, generator=generator) for length in lengths]


@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.integers(0, 4))
def test_mean_and_first_equal_the_loop_over_real_vectors_whatever_the_padding(lengths, extra):
    rows = _rows(lengths)
    values, mask = masking.pad(rows)
    values = masking.lengthen(values, values.shape[1] + extra)
    mask = masking.lengthen(mask, mask.shape[1] + extra)
    values[~mask] = 1e9  # whatever stands in the padding
    missing = torch.tensor([5.0, 6.0, 7.0])
    for index, row in enumerate(rows):
        mean = row.mean(0) if len(row) else missing
        first = row[0] if len(row) else missing
        torch.testing.assert_close(masking.mean(values, mask, missing)[index], mean)
        torch.testing.assert_close(masking.first(values, mask, missing)[index], first)


def test_pad_keeps_rows_and_says_where_they_are():
    values, mask = masking.pad([torch.tensor([1, 2]), torch.tensor([3])], value=9)
    assert values.tolist() == [[1, 2], [3, 9]]
    assert mask.tolist() == [[True, True], [True, False]]


def test_pad_of_nothing_has_one_false_column():
    values, mask = masking.pad([torch.zeros(0, 2)])
    assert values.shape == (1, 1, 2)
    assert not mask.any()


def test_concatenate_pads_to_the_longest_and_leaves_vectors_of_numbers_alone():
    joined = masking.concatenate([torch.ones(1, 2, 3), torch.ones(2, 4, 3)])
    assert joined.shape == (3, 4, 3)
    assert joined[0, 2:].eq(0).all()
    assert masking.concatenate([torch.ones(1), torch.ones(2)]).shape == (3,)


def test_blank_cuts_the_gradient_to_padding():
    values = torch.ones(1, 2, 3, requires_grad=True)
    masking.blank(values, torch.tensor([[True, False]])).sum().backward()
    assert values.grad.tolist() == [[[1, 1, 1], [0, 0, 0]]]


def test_attendable_opens_one_position_of_empty_rows_only():
    mask = torch.tensor([[False, True], [False, False]])
    assert masking.attendable(mask).tolist() == [[False, True], [True, False]]


def test_lengths_to_mask():
    assert masking.from_lengths(torch.tensor([0, 2]), 2).tolist() == [[False, False], [True, True]]
