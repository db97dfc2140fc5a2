"""The root of Mien's exception hierarchy; it lives in the lowest layer so that every layer can raise from it."""


class MienError(Exception):
    """A failure that one sentence explains to the person at the terminal; the CLI prints it without a stack."""


class WeightsError(MienError):
    """A weights file is missing, damaged or does not fit the network that it is loaded into."""
