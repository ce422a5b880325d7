"""Child registries of MMEngine's root registries, for ``type='mmgcp.Name'`` in configs of any scope.

MMEngine imports this module, and then a registry's ``locations``, when it first looks up such a name.
"""
from mmengine import registry as root
from mmengine.registry import Registry


def _child(parent: Registry, folder: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='mmgcp', locations=[f'mmgcp.{folder}'])


DATASETS = _child(root.DATASETS, 'datasets')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'datasets')
FUNCTIONS = _child(root.FUNCTIONS, 'datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'datasets')

MODELS = _child(root.MODELS, 'models')
MODEL_WRAPPERS = _child(root.MODEL_WRAPPERS, 'models')
WEIGHT_INITIALIZERS = _child(root.WEIGHT_INITIALIZERS, 'models')
TASK_UTILS = _child(root.TASK_UTILS, 'models')

RUNNERS = _child(root.RUNNERS, 'engine')
RUNNER_CONSTRUCTORS = _child(root.RUNNER_CONSTRUCTORS, 'engine')
LOOPS = _child(root.LOOPS, 'apis.robustness')
HOOKS = _child(root.HOOKS, 'engine')
LOG_PROCESSORS = _child(root.LOG_PROCESSORS, 'engine')
OPTIMIZERS = _child(root.OPTIMIZERS, 'engine')
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS, 'engine')

METRICS = _child(root.METRICS, 'evaluation')
EVALUATORS = _child(root.EVALUATOR, 'evaluation')

VISUALIZERS = _child(root.VISUALIZERS, 'analysis')
VISBACKENDS = _child(root.VISBACKENDS, 'analysis')
