"""No chip: nothing deviates, nothing is quantized, everything fits. A reference for the others."""

from neurorobust.chip import ChipModel, KindModel, SourcedText, SourcedValue, neurons_beside
from neurorobust.chip.variability import Law, LogNormal, Normal, Offset
from neurorobust.core.params import ABSOLUTE, POSITIVE, SIGNED

_none = SourcedValue(0.0, "assumed", "an ideal chip, by definition")
_laws: dict[frozenset[str], Law] = {SIGNED: Normal(0.0), POSITIVE: LogNormal(0.0), ABSOLUTE: Offset(0.0)}

_nothing = SourcedText("No chip, so no neurons of its own.", "assumed", "an ideal chip, by definition")
_as_network = SourcedText("No chip.", "assumed", "an ideal chip, by definition", model="As the network has it.")
_OTHERS = ("signs", "fan_out", "settings", "readout", "time_base", "only_in_silicon", "only_in_model")

chip = ChipModel(
    name="ideal",
    title="No chip: nothing deviates",
    kinds={kind: KindModel(law, _none) for family, law in _laws.items() for kind in sorted(family)},
    inputs=SourcedText("No chip.", "assumed", "an ideal chip, by definition", ("events", "numbers"), "Any numbers."),
    neuron=neurons_beside(_nothing, **dict.fromkeys(_OTHERS, _as_network)),
    notes=("Nothing is quantized, nothing deviates, everything fits: no chip is like this.",),
)
