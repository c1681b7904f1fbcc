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
        k = np.floor((t - start) / dt)
        inside = (k >= 0) & (k < 5)
        assert x[i].sum(0).tolist() == np.bincount(c[inside], minlength=5).tolist()
        assert x[i].sum(1).tolist() == np.bincount(k[inside].astype(int), minlength=5).tolist()


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
    with pytest.raises(ValueError, match="recording 0: 1 times are NaN or infinite"):
        one([np.nan, 0.0], [0, 0])
    with pytest.raises(ValueError, match="channels of type float64; expected integers"):
        Recordings([np.array([0.0])], [np.array([0.5])], np.array([0]))
    with pytest.raises(ValueError, match="got 1 of times, 1 of channels and 2 labels"):
        Recordings([np.array([0.0])], [np.array([0])], np.array([0, 1]))
    with pytest.raises(ValueError, match="got channels 3 to 3; expected 0 to 2"):
        one([0.0], [3]).dense(WINDOW)
    with pytest.raises(ValueError, match="got channels -1 to 0; expected 0 to 2"):
        one([0.0, 0.0], [-1, 0]).dense(WINDOW)
    with pytest.raises(ValueError, match=r"dt: got 1.5e-06 s; expected a whole number of 1e-06 s"):
        one([0], [0], unit=1e-6).dense(Window(dt=1.5e-6, steps=2, channels=1))


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
    with pytest.raises(ValueError, match="recording 0: x is 3 to 3; expected 0 to 2"):
        from_tonic(Tonic("tx", (3, 1, 1), [([(0, 3)], 0)]))
