"""A hook of schemathesis: each call brings another of the keys in API_KEYS, so that none calls too often."""
import itertools
import os

import schemathesis

KEYS = itertools.cycle(os.environ["API_KEYS"].split())


@schemathesis.hook
def before_call(context, case, kwargs):
    case.headers["AccessKey"] = next(KEYS)
