"""The few named errors of the project; each message says what to do next."""

from __future__ import annotations


class UnimmError(Exception):
    """Base of every error a user may meet; its text is safe to show as it stands."""


class BadInput(UnimmError):
    """A value, picture or file from outside that cannot be used."""


class MissingWeights(UnimmError):
    """Weights that are absent, truncated or do not fit the model they were given to."""


class ModelUnavailable(UnimmError):
    """A known model that cannot run here; the text says why and what would make it run."""


class Cancelled(UnimmError):
    """The caller asked a running stream to stop."""
