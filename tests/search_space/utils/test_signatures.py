from __future__ import annotations

import functools
from typing import Any

from search_space.utils.signatures import accepts, names_parameter, takes_nothing


class Has:
    def none(self) -> None: ...

    def one(self, spec: Any) -> None: ...

    def optional(self, spec: Any = None) -> None: ...

    def any(self, **more: Any) -> None: ...

    @functools.cache  # noqa: B019
    def wrapped(self) -> None: ...

    @staticmethod
    def static() -> None: ...


def test_a_method_is_told_by_its_parameters() -> None:
    has = Has()
    assert [takes_nothing(m) for m in (has.none, has.wrapped, has.static)] == [True] * 3
    assert [takes_nothing(m) for m in (has.one, has.optional, has.any, Has, None, 3)] == [False] * 6
    assert [accepts(m, None) for m in (has.one, has.optional, has.none, Has, len)] == [
        *(True, True, False, False, True)
    ]
    assert names_parameter(has.one, "spec")
    assert not names_parameter(has.any, "spec")
    assert not names_parameter(None, "spec")
