"""Sets that come with scikit-learn, and those of OpenML (Vanschoren et al., arXiv:1407.7722), which scikit-learn fetches."""

from __future__ import annotations

import re
import warnings

import pandas as pd

from influence.data.readers import refuse_large
from influence.data.readers.named import BUNDLED
from influence.errors import BadInput

NAME = re.compile(r"\w[\w.()-]{0,127}", re.ASCII)


def bundled(name: str) -> pd.DataFrame:
    """Return a set that is installed with scikit-learn; the column `target` holds the names of the classes, or numbers.

    Raises:
        BadInput: there is none of this name.
    """
    from sklearn import datasets

    if name not in BUNDLED:
        raise BadInput(
            f"scikit-learn brings no table {name[:80]!r}; it brings {', '.join(BUNDLED)}. Others may be had from OpenML: openml:NAME."
        )
    found = getattr(datasets, f"load_{name}")(as_frame=True)
    table: pd.DataFrame = found.frame
    names = list(map(str, found.get("target_names", ())))
    return table.assign(target=pd.Series(names, dtype="str").take(table["target"]).to_numpy()) if names else table


def fetched(name: str) -> pd.DataFrame:
    """Return OpenML's set of a name, the oldest active version, or of a number; its own target stands last.

    What comes is ARFF, which is read as text. It is kept in scikit-learn's folder (SCIKIT_LEARN_DATA), so that it comes once.

    Raises:
        BadInput: there is none, it is no dense table, or OpenML cannot be reached.
    """
    from sklearn.datasets import fetch_openml

    if not NAME.fullmatch(name):
        raise BadInput(f"{name[:80]!r} is no name of OpenML. Give it as openml:NAME, or openml:ID with the number of the data set.")
    which = {"data_id": int(name)} if name.isascii() and name.isdigit() else {"name": name}
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = fetch_openml(**which, as_frame=True, parser="pandas", n_retries=1, delay=0.2)
    except Exception as error:  # whatever the library and the network bring about
        told = " ".join(str(getattr(error, "reason", error)).split())[:160]
        raise BadInput(
            f"{name!r} could not be had from OpenML ({type(error).__name__}: {told}). Offline? Download it where there is a network, and "
            "give the file."
        ) from None
    table: pd.DataFrame = found.frame
    refuse_large(len(table), len(table.columns), f"openml:{name}")
    table.attrs["note"] = _note(found, [str(warning.message) for warning in said])
    return table


def _note(found: object, warned: list[str]) -> str:
    details = getattr(found, "details", {})
    number, version = details.get("id", "?"), details.get("version", "?")
    targets = ", ".join(map(str, getattr(found, "target_names", ()) or ()))
    note = f"From OpenML, data set {number}, version {version}" + (f"; its own target is {targets}." if targets else ".")
    several = any("Multiple active versions" in told for told in warned)
    flawed = any("problem with the dataset" in told or "raised a warning" in told for told in warned)
    note += f" There are other versions of this name: give openml:{number} to be sure of this one." if several else ""
    return note + (" OpenML warns that this set may be unusable." if flawed else "")
