"""The contract of ``Workspaces``."""

from __future__ import annotations

import contextlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import attrs
import pytest

from mlxknife.adapters.workspaces.workspaces import SENTINEL, LocalWorkspaces
from mlxknife.domain.errors import AccessDenied, ModelNotFound, StorageError, ValidationError
from mlxknife.ports.workspaces.workspaces import Workspaces
from tests.contracts.permissions import forbidden
from tests.fakes.workspaces import FakeWorkspaces


@attrs.frozen
class Scene:
    """The folders and files below one root; the workspace home is its folder ``home``."""

    folders: Mapping[str, frozenset[str]] = attrs.field(factory=dict)
    files: frozenset[str] = frozenset()
    origins: Mapping[str, str] = attrs.field(factory=dict)


def _folder(*names: str) -> frozenset[str]:
    return frozenset(names)


_MODELS = Scene(
    folders={
        "home/config": _folder("config.json"),
        "home/weights": _folder("model.safetensors"),
        "home/gguf": _folder("a.gguf", "README.md"),
        "home/notes": _folder("README.md"),
        "home/empty": _folder(),
        "home/.hidden": _folder("config.json"),
        "home/managed": _folder("README.md"),
        "elsewhere/model": _folder("config.json", "model.safetensors"),
        "elsewhere/nothing": _folder(),
    },
    files=_folder("home/file.safetensors", "elsewhere/config.json"),
    origins={"home/managed": "org/source", "elsewhere/model": "org/other"},
)


class Contract(ABC):
    @abstractmethod
    def opened(self, scene: Scene, place: Path) -> tuple[Workspaces, str]:
        """Return workspaces over these folders, and their root."""

    @abstractmethod
    def denying(self, workspaces: Workspaces, root: str, path: str) -> AbstractContextManager[None]:
        """Make a path unreadable."""

    def test_a_missing_home_has_no_workspaces(self, place: Path) -> None:
        workspaces, _ = self.opened(Scene(), place)
        assert workspaces.at_home() == ()

    def test_a_home_that_is_a_file_is_a_storage_error(self, place: Path) -> None:
        workspaces, _ = self.opened(Scene(files=_folder("home")), place)
        with pytest.raises(StorageError):
            workspaces.at_home()

    def test_a_home_that_may_not_be_read_is_denied(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        with self.denying(workspaces, root, "home"), pytest.raises(AccessDenied):
            workspaces.at_home()

    def test_folders_with_a_config_weights_or_our_sentinel_count(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        found = {workspace.folder: workspace for workspace in workspaces.at_home()}
        assert sorted(found) == ["config", "gguf", "managed", "weights"]
        assert {workspace.path for workspace in found.values()} == {f"{root}/home/{name}" for name in found}
        assert all(workspace.at_home for workspace in found.values())
        assert found["managed"].origin == "org/source"
        assert found["config"].origin is None

    def test_a_folder_that_may_not_be_read_is_listed(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        with self.denying(workspaces, root, "home/notes"):
            assert "notes" in {workspace.folder for workspace in workspaces.at_home()}

    def test_any_folder_can_be_named_whatever_it_holds(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        model = workspaces.at_path(f"{root}/elsewhere/model")
        assert (model.folder, model.path, model.at_home, model.origin) == (
            "model",
            f"{root}/elsewhere/model",
            False,
            "org/other",
        )
        assert workspaces.at_path(f"{root}/elsewhere/nothing/").path == f"{root}/elsewhere/nothing"

    def test_a_path_into_the_home_is_at_home(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        assert workspaces.at_path(f"{root}/elsewhere/../home/config") in workspaces.at_home()

    def test_a_tilde_is_the_home_of_the_user(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        assert workspaces.at_path("~/elsewhere/model") == workspaces.at_path(f"{root}/elsewhere/model")

    def test_a_relative_path_starts_at_the_working_directory(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        assert workspaces.at_path("./model").path == f"{root}/elsewhere/model"
        assert workspaces.at_path("../home/config").at_home

    def test_a_path_to_nothing_is_not_found(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        for path in (f"{root}/nothing", f"{root}/elsewhere/config.json/x", "./missing"):
            with pytest.raises(ModelNotFound):
                workspaces.at_path(path)

    def test_a_path_to_a_file_is_a_storage_error(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        with pytest.raises(StorageError):
            workspaces.at_path(f"{root}/elsewhere/config.json")

    def test_a_path_that_may_not_be_read_is_denied(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        with self.denying(workspaces, root, "elsewhere/model"), pytest.raises(AccessDenied):
            workspaces.at_path(f"{root}/elsewhere/model")

    @pytest.mark.parametrize("path", ["./a\0b", "./\ud800", "~\ud800/x", "/\0"])
    def test_an_invalid_path_is_refused(self, place: Path, path: str) -> None:
        workspaces, _ = self.opened(_MODELS, place)
        with pytest.raises(ValidationError):
            workspaces.at_path(path)

    def test_a_path_holds_a_model_when_it_has_a_config(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        assert workspaces.holds_model(f"{root}/elsewhere/model")
        assert workspaces.holds_model("model")
        assert not workspaces.holds_model(f"{root}/elsewhere/nothing")
        assert not workspaces.holds_model(f"{root}/elsewhere/config.json")
        assert not workspaces.holds_model(f"{root}/nothing")

    @pytest.mark.parametrize("path", ["a\0b", "\ud800", "x" * 5_000])
    def test_an_invalid_path_holds_no_model(self, place: Path, path: str) -> None:
        workspaces, _ = self.opened(_MODELS, place)
        assert not workspaces.holds_model(path)

    def test_a_path_that_may_not_be_read_holds_no_model(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        with self.denying(workspaces, root, "elsewhere/model"):
            assert not workspaces.holds_model(f"{root}/elsewhere/model")

    def test_the_size_of_a_workspace_is_that_of_its_files(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        one, two = (workspaces.size_bytes(f"{root}/home/{name}") for name in ("config", "gguf"))
        assert one > 0
        assert two == 2 * one
        assert workspaces.size_bytes(f"{root}/elsewhere/nothing") == 0
        assert workspaces.size_bytes(f"{root}/nothing") == 0

    def test_a_discarded_workspace_is_gone_and_the_others_stay(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        workspaces.discard(f"{root}/home/config")
        assert {workspace.folder for workspace in workspaces.at_home()} == {"gguf", "managed", "weights"}
        assert workspaces.size_bytes(f"{root}/home/config") == 0
        with pytest.raises(ModelNotFound):
            workspaces.at_path(f"{root}/home/config")

    def test_a_workspace_that_may_not_be_removed_is_denied_and_stays(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        before = workspaces.at_path(f"{root}/elsewhere/model")
        with self.denying(workspaces, root, "elsewhere"), pytest.raises(AccessDenied):
            workspaces.discard(f"{root}/elsewhere/model")
        assert workspaces.at_path(f"{root}/elsewhere/model") == before


class TestFake(Contract):
    def opened(self, scene: Scene, place: Path) -> tuple[Workspaces, str]:
        del place
        return FakeWorkspaces(
            home="/root/home",
            folders={f"/root/{path}": names for path, names in scene.folders.items()},
            files=frozenset(f"/root/{path}" for path in scene.files),
            origins={f"/root/{path}": origin for path, origin in scene.origins.items()},
            user_home="/root",
            current="/root/elsewhere",
        ), "/root"

    @contextmanager
    def denying(self, workspaces: Workspaces, root: str, path: str) -> Iterator[None]:
        assert isinstance(workspaces, FakeWorkspaces)
        below = (folder for folder in workspaces.folders if folder.startswith(f"{root}/{path}/"))
        workspaces.denied = frozenset({f"{root}/{path}", *below})
        yield
        workspaces.denied = frozenset()


class TestReal(Contract):
    @pytest.fixture(autouse=True)
    def _at_the_place(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (place / "elsewhere").mkdir()
        monkeypatch.setenv("HOME", str(place))
        monkeypatch.chdir(place / "elsewhere")

    def opened(self, scene: Scene, place: Path) -> tuple[Workspaces, str]:
        for path, names in scene.folders.items():
            (place / path).mkdir(parents=True, exist_ok=True)
            for name in names:
                (place / path / name).write_text("{}")
        for path in scene.files:
            (place / path).write_text("x")
        for path, origin in scene.origins.items():
            (place / path / SENTINEL).write_text(json.dumps({"source_repo": origin}))
        return LocalWorkspaces(str(place / "home")), str(place)

    def denying(self, workspaces: Workspaces, root: str, path: str) -> AbstractContextManager[None]:
        del workspaces
        return forbidden(Path(root, path))

    @pytest.mark.parametrize(
        "sentinel", [b"", b"[]", b"{", b"\xff", b'{"source_repo": 1}', b'{"source_repo": ""}', b"[" * 5_000]
    )
    def test_a_sentinel_that_cannot_be_decoded_still_marks_a_workspace(self, place: Path, sentinel: bytes) -> None:
        workspaces, _ = self.opened(Scene(folders={"home/odd": _folder(SENTINEL)}), place)
        (place / "home/odd" / SENTINEL).write_bytes(sentinel)
        assert [(found.folder, found.origin) for found in workspaces.at_home()] == [("odd", None)]

    def test_links_in_the_home_are_followed_and_loops_are_not_fatal(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        (place / "home/link").symlink_to("../elsewhere/model")
        (place / "home/gone").symlink_to("nowhere")
        (place / "home/loop").symlink_to("loop")
        found = {workspace.folder: workspace for workspace in workspaces.at_home()}
        assert sorted(found) == ["config", "gguf", "link", "managed", "weights"]
        assert found["link"].location.token == f"{root}/elsewhere/model"

    def test_a_link_into_a_folder_that_may_not_be_entered_is_not_fatal(self, place: Path) -> None:
        workspaces, _ = self.opened(_MODELS, place)
        (place / "home/link").symlink_to("../elsewhere/model")
        with forbidden(place / "elsewhere"):
            assert {"config", "weights"} <= {workspace.folder for workspace in workspaces.at_home()}

    def test_a_pipe_for_a_sentinel_does_not_block(self, place: Path) -> None:
        workspaces, _ = self.opened(Scene(folders={"home/odd": _folder("config.json")}), place)
        os.mkfifo(place / "home/odd" / SENTINEL)
        assert [found.origin for found in workspaces.at_home()] == [None]

    def test_discarding_a_link_keeps_its_target(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        (place / "home/link").symlink_to("../elsewhere/model")
        (place / "home/config/link").symlink_to(place / "elsewhere")
        for name in ("link", "config"):
            workspaces.discard(f"{root}/home/{name}")
        left = {".hidden", "empty", "file.safetensors", "gguf", "managed", "notes", "weights"}
        assert set(os.listdir(place / "home")) == left
        assert sorted(os.listdir(place / "elsewhere/model")) == [SENTINEL, "config.json", "model.safetensors"]

    def test_a_link_counts_its_own_size(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        (place / "elsewhere/large").write_bytes(bytes(10_000))
        (place / "home/config/link").symlink_to("../../elsewhere/large")
        (place / "home/config/folder").symlink_to("../../elsewhere")
        assert workspaces.size_bytes(f"{root}/home/config") < 100

    def test_a_workspace_that_vanished_is_a_storage_error(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        with pytest.raises(StorageError):
            workspaces.discard(f"{root}/home/vanished")

    def test_a_workspace_with_the_longest_name_is_removed(self, place: Path) -> None:
        workspaces, root = self.opened(Scene(folders={f"home/{'x' * 255}": _folder("config.json")}), place)
        workspaces.discard(f"{root}/home/{'x' * 255}")
        assert workspaces.at_home() == ()

    def test_a_workspace_that_is_not_removed_completely_stays_visible(self, place: Path) -> None:
        workspaces, root = self.opened(_MODELS, place)
        (place / "home").chmod(0o777)
        (place / "home/weights").chmod(0o777)
        (place / "home/weights/inner").mkdir(0o755)
        (place / "home/weights/inner/file").write_text("x")
        is_root = os.geteuid() == 0
        if not is_root:
            (place / "home/weights/inner").chmod(0o555)
        with contextlib.ExitStack() as stack:
            if is_root:
                os.seteuid(65534)
                stack.callback(os.seteuid, 0)
            with contextlib.suppress(StorageError):
                workspaces.discard(f"{root}/home/weights")
        left = {name for name in os.listdir(place / "home") if "weights" in name}
        assert left <= {"weights"}
