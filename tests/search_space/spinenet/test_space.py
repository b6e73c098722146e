from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from search_space import (
    SPACES,
    Block,
    Genotype,
    NotInSpaceError,
    ScalePermutedSpace,
    SpaceError,
    SpineNetSpec,
    StemBlock,
    published_space,
    published_spec,
    spec_key,
)
from search_space.decisions import enumerate_genotypes
from search_space.spinenet.published import SPINENET_SPACES
from search_space.testing import check_space

STEM = (StemBlock(2), StemBlock(2))
SMALL_SPACES = [
    ScalePermutedSpace(STEM, (3,), (3, 4), level_shifts=(-1, 0, 1)),
    ScalePermutedSpace(STEM, (2, 4), (3,), level_shifts=(0, 1), kinds=("residual",)),
    ScalePermutedSpace(STEM, (3, 3, 4), (5,), parent_window=2, level_shifts=(-1, 0, 1)),
    ScalePermutedSpace(STEM, (6, 7), (4,), parent_window=3, level_shifts=(-1, 0, 1, 2)),
    ScalePermutedSpace(STEM, (3, 4), (3, 4), parent_window=None, kinds=("bottleneck", "residual")),
    ScalePermutedSpace((*STEM, StemBlock(3)), (), (3, 4, 5)),
    ScalePermutedSpace(
        (StemBlock(1, "mbconv"), StemBlock(2, "mbconv")), (1, 1), (3,), 2, (-1, 0), ("mbconv",)
    ),
]


@pytest.mark.parametrize("name", SPACES)
def test_ready_made_spaces_keep_the_contract(name: str) -> None:
    check_space(published_space(name), samples=100)


@pytest.mark.parametrize("space", SMALL_SPACES)
def test_sizes_are_those_of_enumeration(space: ScalePermutedSpace) -> None:
    genotypes = list(enumerate_genotypes(space.decisions))
    assert space.size == len(genotypes)
    assert space.num_specs == len({space.decode(g) for g in genotypes})
    check_space(space, samples=50)


@pytest.mark.parametrize("bases", [(1, 1, 2, 7), (2, 3, 3, 5, 6), (4, 4, 4, 4), (1, 7)])
@pytest.mark.parametrize("shifts", [(-1, 0, 1, 2), (1, 0), (-6, -5, -4, -3, -2, -1, 0), (-2, 1), (3, -3, 0)])
def test_specs_are_counted_as_their_levels_are(bases: tuple[int, ...], shifts: tuple[int, ...]) -> None:
    space = ScalePermutedSpace(STEM, bases, (3,), 2, shifts)
    sequences = {
        levels
        for order in set(itertools.permutations(bases))
        for levels in itertools.product(*([b + s for s in shifts if 1 <= b + s <= 7] for b in order))
    }
    pairs = math.comb(2 + len(bases), 2)  # The output has no window, and the others have a single pair.
    assert space.num_specs == len(sequences) * pairs


def test_specs_of_a_large_space_are_counted_or_said_to_be_unknown() -> None:
    """A set of the multisets of levels would have over a billion members."""
    bases = [1 + i % 7 for i in range(121)]
    free = ScalePermutedSpace(STEM, tuple(bases), (3,), 2, tuple(range(-6, 7)))
    assert free.num_specs == 7**121 * math.comb(123, 2)
    assert ScalePermutedSpace(STEM, tuple(bases), (3,), 2, (-3, 0, 3)).num_specs is None


@pytest.mark.parametrize(
    ("name", "log_size"),
    [("r35-sp18", 12.9), ("r23-sp30", 18.9), ("r14-sp39", 24.2), ("r0-sp53", 26.7), ("spinenet-49", 37.2)],
)
def test_sizes_of_the_papers_searches(name: str, log_size: float) -> None:
    assert round(math.log10(published_space(name).size), 1) == log_size


def test_sizes_follow_the_papers_formula() -> None:
    space = published_space("spinenet-49")
    intermediates = [math.comb(min(i, 5), 2) for i in range(2, 12)]
    outputs = [math.comb(i, 2) for i in range(12, 17)]
    connections = math.prod(intermediates) * math.prod(outputs)
    assert space.size == math.factorial(10) * math.factorial(5) * connections * 4**10 * 2**15
    fixed = published_space("r0-sp53")
    assert fixed.size == 435_456_000 * connections
    assert fixed.num_specs == 604_800 * connections


@pytest.mark.parametrize(
    ("spec_name", "space_names"),
    [
        ("spinenet-49", {"spinenet-49"}),
        ("r0-sp53", {"r0-sp53", "spinenet-49"}),
        ("mobile-spinenet-49", {"google-spinenet-mbconv"}),
    ],
)
def test_published_specs_are_in_their_spaces(spec_name: str, space_names: set[str]) -> None:
    spec = published_spec(spec_name)
    assert {name for name, space in SPACES.items() if space.contains(spec)} == space_names
    for name in space_names:
        space = published_space(name)
        assert space.decode(space.encode(spec)) == spec


def test_five_searches_have_the_allocations_of_table_1() -> None:
    block_counts = {
        name: (len(space.stem), len(space.base_levels) + 5)
        for name, space in SPINENET_SPACES.items()
        if not name.startswith("google")
    }
    assert block_counts == {
        "r35-sp18": (11, 6),
        "r23-sp30": (7, 10),
        "r14-sp39": (4, 13),
        "r0-sp53": (2, 15),
        "spinenet-49": (2, 15),
    }


@pytest.mark.parametrize("space", SPINENET_SPACES.values(), ids=SPINENET_SPACES)
def test_thousands_of_random_specs_stay_in_the_space(space: ScalePermutedSpace) -> None:
    rng = np.random.default_rng(0)
    genotypes = [space.sample(rng) for _ in range(600)]
    for a, b in itertools.pairwise(genotypes):
        spec = space.decode(a)
        assert spec_key(space.decode(space.encode(spec))) == spec_key(spec)
        assert space.decode(space.encode(spec)) == spec
        mutant, child = space.mutate(a, rng), space.crossover(a, b, rng)
        assert space.decode(mutant) != spec
        for genotype in (mutant, child):
            found = space.decode(genotype)
            assert space.contains(found)
            assert_in_space(space, found)


def assert_in_space(space: ScalePermutedSpace, spec: SpineNetSpec) -> None:
    """Membership stated once more, from the paper's rules."""
    n, first = len(space.base_levels), len(space.stem)
    assert spec.stem == space.stem
    assert len(spec.blocks) == n + len(space.output_levels)
    assert sorted(b.level for b in spec.blocks[n:]) == list(space.output_levels)
    assert all(b.output == (i >= n) and b.kind in space.kinds for i, b in enumerate(spec.blocks))
    for i, block in enumerate(spec.blocks[:n]):
        window = space.parent_window or 1000
        assert min(block.parents) >= first + i - window
    levels = sorted(b.level for b in spec.blocks[:n])
    shifts = space.level_shifts
    low = sorted(base + min(shifts) for base in space.base_levels)
    high = sorted(base + max(shifts) for base in space.base_levels)
    assert all(max(1, a) <= x <= min(7, b) for a, x, b in zip(low, levels, high, strict=True))


def test_encode_takes_the_nearest_base_levels_and_the_lowest_labels() -> None:
    space = ScalePermutedSpace(STEM, (2, 3, 3, 4, 6), (5,), level_shifts=(-1, 0, 1, 2))
    shifts = [number for number, decision in enumerate(space.decisions) if decision.name.endswith(" shift")]

    def distance(genotype: Genotype) -> int:
        return sum(abs(space.level_shifts[genotype[number]]) for number in shifts)

    rng = np.random.default_rng(0)
    for _ in range(20):
        spec = space.decode(space.sample(rng))
        levels = [block.level for block in spec.blocks[:5]]
        possible = [
            order
            for order in itertools.permutations(range(5))
            if all(x - space.base_levels[i] in space.level_shifts for x, i in zip(levels, order, strict=True))
        ]
        nearest = min(
            sum(abs(x - space.base_levels[i]) for x, i in zip(levels, order, strict=True))
            for order in possible
        )
        genotype = space.encode(spec)
        assert distance(genotype) == nearest
        labels = genotype[:5]
        assert labels.index(1) < labels.index(2)  # The two blocks of base level 3.


def test_no_level_is_shifted_where_none_needs_to_be() -> None:
    """However far apart the labels of the blocks are."""
    space = ScalePermutedSpace(STEM, (2, 2, 2, 2, 2, 3), (3,), parent_window=None, level_shifts=(-1, 0, 1))
    blocks = [Block(level, "bottleneck", (0, 1)) for level in (3, 2, 2, 2, 2, 2)]
    spec = SpineNetSpec(STEM, (*blocks, Block(3, "bottleneck", (0, 1), output=True)))
    answers = zip(space.decisions, space.encode(spec), strict=True)
    shifts = [answer for decision, answer in answers if decision.name.endswith(" shift")]
    assert shifts == [space.level_shifts.index(0)] * 6


def test_specs_of_another_family_are_in_no_space() -> None:
    nas_fpn, spinenet = published_spec("nas-fpn"), published_spec("spinenet-49")
    assert [name for name, space in SPACES.items() if space.contains(nas_fpn)] == ["nas-fpn"]
    for name, spec in (("spinenet-49", nas_fpn), ("nas-fpn", spinenet), ("r0-sp53", ("a", "label"))):
        with pytest.raises(NotInSpaceError, match=f"{type(spec).__name__} is none"):
            published_space(name).encode(spec)


def test_neighbors_of_a_member_are_members_and_new() -> None:
    space = published_space("spinenet-49")
    spec = published_spec("spinenet-49")
    genotype = space.encode(spec)
    neighbors = list(space.neighbors(genotype))
    assert len(neighbors) == len(set(neighbors)) > 500
    for neighbor in neighbors:
        found = space.decode(neighbor)
        assert found != spec
        assert_in_space(space, found)


def test_sampling_is_uniform_over_genotypes() -> None:
    rng = np.random.default_rng(1)
    few = ScalePermutedSpace(STEM, (3, 4), (3,), parent_window=2, level_shifts=(0, 1), kinds=("residual",))
    index = {g: i for i, g in enumerate(enumerate_genotypes(few.decisions))}
    counts = np.bincount([index[few.sample(rng)] for _ in range(40 * len(index))], minlength=len(index))
    assert chisquare(counts).pvalue > 1e-3
    # In a space too large to enumerate: every base block is as likely at every place.
    space = published_space("spinenet-49")
    drawn = np.array([space.sample(rng) for _ in range(20_000)])
    for place in range(10):
        assert chisquare(np.bincount(drawn[:, place], minlength=10)).pvalue > 1e-4
    for i, decision in enumerate(space.decisions):
        assert chisquare(np.bincount(drawn[:, i], minlength=len(decision.labels))).pvalue > 1e-5


def test_shifts_out_of_range_are_masked() -> None:
    space = SMALL_SPACES[3]
    specs = {space.decode(g) for g in enumerate_genotypes(space.decisions)}
    assert {b.level for s in specs for b in s.blocks if not b.output} == {5, 6, 7}


def not_in(space: ScalePermutedSpace, spec: SpineNetSpec) -> str:
    assert not space.contains(spec)
    with pytest.raises(NotInSpaceError) as raised:
        space.encode(spec)
    return str(raised.value)


def test_specs_outside_are_refused_with_the_reason() -> None:
    spec, space = published_spec("spinenet-49"), published_space("spinenet-49")
    blocks = list(spec.blocks)
    assert "stem" in not_in(space, published_spec("mobile-spinenet-49"))
    assert "14 permuted blocks" in not_in(space, SpineNetSpec(spec.stem, spec.blocks[:-1]))
    assert "block 3: kind residual" in not_in(published_space("r0-sp53"), spec)
    far = [*blocks[:6], Block(5, "residual", (0, 7)), *blocks[7:]]
    assert "block 8: parents [0, 7] are not both in 3..7" in not_in(
        space, SpineNetSpec(spec.stem, tuple(far))
    )
    all_fine = [*(Block(7, b.kind, b.parents) for b in blocks[:10]), *blocks[10:]]
    assert "cannot be reached" in not_in(space, SpineNetSpec(spec.stem, tuple(all_fine)))
    early = [
        *blocks[:9],
        Block(4, "bottleneck", (8, 10), output=True),
        Block(4, "bottleneck", (5, 10)),
        *blocks[11:],
    ]
    assert "block 11: must be an intermediate" in not_in(space, SpineNetSpec(spec.stem, tuple(early)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"base_levels": (2, 9)}, r"base_levels must be a list, every item a whole number .*not \(2, 9\)"),
        ({"output_levels": (3, 3)}, "output_levels"),
        ({"output_levels": ()}, "output_levels"),
        ({"parent_window": 1}, "parent_window"),
        ({"level_shifts": ()}, "level_shifts"),
        ({"level_shifts": (1, 1)}, "level_shifts must be a list of at least one item, all different"),
        ({"level_shifts": (0.5,)}, "level_shifts must be a list, every item a whole number"),
        ({"level_shifts": (5,), "base_levels": (4,)}, "none keeps a block of base level 4"),
        ({"kinds": ("conv",)}, "kinds"),
        ({"kinds": ("mbconv",)}, "mbconv cannot be mixed"),
        ({"base_levels": (3,) * 200}, "more than 128"),
    ],
)
def test_impossible_spaces_are_refused(changes: dict[str, object], expected: str) -> None:
    fields = {"stem": STEM, "base_levels": (2, 3), **changes}
    with pytest.raises(SpaceError, match=expected):
        ScalePermutedSpace(**fields)  # type: ignore[arg-type]


def test_a_stem_that_cannot_start_a_network_is_refused() -> None:
    with pytest.raises(SpaceError, match="stem"):
        ScalePermutedSpace((StemBlock(5), StemBlock(2)), (3,))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 7), max_size=6),
    st.sets(st.integers(2, 7), min_size=1, max_size=5),
    st.sampled_from([None, 2, 3, 5]),
    st.sets(st.integers(-2, 2), min_size=1, max_size=4),
    st.integers(0, 10_000),
)
def test_any_allocation_makes_a_space_that_keeps_its_promises(
    bases: list[int], outputs: set[int], window: int | None, shifts: set[int], seed: int
) -> None:
    try:
        space = ScalePermutedSpace(
            STEM, tuple(bases), tuple(outputs), window, tuple(sorted(shifts)), ("bottleneck", "residual")
        )
    except SpaceError as error:
        assert "none keeps" in str(error)
        return
    check_space(space, samples=5, seed=seed, fresh_interpreter=False)


def test_spaces_are_values() -> None:
    again = ScalePermutedSpace(STEM, (5, 4, 4, 4, 4, 4, 3, 3, 3, 2))
    assert again == published_space("r0-sp53")
    assert hash(again) == hash(published_space("R0-SP53"))
    with pytest.raises(SpaceError, match="did you mean spinenet-49"):
        published_space("spinenet49")


def test_a_space_has_at_most_128_blocks() -> None:
    stem = (StemBlock(2), StemBlock(2))
    space = ScalePermutedSpace(stem, (3,) * 125, (3,))
    assert len(space.decode(space.sample(np.random.default_rng(0))).features) == 128
    with pytest.raises(SpaceError, match="more than 128 blocks"):
        ScalePermutedSpace(stem, (3,) * 126, (3,))
