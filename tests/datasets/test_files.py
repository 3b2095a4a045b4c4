"""Folders and tables of labelled images: what is found, said and split."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_moe.datasets import read_labelled_files
from keras_moe.datasets.files.inspection import Facts, inspect_file, look
from keras_moe.datasets.files.listing import list_files
from keras_moe.datasets.files.splitting import groups_of, split_files

pytestmark = pytest.mark.once


def noise(*seed, size=(40, 40)):
    """A picture that looks like no other: coarse noise, so that it keeps its look when it is scaled."""
    coarse = np.random.default_rng(seed).integers(0, 256, (10, 10, 3), dtype="uint8")
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def fill(folder, count, *seed):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        noise(i, *seed).save(folder / f"{i}.png")


def words(files):
    return {remark.path: remark.word for remark in files.remarks}


def test_a_folder_for_each_class(tmp_path):
    for number, (name, count) in enumerate({"cat": 20, "dog": 20, "zebra": 4}.items()):
        fill(tmp_path / name, count, number)
    files = read_labelled_files(tmp_path)
    assert files.classes == ("cat", "dog", "zebra")
    assert np.bincount(files.labels).tolist() == [20, 20, 4]
    counts = {part: np.bincount(files.labels[files.rows(part)], minlength=3).tolist() for part in ("val", "test")}
    assert counts == {"val": [3, 3, 1], "test": [3, 3, 1]}
    assert files.remarks == ()
    assert files.text() == f"44 images of 3 classes in {tmp_path}: 30 train, 7 val, 7 test"
    again, other = read_labelled_files(tmp_path), read_labelled_files(tmp_path, seed=1)
    assert again.parts.tolist() == files.parts.tolist() != other.parts.tolist()


def test_every_kind_of_odd_file_has_its_word(tmp_path):
    for number, name in enumerate(("a", "b")):
        fill(tmp_path / name, 40, number)
    odd = tmp_path / "a"
    noise(90).save(odd / "whole.jpg")
    (odd / "cut.jpg").write_bytes((odd / "whole.jpg").read_bytes()[:-300])
    (odd / "empty.jpg").touch()
    (odd / "notes.jpg").write_text("not a picture")
    noise(91).convert("CMYK").save(odd / "cmyk.jpg")
    noise(92).quantize(16).save(odd / "palette.png")
    Image.fromarray(np.random.default_rng(3).integers(0, 65536, (40, 40), dtype="uint16")).save(odd / "deep.png")
    noise(93, size=(7, 5)).save(odd / "tiny.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(94).save(odd / "turned.jpg", exif=exif)
    noise(95).save(odd / "really_a.png", "jpeg")
    noise(96).save(odd / "moving.gif", save_all=True, append_images=[noise(97)])
    (odd / ".hidden.png").write_bytes(b"")
    (odd / "Thumbs.db").write_bytes(b"")
    os.symlink(odd / "nowhere.png", odd / "broken.png")
    os.symlink(tmp_path / "a", tmp_path / "a" / "loop")
    (tmp_path / "nothing").mkdir()
    noise(98).save(tmp_path / "classless.png")
    deep = tmp_path / "b" / "2024" / "märz"
    fill(deep, 1, 5)
    bomb(odd / "bomb.png")
    files = read_labelled_files(tmp_path)
    said = words(files)
    cut, deep_word = said.pop("a/cut.jpg"), said.pop("a/bomb.png")
    assert cut.startswith("is damaged or cut off")
    assert deep_word.startswith("too large to open safely: Image size (400000000 pixels)")
    assert said == {
        "a/empty.jpg": "is empty",
        "a/notes.jpg": "is not an image",
        "a/cmyk.jpg": "the colours are CMYK",
        "a/deep.png": "more than 8 bits a channel",
        "a/tiny.png": "tiny: 7 x 5 pixels",
        "a/turned.jpg": "turned by its EXIF orientation",
        "a/really_a.png": "its name says PNG, its content JPEG",
        "a/moving.gif": "an animation, of which the first picture is used",
        "a/broken.png": "a link to nowhere",
        "a/loop": "a link to a folder that is read already",
        "nothing": "the folder of a class is empty",
        "classless.png": "lies in no folder of a class",
    }
    left_out = {remark.path for remark in files.remarks if not remark.used}
    assert left_out == {
        "a/empty.jpg", "a/notes.jpg", "a/broken.png", "a/loop", "a/cut.jpg", "a/bomb.png", "nothing", "classless.png",
    }  # fmt: skip
    assert len(files.paths) == 81 + 8
    assert str(deep / "0.png") in files.paths


def bomb(path):
    """A PNG of a few bytes that says it has 400 million pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def test_too_many_unreadable_files_stop_it(tmp_path):
    fill(tmp_path / "a", 8, 0)
    fill(tmp_path / "b", 8, 1)
    for i in range(2):
        (tmp_path / "a" / f"bad{i}.jpg").write_bytes(b"bad")
    with pytest.raises(ValueError, match=r"2 of 18 images .* cannot be read, more than 10%(.|\n)*a/bad0.jpg: is not"):
        read_labelled_files(tmp_path)
    assert len(read_labelled_files(tmp_path, most_unreadable=0.2).paths) == 16


def test_parts_of_the_data_are_kept_and_missing_ones_drawn(tmp_path):
    for number, name in enumerate(("a", "b")):
        fill(tmp_path / "train" / name, 10, number)
        fill(tmp_path / "Test" / name, 3, number, 7)
    fill(tmp_path / "Test" / "unknown", 2, 9)
    files = read_labelled_files(tmp_path)
    assert files.classes == ("a", "b")
    assert {part: len(files.rows(part)) for part in ("train", "val", "test")} == {"train": 16, "val": 4, "test": 6}
    assert all("Test" in files.paths[row] for row in files.rows("test"))
    assert words(files) == {"unknown": "a class without an image to learn from: its 2 images are left out"}


def test_an_image_in_both_parts_is_said(tmp_path):
    for number, name in enumerate(("a", "b")):
        fill(tmp_path / "train" / name, 4, number)
        fill(tmp_path / "val" / name, 2, number, 1)
        fill(tmp_path / "test" / name, 2, number, 2)
    with Image.open(tmp_path / "train" / "a" / "0.png") as image:
        image.resize((64, 64)).save(tmp_path / "test" / "a" / "again.jpg", quality=80)
    files = read_labelled_files(tmp_path)
    assert words(files) == {
        "test/a/again.jpg": "looks like a picture that is learned from, which flatters the test: train/a/0.png"
    }


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ([], "Received: no folder in it"),
        (["train/a", "test/a", "cat"], r"Received both: \['test', 'train'\] and \['cat'\]"),
        (["val/a", "test/a"], "none to learn from"),
        (["a"], r"two classes or more .* Received: \['a'\]"),
        (["train/a", "test/b"], r"two classes or more .* Received: \['a'\]"),
        (["training_set/a", "training_set/b", "test_set/a", "test_set/b"], r"with the folders \['a', 'b'\] in each"),
        (["train/a", "train/b", "eval/b", "eval/a"], "Call parts train, val and test"),
    ],
)
def test_folders_without_classes(tmp_path, folders, message):
    for number, folder in enumerate(folders):
        fill(tmp_path / folder, 2, number)
    with pytest.raises(ValueError, match=message):
        read_labelled_files(tmp_path)


@pytest.mark.parametrize("inner", ["", "train/", "photos/train/"])
def test_a_folder_around_all_is_entered(tmp_path, inner):
    for number, name in enumerate(("a", "b")):
        fill(tmp_path / "photos" / inner / name, 4, number)
    (tmp_path / "readme.txt").write_text("mine")
    if not inner:
        (tmp_path / "photos" / "loop").symlink_to(tmp_path)
    files = read_labelled_files(tmp_path)
    assert files.classes == ("a", "b")
    assert len(files.paths) == 8
    assert files.name(files.paths[0]) == f"photos/{inner}a/0.png"


def test_what_is_no_image_is_passed_over_and_does_not_count(tmp_path):
    for number, name in enumerate(("a", "b")):
        fill(tmp_path / name, 4, number)
        for i in range(4):
            for suffix in (".txt", ".json", ".xml", ".xmp", ".h5", ".mp4", ".pdf", ""):
                (tmp_path / name / f"{i}{suffix}").write_text(f"said of {i}")
            (tmp_path / name / f"._{i}.png").write_bytes(b"\0\5\x16\7")
        (tmp_path / name / "nameless").write_bytes((tmp_path / name / "0.png").read_bytes())
    files = read_labelled_files(tmp_path, most_unreadable=0)
    assert len(files.paths) == 10
    (line,) = [line for line in files.text().splitlines() if "left out" in line]
    assert line.startswith("left out, 64: is no image, by name and content (a/0, a/0.h5, a/0.json, …)")
    (tmp_path / "a" / "bad.JPG").write_text("I claim to be one")
    with pytest.raises(ValueError, match=r"1 of 11 images in .* or allow more \(most_unreadable=, --most-unreadable\)"):
        read_labelled_files(tmp_path, most_unreadable=0.05)


def test_images_of_kinds_that_are_not_read_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    fill(tmp_path / "a", 8, 0)
    fill(tmp_path / "b", 8, 1)
    for name, head in {
        "a/phone.HEIC": b"\0\0\0\x18ftypheic",
        "b/1.jpg": b"\0\0\0\x1cftypmif1",
        "b/2": b"\xff\x0a",
    }.items():
        (tmp_path / name).write_bytes(head + bytes(40))
    said = words(read_labelled_files(tmp_path, most_unreadable=0.2))
    heic = "is an image that cannot be read here, HEIC; convert it to JPEG, or pip install pillow-heif"
    assert said == {
        "a/phone.HEIC": heic,
        "b/1.jpg": heic,
        "b/2": "is an image that cannot be read here, JPEG XL; convert it to JPEG",
    }


def test_a_class_may_be_called_train(tmp_path):
    for number, name in enumerate(("train", "car", "Größe")):
        fill(tmp_path / name, 3, number)
    assert read_labelled_files(tmp_path).classes == ("Größe", "car", "train")


def test_classes_may_be_called_like_parts(tmp_path):
    for number, name in enumerate(("festival/front", "festival/back", "carnival/front", "carnival")):
        fill(tmp_path / name, 3, number)
    assert read_labelled_files(tmp_path).classes == ("carnival", "festival")


def test_one_image_in_a_class_is_learned_and_not_measured(tmp_path):
    fill(tmp_path / "a", 10, 0)
    fill(tmp_path / "b", 1, 1)
    files = read_labelled_files(tmp_path)
    assert files.parts[files.labels == 1].tolist() == ["train"]
    assert words(files) == {"b": "a class without a test image: it is learned, and not measured"}


def test_a_name_that_is_no_line_is_refused(tmp_path):
    fill(tmp_path / "a", 3, 0)
    fill(tmp_path / "two\nlines", 3, 1)
    with pytest.raises(ValueError, match=r"printable lines\. Received: \['two\\nlines'\]"):
        read_labelled_files(tmp_path)


def test_a_table(tmp_path):
    fill(tmp_path / "images", 8, 0)
    rows = [f"images/{i}.png;{'Ä b' if i % 2 else 'c'};{'test' if i > 5 else ''}" for i in range(8)]
    extra = ["images/none.png;c;", "./images//0.png;Ä b;", "images/1.png;Ä b;train"]
    (tmp_path / "set.csv").write_text("\n".join(["Path;Label;Split", *rows, *extra]), encoding="utf-8-sig")
    files = read_labelled_files(tmp_path / "set.csv")
    assert files.classes == ("c", "Ä b")
    assert [os.path.basename(files.paths[row]) for row in files.rows("test")] == ["6.png", "7.png"]
    assert words(files) == {
        "images/none.png": "there is no such file",
        "images/0.png": "the table has several labels for it: c, Ä b",
        "images/1.png": "the table has it in several parts: none, train",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na,b\n", r"expected the columns path, label .* Received: \['file', 'label'\]"),
        ("path,label\na,\n", "expected a path and a label in row 2"),
        ("path,label,split\na,b,later\n", r"expected one of .* in row 2\. Received: 'later'"),
        ("", "expected the columns"),
        ("path,label\n\udcff,a\n", "is not a table of images"),
        (
            "path,label\nE\\cat\\0.png,cat\n",
            r"with '/' between folders. Received: 'E\\\\cat\\\\0.png' and others, none",
        ),
    ],
)
def test_a_malformed_table(tmp_path, text, message):
    (tmp_path / "set.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=message):
        read_labelled_files(tmp_path / "set.csv")


def test_neither_folder_nor_table(tmp_path):
    (tmp_path / "set.zip").touch()
    with pytest.raises(ValueError, match=r"a folder for each class, or a \.csv file"):
        list_files(tmp_path / "set.zip")


def test_scaled_and_compressed_copies_look_the_same(tmp_path):
    noise(1, size=(300, 200)).save(tmp_path / "a.png")
    noise(1, size=(300, 200)).resize((150, 100)).save(tmp_path / "b.jpg", quality=60)
    noise(2, size=(300, 200)).save(tmp_path / "c.png")
    facts = [inspect_file(str(tmp_path / name)) for name in ("a.png", "b.jpg", "c.png")]
    assert groups_of(facts).tolist() == [0, 0, 2]
    assert len({fact.digest for fact in facts}) == 3


def test_looks_are_of_neighbours_by_hand():
    ramp = Image.fromarray(np.broadcast_to(np.arange(0, 90, 10, dtype="uint8"), (9, 9)))
    assert look(ramp) == b"\xff" * 8 + b"\x00" * 8  # brighter to the right everywhere, equal below


def test_groups_are_transitive_and_seven_bits_wide():
    def of(*bits):
        packed = np.zeros(128, "uint8")
        packed[list(bits)] = 1
        return Facts(b"", np.packbits(packed).tobytes(), "")

    seven = tuple(range(0, 112, 16))  # one bit in each of seven bands
    looks = [of(), of(*seven), of(*seven, 3, 5, 7), of(*range(128))]
    assert groups_of(looks).tolist() == [0, 0, 0, 3]
    assert groups_of([of(), of(*range(0, 128, 16))]).tolist() == [0, 1]  # eight bits


def test_duplicates_stay_in_one_part(tmp_path):
    for number, name in enumerate(("a", "b")):
        fill(tmp_path / name, 12, number)
        for i in range(6):
            noise(i, number).save(tmp_path / name / f"again{i}.jpg", quality=90)
    (tmp_path / "b" / "copy.png").write_bytes((tmp_path / "a" / "11.png").read_bytes())
    for seed in range(5):
        files = read_labelled_files(tmp_path, seed=seed)
        part = dict(zip((os.path.relpath(p, tmp_path) for p in files.paths), files.parts.tolist(), strict=True))
        assert all(part[f"{c}/{i}.png"] == part[f"{c}/again{i}.jpg"] for c in "ab" for i in range(6))
        assert part["b/copy.png"] == part["a/11.png"]
        assert min(len(files.rows(p)) for p in ("val", "test")) >= 4
        assert words(files)["b/copy.png"] == "the same file under two labels: a/11.png"


def test_pictures_of_a_camera_that_does_not_move(tmp_path):
    for number, name in enumerate(("a", "b")):
        fill(tmp_path / name, 1, number)
        for i in range(1, 12):
            noise(0, number).save(tmp_path / name / f"{i}.jpg", quality=60 + i)
    together = read_labelled_files(tmp_path)
    assert set(together.parts) == {"train"}
    assert (
        "its images look alike and stay together (split_look_alikes=True, --split-look-alikes" in words(together)["a"]
    )
    files = read_labelled_files(tmp_path, split_look_alikes=True)
    assert {part: len(files.rows(part)) for part in ("train", "val", "test")} == {"train": 16, "val": 4, "test": 4}
    assert files.digest != together.digest


def test_the_digest_is_of_content_not_of_places(tmp_path, monkeypatch):
    for number, name in enumerate(("a", "b")):
        fill(tmp_path / "all" / "photos" / name, 4, number)
    (tmp_path / "link").symlink_to(tmp_path / "all" / "photos")
    digest = read_labelled_files(tmp_path / "link").digest
    monkeypatch.chdir(tmp_path)
    for spelled in ("all/photos", "all/photos/", "./all/../all/photos", "all"):
        assert read_labelled_files(spelled).digest == digest
    (tmp_path / "all").rename(tmp_path / "elsewhere")
    assert read_labelled_files("elsewhere").digest == digest
    noise(9, 9).save("elsewhere/photos/a/0.png")
    assert read_labelled_files("elsewhere").digest != digest


def test_what_is_drawn_by_hand():
    labels, groups = np.zeros(20, int), np.arange(20)
    open_ = np.full(20, "", "U5")
    parts = split_files(labels, groups, open_, {"val": 0.1, "test": 0.3}, seed=0)
    assert {part: int(np.sum(parts == part)) for part in ("train", "val", "test")} == {"train": 12, "val": 2, "test": 6}
    two = split_files(np.zeros(2, int), np.arange(2), open_[:2], {"val": 0.5, "test": 0.5}, seed=0)
    assert sorted(two.tolist()) == ["test", "train"]


def test_a_hundred_thousand_files_are_grouped_and_split_in_seconds():
    rng = np.random.default_rng(0)
    facts = [Facts(bytes(row[:16]), bytes(row), "") for row in rng.integers(0, 256, (100_000, 16), dtype="uint8")]
    facts[70_000] = facts[5]._replace(digest=b"another")
    groups = groups_of(facts)
    assert groups[70_000] == groups[5] == 5
    assert len(np.unique(groups)) == 99_999
    parts = split_files(np.arange(100_000) % 2, groups, np.full(100_000, "", "U5"), {"val": 0.1, "test": 0.2}, seed=0)
    assert [int(np.sum(parts == part)) for part in ("train", "val", "test")] == [70_000, 10_000, 20_000]
