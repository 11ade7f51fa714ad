"""The names that old scripts import and call, and what importing costs."""
import inspect
import subprocess
import sys

import pytest
from platforms import ROOT, clean_environment

import Algorithmia

MODULES = {
    "Algorithmia.acl": ["ReadAcl", "AclType", "Acl", "AclInner"],
    "Algorithmia.errors": ["ApiError", "ApiInternalError", "DataApiError", "AlgorithmException", "raiseDataApiError",
                           "raiseAlgoApiError"],
    "Algorithmia.algorithm": ["Algorithm", "OutputType"],
    "Algorithmia.algo_response": ["AlgoResponse", "Metadata", "AlgoException"],
    "Algorithmia.async_response": ["AsyncResponse"],
    "Algorithmia.client": ["Client"],
    "Algorithmia.data": ["DataObject", "DataObjectType"],
    "Algorithmia.datafile": ["DataFile", "LocalDataFile", "AdvancedDataFile"],
    "Algorithmia.datadirectory": ["DataDirectory", "LocalDataDirectory", "AdvancedDataDirectory"],
    "Algorithmia.util": ["getParentAndBase", "pathJoin", "md5_for_file", "md5_for_str"],
    "Algorithmia.handler": ["Handler"],
    "Algorithmia.insights": ["Insights"],
    "Algorithmia.CLI": ["CLI"],
    "Algorithmia.__main__": ["main"],
    "adk": ["ADK", "modeldata"],
    "adk.modeldata": ["ModelData"],
}
METHODS = {
    "Client": "algo file dir username scms create_user get_org_types create_org get_org edit_org invite_to_org "
              "get_environment get_supported_languages get_template get_secret_providers get_organization_errors "
              "get_user_errors get_algorithm_errors report_insights freeze postJsonHelper getHelper getJsonHelper "
              "getStreamHelper patchHelper headHelper putHelper deleteHelper convert_type_id",
    "Algorithm": "set_options pipe create update publish compile info versions get_builds get_build get_build_logs "
                 "get_scm_status exists get_algorithm_id get_secrets set_secret builds build_logs map submit",
    "DataFile": "getFile getBytes getString getJson getNumpy getAsZip get put putJson putFile putNumpy putAsZip exists "
                "existsWithError delete getName set_attributes is_file is_dir get_type",
    "DataDirectory": "exists create delete file dir getName files dirs list getDir get_permissions update_permissions "
                     "putFile",
}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_that_people_import_from(module):
    imported = __import__(module, fromlist=["*"])
    for name in MODULES[module]:
        assert hasattr(imported, name), name


def test_names_of_the_package():
    for name in Algorithmia.__all__:
        assert hasattr(Algorithmia, name), name
    assert callable(Algorithmia.client) and callable(Algorithmia.handler)
    from Algorithmia.client import Client
    assert Client is Algorithmia.Client and callable(Algorithmia.client)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_methods_that_people_call(name):
    from Algorithmia.algorithm import Algorithm
    from Algorithmia.datadirectory import DataDirectory, LocalDataDirectory
    from Algorithmia.datafile import AdvancedDataFile, DataFile, LocalDataFile

    classes = {"Client": [Algorithmia.Client], "Algorithm": [Algorithm],
               "DataFile": [DataFile, AdvancedDataFile, LocalDataFile],
               "DataDirectory": [DataDirectory, LocalDataDirectory]}[name]
    for owner in classes:
        for method in METHODS[name].split():
            assert callable(getattr(owner, method, None)), (owner, method)


def test_parameters_that_people_name():
    spec = inspect.getfullargspec if sys.version_info >= (3,) else inspect.getargspec
    assert spec(Algorithmia.client).args[:4] == ["api_key", "api_address", "ca_cert", "bearer_token"]
    assert spec(Algorithmia.Client.__init__).args[1:5] == ["apiKey", "apiAddress", "caCert", "bearerToken"]
    from Algorithmia.algorithm import Algorithm
    assert spec(Algorithm.set_options).args[1:] == ["timeout", "stdout", "output"]
    assert spec(Algorithm.versions).args[1:] == ["limit", "marker", "published", "callable"]
    assert spec(Algorithmia.Client.get_template).args[1:] == ["envid", "dest", "save_tar"]


def test_attributes_of_an_algorithm():
    algo = Algorithmia.client("k", "http://127.0.0.1:1").algo("algo://demo/Hello/0.1.0")
    assert (algo.username, algo.algoname, algo.version) == ("demo", "Hello", "0.1.0")
    assert (algo.path, algo.url) == ("demo/Hello/0.1.0", "/v1/algo/demo/Hello/0.1.0")
    assert algo.set_options(timeout=7, stdout=True) is algo
    assert algo.query_parameters == {"timeout": 7, "stdout": True}
    assert algo.output_type is Algorithmia.algorithm.OutputType.default


def test_defect_15_version_is_there_without_one():
    assert Algorithmia.client("k", "http://127.0.0.1:1").algo("demo/Hello").version is None


def python(code, *flags):
    command = [sys.executable] + list(flags) + ["-c", code]
    environment = dict(clean_environment("/nonexistent"), PYTHONPATH=ROOT)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    output = process.communicate()[0].decode("utf-8")
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize("module", sorted(MODULES) + ["Algorithmia.transfer", "Algorithmia.local", "Algorithmia.adk"])
def test_defect_35_every_module_imports_alone_and_quietly(module):
    assert python("import %s" % module, "-W", "error") == ""


def test_importing_reads_nothing_and_imports_nothing_heavy():
    heavy = ("requests", "urllib3", "toml", "numpy", "ssl", "http.client", "httplib", "tempfile", "argparse", "tqdm")
    if sys.version_info < (3,):
        heavy = tuple(name for name in heavy if name != "ssl")  # 2.7's urllib brings it
    code = "import sys, Algorithmia; print([m for m in %r if m in sys.modules])" % (heavy,)
    assert python(code).strip() == "[]"
    code = "import sys, Algorithmia; print([m for m in sys.modules if 'Algorithmia.server' in m])"
    assert python(code).strip() == "[]"


def test_the_sdk_never_imports_the_server():
    import io
    import os
    import re

    for folder, names, files in os.walk(os.path.join(ROOT, "Algorithmia")):
        if os.path.basename(folder) == "server":
            names[:] = []
            continue
        for name in files:
            path = os.path.join(folder, name)
            if not name.endswith(".py") or path.endswith(os.path.join("cli", "serve.py")):
                continue  # `algo serve` is the one door
            text = io.open(path, encoding="utf-8").read()
            assert not re.search(r"^\s*(from|import) [\w.]*\bserver\b", text, re.MULTILINE), path
