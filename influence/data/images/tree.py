"""A tree of files, in a folder or an archive, as images: what both have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from influence.data.images.decode import NEEDED
from influence.data.images.found import Images, Read, ids_of
from influence.data.images.layout import above, common, is_image, laid_out
from influence.data.images.metadata import is_metadata, joined
from influence.errors import BadInput

SHOWN = 3


def images_of(
    kind: str,
    name: str,
    files: list[str],
    folders: Iterable[str],
    content: Callable[[str], bytes],
    opened: Callable[[list[str]], AbstractContextManager[Read]],
) -> Images:
    """Return the images of a tree.

    `files`, `folders`: all paths in it, relative, with /. `content` reads a file of metadata. `opened` opens the tree for these paths.

    Raises:
        BadInput: there is no image, or folders or metadata cannot be understood.
    """
    paths = sorted(path for path in files if is_image(path))
    if not paths:
        other = f"It holds {len(files):,} other files, such as {files[0]!r}." if files else "It holds no file."
        raise BadInput(f"{name!r} holds no image ({NEEDED}). {other} Give a folder for each class, with its images inside.")
    described = [path for path in files if is_metadata(path)]
    empty = set(folders) - {folder for path in paths for folder in above(path)}
    root = common([*paths, *described, *(f"{folder}/." for folder in empty)])
    bare = [path.removeprefix(root) for path in paths]
    table = laid_out(bare, [folder.removeprefix(root) for folder in empty], name)
    table = joined(table, {path.removeprefix(root): content(path) for path in described})
    others = [path for path in files if not is_image(path) and not is_metadata(path)]
    return Images(
        kind,
        name,
        table,
        ids_of(bare),
        lambda: opened(paths),
        label="label" if "label" in table else "",
        split="split" if "split" in table else "",
        task="auto" if described else "classes",
        remarks=_passed_over(others),
    )


def _passed_over(others: list[str]) -> tuple[str, ...]:
    if not others:
        return ()
    shown = ", ".join(others[:SHOWN]) + (", …" if len(others) > SHOWN else "")
    return (f"{len(others):,} other file{'s' if len(others) > 1 else ''} passed over: {shown}.",)
