"""The notebooks run from top to bottom for somebody who has nothing yet, and again for somebody who has."""
import io
import json
import os
import re
import subprocess
import sys

import pytest
from platforms import ROOT

nbformat = pytest.importorskip("nbformat", reason="the notebook needs Jupyter")
nbclient = pytest.importorskip("nbclient", reason="the notebook is run by nbclient")
for needed in ("ipykernel", "matplotlib", "sklearn"):
    pytest.importorskip(needed, reason="the notebook needs it")

EXAMPLES = os.path.join(ROOT, "examples")


@pytest.fixture
def person(tmpdir, monkeypatch):
    """Nobody's home, and no platform yet; what was started there is stopped."""
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmpdir.join(name.lower())))
    yield tmpdir
    subprocess.check_call([sys.executable, "-m", "Algorithmia", "local", "stop"])


def execute(name, directory):
    """What the cells print, one text for each, and how many pictures there are."""
    notebook = nbformat.read(os.path.join(EXAMPLES, name), as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(directory)}}
    ).execute()
    texts, pictures = [], 0
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        texts.append("".join(output.get("text", "") for output in outputs))
        pictures += sum("image/png" in output.get("data", {}) for output in outputs)
    return texts, pictures


def test_the_notebook_about_deployment_runs(person):
    texts, pictures = execute("model-deployment.ipynb", person)
    text = "\n".join(texts)
    accuracy = float(text.split("accuracy: ")[1].split()[0])
    assert accuracy > 0.9
    assert "SUCCEEDED" in text
    assert "published: " in text and "/DigitReader/0.1.0" in text
    right, all_of_them = text.split(" digits read correctly")[0].split("\n")[-1].split(" of ")
    assert int(right) / float(all_of_them) == pytest.approx(accuracy, abs=0.001)
    assert pictures == 2
    again, pictures = execute("model-deployment.ipynb", person)
    assert "/DigitReader/0.1.0" in "\n".join(again) and pictures == 2


def test_the_notebook_about_tables_runs(person):
    for needed in ("fsspec", "pandas", "pyarrow"):
        pytest.importorskip(needed, reason="the notebook needs it")
    texts, pictures = execute("data-tables.ipynb", person)
    text = "\n".join(texts)
    read, size = re.search(r"read ([\d,]+) of ([\d,]+) bytes", text).groups()
    assert int(read.replace(",", "")) < int(size.replace(",", "")) / 4
    assert "Cairo.csv: " in text and "Oslo.csv: -" in text
    assert pictures == 1


@pytest.mark.parametrize("name", [name for name in sorted(os.listdir(EXAMPLES)) if name.endswith(".ipynb")])
def test_notebooks_are_kept_without_outputs(name):
    with io.open(os.path.join(EXAMPLES, name), encoding="utf-8") as handle:
        notebook = json.load(handle)
    for cell in notebook["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
    nbformat.validate(nbformat.from_dict(notebook))
