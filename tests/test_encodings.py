"""Every codec against brute force and what it promises, each against its closed form; fitted currents against known."""

from __future__ import annotations

import inspect
import itertools
import math
import random

import numpy as np
import pytest
import torch
from conftest import double, draw
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize

import chipmodels
import neurorobust as nr
from neurorobust.chip import encodings
from neurorobust.chip.encodings import (
    BitShift,
    CoarseFine,
    Codec,
    ConductancePair,
    LevelTable,
    LogCodec,
    LogUniform,
    MaskCodebook,
    Multiplicity,
    QuantizationLoss,
    Saturating,
    SignedPair,
    Uniform,
    fit_masks,
)

currents = st.lists(st.floats(1e-3, 10), min_size=1, max_size=5).map(lambda c: tuple(sorted(c)))
values = st.lists(st.floats(-30, 30), min_size=1, max_size=30).map(lambda w: torch.tensor(w, dtype=torch.float64))


def subset_sums(currents):
    """The sum of every subset, by definition."""
    return [sum(chosen) for n in range(len(currents) + 1) for chosen in itertools.combinations(currents, n)]


def error(book, weights):
    """Mean square error of weights held in a codebook."""
    return float((book.decode(book.encode(weights)) - weights).square().mean())


@given(currents)
def test_levels_are_the_subset_sums(currents):
    """The 2^n levels are the sums of all subsets; bit k of the code switches current k."""
    book = MaskCodebook(currents)
    assert sorted(book.levels()) == pytest.approx(sorted(subset_sums(currents)))
    assert book.levels()[[2**k for k in range(len(currents))]].tolist() == list(currents)


@given(currents, values)
def test_every_weight_gets_its_nearest_level(currents, weights):
    """No subset sum is nearer to |w| than the one chosen, by brute force."""
    book = MaskCodebook(currents)
    found = (book.decode(book.encode(weights)).abs() - weights.abs()).abs()
    nearest = [min(abs(level - abs(w)) for level in subset_sums(currents)) for w in weights.tolist()]
    np.testing.assert_allclose(found.numpy(), nearest, rtol=1e-9, atol=1e-12)


@given(currents, values)
def test_codes_stay_in_range_and_keep_the_sign(currents, weights):
    """|code| < 2^n; a level is + for AMPA, − for GABA, as the weight was, or 0."""
    book = MaskCodebook(currents)
    codes = book.encode(weights)
    assert codes.dtype == torch.long
    assert codes.abs().max() < 2 ** len(currents)
    assert (book.decode(codes) * weights >= 0).all()


@given(currents, values)
def test_what_is_on_a_level_stays_there(currents, weights):
    """decode ∘ encode is a projection: applied twice it is what it is once, bit for bit."""
    book = MaskCodebook(currents)
    held = book.decode(book.encode(weights))
    assert torch.equal(book.decode(book.encode(held)), held)


@pytest.mark.parametrize(
    "shape", [(1.0, 2.0, 4.0, 8.0), (1.0, 2.0, 4.0, 9.0), (1.0, 2.2, 3.9, 9.0), (1.0, 2.1, 4.3, 8.2)]
)
@pytest.mark.parametrize("scale", [1e-9, 0.037, 20.0])
def test_weights_made_of_four_currents_are_recovered(shape, scale):
    """± every subset sum of four known currents, in any unit: the fit finds the currents and holds every weight."""
    known = MaskCodebook(tuple(scale * current for current in shape))
    weights = known.decode(torch.arange(-15, 16))
    found = fit_masks(weights)
    assert found.currents == pytest.approx(known.currents, rel=1e-9)
    assert torch.allclose(found.decode(found.encode(weights)), weights, rtol=1e-9, atol=0)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.integers(1, 4))
def test_fit_is_no_worse_than_plain_binary_weights(weights, bits):
    """The error is at most that of currents 1 : 2 : 4 : 8 whose sum is the largest |w|."""
    weights = torch.tensor(weights, dtype=torch.float64)
    assume(weights.any())
    plain = 2.0 ** np.arange(bits)
    plain *= float(weights.abs().max()) / plain.sum()
    assert error(fit_masks(weights, bits), weights) <= error(MaskCodebook(tuple(plain)), weights) * (1 + 1e-9) + 1e-30


def test_fit_is_near_the_optimum_on_normals():
    """For normal weights, whose largest is rare: within 2 % of the best of 12 searches by Nelder and Mead."""
    weights = draw(0, 500)

    def cost(logs):
        return error(MaskCodebook(tuple(np.sort(np.exp(logs)))), weights)

    starts = np.log(fit_masks(weights).currents) + 0.3 * np.random.default_rng(0).standard_normal((12, 4))
    best = min(optimize.minimize(cost, start, method="Nelder-Mead").fun for start in starts)
    assert error(fit_masks(weights), weights) < 1.02 * best


def test_fit_scales_with_the_unit_and_ignores_order_and_sign():
    """Currents of 1024·w are 1024 times those of w, bit for bit; shuffled or negated weights have the same ones."""
    weights = draw(1, 500)
    currents = fit_masks(weights).currents
    assert fit_masks(1024 * weights).currents == pytest.approx([1024 * current for current in currents], rel=1e-12)
    assert fit_masks(-weights).currents == currents
    assert fit_masks(weights.flip(0)).currents == pytest.approx(currents, rel=1e-6)


def test_fit_is_deterministic_and_ascending():
    """The same weights give the same currents bit for bit, in ascending order, all ≥ 0."""
    weights = draw(2, 400)
    first, second = fit_masks(weights).currents, fit_masks(weights.clone()).currents
    assert first == second == tuple(sorted(first))
    assert min(first) >= 0


def test_nothing_to_fit_is_refused():
    """All weights 0: there are no currents, and the error says so."""
    with pytest.raises(ValueError, match="all are 0"):
        fit_masks(torch.zeros(3))
    with pytest.raises(ValueError, match="bits"):
        fit_masks(torch.ones(3), bits=0)


def test_what_a_core_of_dynapse2_gets_does_not_change():
    """The currents of 400 normals, as they were before there were other codecs and further starts."""
    expected = [0.19180418612555397, 0.4014021658304677, 0.8103370630572626, 1.6976633231641618]
    assert fit_masks(draw(2, 400)).currents == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("known", [(1.0, 1.3, 5.0, 7.0), (3.0, 3.5, 4.0, 4.4), (1.0, 1.5, 2.25, 3.375)])
def test_further_starts_find_what_the_first_miss(known):
    """Currents far from 1 : 2 : 4 : 8 are missed by more than 1 % without 5 further starts, given weights near their
    sums; not given the sums themselves."""
    weights = MaskCodebook(known).decode(torch.arange(-15, 16))
    assert fit_masks(weights).currents == pytest.approx(known, rel=1e-9)
    weights = weights * (1 + 1e-3 * torch.linspace(-1, 1, 31))
    assert fit_masks(weights).error(weights).rms_relative > 0.01
    assert fit_masks(weights, starts=5).currents == pytest.approx(known, rel=1e-3)


@given(st.integers(0, 2**16), st.integers(1, 5))
def test_further_starts_never_harm(seed, starts):
    """The error of the fit is at most that without them."""
    weights = draw(seed, 100)
    assert error(fit_masks(weights, starts=starts), weights) <= error(fit_masks(weights), weights)


drawing = st.integers(0, 2**32 - 1).map(random.Random)
CODECS = [value for value in vars(encodings).values() if inspect.isclass(value) and issubclass(value, Codec)]
CONCRETE = sorted((codec for codec in CODECS if not inspect.isabstract(codec)), key=lambda codec: codec.__name__)
TOTAL = (MaskCodebook, Saturating)  # refuse no finite value

of_every_codec = pytest.mark.parametrize("kind", CONCRETE, ids=lambda kind: kind.__name__)


def everything(codec: Codec) -> torch.Tensor:
    """All codes of a codec."""
    return codec.first + torch.arange(len(codec.held()))


def inside(codec: Codec, data) -> torch.Tensor:
    """Values between the ends of a codec, evenly spread on its scale, the ends included."""
    held = codec.decode(everything(codec))
    part = torch.tensor([0.0, 1.0, *data.draw(st.lists(st.floats(0, 1), max_size=20))], dtype=torch.float64)
    if isinstance(codec, LogCodec):
        return (held.min() * (held.max() / held.min()) ** part).clamp(held.min(), held.max())
    return (held.min() + part * (held.max() - held.min())).clamp(held.min(), held.max())


@of_every_codec
@given(data=st.data())
def test_a_codec_is_idempotent(kind, data):
    """decode ∘ encode leaves every value a code means as it is, but for last bits where two codes mean the same;
    every code means one value."""
    codec = kind.example(data.draw(drawing))
    codes = everything(codec)
    values = codec.decode(codes)
    assert codes.dtype == torch.int64 and values.dtype == torch.float64
    again = codec.encode(values)
    assert again.dtype == torch.int64 and again.shape == values.shape
    torch.testing.assert_close(codec.decode(again), values, rtol=1e-14, atol=0)
    assert values.tolist() == codec.held().tolist()


@of_every_codec
@given(data=st.data())
def test_a_codec_holds_the_nearest_value(kind, data):
    """No value held is nearer, by brute force: in the logarithm for codecs of positive values."""
    codec = kind.example(data.draw(drawing))
    values, all_held = inside(codec, data), torch.from_numpy(codec.held())
    held = codec.decode(codec.encode(values))
    if isinstance(codec, LogCodec):
        values, all_held, held = values.log(), all_held.log(), held.log()
    nearest = (values[:, None] - all_held).abs().amin(1)
    torch.testing.assert_close((values - held).abs(), nearest, rtol=1e-9, atol=float(all_held.abs().max()) * 1e-15)


@of_every_codec
@given(data=st.data())
def test_a_value_out_of_range_is_refused_or_counted(kind, data):
    """Beyond the end by 0.49 of the last gap a value is rounded, by 0.51 it is refused with its name, or held at the
    end by those that say so; ``error`` counts it either way."""
    codec = kind.example(data.draw(drawing))
    held = torch.from_numpy(codec.held()).unique()
    assume(len(held) > 1 and (held[1:] > held[:-1] + 1e-9 * held.abs().max()).all())
    scale = held.log() if isinstance(codec, LogCodec) else held
    for end, next_to_it in ((scale[-1], scale[-2]), (scale[0], scale[1])):
        just, beyond = end + 0.49 * (end - next_to_it), end + 0.51 * (end - next_to_it)
        if isinstance(codec, LogCodec):
            just, beyond = just.exp(), beyond.exp()
        assert codec.error(just).out_of_range == 0
        assert codec.error(torch.stack([just, beyond])).out_of_range == 1
        assert codec.decode(codec.encode(just)) == held[-1 if end == scale[-1] else 0]
        if isinstance(codec, TOTAL):
            assert codec.decode(codec.encode(beyond)) == held[-1 if end == scale[-1] else 0]
        else:
            for refused in (codec.encode, codec.quantize):
                with pytest.raises(ValueError, match=r"hidden\.weight: 1 of 2 values, .* out of the range of"):
                    refused(torch.stack([just, beyond]), "hidden.weight")


@of_every_codec
@given(data=st.data(), single=st.booleans())
def test_rounding_lets_the_gradient_through(kind, data, single):
    """quantize is decode ∘ encode bit for bit in the values' own type; its gradient is the one that arrives."""
    codec = kind.example(data.draw(drawing))
    values = inside(codec, data)
    values = (values.float() if single else values).requires_grad_()
    assume(not codec.outside(values).any())  # float32 may round a value out of a narrow range
    held = codec.quantize(values)
    assert torch.equal(held, codec.decode(codec.encode(values)).to(values.dtype))
    arriving = torch.linspace(-1, 2, len(values), dtype=values.dtype)
    assert torch.equal(torch.autograd.grad(held, values, arriving)[0], arriving)


@of_every_codec
@given(data=st.data())
def test_what_is_lost_is_reported(kind, data):
    """Every figure of ``error`` against its definition in numpy."""
    codec = kind.example(data.draw(drawing))
    values = inside(codec, data)
    lost = codec.error(values)
    exact, held = values.numpy(), codec.decode(codec.nearest(values)).numpy()
    assert (lost.count, lost.out_of_range) == (len(values), 0)
    assert lost.largest == np.abs(held - exact).max()
    assert lost.became_zero == np.count_nonzero((held == 0) & (exact != 0))
    size = np.sqrt(np.mean(np.square(exact)))
    assert lost.rms_relative * size == pytest.approx(np.sqrt(np.mean(np.square(held - exact))), rel=1e-6, abs=1e-300)


@of_every_codec
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@given(data=st.data())
def test_what_is_not_finite_is_refused(kind, bad, data):
    """NaN and infinity are refused by name, by those that take any finite value, too."""
    codec = kind.example(data.draw(drawing))
    for use in (codec.encode, codec.quantize, codec.error):
        with pytest.raises(ValueError, match="a: 1 of 1 values are NaN or infinite"):
            use(torch.tensor([bad]), "a")


@of_every_codec
@given(data=st.data())
def test_codes_that_mean_nothing_are_refused(kind, data):
    """A code beyond the last or before the first, and codes that are not integers."""
    codec = kind.example(data.draw(drawing))
    codes = everything(codec)
    for wrong in (codes[-1:] + 1, codes[:1] - 1):
        with pytest.raises(ValueError, match="codes: got"):
            codec.decode(wrong)
    for dtype in (torch.float32, torch.bool):
        with pytest.raises(ValueError, match="expected integers"):
            codec.decode(codes.to(dtype))


@of_every_codec
@given(data=st.data())
def test_shapes_are_kept(kind, data):
    """Any shape: none, a grid, and nothing at all."""
    codec = kind.example(data.draw(drawing))
    one = codec.decode(everything(codec)[:1])[0]
    for shape in ((), (2, 3), (0, 4)):
        values = one.expand(shape)
        assert codec.encode(values).shape == codec.quantize(values).shape == shape
        assert codec.error(values) == QuantizationLoss(values.numel(), 0.0, 0.0, 0, 0)


def test_uniform_is_a_rounded_quotient():
    """Signed: code = round((v − offset)/step), −2^(b−1) … 2^(b−1) − 1; unsigned from 0."""
    codec = Uniform(4, 0.25, offset=0.1)
    values = torch.linspace(-1.89, 1.84, 57, dtype=torch.float64)
    assert torch.equal(codec.encode(values), ((values - 0.1) / 0.25).round().long())
    assert (codec.first, len(codec.held())) == (-8, 16)
    assert Uniform(3, 2.0, signed=False).held().tolist() == [0, 2, 4, 6, 8, 10, 12, 14]


def test_a_step_chosen_from_the_values_holds_them():
    """The largest magnitude is the last code of all that choose their step, and nothing is out of range."""
    values = draw(0, 200)
    top = float(values.abs().max())
    for codec, last in ((Uniform.holding(values, 8), 127), (SignedPair.holding(values, 6), 63)):
        assert codec.step * last == pytest.approx(top, rel=1e-12)
        assert codec.error(values).out_of_range == 0
        assert codec.error(values).largest <= codec.step / 2 * (1 + 1e-9)
    assert Uniform.holding(values.abs(), 1, signed=False).held().tolist() == [0.0, top]
    with pytest.raises(ValueError, match="all are 0"):
        Uniform.holding(torch.zeros(3), 8)
    with pytest.raises(ValueError, match="bits: got 1; expected an integer ≥ 2"):
        Uniform.holding(values, 1)


def test_a_table_may_run_backwards():
    """Levels in any order, one of them twice: codes point into the table as it is."""
    codec = LevelTable((3.0, 0.0, 1.0, 1.0, -2.0))
    assert codec.decode(torch.tensor([0, 1, 4])).tolist() == [3.0, 0.0, -2.0]
    assert codec.decode(codec.encode(double(-1.1, 0.4, 0.6, 2.1, 1.9))).tolist() == [-2.0, 0.0, 1.0, 3.0, 1.0]


def test_a_logarithmic_converter_has_the_relative_step():
    """0.63 % from 0.49 pA to 2.28 µA: neighbours differ by that within the rounding to whole steps, so no value in
    between is held worse than by half of it."""
    codec = LogUniform(0.49e-12, 2.28e-6, 0.0063)
    ratios = np.diff(np.log(codec.held()))
    np.testing.assert_allclose(ratios, math.log1p(0.0063), rtol=1 / len(ratios))
    values = torch.exp(torch.linspace(math.log(0.49e-12), math.log(2.28e-6), 999, dtype=torch.float64))
    error = (codec.decode(codec.encode(values)) / values - 1).abs()
    assert 0.003 < error.max() < 0.00316


def test_a_coarse_fine_converter_is_its_formula_and_not_monotone():
    """code = 256 coarse + fine means full scale · fine/255; the next range starts below where the last one ended."""
    codec = CoarseFine((15e-12, 105e-12, 820e-12))
    assert codec.decode(torch.tensor(256 + 51)).item() == pytest.approx(105e-12 * 51 / 255)
    assert (np.diff(codec.held()) < 0).sum() == 2
    codes = codec.encode(torch.from_numpy(codec.held()))
    coarse, fine = codec.split(codes)
    assert torch.equal(256 * coarse + fine, codes) and fine.max() == 255
    assert codec.error(double(14.97e-12)).largest < 15e-12 / 255 / 2


def test_multiplicity_counts_synapses():
    """3 excitatory synapses of 0.2 are 0.6, 2 inhibitory ones of 0.5 are −1; each takes one entry."""
    codec = Multiplicity(0.2, 0.5, 64)
    codes = codec.encode(double(0.61, -1.1, 0.05, -32.0, 12.8))
    assert codes.tolist() == [3, -2, 0, -64, 64]
    assert codec.entries(codes).tolist() == [3, 2, 0, 64, 64]
    torch.testing.assert_close(codec.decode(codes), double(0.6, -1.0, 0.0, -32.0, 12.8))


def test_a_signed_pair_of_rows_is_their_difference():
    """Two rows of 6 bits, 0 … 63, one of them 0: step · (e − i) is the weight, from −63 to 63 steps."""
    codec = SignedPair(6, 0.5)
    codes = codec.encode(double(-31.5, -0.6, 0.0, 0.2, 31.4))
    excitatory, inhibitory = codec.rows(codes)
    assert (excitatory.tolist(), inhibitory.tolist()) == ([0, 0, 0, 0, 63], [63, 1, 0, 0, 0])
    assert torch.equal(0.5 * (excitatory - inhibitory), codec.decode(codes))


@given(st.floats(0, 1e-5), st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_a_conductance_pair_there_and_back(g_min, weights):
    """w → (G₊, G₋) → w; one device of each pair idles at g_min, none leaves its range; dw/dw is 1, at 0 too."""
    pair, weights = ConductancePair(g_min, g_min + 25e-6, 25e-6), double(*weights).requires_grad_()
    plus, minus = pair.split(weights)
    back = pair.join(plus, minus)
    torch.testing.assert_close(back, weights, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(back.sum(), weights)[0], torch.ones_like(weights))
    assert (torch.minimum(plus, minus) - g_min).abs().max() < 1e-19
    assert torch.maximum(plus, minus).max() <= (g_min + 25e-6) * (1 + 1e-12)


def test_a_pair_refuses_what_is_beyond_its_largest_conductance():
    """A weight of 2.1 on a pair from 1 to 25 µS at 12 µS per unit is refused by name; 2 is held."""
    pair = ConductancePair(1e-6, 25e-6, 12e-6)
    assert [float(part) for part in pair.split(double(-2.0))] == pytest.approx([1e-6, 25e-6])
    with pytest.raises(ValueError, match=r"a\.weight: the largest magnitude is 2.1; a pair .* holds 2 at"):
        pair.split(double(2.1), "a.weight")


def test_a_bit_shift_is_the_decay_it_computes():
    """v − v/2^k, ten times by hand, is exp(−10 dt/τ_k); 20 ms at 1 ms is nearest to k = 4 in the logarithm."""
    codec = BitShift(1e-3, 10)
    for k, tau in zip(range(1, 11), codec.decode(torch.arange(1, 11)).tolist()):
        v = 1.0
        for _ in range(10):
            v -= v / 2**k
        assert v == pytest.approx(math.exp(-10 * 1e-3 / tau), rel=1e-12)
    assert codec.encode(torch.tensor(20e-3)).item() == 4
    with pytest.raises(ValueError, match="out of the range of BitShift"):
        codec.encode(torch.tensor([-1.0]))


def test_a_fitted_codebook_counts_what_it_gives_up():
    """The masks of normals leave the largest weights beyond their top level: none is refused, ``error`` counts them."""
    weights = draw(0, 500)
    book = fit_masks(weights)
    top = book.levels().max()
    gap = top - np.sort(book.levels())[-2]
    lost = book.error(weights)
    assert lost.out_of_range == int((weights.abs() > top + gap / 2).sum()) > 0
    assert lost.rms_relative == pytest.approx((error(book, weights) / float(weights.square().mean())) ** 0.5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Uniform(0, 1.0), "bits: got 0"),
        (lambda: Uniform(17, 1.0), "bits: got 17; expected at most 16"),
        (lambda: Uniform(4, 0.0), "step: got 0.0"),
        (lambda: Uniform(4, 1.0, offset=math.nan), "offset: got nan"),
        (lambda: LevelTable(()), "levels: got none"),
        (lambda: LevelTable((1.0, math.inf)), "levels: 1 of 2 values are NaN or infinite"),
        (lambda: LogUniform(0.0, 1.0, 0.1), "low: got 0.0"),
        (lambda: LogUniform(1.0, 1.0, 0.1), "high: got 1.0"),
        (lambda: LogUniform(1.0, 2.0, 0.0), "relative_step: got 0.0"),
        (lambda: CoarseFine(()), "largest: got none"),
        (lambda: CoarseFine((1.0, -1.0)), "largest: got -1.0"),
        (lambda: CoarseFine((1.0,), 1), "n: got 1"),
        (lambda: Multiplicity(1.0, 0.0, 4), "inhibitory: got 0.0"),
        (lambda: Multiplicity(1.0, 1.0, 0), "largest: got 0"),
        (lambda: SignedPair(16, 1.0), "bits: got 16; expected at most 15"),
        (lambda: ConductancePair(2.0, 1.0, 1.0), "g_max: got 1.0"),
        (lambda: BitShift(1e-3, 3, 3), "largest: got 3"),
        (lambda: BitShift(1e-3, 51), "largest: got 51"),
        (lambda: fit_masks(torch.ones(3), starts=-1), "starts: got -1"),
    ],
)
def test_what_no_codec_can_be_is_refused(wrong, message):
    """A wrong argument is named, with what came."""
    with pytest.raises(ValueError, match=message):
        wrong()


@pytest.mark.parametrize("name", ["ecg_dpi/adversarial", "ecg_dpi/standard"])
def test_a_chip_holds_again_what_it_held(name):
    """Programmed values are programmed once more, as by ``evaluate(deployment.network, …)``: the fit of the currents
    finds those of the first time, to the rounding of float32."""
    network, _ = nr.zoo.load(name)
    chip, placement = chipmodels.load("dynapse2"), network.placement()
    first = chip.program(nr.nominal(network), placement)
    again = chip.program(first.params, placement)
    for weight, value in first.params.items():
        torch.testing.assert_close(again.params[weight], value, rtol=1e-6, atol=0)


@given(st.integers(0, 2**16), st.integers(2, 5))
def test_a_fit_finds_currents_whose_sums_it_is_given(seed, bits):
    """All sums of some currents, each several times: they are held exactly, whatever the ratios of the currents."""
    currents = 0.1 + torch.rand(bits, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    held = MaskCodebook(tuple(sorted(currents.tolist()))).levels()
    weights = torch.from_numpy(held).repeat(3)
    torch.testing.assert_close(fit_masks(weights, bits).quantize(weights), weights, rtol=1e-6, atol=0)
