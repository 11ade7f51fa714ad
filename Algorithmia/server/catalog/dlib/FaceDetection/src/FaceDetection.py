"""Finds faces in photographs and draws boxes around them."""
from Algorithmia import ADK

from .pictures import MAX_IMAGES, InputError, check_output, decode, encode, read, store
from .vision import draw, find_faces, load_detector


def load():
    """The trained detector, which comes with OpenCV."""
    return load_detector()


def apply(input, detector):
    """``{"images": [{"url": URI, "output": DATA_URI}]}`` -> ``{"images": [{"detected_faces": [...], "url": ...}]}``."""
    wanted = _images(input)
    for image in wanted:  # before anything is fetched or written
        if image.get("output") is not None:
            check_output(image["output"])
    return {"images": [_examine(image, detector) for image in wanted]}


def _examine(image, detector):
    picture = decode(read(image["url"]), image["url"])
    height, width = picture.shape[:2]
    faces = find_faces(picture, detector)
    result = {
        "detected_faces": faces,
        "imageDimensions": {"height": height, "width": width},
        "url": image["url"],
    }
    output = image.get("output")
    if output is not None:
        draw(picture, faces)
        store(output, encode(picture, output))
        # Where the marked picture can be had, as callers of the original algorithm expect it.
        result["url"] = result["output"] = output
    return result


def _images(input):
    """The input as a list of ``{"url": ..., "output": ...}``."""
    if isinstance(input, dict) and "images" in input:
        images = input["images"]
    elif isinstance(input, dict) and "url" in input or isinstance(input, str):
        images = input
    else:
        raise InputError('the input must be {"images": [{"url": "data://... or http://...", "output": "data://..."}]}')
    if not isinstance(images, list):
        images = [images]
    if not images:
        raise InputError("images is empty: give at least one image")
    if len(images) > MAX_IMAGES:
        raise InputError("there are %d images and there may be %d in one call" % (len(images), MAX_IMAGES))
    found = []
    for position, image in enumerate(images):
        if isinstance(image, str):
            image = {"url": image}
        if not isinstance(image, dict) or not isinstance(image.get("url"), str) or not image["url"].strip():
            raise InputError('images[%d] must have a "url": a data URI or a web address' % position)
        unknown = sorted(set(image) - {"url", "output"})
        if unknown:
            raise InputError('images[%d] has the unknown member %.80r: known are "url" and "output"'
                             % (position, unknown[0]))
        found.append(image)
    return found


algorithm = ADK(apply, load)

if __name__ == "__main__":
    algorithm.init({"images": [{"url": "data://.my/img_directory/friends.jpg"}]})
