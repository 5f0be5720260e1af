"""Nothing that is loaded can run code: no line of ours could unpickle, evaluate, unpack or start a shell."""

import ast
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("video_ae", "datasets", "train.py", "evaluate.py", "benchmarks", "examples")
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
# Calls by the last words of their names; `torch.load` has a safe form.
CALLS = {"os.system", "os.popen", "yaml.load", "torch.hub.load", "torch.jit.load", "pd.read_pickle", "read_pickle"}
METHODS = {"extractall", "load_module", "exec_module", "all_gather_object", "broadcast_object_list", "gather_object"}
# `pickle.UnpicklingError` is what `torch.load(weights_only=True)` raises, and has to be caught by its name.
ALLOWED = {("datasets/image_networks.py", "pickle")}


def dangers(source: str, name: str = "") -> Iterator[str]:
    """What in a module could run what somebody else wrote, with its line."""
    for node in ast.walk(ast.parse(source)):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module] if (node.module or "").partition(".")[0] in MODULES and not node.level else []
            found += [alias.name for alias in node.names if f"{node.module}.{alias.name}" in CALLS]
        elif isinstance(node, ast.Call):
            found = list(_dangerous_call(node))
        yield from (f"{name}:{node.lineno}: {word}" for word in found if (name, word) not in ALLOWED)


def _dangerous_call(node: ast.Call) -> Iterator[str]:
    called = ast.unparse(node.func)
    given = {keyword.arg: keyword.value for keyword in node.keywords}

    def says(keyword: str, value: bool) -> bool:
        return isinstance(given.get(keyword), ast.Constant) and given[keyword].value is value

    # `model.eval()` and `re.compile()` are methods; only the bare names run text.
    if (isinstance(node.func, ast.Name) and called in BUILTINS) or called in {f"builtins.{name}" for name in BUILTINS}:
        yield called
    if called in CALLS or called.rpartition(".")[2] in METHODS:
        yield called
    if called == "torch.load" and not says("weights_only", True):
        yield "torch.load without weights_only=True"
    for keyword in ("allow_pickle", "shell", "trust_remote_code"):
        if keyword in given and not says(keyword, False):
            yield f"{keyword}={ast.unparse(given[keyword])}"
    if None in given and called in ("np.load", "numpy.load", "torch.load"):
        yield f"{called} with arguments that cannot be seen"


def modules() -> list[Path]:
    places = [ROOT / source for source in SOURCES]
    return sorted(path for place in places for path in ([place] if place.is_file() else place.rglob("*.py")))


def test_nothing_of_ours_can_run_what_is_loaded():
    paths = modules()
    assert len(paths) > 60
    found = [
        danger
        for path in paths
        for danger in dangers(path.read_text(), path.relative_to(ROOT).as_posix())
        # The torture makes hostile files, and needs pickle for that.
        if not (path.parent.name == "torture" and danger.endswith(": pickle"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import dill.settings",
        "from marshal import load as harmless",
        "def f():\n    import shelve",
        "import joblib",
        "eval(text)",
        "builtins.exec(text)",
        "compile(text, '', 'exec')",
        "__import__(name)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=choice)",
        "np.load(path, **options)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=safe)",
        "torch.hub.load(repository, model)",
        "torch.jit.load(path)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "from os import system",
        "zipfile.ZipFile(path).extractall(folder)",
        "yaml.load(text)",
        "dist.all_gather_object(found, mine)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_search_finds_what_it_is_for(line):
    """A test that cannot fail protects nothing."""
    assert list(dangers(f"x = 1\n{line}\n"))


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "re.compile(pattern)",
        "torch.compile(model)",
        "np.load(path, allow_pickle=False)",
        "torch.load(path, map_location='cpu', weights_only=True)",
        "subprocess.run([command])",
        "yaml.safe_load(text)",
        "json.load(file)",
    ],
)
def test_the_search_leaves_the_rest_alone(line):
    assert not list(dangers(line))


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 80)])
def test_the_tests_cannot_reach_the_network(address):
    """Whatever downloads in a test by mistake fails at once, on every machine alike."""
    with pytest.raises(OSError, match="the tests may not"):
        socket.create_connection(address, timeout=1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, pytest.raises(OSError, match="the tests may not"):
        sender.connect(address)


def test_processes_on_this_machine_may_talk():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
