"""Reads what an offline run of W&B keeps: a `.wandb` file is a LevelDB log of protocol buffers.

Format: https://github.com/google/leveldb/blob/main/doc/log_format.md after a header of 7 bytes (":W&B", a magic number
and a version). Blocks of 32 KiB hold chunks: checksum (4 bytes), length (2), kind (1; 1 whole, 2 first, 3 middle, 4
last part of a record), data; a rest of a block that holds no chunk's header is padding.
"""

import json
from pathlib import Path
from types import SimpleNamespace

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEAD = 32768, 7


def read_records(file: Path) -> list[Record]:
    """Records of a file in their order."""
    data = file.read_bytes()
    assert data[:4] == b":W&B"
    records, parts, place = [], b"", HEAD
    while place + HEAD <= len(data):
        if BLOCK - place % BLOCK < HEAD:
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if kind == 0:
            break
        parts += data[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if kind in (1, 4):
            records.append(Record.FromString(parts))
            parts = b""
    return records


def read_offline_run(folder: Path) -> SimpleNamespace:
    """What an offline run's folder says of the run: who it is, its configuration, all that it logged, how it ended."""
    (file,) = folder.glob("*.wandb")
    found = SimpleNamespace(run=None, config={}, metrics={}, history=[], summary={}, artifacts=[], exit_code=None)
    for record in read_records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            found.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "config":
            found.config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "metric":
            found.metrics[record.metric.name or record.metric.glob_name] = record.metric
        elif kind == "history":
            found.history.append(
                {
                    "/".join([item.key, *item.nested_key]).strip("/"): json.loads(item.value_json)
                    for item in record.history.item
                }
            )
        elif kind == "summary":
            found.summary |= {
                ".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.summary.update
            }
        elif kind == "artifact":
            found.artifacts.append(record.artifact)
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found
