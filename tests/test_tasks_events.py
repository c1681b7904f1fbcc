"""Events as dense tensors: every event in one bin, against counts made one event at a time."""

from __future__ import annotations

import sys
from fractions import Fraction

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurorobust.data import Recordings, Window, from_tonic, read_shd

WINDOW = Window(dt=1e-3, steps=4, channels=3)


def one(times, channels, unit=1.0):
    """One recording of class 0."""
    return Recordings([np.asarray(times)], [np.asarray(channels, dtype=np.int64)], np.array([0]), unit)


integer_events = st.lists(st.tuples(st.integers(-20, 120), st.integers(0, 4)), max_size=60)
float_events = st.lists(st.tuples(st.floats(-0.5, 2.5), st.integers(0, 4)), max_size=60)


@given(integer_events, st.integers(1, 9), st.integers(-5, 5))
def test_integer_times_are_binned_exactly(events, ticks, start):
    """Times in µs: count and bin of every event are those of rational arithmetic, those outside are counted."""
    window = Window(dt=ticks * 1e-6, steps=7, channels=5, start=start * 1e-6)
    times = np.array([t for t, _ in events], dtype=np.int64)
    x, outside = one(times, [c for _, c in events], unit=1e-6).dense(window)
    expected, lost = torch.zeros(1, 7, 5), 0
    for t, c in events:
        k = Fraction(t - start, ticks).__floor__()
        if 0 <= k < 7:
            expected[0, k, c] += 1
        else:
            lost += 1
    assert torch.equal(x, expected) and outside.tolist() == [lost]


@given(st.lists(float_events, min_size=1, max_size=4), st.floats(1e-3, 0.7), st.floats(-1, 1))
def test_no_event_is_lost_or_counted_twice(recordings, dt, start):
    """Bins and outside add up to all events of each recording; each channel keeps its own."""
    window = Window(dt=dt, steps=5, channels=5, start=start)
    times = [np.array([t for t, _ in events], dtype=np.float64) for events in recordings]
    channels = [np.array([c for _, c in events], dtype=np.int64) for events in recordings]
    x, outside = Recordings(times, channels, np.zeros(len(times), dtype=int)).dense(window)
    assert (x.sum((1, 2)) + outside).tolist() == [len(events) for events in recordings]
    for i, (t, c) in enumerate(zip(times, channels, strict=True)):
        k = window.index(t, 1.0)
        inside = (k >= 0) & (k < 5)
        assert x[i].sum(0).tolist() == np.bincount(c[inside], minlength=5).tolist()
        assert x[i].sum(1).tolist() == np.bincount(k[inside].astype(int), minlength=5).tolist()


decimals = st.integers(1, 999).flatmap(lambda n: st.sampled_from([Fraction(n, 10**d) for d in (1, 2, 3, 4)]))
starts = st.integers(-3000, 3000).map(lambda n: Fraction(n, 1000))
units = st.sampled_from([Fraction(1), Fraction(1, 1000), Fraction(1, 10**6)])


@given(decimals, starts, units, st.integers(1, 60), st.sampled_from([np.float64, np.float32]))
def test_times_on_the_grid_open_their_bins(dt, start, unit, steps, kind):
    """Event k at the start of bin k, however it was computed: rounded once, as a product, as a sum, by arange. Each bin
    gets its one event, in 64 and in 32 bits, where the type has a hundred numbers for a bin."""
    k = np.arange(steps)
    largest = max(abs(start), abs(start + steps * dt))
    if dt < 100 * largest * Fraction(float(np.finfo(kind).eps)):
        return
    window = Window(float(dt), steps, 1, float(start))
    step, first = kind(float(dt / unit)), kind(float(start / unit))
    exact = [float((start + i * dt) / unit) for i in range(steps)]
    for times in (
        np.array(exact, dtype=kind),
        first + k.astype(kind) * step,
        (kind(float(start)) + k.astype(kind) * kind(float(dt))) / kind(float(unit)),
        np.round(np.array(exact), 9).astype(kind),
    ):
        x, outside = one(times, np.zeros(steps, int), float(unit)).dense(window)
        assert x.flatten().tolist() == [1] * steps and outside.tolist() == [0], times


@given(st.floats(-5, 5), decimals, starts)
def test_float_times_are_binned_as_fractions_are(t, dt, start):
    """A time anywhere: floor of the exact quotient, or one more where rounding alone separates it from an edge."""
    window = Window(float(dt), 4, 1, float(start))
    exact = (Fraction(t) - start) / dt
    rounding = 5 * Fraction(float(np.finfo(float).eps)) * max(abs(Fraction(t)), abs(start), Fraction(1, 10**300)) / dt
    allowed = {min(max(place.__floor__(), -1), 4) for place in (exact, exact + rounding)}
    assert int(window.index(np.array([t]), 1.0)[0]) in allowed


@pytest.mark.parametrize(("dt", "steps"), [("0.01", 100), ("0.004", 250), ("0.1", 14)])
def test_half_precision_times_on_the_grid_open_their_bins(dt, steps):
    """SHD keeps seconds in 16 bits: the number nearest to an edge is on it, the one below it in the bin before."""
    edges = np.array([float(k * Fraction(dt)) for k in range(steps)], dtype=np.float16)
    window = Window(float(dt), steps, 1)
    assert window.index(edges, 1.0).tolist() == list(range(steps))
    assert window.index(np.nextafter(edges, np.float16(-1)), 1.0).tolist() == list(range(-1, steps - 1))


def test_numbers_of_numpy_make_the_same_window():
    """dt of 32 bits is the decimal that it prints as; integers of NumPy are integers."""
    same = Window(np.float32(1e-3), np.int64(4), np.int16(3), np.float64(0.0))
    assert same == WINDOW and repr(same) == repr(WINDOW)
    assert one([3000], [0], unit=np.float32(1e-6)).dense(same)[0][0, 3, 0] == 1


def test_edges_belong_to_the_bin_they_open():
    """0, 1 and 3.999 ms lie in bins 0, 1 and 3; −1 µs and 4 ms lie outside; two events in one bin count 2."""
    x, outside = one([0, 0, 1000, 3999, -1, 4000], [2, 2, 0, 1, 0, 0], unit=1e-6).dense(WINDOW)
    assert x[0].tolist() == [[0, 0, 2], [1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert outside.tolist() == [2]


def test_the_order_of_events_does_not_matter():
    """A shuffled recording has the same counts."""
    draw = np.random.default_rng(0)
    times, channels, order = draw.uniform(0, 4e-3, 50), draw.integers(0, 3, 50), draw.permutation(50)
    assert torch.equal(one(times, channels).dense(WINDOW)[0], one(times[order], channels[order]).dense(WINDOW)[0])


def test_a_recording_without_events_is_silent():
    """No events: zeros, nothing outside; it keeps its place among the others."""
    empty = np.zeros(0)
    recordings = Recordings([empty, np.array([0.0])], [empty.astype(int), np.array([1])], np.array([3, 4]))
    data = recordings.data(WINDOW)
    assert data.x[0].sum() == 0 and data.x[1, 0, 1] == 1 and data.x.sum() == 1 and data.y.tolist() == [3, 4]


def test_events_outside_are_refused_unless_allowed():
    """1 of 4 events late: refused with both counts, allowed at a quarter, refused at a fifth."""
    recordings = one([0.0, 1e-3, 2e-3, 9.0], [0, 1, 2, 0])
    with pytest.raises(ValueError, match=r"window: 1 of 4 events, in 1 of 1 recordings, lie outside 0 s to 0.004 s"):
        recordings.data(WINDOW)
    with pytest.raises(ValueError, match=r"at most a fraction of 0\.2"):
        recordings.data(WINDOW, max_outside=0.2)
    assert recordings.data(WINDOW, max_outside=0.25).x.sum() == 3


def test_bad_recordings_are_named():
    """Unequal lengths, NaN, fractional or foreign channels, and bins that are no whole number of ticks."""
    with pytest.raises(ValueError, match=r"recording 0: got times of shape \(2,\) and channels of shape \(1,\)"):
        one([0.0, 1.0], [0])
    with pytest.raises(
        ValueError, match="recording 0: 1 values of times are NaN or infinite, the first is that of event 1"
    ):
        one([0.0, np.nan], [0, 0])
    with pytest.raises(ValueError, match=r"recording 0: channel of event 1 is 0\.5; expected a whole number from 0"):
        Recordings([np.zeros(2)], [np.array([0.0, 0.5])], np.array([0]))
    with pytest.raises(ValueError, match="got 1 of times, 1 of channels and 2 labels"):
        Recordings([np.array([0.0])], [np.array([0])], np.array([0, 1]))
    with pytest.raises(ValueError, match="got channels 3 to 3; expected 0 to 2"):
        one([0.0], [3]).dense(WINDOW)
    with pytest.raises(ValueError, match="recording 0: channel of event 0 is -1; expected a whole number from 0"):
        one([0.0, 0.0], [-1, 0])
    with pytest.raises(ValueError, match=r"dt: got 1.5e-06 s; expected a whole number of 1e-06 s"):
        one([0], [0], unit=1e-6).dense(Window(dt=1.5e-6, steps=2, channels=1))


@pytest.mark.parametrize(
    ("times", "channels", "said"),
    [
        ([1 + 2j], [0], "recording 0, times: got values of type complex128"),
        (["0.1"], [0], "recording 0, times: got values of type <U3"),
        ([True], [0], "recording 0, times: got values of type bool"),
        (np.array(["2020-01-01"], dtype="M8[D]"), [0], "recording 0, times: got values of type datetime64"),
        (np.ma.array([0.0, 1.0], mask=[0, 1]), [0, 0], "recording 0, times: got a masked array"),
        ([[0.0], [1.0, 2.0]], [0, 0], "recording 0, times: got no array of numbers"),
        ([[0.0, 1.0]], [[0, 1]], r"recording 0: got an array of shape \(1, 2\) for times"),
        (
            np.array([2**63], dtype=np.uint64),
            [0],
            "recording 0: times of event 0 is 9223372036854775808; expected at most",
        ),
        ([0.0], [float("inf")], "recording 0: 1 values of channel are NaN or infinite"),
        ([0.0], [-0.5], r"recording 0: channel of event 0 is -0\.5"),
        ([0.0], [[0]], r"recording 0: got an array of shape \(1, 1\) for channel"),
        ([0.0], [None], "recording 0, channel: got values of type object"),
    ],
)
def test_what_is_no_event_is_refused(times, channels, said):
    """Before anything is converted: type, shape and value of times and channels."""
    with pytest.raises(ValueError, match=said):
        Recordings([times], [channels], [0])


def test_lists_tensors_generators_and_whole_floats_are_events():
    """The same counts from every container."""
    expected = one([0, 1000, 3000], [2, 0, 1], 1e-6).dense(WINDOW)[0]
    for times, channels in (
        ([0, 1000, 3000], [2, 0, 1]),
        ([0.0, 1000.0, 3000.0], [2.0, 0.0, 1.0]),
        (torch.tensor([0, 1000, 3000]), torch.tensor([2.0, 0.0, 1.0], requires_grad=True)),
        (torch.tensor([0.0, 1e3, 3e3], dtype=torch.float16), np.array([2, 0, 1], dtype=np.uint64)),
        ((0, 1000, 3000), np.array([2, 0, 1], dtype=np.float16)),
    ):
        assert torch.equal(Recordings([times], [channels], [0], 1e-6).dense(WINDOW)[0], expected)
        assert torch.equal(Recordings(iter([times]), iter([channels]), iter([0]), 1e-6).dense(WINDOW)[0], expected)
    with pytest.raises(TypeError, match="recordings: got times of type float; expected one array per recording"):
        Recordings(0.5, [[0]], [0])


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.float16, np.float64, list])
def test_labels_of_every_type_are_classes(kind):
    """Whole numbers of any type: int64 in the data."""
    labels = [1, 0, 3] if kind is list else np.array([1, 0, 3], dtype=kind)
    y = Recordings([[0.0]] * 3, [[0]] * 3, labels).data(WINDOW).y
    assert y.dtype == torch.int64 and y.tolist() == [1, 0, 3]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([[1, 0], [0, 1]], r"labels: got shape \(2, 2\); expected \(n,\)"),
        (np.array([[0], [1]]), r"labels: got shape \(2, 1\); expected \(n,\)"),
        (torch.eye(2), r"labels: got shape \(2, 2\); expected \(n,\)"),
        ([np.array([0]), np.array([1])], r"labels: got shape \(2, 1\); expected \(n,\)"),
        ([0, 1.5], r"recording 1: label is 1\.5; expected one class number, an integer from 0"),
        ([0, float("nan")], "recording 1: label is nan"),
        ([0, -1], "recording 1: label is -1"),
        ([0, None], "recording 1: label is None"),
        ([False, True], "recording 0: label is False"),
        (["cat", "dog"], "recording 0: label is 'cat'; .* Number the classes"),
        (np.array([b"1", b"2"]), "recording 0: label is '1'"),
    ],
)
def test_what_is_no_label_is_refused(labels, said, tmp_path):
    """One class number per recording; in a file, too."""
    with pytest.raises(ValueError, match=said):
        Recordings([[0.0]] * 2, [[0]] * 2, labels)


@pytest.mark.parametrize("labels", [[[1, 0], [0, 1]], [[0], [1]], [0.5, 1.0]], ids=["one-hot", "column", "fraction"])
def test_labels_of_a_file_are_checked(tmp_path, labels):
    """read_shd does not convert what it has not checked."""
    write_shd(tmp_path / "shd.h5", [[0.0], [0.5]], [[0], [1]], [0, 1])
    with h5py.File(tmp_path / "shd.h5", "a") as file:
        del file["labels"]
        file["labels"] = labels
    with pytest.raises(ValueError, match=r"labels: got shape \(2, \d\)|recording 0: label is 0\.5"):
        read_shd(tmp_path / "shd.h5")


@pytest.mark.parametrize("field", ["dt", "steps", "channels"])
def test_a_window_has_positive_sizes(field):
    """dt, steps and channels of 0 are refused by name."""
    with pytest.raises(ValueError, match=f"{field}: got 0"):
        Window(**({"dt": 1.0, "steps": 1, "channels": 1} | {field: 0}))


def write_shd(path, times, units, labels):
    """A file in SHD's layout; its times are 16-bit floats, as SHD's are."""
    with h5py.File(path, "w") as file:
        for name, values, kind in (("times", times, np.float16), ("units", units, np.uint16)):
            ragged = file.create_dataset(f"spikes/{name}", (len(values),), dtype=h5py.vlen_dtype(kind))
            for i, value in enumerate(values):
                ragged[i] = np.array(value, dtype=kind)
        file["labels"] = np.array(labels, dtype=np.uint16)


def test_shd_is_read_as_it_was_written(tmp_path):
    """Times (exact in 16 bits), units and labels come back; an empty recording too."""
    times, units = [[0.0, 0.25, 1.375], [], [0.5]], [[0, 699, 3], [], [7]]
    write_shd(tmp_path / "shd.h5", times, units, [4, 0, 19])
    recordings = read_shd(tmp_path / "shd.h5")
    assert [t.tolist() for t in recordings.times] == times
    assert [u.tolist() for u in recordings.channels] == units
    data = recordings.data(Window(dt=0.25, steps=6, channels=700))
    assert data.y.tolist() == [4, 0, 19]
    assert data.x.nonzero().tolist() == [[0, 0, 0], [0, 1, 699], [0, 5, 3], [2, 2, 7]]


def test_other_files_are_refused(tmp_path, monkeypatch):
    """No file, no HDF5, another layout, and no h5py: each says what was expected."""
    with pytest.raises(FileNotFoundError, match="does not exist; expected an HDF5 file"):
        read_shd(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match=r"text.h5' is damaged or not in SHD's layout"):
        read_shd(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["labels"] = [1]
    with pytest.raises(ValueError, match="expected HDF5 with spikes/times"):
        read_shd(tmp_path / "other.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError, match="install it with: pip install h5py"):
        read_shd(tmp_path / "other.h5")


class Tonic:
    """The part of a tonic data set that we read."""

    def __init__(self, fields, sensor_size, recordings):
        self.sensor_size = sensor_size
        kind = np.dtype([(name, bool if name == "p" and sensor_size[2] == 2 else int) for name in fields])
        self.items = [(np.array(events, dtype=kind), label) for events, label in recordings]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_a_tonic_camera_has_one_channel_a_pixel_and_polarity():
    """Width 3, height 2: channel (p·2 + y)·3 + x, times in µs."""
    camera = Tonic("txyp", (3, 2, 2), [([(0, 2, 0, 0), (1000, 0, 1, 0), (2999, 2, 1, 1)], 1), ([], 0)])
    data = from_tonic(camera).data(Window(dt=1e-3, steps=3, channels=12))
    assert data.x.nonzero().tolist() == [[0, 0, 2], [0, 1, 3], [0, 2, 11]] and data.y.tolist() == [1, 0]


def test_tonic_shd_has_a_constant_polarity():
    """One polarity, written as 1, and no y: the channel is x."""
    cochlea = Tonic("txp", (700, 1, 1), [([(10, 699, 1)], 0)])
    assert from_tonic(cochlea).channels[0].tolist() == [699]


def test_what_is_not_tonic_is_named():
    """No sensor size, a missing field, an event outside the sensor."""
    with pytest.raises(ValueError, match="sensor_size: got None"):
        from_tonic([(np.zeros(1), 0)])
    with pytest.raises(ValueError, match="recording 0: field 'y' is missing; got fields t, x"):
        from_tonic(Tonic("tx", (3, 2, 1), [([(0, 0)], 0)]))
    with pytest.raises(ValueError, match="recording 0: field 't' is missing; got fields none"):
        from_tonic([(np.zeros((2, 3)), 0)], sensor_size=(3, 1, 1))
    with pytest.raises(ValueError, match="recording 0: x of event 0 is 3; expected a whole number from 0 to 2"):
        from_tonic(Tonic("tx", (3, 1, 1), [([(0, 3)], 0)]))


EVENT = np.array([(0, 1, 0, 0)], dtype=[("t", int), ("x", int), ("y", int), ("p", int)])


def camera(kind, *polarities):
    """One recording for each list of polarities, all events at pixel 0."""
    dtype = np.dtype([("t", int), ("x", int), ("p", kind)])
    return [(np.array([(0, 0, p) for p in of], dtype=dtype), 0) for of in polarities]


@pytest.mark.parametrize(
    ("kind", "coded"), [(bool, (False, True, True)), (int, (0, 1, 1)), (int, (-1, 1, 1)), (float, (-1.0, 1.0, 1.0))]
)
def test_polarities_are_kept_apart(kind, coded):
    """Off and on are two channels, however they are coded; together only on request, with any sensor size."""
    window = Window(1e-3, 1, 2)
    recordings = camera(kind, coded)
    assert from_tonic(recordings, (1, 1, 2)).dense(window)[0].tolist() == [[[1, 2]]]
    with pytest.raises(ValueError, match=r"recording 0: p has the values .*\(1, 1, 2\) to keep them apart, or add_"):
        from_tonic(recordings, (1, 1, 1))
    for size in ((1, 1, 1), (1, 1, 2)):
        assert from_tonic(recordings, size, add_polarities=True).dense(window)[0].tolist() == [[[3, 0]]]


def test_polarities_of_different_recordings_are_one_coding():
    """Off in one recording and on in another are two; -1 and 0 together are no coding."""
    with pytest.raises(ValueError, match="recording 1: p has the values 0, 1 up to here"):
        from_tonic(camera(int, [0], [1]), (1, 1, 1))
    with pytest.raises(
        ValueError, match="recording 1: p has the values -1, 0 up to here; expected 0 to 1, or -1 and 1"
    ):
        from_tonic(camera(int, [-1], [0]), (1, 1, 2))
    with pytest.raises(ValueError, match="recording 0: p has the values 2 up to here"):
        from_tonic(camera(int, [2]), (1, 1, 2))
    assert from_tonic(camera(int, [1], [1]), (1, 1, 1)).channels[1].tolist() == [0]


def test_labels_may_be_names():
    """The place in the list of classes, spaces aside; other names, and numbers beyond, are refused."""
    data = [(EVENT, "dog"), (EVENT, " cat "), (EVENT, b"dog"), (EVENT, 1)]
    assert from_tonic(data, (3, 1, 1), classes=("cat", "dog")).labels.tolist() == [1, 0, 1, 1]
    with pytest.raises(ValueError, match=r"recording 0: label: 'dgo' does not exist; .* Did you mean 'dog'"):
        from_tonic([(EVENT, "dgo")], (3, 1, 1), classes=("cat", "dog"))
    with pytest.raises(ValueError, match=r"recording 0: label is 2; .* from 0 to 1"):
        from_tonic([(EVENT, 2)], (3, 1, 1), classes=("cat", "dog"))


@pytest.mark.parametrize(
    "label", ["cat", None, (1, 2), {"class": 1}, np.array([0, 1]), np.array([1]), float("nan"), -1, 0.5, True], ids=repr
)
def test_a_label_that_is_no_class_is_refused(label):
    """The message names the recording."""
    with pytest.raises(ValueError, match=r"recording 1: label is .*; expected one class number"):
        from_tonic([(EVENT, 0), (EVENT, label)], (3, 1, 1))


@pytest.mark.parametrize("label", [2, 2.0, np.int16(2), np.float32(2), np.array(2), torch.tensor(2), torch.tensor(2.0)])
def test_a_whole_label_is_a_class(label):
    """Numbers of Python, NumPy and torch; any iterable of pairs."""
    assert from_tonic(iter([[EVENT, label]]), (3.0, np.int64(1), 1)).labels.tolist() == [2]


def test_fractional_coordinates_are_refused():
    """0.5 is no pixel; 1.0 is one."""
    kind = np.dtype([("t", float), ("x", float), ("y", float), ("p", float)])
    for axis, said in (("x", r"x of event 1 is 0\.5"), ("y", r"y of event 1 is 0\.5"), ("p", r"p of event 1 is 0\.5")):
        events = np.array([(0, 1, 1, 1), (0, 1, 1, 1)], dtype=kind)
        assert from_tonic([(events, 0)], (2, 2, 2)).channels[0].tolist() == [7, 7]
        events[axis][1] = 0.5
        with pytest.raises(ValueError, match=f"recording 0: {said}; expected a whole number"):
            from_tonic([(events, 0)], (2, 2, 2))


@pytest.mark.parametrize(
    ("dataset", "size", "said"),
    [
        ([(EVENT, 0, "more")], (3, 1, 1), "recording 0: got 3 items; expected a pair"),
        ([EVENT], (3, 1, 1), "recording 0: got a ndarray; expected a pair"),
        (5, (3, 1, 1), "dataset: got a int; expected pairs"),
        ({0: (EVENT, 0)}, (3, 1, 1), "dataset: got a dict; expected pairs"),
        ([(EVENT, 0)], (3, None, None), "sensor_size: got"),
        ([(EVENT, 0)], (3, 1.5, 1), "sensor_size: got"),
        ([(EVENT, 0)], 3, "sensor_size: got 3"),
        ([(EVENT[0], 0)], (3, 1, 1), r"recording 0: got an array of shape \(\) for x"),
    ],
)
def test_what_is_no_data_set_is_refused(dataset, size, said):
    """Each error names the argument or the recording."""
    with pytest.raises((ValueError, TypeError), match=said):
        from_tonic(dataset, size)
