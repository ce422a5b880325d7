"""Fill the registries."""
import warnings


def register_all_modules(init_default_scope: bool = True) -> None:
    """Import everything that mmgcp registers (``mmengine.hub`` calls this).

    ``init_default_scope`` makes ``mmpretrain``, whose networks mmgcp extends, the default scope.
    """
    import mmpretrain.utils
    from mmengine.registry import Registry

    from mmgcp import registry

    for child in vars(registry).values():
        if isinstance(child, Registry):
            child.import_from_location()
    with warnings.catch_warnings():
        # mmengine.hub makes mmgcp the default scope during this call.
        warnings.filterwarnings('ignore', 'The current default scope "mmgcp"')
        mmpretrain.utils.register_all_modules(init_default_scope)
