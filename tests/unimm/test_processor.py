import pytest
import torch
from PIL import Image

from unimm.errors import BadInput
from unimm.star.processor import (
    SpecialIds,
    Template,
    at_least_min_side,
    guidance_rows,
    insert_source,
    insertion_index,
    rope_positions,
    vision_patches,
    vision_size,
    vq_pixels,
)

IDS = SpecialIds()
T = Template()


def test_an_unconditional_row_keeps_its_ends_only():
    cond, uncond = guidance_rows(T.drawing_row([11, 12, 13]), IDS).tolist()
    assert len(cond) == len(uncond) == 14 + 3 + 5 + 1
    assert uncond == [IDS.im_start, *[IDS.fim_pad] * 18, *cond[-4:]]
    assert cond[14:17] == [11, 12, 13]


def test_reasoning_replaces_the_words_and_falls_back_to_them():
    assert T.reasoning_row([1, 2], [3], words=[9]) == T.drawing_row([1, 2, 3])
    assert T.reasoning_row([], [3], words=[9]) == T.drawing_row([9])


def test_the_source_goes_after_the_user_header_of_both_rows():
    rows = guidance_rows(T.drawing_row([11, 12]), IDS)
    at = insertion_index(rows[0].tolist(), T.head[-3:])
    edit = insert_source(rows, at, 4, 6, IDS)
    assert at == 14
    for row in edit.ids.tolist():
        assert row[14:29] == [
            IDS.vision_start, *[IDS.vision_pad] * 4, IDS.vision_end, IDS.vision_start, *[IDS.image_pad] * 6, IDS.vision_end, IDS.newline
        ]  # fmt: skip
        assert set(row[edit.vq]) == {IDS.vision_pad} and set(row[edit.vit]) == {IDS.image_pad}
    assert edit.ids[0, 29:].tolist() == rows[0, 14:].tolist()
    assert edit.with_drawn(3, IDS)[-4:] == [IDS.vision_start, *[IDS.vision_pad] * 3]
    with pytest.raises(BadInput, match="no user turn"):
        insertion_index([1, 2, 3], T.head[-3:])


def test_positions_after_a_picture_go_on_behind_its_longer_side():
    row = [5, IDS.vision_start, *[IDS.image_pad] * 6, IDS.vision_end, 5]
    positions, offset = rope_positions(row, [(1, 4, 6)], IDS)
    assert positions[:, 2:8].tolist() == [[2] * 6, [2, 2, 2, 3, 3, 3], [2, 3, 4, 2, 3, 4]]
    assert positions[:, 8:].tolist() == [[5, 6]] * 3
    assert offset == 7 - len(row)


def test_vq_tokens_count_on_in_one_line():
    row = [IDS.vision_start, *[IDS.vision_pad] * 3, IDS.vision_end]
    assert rope_positions(row, [], IDS)[0].tolist() == [[0, 1, 2, 3, 4]] * 3


@pytest.mark.parametrize("grids", [[], [(1, 4, 6), (1, 4, 6)], [(1, 8, 6)]])
def test_grids_that_do_not_match_the_row_are_refused(grids):
    with pytest.raises(BadInput):
        rope_positions([IDS.vision_start, *[IDS.image_pad] * 6, IDS.vision_end], grids, IDS)


def test_small_pictures_are_scaled_up_and_large_ones_left_alone():
    assert at_least_min_side(Image.new("RGB", (10, 40))).size == (28, 112)
    large = Image.new("RGB", (30, 28))
    assert at_least_min_side(large) is large


def test_vq_pixels_squash_to_a_square_between_minus_one_and_one():
    out = vq_pixels(Image.new("RGB", (50, 20), (255, 0, 51)), 16)
    assert out.shape == (3, 16, 16)
    assert torch.allclose(out[:, 3, 5], torch.tensor([1.0, -1.0, -0.6]))


def test_vision_sizes_stay_within_the_limits():
    assert vision_size(100, 60, 28, 3136, 50176) == (112, 56)
    assert vision_size(28, 28, 28, 3136, 50176) == (56, 56)
    height, width = vision_size(3000, 500, 28, 3136, 50176)
    assert height * width <= 50176 and height % 28 == width % 28 == 0
    with pytest.raises(BadInput, match="200 times"):
        vision_size(4000, 10, 28, 3136, 50176)


def test_vision_patches_come_in_groups_that_merge():
    picture = Image.new("RGB", (56, 56), (0, 0, 0))
    picture.paste((255, 255, 255), (28, 0, 42, 14))
    patches, grid = vision_patches(picture, 3136, 50176)
    assert grid == (1, 4, 4) and patches.shape == (16, 3 * 2 * 14 * 14)
    # The white patch is row 0, column 2: the first of the second group of 2 x 2.
    assert patches.mean(1).argmax() == 4
    assert patches[4].view(3, 2, 14, 14)[:, 0].equal(patches[4].view(3, 2, 14, 14)[:, 1])
