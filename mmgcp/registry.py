"""Child registries of MMEngine's root registries, for ``type='mmgcp.Name'`` in configs of any scope.

MMEngine imports this module, and then a registry's ``locations``, when it first looks up such a name.
"""
from mmengine import registry as root
from mmengine.registry import Registry

DATASETS = Registry('dataset', parent=root.DATASETS, scope='mmgcp', locations=['mmgcp.datasets'])
DATA_SAMPLERS = Registry('data sampler', parent=root.DATA_SAMPLERS, scope='mmgcp', locations=['mmgcp.datasets'])
FUNCTIONS = Registry('function', parent=root.FUNCTIONS, scope='mmgcp', locations=['mmgcp.datasets'])
TRANSFORMS = Registry('transform', parent=root.TRANSFORMS, scope='mmgcp', locations=['mmgcp.datasets'])

MODELS = Registry('model', parent=root.MODELS, scope='mmgcp', locations=['mmgcp.models'])
MODEL_WRAPPERS = Registry('model wrapper', parent=root.MODEL_WRAPPERS, scope='mmgcp', locations=['mmgcp.models'])
WEIGHT_INITIALIZERS = Registry(
    'weight initializer', parent=root.WEIGHT_INITIALIZERS, scope='mmgcp', locations=['mmgcp.models'])
TASK_UTILS = Registry('task util', parent=root.TASK_UTILS, scope='mmgcp', locations=['mmgcp.models'])

RUNNERS = Registry('runner', parent=root.RUNNERS, scope='mmgcp', locations=['mmgcp.engine'])
RUNNER_CONSTRUCTORS = Registry(
    'runner constructor', parent=root.RUNNER_CONSTRUCTORS, scope='mmgcp', locations=['mmgcp.engine'])
LOOPS = Registry('loop', parent=root.LOOPS, scope='mmgcp', locations=['mmgcp.engine'])
HOOKS = Registry('hook', parent=root.HOOKS, scope='mmgcp', locations=['mmgcp.engine'])
LOG_PROCESSORS = Registry('log processor', parent=root.LOG_PROCESSORS, scope='mmgcp', locations=['mmgcp.engine'])
OPTIMIZERS = Registry('optimizer', parent=root.OPTIMIZERS, scope='mmgcp', locations=['mmgcp.engine'])
OPTIM_WRAPPERS = Registry('optimizer wrapper', parent=root.OPTIM_WRAPPERS, scope='mmgcp', locations=['mmgcp.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor', parent=root.OPTIM_WRAPPER_CONSTRUCTORS, scope='mmgcp',
    locations=['mmgcp.engine'])
PARAM_SCHEDULERS = Registry(
    'parameter scheduler', parent=root.PARAM_SCHEDULERS, scope='mmgcp', locations=['mmgcp.engine'])

METRICS = Registry('metric', parent=root.METRICS, scope='mmgcp', locations=['mmgcp.evaluation'])
EVALUATORS = Registry('evaluator', parent=root.EVALUATOR, scope='mmgcp', locations=['mmgcp.evaluation'])

VISUALIZERS = Registry('visualizer', parent=root.VISUALIZERS, scope='mmgcp', locations=['mmgcp.analysis'])
VISBACKENDS = Registry('vis backend', parent=root.VISBACKENDS, scope='mmgcp', locations=['mmgcp.analysis'])
