import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from thresher.data import open_data
from thresher.data.encoded import ImageCells
from thresher.data.images import decode_images
from thresher.errors import DataError, LabelError

RED = np.full((6, 4, 3), [200, 30, 30], np.uint8)


def encode(pixels, format="PNG", **settings):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, format, **settings)
    return buffer.getvalue()


def column(*cells):
    return ImageCells(pa.chunked_array([pa.array(cells, pa.large_binary())]))


def table(cells, **columns):
    labels = [f"c{row % 2}" for row in range(len(cells))]
    return pa.table({"image": pa.array(cells, pa.binary()), "label": labels, **columns})


def noise(seed, height=6, width=4):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_lossless_images_come_back_pixel_by_pixel():
    pixels = [noise(seed) for seed in range(5)]
    decoded = decode_images(column(*map(encode, pixels)))
    np.testing.assert_array_equal(np.stack(pixels), decoded.images)
    assert [0, 1, 2, 3, 4] == decoded.rows.tolist()
    assert () == decoded.notes


def test_threads_decode_large_images_in_order():
    pixels = [noise(seed, 130, 128) for seed in range(300)]
    decoded = decode_images(column(*map(encode, pixels)))
    np.testing.assert_array_equal(np.stack(pixels), decoded.images)


def test_all_grey_images_have_one_channel():
    grey = noise(0)[..., 0]
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    decoded = decode_images(column(encode(grey), encode(sixteen), encode(grey > 127)))
    assert (3, 6, 4, 1) == decoded.images.shape
    np.testing.assert_array_equal(grey, decoded.images[0, ..., 0])
    np.testing.assert_array_equal(grey, decoded.images[1, ..., 0])
    np.testing.assert_array_equal(np.where(grey > 127, 255, 0), decoded.images[2, ..., 0])


def test_one_colour_image_makes_all_rgb():
    grey = noise(0)[..., 0]
    decoded = decode_images(column(encode(grey), encode(RED)))
    np.testing.assert_array_equal(np.repeat(grey[..., None], 3, axis=2), decoded.images[0])
    assert any("1 image of 2 turned from grey to RGB" in note for note in decoded.notes)


@pytest.mark.parametrize(
    ("mode", "format"), [("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "TIFF"), ("RGB", "WEBP")]
)
def test_every_colour_mode_becomes_rgb(mode, format):
    settings = {"lossless": True} if format == "WEBP" else {}
    image = Image.fromarray(RED)
    image = image.quantize() if mode == "P" else image.convert(mode)
    decoded = decode_images(column(encode(image, format=format, **settings)))
    np.testing.assert_array_equal(RED, decoded.images[0])


def test_transparency_is_laid_over_white():
    clear = np.dstack([RED, np.zeros((6, 4), np.uint8)])
    grey_alpha = Image.new("LA", (4, 6), (0, 0))
    decoded = decode_images(column(encode(clear), encode(grey_alpha)))
    assert np.all(decoded.images == 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["TIFF", "PNG"])
def test_exif_orientation_is_applied(orientation, format):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(noise(1), format=format, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    decoded = decode_images(column(data))
    assert (1, *((4, 6) if orientation >= 5 else (6, 4)), 3) == decoded.images.shape
    np.testing.assert_array_equal(expected, decoded.images[0])


def test_other_sizes_are_resized_to_the_most_common_one_aloud():
    small, large = encode(RED), encode(np.repeat(np.repeat(RED, 3, axis=0), 3, axis=1))
    decoded = decode_images(column(large, small, small))
    np.testing.assert_array_equal(np.stack([RED] * 3), decoded.images)
    (note,) = decoded.notes
    assert "1 image of 3 resized to 4 x 6 pixels" in note


def test_test_images_take_size_and_channels_of_training():
    samples = open_data(table([encode(RED)] * 4))
    tested = open_data(
        table([encode(noise(0, 9, 9)[..., 0])] * 3),
        encoding=samples.encoding,
        classes=samples.classes,
    )
    assert (3, 6, 4, 3) == tested.inputs.shape
    assert any("resized" in note for note in tested.notes)


def test_a_broken_image_is_set_aside_with_its_error():
    cells = [encode(noise(seed)) for seed in range(12)]
    cells[3] = encode(noise(3, 60, 60))[:2000]  # header whole, pixels cut short
    cells = [*cells, *map(encode, map(noise, range(12, 22)))]
    cells[20] = b"rubbish"
    samples = open_data(table(cells, path=[f"{row}.png" for row in range(22)]))
    good = [row for row in range(22) if row not in (3, 20)]
    assert [3, 20] == samples.skipped["row"].to_pylist()
    assert ["3.png", "20.png"] == samples.skipped["path"].to_pylist()
    assert ["3.png", "20.png"] == samples.skipped["sample_id"].to_pylist()
    assert "not an image" in samples.skipped["error"][1].as_py()
    assert [f"{row}.png" for row in good] == samples.sample_id.to_pylist()
    np.testing.assert_array_equal(np.stack([noise(row) for row in good]), samples.inputs)
    assert [row % 2 for row in good] == samples.labels.tolist()
    assert ["row", "sample_id", "path", "error"] == samples.skipped.column_names


def test_a_missing_image_is_set_aside():
    samples = open_data(table([*[encode(RED)] * 10, None]))
    assert ["no image"] == samples.skipped["error"].to_pylist()


def test_a_broken_exif_block_does_not_break_the_image():
    data = encode(RED, format="PNG", exif=b"Exif\x00\x00broken")
    assert (1, 6, 4, 3) == decode_images(column(data)).images.shape


def test_more_than_a_tenth_of_broken_images_is_fatal():
    nine = [encode(RED)] * 9
    assert 9 == len(open_data(table([*nine, b"rubbish"])))
    with pytest.raises(DataError, match=r"2 images of 11 cannot be decoded.*row 0 .*not an image"):
        open_data(table([b"rubbish", *nine, b"rubbish"]))


@pytest.mark.parametrize("factor", [1.5, 3])  # Pillow warns above the limit, refuses twice it
def test_decompression_bombs_are_set_aside(monkeypatch, factor):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    bomb = np.zeros((10, int(10 * factor)), np.uint8)
    samples = open_data(table([*[encode(RED)] * 10, encode(bomb)]))
    assert [10] == samples.skipped["row"].to_pylist()
    assert "decompression bomb" in samples.skipped["error"][0].as_py()


def test_labels_are_checked_again_once_broken_images_are_gone():
    cells = [encode(noise(seed)) for seed in range(20)]
    cells[1] = b"rubbish"
    images = table(cells)
    labels = ["a", "b", "b"] + ["a"] * 17
    with pytest.raises(LabelError, match='class "b" has one sample only'):
        open_data(images.set_column(1, "label", pa.array(labels)))


def test_structures_of_bytes_and_path_are_images():
    cells = [{"bytes": encode(noise(seed)), "path": f"{seed}.png"} for seed in range(4)]
    samples = open_data(pa.table({"picture": cells, "label": list("abab")}))
    assert [f"{seed}.png" for seed in range(4)] == samples.paths.to_pylist()
    assert samples.paths == samples.sample_id
    assert "picture" == samples.encoding.image


def test_paths_that_repeat_are_no_ids():
    cells = [encode(noise(seed)) for seed in range(4)]
    samples = open_data(table(cells, file_name=["a", "a", "b", "c"]))
    assert ["a", "a", "b", "c"] == samples.paths.to_pylist()
    assert all(len(name) == 16 for name in samples.sample_id.to_pylist())


def test_image_ids_survive_new_orders_and_corrected_labels():
    images = table([encode(noise(seed)) for seed in range(6)])
    order = pa.array([3, 1, 5, 0, 2, 4])
    samples = open_data(images)
    moved = open_data(images.take(order))
    assert samples.sample_id.take(order) == moved.sample_id
    corrected = images.set_column(1, "label", pa.array(list("bbabab")))
    assert samples.sample_id == open_data(corrected).sample_id


def test_the_only_column_of_bytes_is_taken_aloud_and_others_are_named():
    samples = open_data(table([encode(RED)] * 4, weight=[1, 2, 3, 4]))
    assert any('images are taken from column "image"' in note for note in samples.notes)
    assert any('Not used, as the samples are images: "weight"' in note for note in samples.notes)


def test_two_columns_of_bytes_are_not_guessed():
    cells = [encode(RED)] * 4
    with pytest.raises(DataError, match='"image", "mask" hold bytes'):
        open_data(table(cells, mask=pa.array(cells)))
    samples = open_data(table(cells, mask=pa.array(cells)), image="mask")
    assert "mask" == samples.encoding.image
    tested = table([b"rubbish"] * 4, mask=pa.array(cells))
    again = open_data(tested, encoding=samples.encoding, classes=samples.classes)
    assert samples.fingerprint == again.fingerprint


def test_a_column_that_holds_no_images_is_refused():
    with pytest.raises(DataError, match='no column "imag"') as caught:
        open_data(table([encode(RED)] * 4), image="imag")
    assert caught.value.fix == 'Did you mean "image"?'
    with pytest.raises(DataError, match='"label" holds values of type string'):
        open_data(table([encode(RED)] * 4), image="label")


def test_a_table_of_features_does_not_fit_a_model_of_images():
    samples = open_data(table([encode(RED)] * 4))
    with pytest.raises(DataError, match="the model was trained on images"):
        open_data(
            pa.table({"a": [1, 2], "label": ["c0", "c1"]}),
            encoding=samples.encoding,
            classes=samples.classes,
        )


def test_images_in_parquet_are_read(tmp_path):
    pq.write_table(table([encode(noise(seed)) for seed in range(4)]), tmp_path / "a.parquet")
    samples = open_data(tmp_path / "a.parquet")
    np.testing.assert_array_equal(np.stack([noise(seed) for seed in range(4)]), samples.inputs)


def test_sizes_that_vary_take_the_median(tmp_path):
    cells = [encode(noise(seed, 10 + seed, 20 + 2 * seed)) for seed in range(5)]
    decoded = decode_images(column(*cells))
    assert (5, 12, 24, 3) == decoded.images.shape
    (note,) = decoded.notes
    assert "4 images of 5 resized to 24 x 12 pixels" in note
    assert "the median height and width" in note


def test_large_images_are_scaled_down_aloud():
    smooth = Image.fromarray(noise(0)).resize((640, 480), Image.Resampling.BICUBIC)
    cells = [encode(smooth, "JPEG", quality=95)] * 3
    decoded = decode_images(column(*cells))
    assert (3, 168, 224, 3) == decoded.images.shape
    expected = np.asarray(smooth.resize((224, 168), Image.Resampling.BILINEAR))
    assert 4 > np.abs(decoded.images[0].astype(int) - expected).mean()  # JPEG loses that much
    (note,) = decoded.notes
    assert "(640 x 480) scaled down to 224 pixels on the longer side" in note or (
        "(480 x 640) scaled down" in note
    )
    assert (3, 480, 640, 3) == decode_images(column(*cells), longest_side=640).images.shape


def test_a_jpeg_decoded_small_is_turned_upright():
    upright = Image.fromarray(noise(0)).resize((200, 600), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    decoded = decode_images(column(encode(turned, "JPEG", quality=95, exif=exif)), (60, 20))
    expected = np.asarray(upright.resize((20, 60), Image.Resampling.BILINEAR))
    assert 4 > np.abs(decoded.images[0].astype(int) - expected).mean()


def test_progress_is_told_after_every_block(monkeypatch):
    monkeypatch.setattr("thresher.data.images.MOST_IMAGES", 4)
    told = []
    cells = [encode(noise(seed)) for seed in range(10)]
    cells[9] = b"rubbish"
    decode_images(column(*cells), progress=lambda *each: told.append(each))
    assert [(4, 10), (8, 10), (10, 10)] == told


def test_pictures_named_by_absolute_paths_are_read_where_bytes_lack(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(noise(1)))
    cells = [{"bytes": None, "path": str(path)}] * 2 + [
        {"bytes": encode(noise(2)), "path": "b"}
    ] * 2
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.table({"image": pa.array(cells, kind), "label": list("abab")})
    expected = np.stack([noise(1), noise(1), noise(2), noise(2)])
    np.testing.assert_array_equal(expected, open_data(images).inputs)


def test_paths_that_a_file_names_are_not_followed(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encode(noise(1)))
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": None, "path": str(path)}] * 4, kind)
    pq.write_table(pa.table({"image": cells, "label": list("abab")}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="4 images of 4 cannot be decoded"):
        open_data(tmp_path / "rows.parquet")


def test_no_program_is_started_for_postscript():
    as_postscript = encode(noise(0), "EPS")
    assert as_postscript.startswith(b"%!PS")
    decoded = decode_images(column(*[encode(noise(seed)) for seed in range(10)], as_postscript))
    assert {10: "not an image, or of an unknown format"} == decoded.errors
