from diffusers.utils import logging

from bench.cache.run import main

logging.set_verbosity_error()  # diffusers' caches warn at each of the many times that they are put on
raise SystemExit(main())
