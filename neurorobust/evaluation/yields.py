"""The yields of two networks on the same dies."""

from __future__ import annotations

from dataclasses import dataclass

from .._util.errors import check_number
from .._util.printed import Printed
from .fleet import FleetResult, check_same_dies


@dataclass(frozen=True)
class YieldComparison(Printed):
    """The yields of two networks on the same dies, and McNemar's exact test of their difference.

    Only dies on which the networks differ say something about the difference. If both networks had the same yield, each
    of these dies would be equally likely to favour either: the number that favours the first is binomial with 1/2
    (McNemar, Psychometrika 12, 1947, in its exact form).

    Attributes:
        spec: score that a die has to reach. n: dies.
        first, second: dies that reach it, of each network.
        only_first, only_second: dies that reach it with one network alone.
        p_value: two-sided; 1 if no die differs.
        minima: score of the worst die of each network. It need not be the same die.

    Example:
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> layers = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layers[0].weight), nn.init.constant_(layers[1].weight, 1.0)  # the second one guesses
        >>> first, second = (nr.evaluate(nr.wrap(layer), data, nr.mismatch(0.1), n_dies=50) for layer in layers)
        >>> found = nr.evaluation.compare_yields(first, second, 1.0)
        >>> found.n, found.first, found.second
        (50, 47, 4)
    """

    spec: float
    n: int
    first: int
    second: int
    only_first: int
    only_second: int
    p_value: float
    minima: tuple[float, float]

    def __repr__(self) -> str:
        return (
            f"YieldComparison({self.first} and {self.second} of {self.n} dies reach {self.spec:g}; {self.only_first} "
            f"only with the first network, {self.only_second} only with the second, exact McNemar test "
            f"p = {self.p_value:.2g}; worst dies {self.minima[0]:.3f} and {self.minima[1]:.3f})"
        )


def compare_yields(first: FleetResult, second: FleetResult, spec: float) -> YieldComparison:
    """Compare how many dies reach a specification with two networks, die by die.

    Args:
        first, second: results on the same dies. spec: score from 0 to 1, .90 for 90 %.

    Raises:
        ValueError: not the same dies, or a specification above 1.

    Example:
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> layers = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layers[0].weight), nn.init.constant_(layers[1].weight, 1.0)  # the second one guesses
        >>> first, second = (nr.evaluate(nr.wrap(layer), data, nr.mismatch(0.1), n_dies=50) for layer in layers)
        >>> found = nr.evaluation.compare_yields(first, second, 1.0)
        >>> found.only_first, found.only_second, found.p_value < 1e-6
        (43, 0, True)
    """
    from scipy.stats import binomtest  # slow to import

    check_same_dies(first, second)
    spec = check_number("spec", spec)
    if spec > 1:
        raise ValueError(f"spec: got {spec:g}; expected a score from 0 to 1, .90 for 90 %.")
    one, two = first.score >= spec, second.score >= spec
    only_first, only_second = int((one & ~two).sum()), int((two & ~one).sum())
    differing = only_first + only_second
    return YieldComparison(
        spec=spec,
        n=len(one),
        first=int(one.sum()),
        second=int(two.sum()),
        only_first=only_first,
        only_second=only_second,
        p_value=float(binomtest(only_first, differing).pvalue) if differing else 1.0,
        minima=(first.min, second.min),
    )
