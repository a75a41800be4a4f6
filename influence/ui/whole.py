"""Whole numbers in the tables of pages: thousands apart, as sentences have them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st


def shape(table: pd.DataFrame) -> dict[str, Any]:
    """Return how a table's columns of whole numbers are shown; they are counts, no years or ids."""
    return {str(name): st.column_config.NumberColumn(format="localized") for name in table.select_dtypes("integer")}
