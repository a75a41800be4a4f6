"""What to add to one's own training program, so that Lethe can do more with the model: shown where something is not open, and tested."""

from __future__ import annotations

RECORDER = """import influence

# before the loop: ids name the training rows as the data does
recorder = influence.Recorder(model, optimizer, ids)

for epoch in range(epochs):
    for x, y, places in loader:  # places: which training rows these are, counted from 0
        with recorder.step(places):
            loss = torch.nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

# after it: probe is a few inputs, classes are the outputs' names in their order
recorder.save("my-model", probe=probe, classes=classes)
"""

DATA = """import influence

# x, y: what the model was trained and tested on; columns: a table with a row for each, for people and groups
influence.save_data("my-data", x, y, test, ids=ids, columns=columns, classes=classes, protected=["group"])
"""

CHECKPOINTS = """from safetensors.torch import save_file

# every few epochs, and at the end; --rates says the step size between them
save_file(model.state_dict(), f"checkpoints/{epoch:04d}.safetensors")
"""

PLACES = '''class Placed(torch.utils.data.Dataset):
    """Your training set, which also says which row each example is."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return *self.rows[i], i
'''

GRAPH = """import torch

any_number = ({0: torch.export.Dim("rows")},)
graph = torch.export.export(model.eval(), (x,), dynamic_shapes=any_number)
torch.export.save(graph, "model.pt2")
"""

TRAINER = """from influence.exchange.trainer import recording

recording(trainer, "my-model")  # trainer: your transformers.Trainer; ids=: of its training rows, numbered from 0 if there are none
trainer.train()
"""

LIGHTNING = '''import lightning


class Recording(lightning.Callback):
    """Records a training by Lightning; the last part of a batch says the places of its rows."""

    def on_train_start(self, trainer, module):
        self.recorder = influence.Recorder(module, trainer.optimizers[0], ids, max_norm=trainer.gradient_clip_val or 0)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.step = self.recorder.step(batch[-1])
        self.step.__enter__()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.step.__exit__(None, None, None)

    def on_train_end(self, trainer, module):
        self.recorder.save("my-model", probe=probe, classes=classes)
'''
