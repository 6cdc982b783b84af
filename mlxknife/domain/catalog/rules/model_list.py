"""The list of models that the catalog returns."""

from __future__ import annotations

from mlxknife.domain import reprs
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.text.rules import display


class ModelList(tuple[ModelInfo, ...]):
    """A tuple of models. A notebook shows it as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the number of models and the first names."""
        return reprs.call(self, count=len(self), names=tuple(model.name for model in self))

    def _repr_html_(self) -> str:
        """Return an HTML table for a notebook. Names and reasons come from outside, so they are escaped."""
        from mlxknife.domain.text.rules import html_table  # noqa: PLC0415 - only notebooks need it

        return html_table.table(
            ("Name", "Size", "Type", "Integrity", "Runs", "Reason"),
            [
                (
                    model.name,
                    display.size(model.size_bytes),
                    model.traits.model_type.value,
                    model.integrity.value,
                    "yes" if model.runtime_compatible else "no",
                    model.reason or "",
                )
                for model in self
            ],
        )
