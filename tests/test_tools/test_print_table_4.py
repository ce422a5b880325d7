from mmgcp.analysis.table_4 import table_4

from ..test_analysis.test_robustness import GAP, GCP, REFERENCE, summaries, write_json


def test_the_tool_prints_the_table(workplace):
    write_json(workplace.folder / 'c.json', summaries([GAP, GCP], REFERENCE))
    assert workplace.run('analysis_tools/print_table_4.py', 'c.json') == f"{table_4([workplace.folder / 'c.json'])}\n"
