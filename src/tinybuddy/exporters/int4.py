"""A compact file with weights at 4 bits."""

from functools import partial

from tinybuddy.exporters import compact

write = partial(compact.write, bits=4)
verify = partial(compact.verify, bits=4)
