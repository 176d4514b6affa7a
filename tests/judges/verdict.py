"""What a judge says when it does not pass."""


class Skipped(Exception):
    """The judge is not on this machine."""


class Unavailable(Skipped):
    """No registry carries the judge: never a failure."""


def expect(condition, what):
    if not condition:
        raise AssertionError(what)
