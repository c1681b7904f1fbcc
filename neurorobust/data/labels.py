"""Checks of samples, labels and targets: value, type and shape, before anything is converted."""

from __future__ import annotations

import torch
from torch import Tensor

from .._util.errors import check_finite


def constant(name: str, value: object) -> Tensor:
    """An ordinary tensor with these values: dense, without gradient, and one that autograd may keep."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: got a {type(value).__name__}; expected a tensor: torch.as_tensor(…).")
    for what, here, remedy in (
        ("nested", value.is_nested, "samples of one length: torch.nested.to_padded_tensor(…, 0.0)"),
        ("quantized", value.is_quantized, "its values: .dequantize()"),
        ("meta", value.is_meta, "a tensor with values"),
    ):
        if here:
            raise ValueError(f"{name}: got a {what} tensor; expected {remedy}.")
    with torch.inference_mode(False):
        value = value.detach()
        if value.layout != torch.strided:
            return value.to_dense()
        return value.clone() if value.is_inference() else value


def checked_labels(name: str, y: Tensor) -> Tensor:
    """Labels as int64, targets as they are; one-hot labels are refused."""
    if y.ndim == 2 and y.shape[1] > 1 and not y.is_complex() and _one_hot(y):
        raise ValueError(
            f"{name}: labels of shape {tuple(y.shape)} are one-hot; expected class numbers, y.argmax(1). If they are "
            f"targets of a regression, or labels of every step, make nr.data.Data(x, y) yourself."
        )
    if y.ndim == 2 and y.shape[1] == 1 and not y.is_floating_point():
        raise ValueError(f"{name}: labels of shape {tuple(y.shape)} are a column; expected (n,): y[:, 0].")
    if y.is_floating_point():
        check_finite({f"{name}: targets": y})
        return y
    return class_numbers(y)


def _one_hot(y: Tensor) -> bool:
    ones = y == 1
    return bool((ones | (y == 0)).all()) and bool((ones.sum(1) == 1).all())


def class_numbers(y: Tensor) -> Tensor:
    """Class labels as int64."""
    smallest = None if y.dtype == torch.bool or y.is_complex() else int(y.long().min())
    if smallest is None or smallest < 0:
        raise ValueError(
            f"data: got labels of type {y.dtype}{'' if smallest is None else f', the smallest {smallest}'}; expected "
            f"integers from 0{': y.long()' if y.dtype == torch.bool else ''}, or floating targets."
        )
    return y.long()
