"""A compact file with weights at 8 bits."""

from functools import partial

from tinybuddy.exporters import compact

write = partial(compact.write, bits=8)
verify = partial(compact.verify, bits=8)
