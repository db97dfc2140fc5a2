"""What a call to the page's API may give for each parameter: a mistake is one sentence, what is left out is the page's
own value."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gradio.components.base import Component

from .web_parts import gr

LONGEST_ECHO = 60  # characters of a wrong value that are said again
VALUES = (gr.Slider, gr.Number, gr.Checkbox, gr.Radio, gr.Dropdown, gr.Textbox)


def endpoint(fn: Callable, inputs: Sequence[Component]) -> Callable:
    """The function, which a call may give fewer arguments than it has; its inputs then say what is wrong themselves.

    inputs: a component for each parameter, but for the request.
    """
    signature = inspect.signature(fn)
    parameters = signature.parameters.values()
    fn.__signature__ = signature.replace(parameters=[one.replace(default=None) for one in parameters])
    for name, component in zip(signature.parameters, inputs, strict=False):
        if isinstance(component, VALUES):
            _check(component, name)
    return fn


def _check(component: Component, name: str) -> None:
    """Makes a component tell what is wrong with a value; None is the value that it begins with."""
    default, as_before = component.value, component.preprocess

    def preprocess(payload: Any) -> Any:
        if payload is None:
            return default
        why = _fault(component, payload)
        if why:
            raise gr.Error(f"{name} {why}, not {_echo(payload)}.", duration=None, print_exception=False)
        return as_before(payload)

    component.preprocess = preprocess


def _fault(component: Component, value: Any) -> str | None:
    """What a value must be and is not; None where it is."""
    if isinstance(component, gr.Checkbox):
        return None if isinstance(value, bool) else "must be true or false"
    if isinstance(component, gr.Slider | gr.Number):
        return _fault_of_number(value, component.minimum, component.maximum)
    if not isinstance(value, str):
        return "must be a text"
    if isinstance(component, gr.Textbox) or getattr(component, "allow_custom_value", False):
        return None
    choices = [choice for _, choice in component.choices]
    return None if value in choices else f"must be one of {', '.join(filter(None, choices))}"


def _fault_of_number(value: Any, low: float | None, high: float | None) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return "must be a number"
    low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
    if low <= value <= high:
        return None
    return f"must be from {low:.15g} to {high:.15g}" if math.isfinite(high) else f"must be at least {low:g}"


def _echo(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_ECHO else f"{text[: LONGEST_ECHO - 1]}…"
