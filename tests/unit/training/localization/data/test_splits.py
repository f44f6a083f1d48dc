from __future__ import annotations

import numpy as np
import pytest

from training.localization.data import splits


def sizes(codes: np.ndarray) -> list[int]:
    return [int(count) for count in np.bincount(codes, minlength=3)]


def test_random_split_has_the_documented_fractions() -> None:
    assert sizes(splits.split_randomly(2000, seed=0)) == [1400, 300, 300]


def test_random_split_of_few_samples_leaves_none_empty() -> None:
    assert sizes(splits.split_randomly(3, seed=0)) == [1, 1, 1]


def test_split_depends_on_the_seed_only() -> None:
    group = np.arange(200) // 4
    for split in (
        lambda seed: splits.split_randomly(200, seed),
        lambda seed: splits.split_by_group(group, seed),
    ):
        assert np.array_equal(split(1), split(1))
        assert not np.array_equal(split(1), split(2))


def test_groups_are_not_divided_and_sizes_are_close_to_the_fractions() -> None:
    group = np.repeat(np.arange(100), 10)
    codes = splits.split_by_group(group, seed=3)
    for number in range(100):
        assert len(set(codes[group == number])) == 1
    assert sizes(codes) == [700, 150, 150]


def test_group_larger_than_a_held_out_split_goes_to_the_training_split() -> None:
    group = np.array([0] * 80 + list(range(1, 21)))
    codes = splits.split_by_group(group, seed=0)
    assert set(codes[group == 0]) == {0}
    assert min(sizes(codes)) > 0


def test_three_groups_fill_three_splits() -> None:
    codes = splits.split_by_group(np.array([5] * 10 + [7] * 10 + [9] * 10), seed=0)
    assert sizes(codes) == [10, 10, 10]


def test_single_group_is_assigned_to_the_training_split() -> None:
    assert sizes(splits.split_by_group(np.zeros(10, int), seed=0)) == [10, 0, 0]


def test_grid_has_16_squares_along_the_longer_side() -> None:
    target = np.array([[0.0, 0.0], [1600.0, 0.0], [1599.0, 99.0], [50.0, 150.0]])
    assert splits.grid_squares(target).tolist() == [0, 15 * 16, 15 * 16, 1]


def test_grid_of_a_single_point_is_one_square() -> None:
    assert splits.grid_squares(np.full((3, 2), 7.0)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("stored", "description"),
    [
        ("as given in the split column", "split column of samples.csv"),
        ("by place: whole squares of the area", "by place, in whole grid squares"),
        (
            "at random: neighbours leak from one side to the other",
            "random; neighboring samples leak",
        ),
        (
            "at random: each sample is drawn for itself, so neighbours tell nothing",
            "random; samples are independent, so nothing leaks",
        ),
        (
            "by night shift: samples of one night shift stay on one side",
            "by night shift; samples with the same night shift stay together",
        ),
        ("by hand", "by hand"),
    ],
)
def test_split_texts_in_existing_datasets_are_described(stored: str, description: str) -> None:
    assert splits.describe_split(stored) == description


def test_new_datasets_store_the_texts_of_existing_ones() -> None:
    """Another text would give the same data another content hash."""
    assert splits.GIVEN == "as given in the split column"
    assert splits.BY_PLACE == "by place: whole squares of the area"
    assert splits.AT_RANDOM == "at random: neighbours leak from one side to the other"
    assert splits.column_split("day") == "by day: samples of one day stay on one side"
