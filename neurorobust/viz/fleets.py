"""Fleets on disk, for the explorer: the score of every die, maps of the dies, and which kind breaks the worst ones.

:func:`keep` writes a file below the folder of a model, ``fleets/NAME.json``; :func:`read_runs` finds and reads them.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._util import digests, files
from .._util.errors import check_count, reason, shown
from ..chip import ChipModel, Die, Programmed
from ..chip.snapshot import snapshot
from ..core.params import ABSOLUTE, POSITIVE, kind_of
from ..core.placement import HOST
from ..core.run import evaluating, nominal
from ..data.hashed import data_sha256
from ..data.samples import Samples, as_samples
from ..evaluation import FleetResult, KindScores, ablate_kinds
from ..evaluation.predict import outputs_on, tensors_of
from ..evaluation.statistics import score
from ..nn.network import placement_of

FORMAT, FORMATS = "neurorobust-fleet/2", ("neurorobust-fleet/1", "neurorobust-fleet/2")
"""Format of the files; the first one holds no digest of the network."""
UNNAMED = "network"
"""The method of a network of which nothing is known; it is shown by the name of its folder."""
FOLDER = "fleets"
LARGEST_MAPS = 400_000
"""Values that the maps of one fleet may hold; of more, only the worst dies have maps, or none."""
BROKEN, LARGEST = -128, 127
"""Codes of a map: that of a broken element, and the largest of a value."""
Kinds = Mapping[int, Mapping[str, KindScores]]


@dataclass(frozen=True)
class FleetRecord:
    """One network on many dies, as the explorer shows it.

    Attributes:
        task: its name. measure: of the scores, in words. samples: test samples.
        method: name of the network's training. seed: of the training; None if unknown.
        dies: label of the chip model, with its conditions. die_seed, serials: which dies.
        nominal: the score before programming. scores: that of each die, in the order of ``serials``.
        kinds: serial → kind → scores with this kind alone, and without it; only of the dies that were taken apart.
        maps: what :func:`die_maps` gives, or empty.
        chip_sha256, data_sha256, network_sha256: of the numbers of the chip model, of the test samples and labels, and
            of the parameters and buffers of the network; "" if unknown, as the last is in files of format 1.
    """

    task: str
    measure: str
    samples: int
    method: str
    seed: int | None
    dies: str
    die_seed: int
    serials: tuple[int, ...]
    nominal: float
    scores: tuple[float, ...]
    kinds: Kinds = field(default_factory=dict)
    maps: Mapping[str, Any] = field(default_factory=dict)
    chip_sha256: str = ""
    data_sha256: str = ""
    network_sha256: str = ""

    @property
    def key(self) -> tuple[str, int | None, str, int]:
        """Method, training seed, dies and seed of the dies, which no other fleet of a page shares."""
        return self.method, self.seed, self.dies, self.die_seed

    def worst(self, n: int = 5) -> list[int]:
        """The serials of the worst dies, the worst first; of equal scores, the lowest serial first."""
        return worst(self.serials, self.scores, n)

    def entry(self) -> dict[str, Any]:
        """As one JSON object."""
        return {"format": FORMAT} | asdict(self)

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> FleetRecord:
        """That of a JSON object.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        if entry["format"] not in FORMATS:
            raise ValueError(f"format: got {shown(entry['format'])}; expected {FORMAT!r}")
        kinds = {
            int(serial): {
                str(kind): KindScores(float(found["alone"]), float(found["without"])) for kind, found in kinds.items()
            }
            for serial, kinds in entry["kinds"].items()
        }
        record = cls(
            **{name: str(entry[name]) for name in ("task", "measure", "method", "dies", "chip_sha256", "data_sha256")},
            samples=int(entry["samples"]),
            seed=None if entry["seed"] is None else int(entry["seed"]),
            die_seed=int(entry["die_seed"]),
            serials=tuple(map(int, entry["serials"])),
            nominal=float(entry["nominal"]),
            scores=tuple(map(float, entry["scores"])),
            kinds=kinds,
            maps=checked_maps(entry["maps"]),
            network_sha256="" if entry["format"] == FORMATS[0] else str(entry["network_sha256"]),
        )
        if not {*record.maps.get("serials", ())} <= {*record.serials}:
            raise ValueError("maps: of a die that has no score")
        different, parts = len(set(record.serials)), (pair for of in kinds.values() for pair in of.values())
        if not different or not different == len(record.serials) == len(record.scores):
            raise ValueError(f"scores: got {len(record.scores)} for {different} dies; expected a number each")
        if record.samples < 1 or max(record.nominal, *record.scores) > 1:
            raise ValueError("scores: expected at least one sample, and no score above 1")
        numbers = (record.nominal, *record.scores, *(score for pair in parts for score in (pair.alone, pair.without)))
        if not np.isfinite(numbers).all():
            raise ValueError("scores: one is no number")
        return record


def worst(serials: Sequence[int], scores: Sequence[float], n: int = 5) -> list[int]:
    """The serials of the n worst dies, the worst first; of equal scores, the lowest serial first."""
    return [serial for _, serial in sorted(zip(scores, serials))[:n]]


def check_same(records: Sequence[FleetRecord]) -> None:
    """Raise ValueError if records have different samples or measures, if one label of dies stands for several chip
    models, or one method and training seed for several networks, or if two records are of the same fleet."""
    for name in ("task", "measure"):
        if len(found := {getattr(record, name) for record in records}) > 1:
            raise ValueError(f"records: of {len(found)} {name}s, {', '.join(sorted(found))}; make one page of each.")
    if len({record.key for record in records}) < len(records):
        raise ValueError(
            "records: two have the same method, training seed and dies; leave one out, or rename its method."
        )
    tasks = {record.data_sha256 for record in records}
    if len(tasks) > 1:
        raise ValueError(
            f"records: the fleets were measured on {len(tasks)} different sets of test samples, so they cannot be "
            f"compared; evaluate all networks on the same samples."
        )
    networks: dict[tuple[str, int | None], set[str]] = {}
    chips: dict[str, set[str]] = {}
    for record in records:
        chips.setdefault(record.dies, set()).add(record.chip_sha256)
        networks.setdefault((record.method, record.seed), set()).update({record.network_sha256} - {""})
    for (method, seed), found in networks.items():
        if len(found) > 1:
            raise ValueError(
                f"records: {method!r}, training seed {seed}, stands for {len(found)} different networks; evaluate "
                f"again the dies of the old one, or give each network a name of its own."
            )
    for label, found in chips.items():
        if len(found) > 1:
            raise ValueError(
                f"records: {label!r} stands for {len(found)} different chip models, so its dies are not the same; "
                f"evaluate all networks with one version of it."
            )


# ---- making them


def records(
    network: nn.Module,
    data: Any,
    chip: ChipModel,
    result: FleetResult,
    info: Mapping[str, Any],
    *,
    taken_apart: int = 5,
) -> list[FleetRecord]:
    """The record of a fleet, and that of the same dies trimmed where ``result`` has them.

    Args:
        network, data, chip: of which ``result`` is the evaluation.
        info: of the model: ``task``, ``method``, ``seed``, each of them optional. Without a method the explorer shows
            the name of the folder.
        taken_apart: of so many of the worst dies, each kind is measured alone and left out
            (:func:`neurorobust.evaluation.ablate_kinds`); 0 for none.
    """
    data = as_samples(data)
    _check_of(result, network, data, chip)
    low = worst(result.serials, result.score.tolist(), check_count("taken_apart", taken_apart, 0))
    kinds = ablate_kinds(network, data, chip, serials=low, seed=result.seed) if low else {}
    seed = info.get("seed")
    record = FleetRecord(
        task=str(info.get("task", "")),
        measure="R²" if result.accuracy is None else "balanced accuracy",
        samples=len(data),
        method=str(info.get("method", UNNAMED)),
        seed=seed if isinstance(seed, int) else None,
        dies=result.chip,
        die_seed=result.seed,
        serials=result.serials,
        nominal=result.nominal,
        scores=tuple(result.score.tolist()),
        kinds=kinds,
        maps=die_maps(network, chip, result.serials, result.seed, worst(result.serials, result.score.tolist())),
        chip_sha256=digests.of_bytes(json.dumps(snapshot(chip), sort_keys=True).encode()),
        data_sha256=data_sha256(data),
        network_sha256=digests.of_tensors(tensors_of(network)),
    )
    if (trimmed := result.trimmed) is None:
        return [record]
    label = f"{result.chip}, trimmed on {trimmed.trim}"
    return [record, replace(record, dies=label, scores=tuple(trimmed.score.tolist()), kinds={})]


def _check_of(result: FleetResult, network: nn.Module, data: Samples, chip: ChipModel) -> None:
    """Raise ValueError unless a result is that of this network, these data and this chip, as far as it says so. Its
    score before programming has to come out again."""
    for name, own, given in (
        ("network", result.network_sha256, digests.of_tensors(tensors_of(network))),
        ("data", result.labels_sha256, digests.of_tensors({"y": data.y})),
    ):
        if own not in ("", given):
            raise ValueError(f"{name}: the result is of another one; pass the {name} that nr.evaluate got.")
    if result.model is not None and result.model != chip:
        raise ValueError(f"chip: the result is of {result.chip}; pass the chip model that nr.evaluate got.")
    with evaluating(network):
        (outputs,) = outputs_on(network, [nominal(network)], data)
    found = score(outputs, data.y)
    if not np.isclose(found, result.nominal, rtol=1e-6, atol=1e-6):
        raise ValueError(
            f"result: its score before programming is {result.nominal:.6g}, and that of this network on these data is "
            f"{found:.6g}; pass the network and the data that nr.evaluate got."
        )


def keep(found: Sequence[FleetRecord], folder: str | Path) -> list[Path]:
    """Write records below the folder of a model; a record of the same dies and conditions is replaced."""
    below = files.make_folder(Path(folder) / FOLDER)
    paths = []
    for record in found:
        name = re.sub(r"[^\w.+-]+", "-", record.dies).strip("-.") or "dies"
        path = below / f"{name}-seed-{record.die_seed}.json"
        digests.write_json(path, record.entry(), indent=None)
        paths.append(path)
    return paths


# ---- maps


def die_maps(
    network: nn.Module, chip: ChipModel, serials: Sequence[int], seed: int, instead: Sequence[int] = ()
) -> dict[str, Any]:
    """Maps of dies: the relative deviation of every parameter of every neuron, for a weight the mean over the synapses
    that end on the neuron; in volts for potentials that may be 0.

    A value is a code of one byte: value = spread · sinh(step · code), so the rounding is below 2.5 % of a large value,
    and finer near 0. Code −128 is a broken element.

    Args:
        network, chip: as for :func:`neurorobust.evaluate`. serials, seed: of the dies.
        instead: the dies that have maps where those of all need more than :data:`LARGEST_MAPS` values.

    Returns:
        ``serials``: the dies that have maps. ``width``: neurons in a row of a core. ``sites``: of each layer, the
        ``core`` of each neuron (−1 on the host) and its ``number`` there. ``parameters``: by name, ``layer``, ``kind``,
        ``unit`` ("" or "V"), ``spread``, ``step`` and ``codes``, in base64, die by die. Empty if nothing has a map.
    """
    programmed = chip.program(nominal(network), placement_of(network))
    rows = {name: _rows(programmed, name) for name in programmed.expanded()}
    total = sum(n for n, _ in rows.values())
    shown = next((few for few in (tuple(serials), tuple(instead)) if len(few) * total <= LARGEST_MAPS), ())
    values: dict[str, list[np.ndarray]] = {name: [] for name in rows}
    for die in chip.fabricate(shown, seed):
        for name, value in _of_neurons(die, programmed).items():
            values[name].append(value)
    parameters, sites = {}, {}
    for name, found in values.items():
        coded = _coded(np.stack(found)) if found else None
        if coded is not None:
            layer = rows[name][1]
            unit = "V" if kind_of(name) in ABSOLUTE else ""
            parameters[name] = {"layer": layer, "kind": kind_of(name), "unit": unit, **coded}
            sites[layer] = _sites(programmed, layer, rows[name][0])
    if not parameters:
        return {}
    return {"serials": list(shown), "width": chip.grid[1], "sites": sites, "parameters": parameters}


def _rows(programmed: Programmed, name: str) -> tuple[int, str]:
    """How many values a parameter has on a map, and the layer whose sites they have; a name of its own elsewhere."""
    value, layer = programmed.expanded()[name], programmed.placement.layer(name)
    sites = programmed.placement.sites(name, value)
    if sites is not None and layer is not None:
        return programmed.placement.rows(name, value), layer
    return len(value) if value.ndim else 1, name


def _of_neurons(die: Die, programmed: Programmed) -> dict[str, np.ndarray]:
    """The value of each neuron, by parameter; NaN where it is broken."""
    broken, found = die.broken(programmed), {}
    for name, delta in die.deviations(programmed).items():
        value = delta.double().expm1() if kind_of(name) in POSITIVE else delta.double()
        there = torch.ones_like(value, dtype=torch.bool)
        mask = programmed.placement.masks.get(name)
        if mask is not None and mask.shape == value.shape:
            there = mask.to(there)
        if name in broken:
            value = value.masked_fill(broken[name], torch.nan)
        n, pattern = _rows(programmed, name)[0], programmed.placement.patterns.get(name)
        row = torch.arange(n).repeat_interleave(value.numel() // n) if pattern is None else pattern.targets.cpu()
        found[name] = _mean(value.flatten()[there.flatten()].cpu(), row[there.flatten().cpu()], n)
    return found


def _mean(value: Tensor, row: Tensor, n: int) -> np.ndarray:
    """The mean of each of n rows over its elements; 0 where there are none."""
    total = torch.zeros(n, dtype=value.dtype).index_add(0, row, value)
    return (total / torch.bincount(row, minlength=n).clamp(min=1)).numpy()


def _coded(values: np.ndarray) -> dict[str, Any] | None:
    """Values (dies, n) as codes of a byte; None where nothing varies."""
    whole = np.isfinite(values)
    size = np.abs(values[whole])
    if not size.any():
        return None
    spread = float(np.median(size[size > 0]))
    step = float(np.arcsinh(size.max() / spread) / LARGEST)
    codes = np.full(values.shape, BROKEN, dtype=np.int8)
    codes[whole] = np.rint(np.arcsinh(values[whole] / spread) / step)
    return {"spread": spread, "step": step, "codes": base64.b64encode(codes.tobytes()).decode()}


def checked_maps(maps: Any) -> dict[str, Any]:
    """The maps of a file, as :func:`die_maps` makes them, or none.

    Raises:
        ValueError: they are something else.
    """
    if maps == {}:
        return {}
    shapes: dict[str, type] = {"serials": list, "width": int, "sites": dict, "parameters": dict}
    if not isinstance(maps, dict) or maps.keys() != shapes.keys():
        raise ValueError(f"maps: expected {', '.join(shapes)}")
    for name, kind in shapes.items():
        if type(maps[name]) is not kind:
            raise ValueError(f"maps: {name} is no {kind.__name__}")
    if maps["width"] < 1 or not all(type(serial) is int for serial in maps["serials"]):
        raise ValueError("maps: width and serials are whole numbers, the width from 1")
    for layer, sites in maps["sites"].items():
        if not isinstance(sites, dict) or sites.keys() != {"core", "number"}:
            raise ValueError(f"maps: the sites of {layer!r} need core and number")
        if not all(isinstance(each, list) and all(type(n) is int for n in each) for each in sites.values()):
            raise ValueError(f"maps: the sites of {layer!r} are no whole numbers")
    for name, parameter in maps["parameters"].items():
        _check_map(name, parameter, maps)
    return dict(maps)


def _check_map(name: str, parameter: Any, maps: Mapping[str, Any]) -> None:
    """Raise ValueError unless one parameter of the maps of a file has a code for every neuron and die."""
    texts, numbers = ("layer", "kind", "unit", "codes"), ("spread", "step")
    if not isinstance(parameter, dict) or parameter.keys() != {*texts, *numbers}:
        raise ValueError(f"maps: {name!r} needs {', '.join((*texts, *numbers))}")
    if not all(isinstance(parameter[each], str) for each in texts) or parameter["layer"] not in maps["sites"]:
        raise ValueError(f"maps: {name!r} names no layer that has sites")
    if not all(isinstance(parameter[each], float) and np.isfinite(parameter[each]) for each in numbers):
        raise ValueError(f"maps: spread and step of {name!r} are no numbers")
    try:
        codes = len(base64.b64decode(parameter["codes"], validate=True))
    except ValueError as error:
        raise ValueError(f"maps: the codes of {name!r} are no base64") from error
    sites = maps["sites"][parameter["layer"]]
    neurons = {len(sites["core"]), len(sites["number"])}
    if len(neurons) > 1 or codes != neurons.pop() * len(maps["serials"]):
        raise ValueError(f"maps: {name!r} has {codes} codes, not one for each neuron of {len(maps['serials'])} dies")


def decoded(parameter: Mapping[str, Any], n_dies: int) -> np.ndarray:
    """The values of a parameter of :func:`die_maps`, (dies, neurons); NaN for broken elements."""
    codes = np.frombuffer(base64.b64decode(parameter["codes"]), dtype=np.int8).reshape(n_dies, -1)
    values = parameter["spread"] * np.sinh(parameter["step"] * codes.astype(float))
    return np.where(codes == BROKEN, np.nan, values)


def _sites(programmed: Programmed, layer: str, n: int) -> dict[str, list[int]]:
    """Core and number of each neuron of a layer; of a parameter that is not placed, one row after the other."""
    sites = programmed.placement.numbering.get(layer)
    if sites is None:
        return {"core": [HOST] * n, "number": list(range(n))}
    return {"core": sites.core.tolist(), "number": sites.number.tolist()}


# ---- reading them


def read_runs(runs: Sequence[str | Path]) -> list[FleetRecord]:
    """The records of some runs: files of :func:`keep`, folders of models, or folders that hold such folders.

    Raises:
        FileNotFoundError: a run does not exist or holds no record; the message says how to make one.
        ValueError: a file is damaged or foreign; two files hold the same fleet; fleets of different tasks.
    """
    if not runs:
        raise ValueError("runs: got none; expected at least one model folder, or a folder of such folders.")
    found: list[tuple[Path, FleetRecord]] = []
    for run in map(Path, runs):
        for path in _files(run):
            if path.resolve() not in {other.resolve() for other, _ in found}:
                found.append((path, _read(path)))
    first = found[0][1]
    for path, record in found:
        for name in ("task", "measure", "samples"):
            if getattr(record, name) != getattr(first, name):
                raise ValueError(
                    f"{path}: {name} is {getattr(record, name)!r}, and {getattr(first, name)!r} in {found[0][0]}; "
                    f"their scores cannot be compared. Make one page of each."
                )
    return _distinct(found)


def _distinct(found: Sequence[tuple[Path, FleetRecord]]) -> list[FleetRecord]:
    """The records; a network without a method is named after its folder, and so are networks that share a name."""
    folders = [path.resolve().parent.parent for path, _ in found]
    named = [
        replace(record, method=folder.name) if record.method == UNNAMED else record
        for (_, record), folder in zip(found, folders)
    ]
    shared: dict[tuple[str, int | None], set[Path]] = {}
    for record, folder in zip(named, folders):
        shared.setdefault((record.method, record.seed), set()).add(folder)
    by_folder = _folder_names(folders)
    named = [
        replace(record, method=_with_folder(record.method, by_folder[folder]))
        if len(shared[record.method, record.seed]) > 1
        else record
        for record, folder in zip(named, folders)
    ]
    for (path, _), record in zip(found, named):
        if [each.key for each in named].count(record.key) > 1:
            raise ValueError(
                f"{path}: holds {record.method}, seed {record.seed}, on {record.dies} of seed {record.die_seed}, as "
                f"another run does; give one of them, or rename a folder."
            )
    return named


def _folder_names(folders: Sequence[Path]) -> dict[Path, str]:
    """The last part of each path; of paths that share it, as many parts as make them different."""
    different = set(folders)
    names = {}
    for folder in different:
        n = 1
        while any(other != folder and other.parts[-n:] == folder.parts[-n:] for other in different):
            n += 1
        names[folder] = "/".join(folder.parts[-n:])
    return names


def _with_folder(method: str, folder: str) -> str:
    """A name that says the folder once."""
    return folder if folder.rpartition("/")[2] == method else f"{method} ({folder})"


def _files(run: Path) -> list[Path]:
    if run.is_file():
        return [run]
    if not run.is_dir():
        raise FileNotFoundError(f"run: {str(run)!r} does not exist; expected a model folder, or a folder of them.")
    paths = sorted(run.glob(f"{FOLDER}/*.json")) or sorted(run.glob(f"*/{FOLDER}/*.json"))
    if not paths:
        model = run if (run / "config.json").exists() else run / "MODEL"
        raise FileNotFoundError(
            f"run: no die was kept in {str(run)!r}; run `neurorobust evaluate {model} --chip dynapse2 --keep` first, "
            f"or `neurorobust demo`."
        )
    return paths


def _read(path: Path) -> FleetRecord:
    entry = digests.read_json(path, "run `neurorobust evaluate … --keep` again.")
    try:
        return FleetRecord.of(entry)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{path}: is no fleet ({reason(error)}); expected a file that `neurorobust evaluate … --keep` wrote."
        ) from error
