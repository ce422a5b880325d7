"""Build script: setup.cfg has everything except the place of configs and tools."""
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildPyWithMim(build_py):
    """Put configs, tools and model index into ``mmgcp/.mim``, where MMEngine and MIM look for them.

    A wheel gets copies; an editable install gets links in the source tree, so that edited configs take effect.
    """

    def run(self):
        super().run()
        target = (ROOT if self.editable_mode else Path(self.build_lib).resolve()) / 'mmgcp' / '.mim'
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in ('configs', 'tools', 'model-index.yml'):
            if self.editable_mode:
                (target / name).symlink_to(Path('..', '..', name))
            elif name == 'model-index.yml':
                shutil.copy(ROOT / name, target / name)
            else:
                shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns('__pycache__'))


setup(cmdclass={'build_py': BuildPyWithMim})
