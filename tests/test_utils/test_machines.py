import subprocess
import sys


def test_tools_that_need_no_torch_do_not_wait_for_it():
    """All tools report errors, and tell other machines."""
    script = "import sys, mmgcp.utils.reported; print({'torch', 'mmengine.runner'} & set(sys.modules))"
    assert subprocess.run([sys.executable, '-c', script], capture_output=True, text=True).stdout == 'set()\n'
