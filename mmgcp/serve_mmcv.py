"""Make mmcv use torchvision's operators in all programs of this environment: ``python -m mmgcp.serve_mmcv``.

``import mmgcp`` does so for the running program. This command writes a module ``mmcv/_ext.py``, for programs that
import ``mmdet.models`` or ``mmdet.apis`` before mmgcp, or never import mmgcp. Compiled operators installed later take
precedence, because Python prefers a compiled module to a source file in the same folder.
"""
import sys
from importlib.util import find_spec
from pathlib import Path

from .utils.mmcv_operators import NAME, installed

CONTENT = f'''"""torchvision's operators under the names of mmcv's compiled ones (written by mmgcp.serve_mmcv)."""
import sys

import mmgcp.utils.mmcv_ext

sys.modules['{NAME}'] = mmgcp.utils.mmcv_ext
'''


def main() -> None:
    """Write the module, unless mmcv has compiled operators."""
    mmcv = find_spec('mmcv')
    if mmcv is None:
        sys.exit('Stopped: mmcv is not installed in this environment.')
    if installed():
        print(f'Nothing to do: {installed().origin} is there.')
        return
    target = Path(mmcv.origin).with_name('_ext.py')
    target.write_text(CONTENT)
    print(f"Wrote {target}: torchvision's operators serve mmcv in all programs of this environment. Delete it to undo "
          'this.')


if __name__ == '__main__':
    main()
