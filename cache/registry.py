"""Taking a hook out of diffusers' chain of hooks without cutting off the ones round it.

In diffusers 0.42 `HookRegistry.remove_hook` writes the inner forward into the outer hook's `forward` although an outer
hook with a `new_forward` keeps the inner one in `original_forward`: the outer hook is then silently skipped.
"""

import functools

from torch import nn


def remove_hook(module: nn.Module, name: str) -> None:
    """Remove one hook of one module; a module without any hook left is as it was before the first."""
    registry = module.__dict__.get("_diffusers_hook")
    if registry is None or registry.get_hook(name) is None:
        return
    place = registry._hook_order.index(name)
    own = registry._fn_refs[place]
    inner = own.forward if own.original_forward is None else own.original_forward
    if place == len(registry._hook_order) - 1:
        module.forward = inner
    else:
        outer = registry._fn_refs[place + 1]
        if outer.original_forward is None:
            outer.forward = inner
        else:
            outer.original_forward = inner
    registry.hooks[name].deinitalize_hook(module)  # [sic]
    del registry.hooks[name], registry._hook_order[place], registry._fn_refs[place]
    if not registry.hooks:
        del module._diffusers_hook
        if getattr(inner, "__func__", None) is type(module).forward:
            del module.forward  # the class's own again


def restore_broken_hooks(module: nn.Module, name: str) -> None:
    """Where another hook below this one was removed the way above, put this one back into the chain."""
    registry = module.__dict__.get("_diffusers_hook")
    hook = registry.get_hook(name) if registry is not None else None
    if hook is None:
        return
    reference = hook.fn_ref
    if getattr(reference.forward, "func", None) == hook.new_forward:
        return
    reference.original_forward = reference.forward
    reference.forward = functools.update_wrapper(functools.partial(hook.new_forward, module), hook.new_forward)
