"""No chip: nothing deviates, nothing is quantized, everything fits. A reference for the others."""

from neurorobust.chip import ChipModel, KindModel, SourcedValue
from neurorobust.chip.variability import Law, LogNormal, Normal, Offset
from neurorobust.core.params import ABSOLUTE, POSITIVE, SIGNED

_none = SourcedValue(0.0, "assumed", "an ideal chip, by definition")
_laws: dict[frozenset[str], Law] = {SIGNED: Normal(0.0), POSITIVE: LogNormal(0.0), ABSOLUTE: Offset(0.0)}

chip = ChipModel(
    name="ideal",
    title="No chip: nothing deviates",
    kinds={kind: KindModel(law, _none) for family, law in _laws.items() for kind in sorted(family)},
    notes=("Nothing is quantized, nothing deviates, everything fits: no chip is like this.",),
)
