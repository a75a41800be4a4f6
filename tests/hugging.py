"""Folders of Hugging Face made here: a tiny BERT with a tokenizer, and a server that stands in for the hub."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import torch

LABELS = {"grim": "a dull and dreadful film", "kind": "a warm and lovely film"}


def rows(n: int = 60, seed: int = 0) -> pd.DataFrame:
    """Texts with a label that their words tell, one empty and one longer than models here read."""
    rng = np.random.default_rng(seed)
    label = rng.choice(list(LABELS), n)
    text = [f"{LABELS[name]}, seen {rng.choice(['once', 'twice', 'again'])}" for name in label]
    text[3], text[4] = "", "a film " * 40
    return pd.DataFrame({"text": text, "label": label, "group": rng.choice(["a", "b"], n)})


def tokenizer(texts: list[str], length: int) -> Any:
    """A WordPiece tokenizer trained on these texts."""
    import tokenizers
    import transformers
    from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False))
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=length
    )


def bert(words: int, names: Mapping[int, str], length: int = 24, **given: Any) -> Any:
    """A BERT of 2 layers and width 32, with weights of a seed."""
    import transformers

    torch.manual_seed(0)
    told = transformers.BertConfig(
        vocab_size=words, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=length,
        initializer_range=0.2, id2label=dict(names), label2id={name: place for place, name in names.items()}, **given,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(told)


def write(folder: Path) -> Path:
    """Write `bert` and `rows.parquet`."""
    table = rows()
    table.to_parquet(folder / "rows.parquet")
    reader = tokenizer(table["text"].tolist(), 24)
    bert(len(reader), dict(enumerate(LABELS))).save_pretrained(folder / "bert")
    reader.save_pretrained(folder / "bert")
    return folder


CONVERTED = "refs%2Fconvert%2Fparquet"


def _said(path: str, files: Mapping[str, bytes], repo: str, converted: bool) -> tuple[bytes, dict[str, str]] | None:
    """What the hub says of a repository at a path; None: nothing."""
    commit, (path, _, _) = "c" * 40, path.partition("?")
    if path.startswith(f"/api/{repo}/revision/{CONVERTED}") and not converted:
        return None
    if path.startswith(f"/api/{repo}/tree/"):
        return json.dumps([{"type": "file", "path": f, "size": len(b), "oid": "0" * 40} for f, b in files.items()]).encode(), {}
    if path.startswith(f"/api/{repo}"):
        told = {"sha": commit, "id": repo.partition("/")[2], "siblings": [{"rfilename": f, "size": len(b)} for f, b in files.items()]}
        return json.dumps(told).encode(), {}
    name = unquote(path.rpartition(f"/{repo.removeprefix('models/')}/resolve/{commit}/")[2])
    if name in files:
        return files[name], {"X-Repo-Commit": commit, "ETag": hashlib.sha1(files[name]).hexdigest()}
    return None


@contextmanager
def stand_in(
    folder: Path, more: Mapping[str, bytes], repo: str = "models/someone/tiny", converted: bool = False
) -> Iterator[tuple[str, list[str]]]:
    """A server with one repository, of which the hub made a branch of Parquet or not; yields its address and the paths it is asked for."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} | dict(more)
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            said = _said(self.path, files, repo, converted)
            self.send_response(200 if said else 404)
            body, headers = said or (b"", {"X-Error-Code": "RevisionNotFound"} if CONVERTED in self.path else {})
            for key, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
