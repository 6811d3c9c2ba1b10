from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from geosynth.evaluation.distances import frechet_distance, kernel_distance, neighbourhoods, normal_distance


def normal(seed: int, count: int, mean: float = 0.0, dimensions: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, (count, dimensions))


def test_kernel_distance_by_hand() -> None:
    real, made = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]), np.array([[2.0, 2.0], [0.0, 0.0], [2.0, 0.0]])
    # Products over D + 1: within real all 1; within made 1, 3, 1; across 1 1 1 | 3 1 3 | 3 1 1.
    within_real, within_made, across = 1, (1 + 27 + 1) / 3, (1 + 1 + 1 + 27 + 1 + 27 + 27 + 1 + 1) / 9
    assert kernel_distance(real, made).value == pytest.approx(within_real + within_made - 2 * across)


def test_standard_error_is_that_of_leaving_one_out() -> None:
    real, made = normal(0, 9), normal(1, 7, 0.5)
    squares = 0.0
    for sample, left in (
        (real, [kernel_distance(np.delete(real, i, 0), made).value for i in range(9)]),
        (made, [kernel_distance(real, np.delete(made, i, 0)).value for i in range(7)]),
    ):
        squares += (len(sample) - 1) / len(sample) * float(((np.array(left) - np.mean(left)) ** 2).sum())
    assert kernel_distance(real, made).standard_error == pytest.approx(math.sqrt(squares))


def test_kernel_distance_is_unbiased_and_its_error_honest() -> None:
    found = [kernel_distance(normal(2 * i, 40), normal(2 * i + 1, 40)) for i in range(200)]
    values, errors = np.array([entry.value for entry in found]), np.array([entry.standard_error for entry in found])
    assert (values < 0).mean() > 0.3
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(len(values))
    assert 0.8 * values.std() < np.median(errors) < 2.5 * values.std()  # never much too small
    assert (np.abs(values) < 2 * errors).mean() > 0.9


def test_kernel_distance_tells_what_mean_and_covariance_do_not() -> None:
    random = np.random.default_rng(0)
    skewed = random.exponential(1, (1500, 6)) - 1  # mean 0, variance 1, as the normal
    found = kernel_distance(normal(1, 1500), skewed)
    assert found.value > 4 * found.standard_error


def test_normal_distance_is_the_closed_form() -> None:
    # Commuting covariances: the sum of squared differences of means and of standard deviations.
    first, second = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])
    found = normal_distance(np.zeros(3), np.diag(first), np.array([1.0, -2.0, 0.0]), np.diag(second))
    assert found == pytest.approx(5 + 1 + 0 + 4)
    random = np.random.default_rng(3)
    a, b = (part @ part.T for part in random.normal(size=(2, 5, 5)))
    wanted = np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert normal_distance(np.zeros(5), a, np.zeros(5), b) == pytest.approx(wanted)


def test_normal_distance_of_singular_covariances() -> None:
    line, other = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])
    assert normal_distance(np.zeros(2), line, np.zeros(2), other) == pytest.approx(2)
    assert normal_distance(np.zeros(2), line, np.zeros(2), line) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_comes_near_that_of_the_distributions() -> None:
    real, made = normal(0, 20_000, dimensions=3), 2 * normal(1, 20_000, dimensions=3) + 1
    assert frechet_distance(real, made) == pytest.approx(3 * (1 + 1), rel=0.03)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)
    small = frechet_distance(normal(2, 30), normal(3, 30))
    assert small > 5 * frechet_distance(normal(2, 3000), normal(3, 3000)) > 0  # the bias that the floor is for


def test_neighbourhoods_of_identical_and_of_disjoint_samples() -> None:
    real = normal(0, 50)
    same, far = neighbourhoods(real, real), neighbourhoods(real, real + 100)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    assert same.density == pytest.approx(6 / 5)  # in its own neighbourhood and, on average, in 5 others
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_neighbourhoods_on_a_line_by_hand() -> None:
    real, made = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([[1.125], [1.25], [1.5], [50.0]])
    found = neighbourhoods(real, made, precision_k=1, coverage_k=2)
    assert found.precision == 0.75  # reaches 1, 1, 1, 8: all but 50
    assert found.recall == pytest.approx(3 / 4)  # 50 reaches 48.5: 2 and 10; 1.125 reaches 0.125: 1
    # With two neighbours they reach 2, 1, 2, 9: each holds all but 50.
    assert found.density == pytest.approx((3 + 3 + 3 + 3) / (2 * 4))
    assert found.coverage == 1


def test_neighbourhoods_are_those_of_the_papers_taken_literally() -> None:
    """Loops over the definitions: equations 1-2 of Kynkäänniemi et al. 2019, 3-4 of Naeem et al. 2020."""
    real, made = normal(3, 40, 0.0), normal(4, 30, 0.6)

    def reach(sample: np.ndarray, i: int, k: int) -> float:
        return sorted(math.dist(sample[i], other) for j, other in enumerate(sample) if j != i)[k - 1]

    def share_inside(asked: np.ndarray, sample: np.ndarray, k: int) -> float:
        balls = [reach(sample, i, k) for i in range(len(sample))]
        return sum(any(math.dist(one, sample[i]) <= balls[i] for i in range(len(sample))) for one in asked) / len(asked)

    balls = [reach(real, i, 5) for i in range(len(real))]
    inside = [[math.dist(one, real[i]) <= balls[i] for one in made] for i in range(len(real))]
    found = neighbourhoods(real, made)
    assert found.precision == pytest.approx(share_inside(made, real, 3))
    assert found.recall == pytest.approx(share_inside(real, made, 3))
    assert found.density == pytest.approx(sum(map(sum, inside)) / (5 * len(made)))
    assert found.coverage == pytest.approx(sum(map(any, inside)) / len(real))
    assert 0 < found.coverage < 1 and 0 < found.recall < 1


def test_one_mode_is_precise_but_covers_little() -> None:
    real = np.concatenate([normal(0, 60), normal(1, 60, 30.0)])
    found = neighbourhoods(real, normal(2, 120))
    assert found.precision > 0.8
    assert found.recall <= 0.5
    assert found.coverage <= 0.5


def test_a_lonely_real_vector_makes_all_precise_but_neither_dense_nor_covering() -> None:
    """Its reach holds what is like none of the others: why a high precision alone proves nothing."""
    real = np.concatenate([normal(0, 23), [[40.0] * 6]])
    found = neighbourhoods(real, normal(1, 24, 25.0))
    assert found.precision == 1
    assert found.recall == 0
    assert found.density == pytest.approx(1 / 5), "one neighbourhood, where five are expected"
    assert found.coverage == pytest.approx(1 / 24)


@pytest.mark.parametrize("function", [kernel_distance, frechet_distance, neighbourhoods])
def test_too_few_vectors_are_refused(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match="vectors"):
        function(normal(0, 20), normal(1, 1))
