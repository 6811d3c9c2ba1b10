import pickle

import pytest

from geosynth import errors
from geosynth.errors import GeosynthError, OutputError, SceneError


def test_a_message_names_file_fault_and_remedy() -> None:
    error = SceneError("is\n cut off", where="a.tif", remedy="copy it again")
    assert str(error) == "a.tif: is cut off — copy it again"


def test_errors_inherit_the_builtin_a_caller_expects() -> None:
    with pytest.raises(FileExistsError):
        raise OutputError("is there")
    with pytest.raises(OSError):
        raise SceneError("is cut off")


@pytest.mark.parametrize("kind", [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)])
def test_errors_cross_process_borders_whole(kind: type[GeosynthError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("what", where="where", remedy="remedy")))
    assert type(copy) is kind
    assert (copy.what, copy.where, copy.remedy) == ("what", "where", "remedy")
