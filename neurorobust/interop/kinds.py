"""The kind of each parameter of a torch module, from its name or from the user's argument."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from .._util.errors import check_count, plain, shown, unknown
from .._util.warn import warn
from ..core.params import DIGITAL, KINDS, SIGNED, check_dtype, check_not_compiled
from .libraries import DECAY, default_kind, from_library, kind_there, numbers_in

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)  # noqa: SLF001
NORMALISATION = "normalisation"
"""In ``kinds=``: the parameters of all norms."""
# torch's own names: weight, weight_ih_l0_reverse, weight_hr_l0, in_proj_weight, q_proj_weight …, the same for biases.
_NAMES = {
    kind: re.compile(rf"((\w+_)?proj_)?{kind}(_([ih]h|hr)(_l\d+(_reverse)?)?|_[kv])?") for kind in ("weight", "bias")
}
# Names that say what a number is, wherever it stands; "r" may be anything.
TELLING = KINDS - SIGNED - {"r"}
# Names that other libraries give to thresholds, time constants, and decays: one of the kind, or "" for a decay.
_LIKELY = {
    "v_threshold": re.compile(r"(v_?|spike_)?th(r|resh|reshold)?_?\d*"),
    "tau_mem": re.compile(r"tau(_m)?_?\d*|tau_mem_inv"),
    "tau_syn": re.compile(r"tau_s_?\d*|tau_syn_inv"),
    DECAY: re.compile(r"(mem_|syn_)?(decay|leak)(_mem|_syn|_m|_s)?_?\d*|(beta|alpha)(_mem|_syn)?_?\d*"),
}
_DECAY = "A decay has no kind: hold its time constant in seconds, compute exp(-dt/tau) in forward, and name that"
# Layers of torch whose weights and biases have one value per synapse and neuron, even if it is one in all.
LAYERS = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)  # noqa: SLF001
PARAMETRIZED = {
    "weight_orig": "With 'weight' the mask is kept, in training too. torch.nn.utils.prune.remove makes a pruned weight "
    "plain; then training fills the zeros.",
    "bias_orig": "torch.nn.utils.prune.remove makes a pruned bias plain.",
    "weight_g": "torch.nn.utils.remove_weight_norm makes its weight plain.",
    "weight_v": "torch.nn.utils.remove_weight_norm makes its weight plain.",
    "original": "torch.nn.utils.parametrize.remove_parametrizations makes it plain.",
    "original0": "torch.nn.utils.parametrize.remove_parametrizations makes it plain.",
    "original1": "torch.nn.utils.parametrize.remove_parametrizations makes it plain.",
}


def kinds_of(module: nn.Module, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """The kind of every parameter of a module, by its own name.

    Args:
        module: any torch module.
        overrides: kinds by name or pattern (``{"bn*.*": "digital"}``), or of all norms
            (``{"normalisation": "digital"}``); the first match counts, before torch's names (``weight``, ``bias``,
            ``weight_ih_l0`` …), NIR's (``tau_mem`` …) and those of sinabs, norse and spikingjelly.

    Raises:
        ValueError: a name is unknown or belongs to a normalisation, or an override matches no parameter.
        TypeError: the overrides are no mapping.
    """
    overrides = spelled_out(module, overrides)
    names = [name for name, _ in module.named_parameters()]
    check_overrides(overrides, [*names, *(name for name in numbers_of(module) if _named_by(name, overrides))])
    return {name: _kind(module, name, overrides) for name in names}


def spelled_out(module: nn.Module, overrides: Mapping[str, str] | None) -> dict[str, str]:
    """The kinds that the user gives, with the names of all parameters of norms for the word ``normalisation``.

    Raises:
        TypeError: no mapping. ValueError: an unknown kind, or no norm.
    """
    if not isinstance(overrides, Mapping | None):
        raise TypeError(
            f"kinds: got {shown(overrides)}; expected kinds by name, such as {{'{NORMALISATION}': 'digital'}}."
        )
    result: dict[str, str] = {}
    for pattern, kind in (overrides or {}).items():
        if pattern != NORMALISATION:
            result[pattern] = kind
            continue
        if kind not in KINDS | DIGITAL:
            raise unknown(f"kinds[{pattern!r}]", kind, KINDS | DIGITAL)
        norms = norms_of(module)
        if not norms:
            raise ValueError(f"kinds[{pattern!r}]: {type(module).__name__} has no norm with parameters; leave it out.")
        result |= {glob.escape(name): kind for name in norms}
    return result


def norms_of(module: nn.Module) -> list[str]:
    """The parameters of all norms, by name."""
    return [name for name, _ in module.named_parameters() if is_norm(module.get_submodule(name.rpartition(".")[0]))]


def exact_norms(module: nn.Module, kinds: Mapping[str, str]) -> dict[str, str]:
    """Kinds that keep exact those norms of which the user says nothing; warns of them."""
    silent = [name for name in norms_of(module) if override(name, kinds) is None]
    if silent:
        warn(
            f"kinds: {', '.join(silent)} belong to norms, which an analog array cannot hold: they are computed "
            f"exactly, and no die and no attack changes them. kinds={{{NORMALISATION!r}: 'digital'}} says so, without "
            f"this warning; a chip needs them folded into the layer before."
        )
    return {glob.escape(name): "digital" for name in silent}


def is_norm(module: nn.Module) -> bool:
    """True for a norm of torch, and for a layer of one's own whose class is called so (``LlamaRMSNorm``)."""
    return isinstance(module, NORMS) or ("Norm" in type(module).__name__ and not isinstance(module, LAYERS))


def numbers_of(module: nn.Module) -> dict[str, Tensor]:
    """The numbers of a module that are no parameters, by name: floating buffers, and floats and tensors that it holds
    as plain attributes, or in a record there: a NamedTuple, a dataclass, a dictionary (``n.p.v_th``)."""
    found = {name: value for name, value in module.named_buffers() if value.is_floating_point()}
    like = next(module.parameters(), torch.zeros(()))
    for path, part in module.named_modules():
        for attribute, held in vars(part).items():
            for name, value in numbers_in(attribute, held):
                found[f"{path}.{name}".lstrip(".")] = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return {name: value for name, value in found.items() if value.numel()}  # an empty one is no number yet


def chosen_numbers(module: nn.Module, overrides: Mapping[str, str] | None) -> dict[str, str]:
    """The kinds of buffers and plain numbers that the user names: by the whole name, or by a pattern that ends in the
    same name (``"*.tau_mem"``); exact ones by any pattern. Warns of the others whose names are those of numbers of
    neurons."""
    numbers, overrides = numbers_of(module), spelled_out(module, overrides)
    kinds = {name: kind for name in numbers if (kind := _named_by(name, overrides)) is not None}
    silent = {name: kind for name in numbers if name not in kinds and (kind := _likely(module, name)) is not None}
    silent |= {
        name: "v_floor"
        for name, value in module.named_parameters()
        if override(name, overrides) is None and kind_there(*_owned(module, name)) == "v_floor" and value.numel()
    }
    if silent:
        name = next((name for name, kind in silent.items() if kind), next(iter(silent)))
        way = f"kinds={{{name!r}: {silent[name]!r}}} lets it deviate" if silent[name] else _DECAY
        warn(
            f"kinds: {', '.join(silent)} of {type(module).__name__} do not deviate: no die and no attack changes "
            f"them. {way}; kinds={{{name!r}: 'digital'}} keeps it exact, without this warning."
        )
    return {name: kind for name, kind in kinds.items() if kind not in DIGITAL}


def _likely(module: nn.Module, name: str) -> str | None:
    """The kind that the name of a number tells, "" for a decay; None for a number of no neuron, and for those of
    layers of torch and of snnTorch's neurons, which are known."""
    owner, last = _owned(module, name)
    if from_library(owner):
        return None if last in dict(owner.named_buffers()) else kind_there(owner, last)  # buffers there are states
    if last in TELLING:
        return last
    if "urrogate" in type(owner).__name__:
        return None
    classes = type(owner).__mro__
    theirs = [cls for cls in classes if cls.__module__.partition(".")[0] in ("torch", "snntorch")]
    neuron = any(cls.__module__.startswith("snntorch.") for cls in theirs)
    if neuron or theirs[0] is classes[0] or any(last in vars(cls).get("__constants__", ()) for cls in theirs):
        return None
    return _guess(last)


def _guess(last: str) -> str | None:
    return next((kind for kind, pattern in _LIKELY.items() if pattern.fullmatch(last)), None)


def _owned(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The part that holds a number, in a record or by itself, and the last segment of its name."""
    path, _, last = name.rpartition(".")
    owner = module
    for segment in filter(None, path.split(".")):
        if segment not in dict(owner.named_children()):
            break  # a record
        owner = owner.get_submodule(segment)
    return owner, last


def _named_by(name: str, overrides: Mapping[str, str]) -> str | None:
    last = name.rpartition(".")[2]
    said = {key: kind for key, kind in overrides.items() if kind in DIGITAL or key.rpartition(".")[2] == last}
    return override(name, said)


def check_registered(module: nn.Module, *types: type[nn.Module]) -> None:
    """Raise ValueError for parameters, or parts of some types, that a module holds where torch does not see them."""
    known = {id(value) for value in module.parameters()} | {id(part) for part in module.modules()}
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            for item in _items(value):
                hidden = isinstance(item, (nn.Parameter, *types)) or (
                    isinstance(item, nn.Module) and next(item.parameters(), None) is not None
                )
                if hidden and id(item) not in known:
                    raise ValueError(
                        f"module: {f'{path}.{name}'.lstrip('.')} holds a {type(item).__name__} in a plain "
                        f"{type(value).__name__}, where neither torch nor a deviation finds it; use nn.ModuleList, "
                        f"nn.ModuleDict or nn.ParameterList."
                    )


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple | set) else (value,)


def check_no_decay(module: nn.Module, name: str, kind: str) -> None:
    """Raise ValueError for a decay of one of the libraries that is given the kind of a time constant."""
    if kind_there(*_owned(module, name)) == DECAY and kind.startswith("tau"):
        raise ValueError(
            f"kinds[{name!r}]: got {kind!r}; {name} is a decay, and a deviation of 10 % may put it above 1. {_DECAY} "
            f"(sinabs: train_alphas=False; spikingjelly: SimpleLIFNode with tau=…)."
        )


def check_overrides(overrides: Mapping[str, str], names: list[str]) -> None:
    """Raise ValueError for a kind that does not exist or a pattern that matches no name."""
    for pattern, kind in overrides.items():
        if kind not in KINDS | DIGITAL:
            raise unknown(f"kinds[{pattern!r}]", kind, KINDS | DIGITAL)
        if not any(fnmatchcase(name, pattern) for name in names):
            raise unknown("kinds: parameter", pattern, names)


def override(name: str, overrides: Mapping[str, str]) -> str | None:
    """The kind the user gave a name, or None."""
    return next((kind for pattern, kind in overrides.items() if fnmatchcase(name, pattern)), None)


def _kind(module: nn.Module, name: str, overrides: Mapping[str, str]) -> str:
    chosen = override(name, overrides)
    if chosen is not None:
        check_no_decay(module, name, chosen)
        return chosen
    path, _, last = name.rpartition(".")
    owner = module.get_submodule(path)
    if is_norm(owner):
        raise ValueError(
            f"kinds: {name} belongs to a {type(owner).__name__}; an analog array cannot hold it. Fold it into the "
            f"layer before it, or pass kinds={{{NORMALISATION!r}: 'digital'}} to have all norms computed exactly "
            f"({(path + '.*').lstrip('.')!r} for this one)."
        )
    if (theirs := default_kind(owner, last)) is not None:
        return theirs
    if last in KINDS:
        return last
    for kind, pattern in _NAMES.items():
        if pattern.fullmatch(last):
            return kind
    likely = DECAY if kind_there(owner, last) == DECAY else _guess(last)
    hint = f" {PARAMETRIZED[last]}" if last in PARAMETRIZED else ""
    if likely == DECAY:
        hint = f" {_DECAY}; 'digital' keeps it exact: no die changes it."
    elif likely is not None:
        hint = f" By its name it may be a {likely}."
    raise ValueError(
        f"kinds: {name} of {type(owner).__name__} has no known kind; pass kinds={{{name!r}: …}} with one of "
        f"{', '.join(sorted(KINDS | DIGITAL))}.{hint}"
    )


def arrays_of(module: nn.Module) -> list[str]:
    """The weights that are one matrix each, (n_out, …), by name: those of ``nn.Linear`` and of convolutions in one
    group. Parameters are looked up, not read as attributes: reading a parametrized one computes it, and may change
    what it remembers."""
    known = {
        id(value)
        for part in module.modules()
        if isinstance(part, (nn.Linear, nn.Conv1d, nn.Conv2d)) and getattr(part, "groups", 1) == 1
        for name, value in part.named_parameters(recurse=False)
        if name in ("weight", "weight_orig")
    }
    return [name for name, value in module.named_parameters() if id(value) in known]


def named(name: str, kind: str) -> str:
    """The name of a parameter in the wrapped network: its name in the module, with the kind as last segment."""
    return name if name.rpartition(".")[2] == kind else f"{name}.{kind}"


def adopt(holder: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Register a parameter under a dotted name, making empty modules on the way."""
    *path, last = name.split(".")
    for segment in path:
        if segment not in dict(holder.named_children()):
            if hasattr(holder, segment):
                raise ValueError(f"parameter {name!r}: a module may not be called {segment!r} here; rename it.")
            holder.add_module(segment, nn.Module())
        holder = holder.get_submodule(segment)
    holder.register_parameter(last, parameter)


def slots_of(module: nn.Module, parameter: Tensor) -> list[str]:
    """Every place in a module where a tensor is used; each submodule is counted once."""
    return [
        f"{path}.{name}".lstrip(".")
        for path, part in module.named_modules()
        for name, value in [
            *part.named_parameters(recurse=False, remove_duplicate=False),
            *part.named_buffers(recurse=False, remove_duplicate=False),
        ]
        if value is parameter
    ]


def index_of(
    module: nn.Module,
    kinds: Mapping[str, str],
    values: Mapping[str, Tensor],
    neurons: Mapping[str, int | Sequence[int]],
) -> dict[str, Tensor]:
    """For each number that several neurons read, which entry each of them reads: zeros in the shape of the neurons.

    Args:
        module: the user's module. kinds, values: of all its numbers, by its own names.
        neurons: by name or pattern, how many neurons read a number that is set once, or the shape of their layer.

    Raises:
        ValueError: a name that does not exist; a number with several values; a count below 1.

    Warns:
        UserWarning: numbers that are set once, of which the user does not say how many neurons read them.
    """
    for pattern in neurons:
        if not any(fnmatchcase(name, pattern) for name in kinds):
            raise unknown("neurons: parameter", pattern, kinds)
    index, open_names = {}, []
    for name, kind in kinds.items():
        if kind in DIGITAL:
            continue
        shape = next((size for pattern, size in neurons.items() if fnmatchcase(name, pattern)), None)
        if shape is not None:
            if values[name].numel() != 1:
                raise ValueError(
                    f"neurons[{name!r}]: {name} has shape {tuple(values[name].shape)}; expected a number that is set "
                    f"once. Each of several values deviates by itself."
                )
            shape = plain(shape)
            sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
            for size in sizes:
                check_count(f"neurons[{name!r}]", size)
            if sizes not in ((1,), ()):
                index[name] = torch.zeros(sizes, dtype=torch.long, device=values[name].device)
        elif values[name].numel() == 1 and not _of_a_layer(module, name):
            open_names.append(name)
    if open_names:
        warn(
            f"neurons: {', '.join(open_names)} of {type(module).__name__} are set once, so each deviates once for all "
            f"neurons that read it. neurons={{{open_names[0]!r}: n}} gives each of n neurons its own deviation, 1 says "
            f"that one device holds the number."
        )
    return index


def _of_a_layer(module: nn.Module, name: str) -> bool:
    return isinstance(module.get_submodule(name.rpartition(".")[0]), LAYERS)


def give_own_memory(module: nn.Module) -> None:
    """Give each parameter that is one number memory of its own: layers that were made with the same default tensor
    share it, and then a value that is written into one is in all of them, and in the default.

    Raises:
        ValueError: larger parameters that share memory but are not one parameter.
    """
    taken: dict[int, str] = {}
    for name, value in module.named_parameters():
        if value.layout != torch.strided or value.device.type == "meta" or not value.numel():
            continue
        if value.numel() == 1:
            value.data = value.data.clone()
        elif (other := taken.setdefault(value.data_ptr(), name)) != name:
            raise ValueError(
                f"module: {other} and {name} are two parameters in the same memory, so what is written into one is in "
                f"both; make them one parameter (layer.weight = other.weight), or two with .clone()."
            )


WRAPPERS = {
    "OptimizedModule": ("is compiled", "_orig_mod"),
    "DataParallel": ("spreads its input over devices", "module"),
    "DistributedDataParallel": ("spreads its input over processes", "module"),
    "FullyShardedDataParallel": ("spreads its parameters over processes", "module"),
}


def check_plain(module: nn.Module) -> None:
    """Raise TypeError for a module whose parameters a pass cannot replace: it runs a copy of them."""
    for name, part in module.named_modules():
        where, kind = f"module: {name}" if name else "module:", type(part).__name__
        check_not_compiled(where, part)
        if isinstance(part, torch.fx.GraphModule):
            raise TypeError(
                f"{where} is a graph of torch.export or torch.fx; bring the Python module it was made from."
            )
        if kind in WRAPPERS:
            what, inner = WRAPPERS[kind]
            raise TypeError(f"{where} {what} ({kind}); bring the module inside, its .{inner}.")
        if vars(part).get("_compiled_call_impl") is not None:
            raise TypeError(f"{where} is compiled by module.compile(); bring a module that is not compiled.")
        if "quantized" in type(part).__module__.split(".") or type(part).__module__.startswith("torch.ao.nn"):
            raise TypeError(f"{where} is quantized ({kind}) and hides its weights; bring the floating network.")


def check_embeddings(module: nn.Module) -> None:
    """Raise ValueError for an embedding that changes its weights in every pass, or whose gradients are sparse."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.max_norm is not None:
            raise ValueError(f"module: {name} has max_norm, which changes its weights in every pass; use None.")
        if isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.sparse:
            raise ValueError(f"module: {name} has sparse gradients, which no attack can follow; set sparse=False.")


def check_alike(module: nn.Module) -> None:
    """Raise ValueError unless all parameters are real, of one floating dtype of 32 bits or more, on one device."""
    found: dict[tuple[torch.dtype, torch.device], str] = {}
    for path, part in module.named_modules():
        for name in vars(part).get("_parameters", {}):
            if "." in name:
                raise ValueError(
                    f"module: parameter {name!r} of {path or 'the module'} has a dot in its name; rename it."
                )
    for name, value in module.named_parameters():
        if isinstance(value, nn.parameter.UninitializedParameter):
            raise ValueError(f"module: {name} has no shape yet; run the module once before you bring it here.")
        check_dtype("module", name, value)
        found.setdefault((value.dtype, value.device), name)
    if len(found) > 1:
        listed = "; ".join(f"{name} is {dtype} on {device}" for (dtype, device), name in found.items())
        raise ValueError(f"module: {listed}; expected one type and one device. Call module.to(dtype, device) first.")
    if not found:
        raise ValueError("module: has no parameters; there is nothing to perturb or train.")
    if (device := next(iter(found))[1]).type == "meta":
        raise ValueError(f"module: is on the device {device}, so it has no values; use cpu or cuda.")
