"""`enable_cache` of our own models."""

from diffusers.models.cache_utils import CacheMixin

from cache.config import TaylorCacheConfig
from cache.hook import apply_taylor_cache, remove_taylor_cache
from cache.run import cache_context


class TaylorCacheMixin(CacheMixin):
    """diffusers' `CacheMixin` that also knows the Taylor cache, and whose contexts may be nested."""

    def enable_cache(self, config) -> None:
        """Put a cache on: a `TaylorCacheConfig`, or one of diffusers' own configurations."""
        if not isinstance(config, TaylorCacheConfig):
            super().enable_cache(config)
            return
        if self.is_cache_enabled:
            raise ValueError(
                f"Caching has already been enabled with {type(self._cache_config)}. To apply a new caching technique, "
                "please disable the existing one first."
            )
        apply_taylor_cache(self, config)

    def disable_cache(self) -> None:
        """Take the cache off, whichever it is."""
        if isinstance(self._cache_config, TaylorCacheConfig):
            remove_taylor_cache(self)
        else:
            super().disable_cache()

    def cache_context(self, name: str, **kwargs):
        """As `cache.cache_context(self, name, ...)`."""
        return cache_context(self, name, **kwargs)
