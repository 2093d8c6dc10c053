"""A sheet of small images with their boxes, to see whether a conversion is right."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageOps

from mmattn.utils.files import told, whole
from mmattn.utils.paths import inside

TILE = (400, 300)
COLUMNS = 4
MARGIN = 4
CAPTION = 16
# Okabe and Ito's palette, told apart by the colour-blind too.
COLOURS = ('#e69f00', '#56b4e9', '#009e73', '#f0e442', '#0072b2', '#d55e00', '#cc79a7', '#ffffff')
CROWD_COLOUR = '#999999'


def draw_contact_sheet(
    coco: dict[str, Any], root: Path, path: Path, num: int = 12, first: Sequence[str] = ()
) -> list[str]:
    """Draw a COCO dict's boxes over a selection of its images; grey boxes are crowds.

    Args:
        coco: With images, annotations and categories.
        root: Folder that the images' file names are relative to.
        path: PNG file to write.
        num: Number of images; spread evenly over the data set.
        first: Stems of images to show before others, such as those with clipped boxes.

    Returns:
        File names of the images shown.
    """
    images = _select(coco['images'], num, first)
    names = {category['id']: category['name'] for category in coco['categories']}
    boxes: dict[int, list[dict]] = {image['id']: [] for image in images}
    for annotation in coco['annotations']:
        if annotation['image_id'] in boxes:
            boxes[annotation['image_id']].append(annotation)
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    cell = (TILE[0] + MARGIN, TILE[1] + CAPTION + MARGIN)
    sheet = Image.new('RGB', (columns * cell[0], rows * cell[1]), '#202020')
    draw = ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        left, top = index % columns * cell[0], index // columns * cell[1]
        sheet.paste(_tile(image, boxes[image['id']], names, Path(root)), (left, top))
        caption = f'{Path(image["file_name"]).name}: {len(boxes[image["id"]])} boxes'
        draw.text((left + 2, top + TILE[1] + 1), _drawable(caption), fill='white')
    with told(path), whole(path) as part:
        sheet.save(part)
    return [image['file_name'] for image in images]


def _select(images: list[dict], num: int, first: Sequence[str]) -> list[dict]:
    # At most half of the sheet for the odd ones: it is to show the usual ones too.
    odd = [image for image in images if Path(image['file_name']).stem in first][: num // 2]
    rest = [image for image in images if image not in odd]
    wanted = min(num - len(odd), len(rest))
    return odd + [rest[index * len(rest) // wanted] for index in range(wanted)]


def _tile(image: dict, annotations: list[dict], names: dict[int, str], root: Path) -> Image.Image:
    with Image.open(inside(root, image['file_name'])) as opened:
        # The size in the json, and the boxes, are those of the turned image.
        picture = ImageOps.exif_transpose(opened).convert('RGB')
    scale = min(TILE[0] / picture.width, TILE[1] / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    tile = Image.new('RGB', TILE, '#000000')
    tile.paste(picture.resize(size), (0, 0))
    draw = ImageDraw.Draw(tile)
    for annotation in annotations:
        x, y, width, height = (value * scale for value in annotation['bbox'])
        category = annotation['category_id']
        colour = COLOURS[(category - 1) % len(COLOURS)]
        if annotation['iscrowd']:
            colour = CROWD_COLOUR
        draw.rectangle((x, y, x + width, y + height), outline=colour, width=2)
        draw.text((x + 3, y + 1), _drawable(names[category]), fill=colour)
    return tile


def _drawable(text: str) -> str:
    # Pillow's built-in font may have no other letters.
    return text.encode('latin-1', 'replace').decode('latin-1')
