"""Commands of the pages: they parse, their files and settings exist, and each is run here or needs what tests lack."""
import argparse
import importlib
import importlib.util
import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import pytest
from mmengine.config import Config

from mmgcp import __main__ as command_line
from mmgcp.apis.launch import load_config
from mmgcp.apis.robustness.benchmarks import ALL, Benchmark
from mmgcp.apis.robustness.networks import measurements

from .conftest import ROOT

PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted(ROOT.glob('docs/**/*.md')),
         *sorted(ROOT.glob('configs/**/README.md'))]
# What a command needs that a test cannot have; its tool is run by another test, on drawn images.
NEEDS = {
    'Imagenette': r'imagenette',
    'COCO': r'faster_rcnn|coco',
    'ImageNet, or weights trained on it': r'imagenet|_modern|resnet50_gcp\.pth|model_best|robustness_c\.json',
    'photos': r'fine-grained|data/birds|\.jpg',
    'results, whose pages it writes anew': r'reproduction\.report$',
    'a training': r'\b(CONFIG|PLAN\.py|NAME|my_gcp\.py)\b|^mmgcp (train|test|predict|probe)',
    'an environment that it changes': r'^(pip|mim|source|mkdocs|mkdir|curl|tar)\b|setup_env|run_tests|serve_mmcv',
    'the quick start': r'quickstart|shapes',
}
# These are run below, the others are parsed alone.
RUN = r'with_gcp\.py mmpretrain|plot_lr\.py( configs| --polynomial 11-53 5-60|$)|plans/.*--list$|^mmgcp( zoo| env|$)'
HEREDOC = r" - <<'(\w+)'\n(.*?)^\1$"


class Parsed(Exception):
    """Carries the arguments out of a tool's ``main``."""


def blocks():
    for page in PAGES:
        for block in re.findall(r'^```bash\n(.*?)^```', page.read_text(), re.S | re.M):
            yield str(page.relative_to(ROOT)), block


def commands():
    """Pairs of a page and the words of a command; heredocs, comments and variables in front are left out."""
    for page, block in blocks():
        block = re.sub(f'^python{HEREDOC}', '', block, flags=re.S | re.M).replace('\\\n', ' ')
        for line in re.split(r'\n| && | \| ', block):
            words = shlex.split(line, comments=True)
            while words and re.match(r'[A-Z_]+=', words[0]):
                words.pop(0)
            if words:
                yield page, words


COMMANDS = [pytest.param(words, id=f'{page}: {" ".join(words)[:60]}') for page, words in commands()]


def tool_of(words):
    """Script or module, and its arguments; None and words for other programs. Launchers become what they launch."""
    if words[:2] == ['python', '-m']:
        return words[2], words[3:]
    if words[0] in ('python', 'bash'):
        words = words[1:]
    if words[0] in ('tools/dist_train.sh', 'tools/dist_test.sh'):
        at = 1 if 'train' in words[0] else 2
        assert words[at + 1].isdigit(), 'the number of GPUs'
        script = 'train.py' if at == 1 else 'test_robustness.py' if '--benchmark' in words else 'test.py'
        return f'tools/{script}', words[1:at + 1] + words[at + 2:]
    return (words[0], words[1:]) if words[0].startswith('tools/') else (None, words)


def parsed(module, arguments, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['tool', *arguments])
    if hasattr(module, 'parse_args'):
        return module.parse_args()
    parse = argparse.ArgumentParser.parse_args

    def stop(parser, *given):
        raise Parsed(parse(parser, *given))

    with mock.patch.object(argparse.ArgumentParser, 'parse_args', stop), pytest.raises(Parsed) as caught:
        module.main()
    return caught.value.args[0]


@pytest.mark.parametrize('words', COMMANDS)
def test_it_parses_and_its_files_exist(words, monkeypatch):
    text = ' '.join(words)
    for file in re.findall(r'(?<![\w:/])(?:configs|reproduction|requirements|tools)/[\w./-]+\.\w+', text):
        assert (ROOT / file).is_file(), file
    tool, arguments = tool_of(words)
    if words[0] == 'mmgcp' and words[1:] and words[1] in command_line.TOOLS:
        tool, arguments = f'tools/{command_line.TOOLS[words[1]]}', words[2:]
    elif words[0] == 'mmgcp' and words[1:]:
        assert words[1] in command_line.COMMANDS
    if tool is None or tool.endswith('.sh'):
        return
    if not tool.endswith('.py'):
        assert find_spec(tool)
        if tool == 'mmgcp.serve_mmcv':
            return
        module = importlib.import_module(tool)
    else:
        monkeypatch.syspath_prepend(ROOT / Path(tool).parent)  # as for a script
        spec = importlib.util.spec_from_file_location(Path(tool).stem, ROOT / tool)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    args = parsed(module, arguments, monkeypatch)
    config, options = getattr(args, 'config', None), getattr(args, 'cfg_options', None)
    if config and (ROOT / config).is_file() and tool in ('tools/train.py', 'tools/test.py'):
        load_config(str(ROOT / config), cfg_options=options)  # which names settings that nothing reads


@pytest.mark.parametrize('words', COMMANDS)
def test_it_is_run_here_or_needs_what_a_test_lacks(words, workplace, tmp_path, monkeypatch):
    monkeypatch.setattr(workplace, 'folder', tmp_path)  # commands of several pages write the same files
    text = ' '.join(words)
    tool, arguments = tool_of(words)
    if not re.search(RUN, text):
        assert [what for what, pattern in NEEDS.items() if re.search(pattern, text)], 'it could be run here'
    elif words[0] == 'mmgcp':
        command_line.main(words[1:])
    else:
        (workplace.folder / 'my_gcp.py').unlink(missing_ok=True)  # several pages write it
        arguments = [str(ROOT / word) if (ROOT / word).is_file() else word for word in arguments]
        workplace.run(tool.removeprefix('tools/'), *arguments)


@pytest.mark.parametrize('page', sorted({page for page, words in commands() if '--benchmark' in words}))
def test_measurements_of_a_page_do_not_get_into_each_others_files(page, monkeypatch):
    tool, kept = importlib.import_module('tools.test_robustness'), {}
    for _, words in [pair for pair in commands() if pair[0] == page]:
        script, arguments = tool_of(words)
        if script != 'tools/test_robustness.py':
            continue
        args = parsed(tool, arguments, monkeypatch)
        roots = {name: f'{args.data_root}/{name}' for name in ALL} if args.benchmark == 'all' else {
            args.benchmark: args.data_root}
        for network in args.networks[::2]:
            for name, root in roots.items():
                benchmark = Benchmark(name, root, difficulty=args.difficulty, frames=args.frames, seed=args.seed,
                                      resize_again=args.resize_again, subset=args.subset)
                path = measurements(Config(dict(work_dir=network)), 'epoch_1.pth', benchmark)
                assert kept.setdefault(path, benchmark.identity()) == benchmark.identity(), ' '.join(words)


@pytest.mark.parametrize('page, code', [(page, found[1]) for page, block in blocks()
                                        for found in re.findall(HEREDOC, block, re.S | re.M)])
def test_python_in_a_heredoc(page, code):
    exec(code, {})


def test_tools_that_are_named_are_run_by_tests():
    tests = '\n'.join(path.read_text() for path in (ROOT / 'tests').rglob('test_*.py') if path != Path(__file__))
    for _, words in commands():
        tool, _ = tool_of(words)
        if tool and tool.endswith('.py'):
            assert re.search(rf"\b{Path(tool).name}'|'{Path(tool).stem}'", tests), tool
