import os
import pickle

import pytest
import torch
from torch import nn

from modalxai import ModalxaiError, storage
from modalxai.errors import CheckpointError, InputError, each
from modalxai.paths import possible


def test_tensors_and_json_come_back(tmp_path):
    shared = torch.arange(4.0)
    storage.write_tensors(tmp_path / "sub" / "a.safetensors", {"x": shared, "y": shared[::2]})
    storage.write_json(tmp_path / "a.json", {"name": "참 잘했다"})
    read = storage.read_tensors(tmp_path / "sub" / "a.safetensors")
    assert torch.equal(read["y"], torch.tensor([0.0, 2.0]))
    assert storage.read_json(tmp_path / "a.json") == {"name": "참 잘했다"}


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.json"
    storage.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        storage.write_json(path, {"a": object()})
    assert storage.read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


class _Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


def test_a_pickle_where_safetensors_belong_is_named_and_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(CheckpointError, match=r"pickle.*pytorch_model.bin") as error:
        storage.read_tensors(tmp_path / "model.safetensors")
    assert "safetensors" in error.value.mend
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(CheckpointError, match="cannot be read"):
        storage.read_tensors(tmp_path / "model.safetensors")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[1]"])
def test_broken_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.json"):
        storage.read_json(tmp_path / "a.json")


def test_missing_files_say_what_is_there(tmp_path):
    (tmp_path / "other.txt").write_text("")
    with pytest.raises(CheckpointError, match=r"other\.txt"):
        storage.read_json(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="no folder"):
        storage.read_tensors(tmp_path / "none" / "model.safetensors")


def test_a_folder_that_may_not_be_read_is_not_said_to_be_missing(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError("not you")

    monkeypatch.setattr(storage.Path, "is_file", forbidden)
    monkeypatch.setattr(storage.Path, "iterdir", forbidden)
    with pytest.raises(CheckpointError) as error:
        storage.read_json(tmp_path / "config.json")
    assert "may not be read" in error.value.got


@pytest.mark.parametrize("path", [1, b"here", ["here"], None, "a\0b", "x" * 5000])
def test_what_is_no_path_is_refused_by_name(path):
    with pytest.raises(InputError, match="is no path"):
        possible(path)


def test_loading_is_strict_and_names_every_difference():
    module = nn.Linear(2, 3)
    with pytest.raises(CheckpointError, match=r"bias missing; extra left over; weight is \[1, 2\]"):
        storage.load_weights(module, {"weight": torch.ones(1, 2), "extra": torch.ones(1)}, "m")


def test_errors_say_all_four_things_and_cross_processes():
    error = InputError("a", expected="b", got="c", mend="d", index=3)
    again = pickle.loads(pickle.dumps(error.at("sample 'u1'")))
    assert str(again) == "sample 'u1': a\n  expected: b\n  got: c\n  mend: d"
    assert isinstance(again, ModalxaiError)
    assert isinstance(again, ValueError)


def test_each_marks_the_row_and_skips_the_missing():
    def convert(raw):
        if raw == 2:
            raise InputError("a", expected="b", got="c", mend="d")
        return raw * 10

    assert each([1, None], convert) == [10, None]
    with pytest.raises(InputError) as error:
        each([None, 1, 2], convert)
    assert error.value.index == 2
