"""Data tools on hosted data and connectors by ``algorithmia://`` paths, in scripts and inside an algorithm."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from build_projects import Author, project, require_index
from counting_proxy import CountingProxy
from platforms import Server
from storage_providers import running

fsspec = pytest.importorskip("fsspec", reason="file systems need fsspec")
import Algorithmia.fs  # noqa: F401  (installed, fsspec finds it by itself)

MIB = 1024 * 1024


@pytest.fixture(scope="module", params=["data", "s3"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A platform, and where on it there is room."""
    home = tmp_path_factory.mktemp("platform")
    if request.param == "data":
        platform = Server(home)
        platform.client().dir("data://.my/tools").create()
        yield platform, "data/.my/tools"
        platform.stop()
        return
    for provider in running("s3", tmp_path_factory.mktemp("emulator")):
        platform = Server(home, "--port", "0", "--connector-hosts", provider.host)
        body = provider.body
        platform.client().create_connector("s3", "lab", body["cred_data"], writeable=True, endpoint=body["endpoint"])
        yield platform, "s3+lab/bucket/tools"
        platform.stop()


hosted_only = pytest.mark.parametrize("place", ["data"], indirect=True)  # the emulator has little part in it


@pytest.fixture
def proxy(place: tuple[Server, str]) -> Iterator[CountingProxy]:
    """The way to the platform on which bytes are counted."""
    found = CountingProxy(place[0].address)
    yield found
    found.close()


@pytest.fixture
def options(place: tuple[Server, str], proxy: CountingProxy) -> dict[str, str]:
    """storage_options of an account."""
    return {"api_key": place[0].key, "api_address": proxy.address}


@pytest.fixture
def here(place: tuple[Server, str]) -> str:
    return f"algorithmia://{place[1]}"


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_pandas_csv(options: dict[str, str], here: str, name: str) -> None:
    pandas = pytest.importorskip("pandas", reason="this is about pandas")
    table = pandas.DataFrame({"name": ["grün", "blau"] * 5000, "count": range(10_000)})
    table.to_csv(f"{here}/{name}", index=False, storage_options=options)
    assert pandas.read_csv(f"{here}/{name}", storage_options=options).equals(table)


@hosted_only
@pytest.mark.parametrize("name", ["kept.csv", "kept.csv.gz"])
def test_a_table_that_fails_to_be_written_replaces_nothing(options: dict[str, str], here: str, name: str) -> None:
    pandas = pytest.importorskip("pandas", reason="this is about pandas")

    class Unprintable:
        def __str__(self) -> str:
            raise ZeroDivisionError

    good = pandas.DataFrame({"a": [1]})
    good.to_csv(f"{here}/{name}", index=False, storage_options=options)
    bad = pandas.DataFrame({"a": [*range(300_000), Unprintable()]}, dtype=object)
    with pytest.raises(ZeroDivisionError):
        bad.to_csv(f"{here}/{name}", index=False, storage_options=options)
    assert pandas.read_csv(f"{here}/{name}", storage_options=options).equals(good)


@hosted_only
def test_a_parquet_file_that_fails_to_be_written_replaces_nothing(options: dict[str, str], here: str) -> None:
    arrow = pytest.importorskip("pyarrow", reason="this is about pyarrow")
    from pyarrow import parquet

    fs, path = fsspec.url_to_fs(f"{here}/kept.parquet", **options)
    good = arrow.table({"a": [1, 2, 3]})
    parquet.write_table(good, path, filesystem=fs)
    with pytest.raises(ZeroDivisionError), parquet.ParquetWriter(path, good.schema, filesystem=fs) as writer:
        writer.write_table(arrow.table({"a": [4]}))
        raise ZeroDivisionError
    assert parquet.read_table(path, filesystem=fs) == good


@pytest.fixture
def table(options: dict[str, str], here: str) -> tuple[str, int]:
    """The path and size of a parquet file of eight columns of noise, ten row groups each."""
    numpy = pytest.importorskip("numpy", reason="this needs numpy")
    arrow = pytest.importorskip("pyarrow", reason="this is about pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="this is about pyarrow")
    noise = numpy.random.default_rng(1)
    columns = {f"c{number}": noise.random(100_000) for number in range(8)}
    stored = io.BytesIO()
    parquet.write_table(arrow.table(columns), stored, row_group_size=10_000, use_dictionary=False)
    fs, path = fsspec.url_to_fs(f"{here}/table.parquet", **options)
    fs.pipe(path, stored.getvalue())
    return path, len(stored.getvalue())


def test_parquet_columns_cost_what_they_are(
    options: dict[str, str], here: str, table: tuple[str, int], proxy: CountingProxy
) -> None:
    from pyarrow import parquet

    fs, _ = fsspec.url_to_fs(here, **options)
    path, size = table
    before = proxy.received
    column = parquet.read_table(path, columns=["c3"], filesystem=fs)
    one = proxy.received - before
    assert column.num_rows == 100_000 and column.column_names == ["c3"]
    assert one < size / 5, (one, size)
    whole = parquet.read_table(path, filesystem=fs)
    assert whole["c3"] == column["c3"] and proxy.received - before - one < size * 1.1


def test_pandas_parquet(options: dict[str, str], here: str, table: tuple[str, int], proxy: CountingProxy) -> None:
    pandas = pytest.importorskip("pandas", reason="this is about pandas")
    before = proxy.received
    part = pandas.read_parquet(f"{here}/table.parquet", columns=["c0", "c7"], storage_options=options)
    assert part.shape == (100_000, 2) and proxy.received - before < table[1] / 2
    part.to_parquet(f"{here}/part.parquet", storage_options=options)
    assert pandas.read_parquet(f"{here}/part.parquet", storage_options=options).equals(part)


def test_a_dataset_of_many_files(options: dict[str, str], here: str) -> None:
    arrow = pytest.importorskip("pyarrow", reason="this is about pyarrow")
    from pyarrow import dataset, parquet

    fs, root = fsspec.url_to_fs(f"{here}/cities", **options)
    rows = arrow.table({"city": ["Rom", "Oslo", "Rom"], "count": [1, 2, 3]})
    parquet.write_to_dataset(rows, root, partition_cols=["city"], filesystem=fs)
    assert sorted(name.rsplit("/", 2)[-2] for name in fs.find(root)) == ["city=Oslo", "city=Rom"]
    read = dataset.dataset(root, filesystem=fs, partitioning="hive").to_table(filter=dataset.field("city") == "Rom")
    assert sorted(read["count"].to_pylist()) == [1, 3]


@hosted_only
def test_dask_reads_blocks_in_other_processes(
    place: tuple[Server, str], options: dict[str, str], here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dask = pytest.importorskip("dask", reason="this is about dask")
    from dask.bytes import read_bytes

    lines = b"".join(b"%d\n" % number for number in range(50_000))
    fs, path = fsspec.url_to_fs(f"{here}/lines.txt", **options)
    fs.pipe(path, lines)
    # What goes to the workers has no key in it; theirs is configured where they are.
    monkeypatch.setenv("ALGORITHMIA_API", options["api_address"])
    monkeypatch.setenv("ALGORITHMIA_API_KEY", options["api_key"])
    _, blocks = read_bytes(f"{here}/lines*", delimiter=b"\n", blocksize=40_000, **options)
    assert len(blocks[0]) > 5
    for scheduler in ("threads", "processes"):
        parts = dask.compute(*blocks[0], scheduler=scheduler, num_workers=2)
        assert b"".join(parts) == lines


@hosted_only
def test_arrays_in_chunks(options: dict[str, str], here: str, proxy: CountingProxy) -> None:
    """An array whose chunks are files, a part of it at a time."""
    zarr = pytest.importorskip("zarr", reason="this is about zarr")
    numpy = pytest.importorskip("numpy", reason="this needs numpy")
    data = numpy.random.default_rng(1).random((100, 1000))
    stored = zarr.create_array(f"{here}/array.zarr", data=data, chunks=(10, 1000), storage_options=options)
    assert stored.shape == data.shape
    before = proxy.received
    part = zarr.open_array(f"{here}/array.zarr", mode="r", storage_options=options)[35:38]
    assert (part == data[35:38]).all() and proxy.received - before < data.nbytes / 5


@pytest.fixture
def weather() -> Any:
    """Two variables over days and stations; all but what describes them is noise."""
    numpy = pytest.importorskip("numpy", reason="this needs numpy")
    xarray = pytest.importorskip("xarray", reason="this is about xarray")
    noise = numpy.random.default_rng(1)
    days, stations = numpy.arange(400), numpy.arange(1500)
    over = ("day", "station")
    variables = {name: (over, noise.random((400, 1500)), {"units": "K"}) for name in ("low", "high")}
    return xarray.Dataset(variables, {"day": days, "station": stations}, {"title": "grün"})


# Five of each.
CHUNKS = {name: {"chunks": (80, 1500)} for name in ("low", "high")}


@pytest.mark.parametrize(
    ("place", "consolidated"), [("data", True), ("data", False), ("s3", True)], indirect=["place"]
)
def test_xarray_zarr(
    options: dict[str, str], here: str, proxy: CountingProxy, weather: Any, consolidated: bool
) -> None:
    pytest.importorskip("zarr", reason="xarray reads and writes these by zarr")
    xarray = pytest.importorskip("xarray", reason="this is about xarray")
    # Format 2 has consolidated metadata in its specification; 3 reads what belongs to each array.
    url, kind = f"{here}/weather-{consolidated}.zarr", {"zarr_format": 2 if consolidated else 3}
    weather.to_zarr(url, encoding=CHUNKS, consolidated=consolidated, storage_options=options, **kind)
    before = proxy.received
    with xarray.open_zarr(url, consolidated=consolidated, storage_options=options) as found:
        assert found.attrs == weather.attrs and found["low"].attrs == {"units": "K"}
        days = found["high"].sel(day=slice(85, 110)).load()
        assert days.identical(weather["high"].sel(day=slice(85, 110)))
        # One chunk of one variable, and what describes all of it.
        assert proxy.received - before < weather.nbytes / 6
        assert found.load().identical(weather)
    more = weather.assign_coords(day=weather["day"] + 400)
    more.to_zarr(url, append_dim="day", consolidated=consolidated, storage_options=options, **kind)
    with xarray.open_zarr(url, consolidated=consolidated, storage_options=options) as found:
        assert found.sizes["day"] == 800 and found["low"][400:].load().identical(more["low"])


def test_xarray_netcdf(options: dict[str, str], here: str, proxy: CountingProxy, weather: Any, tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf", reason="xarray reads and writes these by h5netcdf")
    pytest.importorskip("h5py", reason="h5netcdf needs h5py")
    xarray = pytest.importorskip("xarray", reason="this is about xarray")
    fs, path = fsspec.url_to_fs(f"{here}/weather.nc", **options)
    encoding = {name: {"chunksizes": (80, 1500)} for name in CHUNKS}
    weather.to_netcdf(tmp_path / "weather.nc", engine="h5netcdf", encoding=encoding)
    fs.put_file(str(tmp_path / "weather.nc"), path)
    before = proxy.received
    with fs.open(path) as source, xarray.open_dataset(source, engine="h5netcdf") as found:
        assert found.attrs == weather.attrs
        days = found["high"].sel(day=slice(85, 110)).load()
        assert days.identical(weather["high"].sel(day=slice(85, 110)))
        assert proxy.received - before < weather.nbytes / 4
        assert found.load().identical(weather)


def test_whole_files_come_in_few_bytes_more(options: dict[str, str], here: str, proxy: CountingProxy) -> None:
    fs, path = fsspec.url_to_fs(f"{here}/large", **options)
    content = os.urandom(MIB) * 20
    fs.pipe(path, content)
    before = proxy.received
    with fs.open(path) as source:
        pieces = list(iter(lambda: source.read(100_000), b""))
    assert b"".join(pieces) == content and proxy.received - before < len(content) + 40_000


@hosted_only
def test_a_copy_in_the_local_cache(options: dict[str, str], here: str, tmp_path: Path) -> None:
    fs, path = fsspec.url_to_fs(f"{here}/cached", **options)
    for content in (b"first", b"second"):
        fs.pipe(path, content)
        with fsspec.open(
            f"filecache::{here}/cached",
            algorithmia=options,
            filecache={"cache_storage": str(tmp_path), "check_files": True},
        ) as source:
            assert source.read() == content


INSIDE = """
import json
import Algorithmia
from Algorithmia import ADK

def apply(input):
    fs = Algorithmia.client().fs()
    with fs.open(input["table"], "r") as source:
        total = sum(int(line.split(",")[1]) for line in source.readlines()[1:])
    middle = fs.cat_file(input["table"], 5, 10).decode()
    with fs.open(input["output"], "w") as target:
        json.dump({"total": total}, target)
    import fsspec
    with fsspec.open("algorithmia://data/.session/note", "w") as target:
        target.write("for this call")
    return {"total": total, "middle": middle, "note": fs.cat("data://.session/note").decode(),
            "root": fs.ls("data", detail=False)}

ADK(apply).init()
"""


def test_inside_an_algorithm(server: Server, tmp_path: Path, new_account: Any) -> None:
    """It reads and writes the caller's data, with what the call may do, and no key in sight."""
    require_index()
    author = Author(server, tmp_path)
    author.make()
    commit = author.succeeds(project(INSIDE, requirements="fsspec>=2024.12\n"))
    body = {"version_info": {"version_type": "minor"}, "settings": {"algorithm_callability": "public"}}
    version = author.send("POST", f"/v1/algorithms/{author.name}/Zoo/versions", json.dumps(body).encode())
    assert version["version_info"]["git_hash"] == commit
    for number in (1, 2):  # the same worker, for another account each time
        caller = new_account()
        fs = caller.client.fs()
        fs.mkdir("data/.my/c")
        fs.pipe("data/.my/c/t.csv", b"a,b\nx,%d\ny,2\n" % number)
        found = caller.client.algo(f"{author.name}/Zoo").pipe(
            {"table": "data://.my/c/t.csv", "output": "algorithmia://data/.my/c/sub/out.json"}
        )
        assert found.result == {
            "total": number + 2,
            "middle": f",{number}\ny,",
            "note": "for this call",
            "root": [f"data/{caller.name}"],
        }
        assert fs.cat("data/.my/c/sub/out.json") == b'{"total": %d}' % (number + 2)
