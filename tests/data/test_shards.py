import pytest

from kidney_lab.data.shards import parse_shard, take_shard
from kidney_lab.errors import InputError


@pytest.mark.parametrize("n", [1, 2, 3, 8, 20])
def test_all_shards_together_hold_every_item_once(n):
    items = list(range(10))

    shards = [take_shard(items, f"{k}/{n}") for k in range(1, n + 1)]

    assert sorted(item for shard in shards for item in shard) == items
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_no_shard_is_the_whole():
    assert take_shard([3, 1, 2], None) == [3, 1, 2]
    assert parse_shard(None) == (1, 1)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2", 2])
def test_what_is_no_shard_is_refused(shard):
    with pytest.raises(InputError, match=r"give k/n, k from 1 to n"):
        parse_shard(shard)
