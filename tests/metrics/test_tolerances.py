from kidney_lab.labels import OFFICIAL_REGIONS, REGIONS
from kidney_lab.metrics.tolerances import TOLERANCES_MM


def test_official_tolerances_are_those_of_the_challenges():
    assert [TOLERANCES_MM[region] for region in OFFICIAL_REGIONS] == [
        1.0330772532390826,
        1.1328796488598762,
        1.1498198361434828,
    ]
    assert set(TOLERANCES_MM) == set(REGIONS)
